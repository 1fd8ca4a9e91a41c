//! What can be wrong at the start is reported in one sentence, with the remedy.

use crate::harness::{Fleet, KEY_FILE, Network, Ran, STATE_DIR, Setup, State, UID, Volume, run};

/// Starts what can't run, and gives how it ended.
async fn refused(fleet: &Fleet, setup: Setup) -> Ran {
    let ran = fleet.start(setup).await.ended().await;
    assert!(ran.stdout.is_empty(), "{ran:?}");
    assert!(!ran.stderr.contains("bug"), "{ran:?}");
    ran
}

#[test]
fn a_state_directory_of_another_user_is_named_with_its_chown() {
    run(async {
        let fleet = Fleet::new().await;
        let ran = refused(
            &fleet,
            fleet
                .server("hub", "")
                .no_network()
                .state(State::NotWritable),
        )
        .await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("chown -R {UID} {STATE_DIR}")),
            "{ran:?}"
        );
    });
}

#[test]
fn a_setting_that_is_not_there_is_shown_with_a_caret() {
    run(async {
        let fleet = Fleet::new().await;
        let ran = refused(
            &fleet,
            fleet.server("hub", "registry: { leese: 5s }").no_network(),
        )
        .await;
        assert_eq!(ran.code, Some(64), "{ran:?}");
        for part in [
            "/etc/hereabouts/hereabouts.yaml:4:",
            "registry: { leese: 5s }",
            "^^^^^",
            "lease",
        ] {
            assert!(ran.stderr.contains(part), "no {part:?}: {}", ran.stderr);
        }
    });
}

#[test]
fn a_taken_port_is_named_with_the_way_out() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let ran = refused(&fleet, fleet.server("second", "").beside(&hub)).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for part in ["port 24373/udp is taken", "listen.port"] {
            assert!(ran.stderr.contains(part), "no {part:?}: {}", ran.stderr);
        }
        // With a port of its own it runs beside the first one.
        let third = fleet
            .start(
                fleet
                    .server("third", "listen: { port: 24374 }")
                    .beside(&hub),
            )
            .await;
        third.ready().await;
    });
}

#[test]
fn a_key_that_others_can_write_is_refused_with_its_chmod() {
    run(async {
        let fleet = Fleet::new().await;
        let ran = refused(&fleet, fleet.server("hub", "").no_network().key_mode(0o666)).await;
        assert_eq!(ran.code, Some(64), "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("chmod 600 {KEY_FILE}")),
            "{ran:?}"
        );
        let key = data_encoding::BASE64.encode(&fleet.key);
        assert!(!ran.stderr.contains(&key), "the key is in the log");
    });
}

#[test]
fn a_key_that_can_not_be_read_is_named() {
    run(async {
        let fleet = Fleet::new().await;
        let ran = refused(&fleet, fleet.server("hub", "").no_network().key_mode(0o600)).await;
        assert_eq!(ran.code, Some(64), "{ran:?}");
        assert!(
            ran.stderr.contains(KEY_FILE) && ran.stderr.contains("can't be read"),
            "{ran:?}"
        );
        assert!(
            ran.stderr.contains(&format!("chown {UID} {KEY_FILE}")),
            "{ran:?}"
        );
    });
}

#[test]
fn two_nodes_with_one_state_directory_are_kept_apart() {
    run(async {
        let fleet = Fleet::on(Network::new().await);
        let volume = Volume::new().await;
        let hub = fleet
            .start(fleet.server("hub", "").state(State::Volume(volume.clone())))
            .await;
        hub.ready().await;
        let ran = refused(&fleet, fleet.server("hub", "").state(State::Volume(volume))).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stderr.contains("another hereabouts runs with it"),
            "{ran:?}"
        );
        // The first one is none the worse for it.
        assert_eq!(hub.printed(&["health"]).await, "ready\n");
    });
}
