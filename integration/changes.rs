//! Addresses change, nodes die, leave and sleep, servers restart.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Fleet, Network, SOON, State, Volume, await_equal, await_that, run};

/// The shortest lease there is.
const SHORT_LEASE: &str = "registry: { lease: 5s }";

/// The rows of a history, without the fields that still change.
fn intervals(history: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<_> = history
        .iter()
        .map(|seen| {
            (
                text(&seen["address"]),
                text(&seen["evidence"]),
                text(&seen["from"]),
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_changed_address_is_known_within_5_s_and_the_old_one_is_history() {
    run(async {
        let fleet = Fleet::on(Network::with_chosen_addresses().await);
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        let old = laptop.address().await;
        let new = fleet.network.far_address(77);
        assert_eq!(
            hub.printed(&["where", "laptop", "--first"]).await.trim(),
            old.to_string()
        );

        laptop.disconnect(&fleet.network.name).await;
        laptop.connect(&fleet.network, Some(new)).await;
        let limit = Duration::from_secs(5);
        let took = await_equal(limit, "where laptop", new.to_string(), async || {
            hub.exec(&["where", "laptop", "--first"])
                .await
                .stdout
                .trim()
                .to_owned()
        });
        eprintln!(
            "the new address was known {:?} after the interface was there",
            took.await
        );

        let history = hub.json(&["history", "laptop"]).await;
        let of = |address: &str| {
            history
                .iter()
                .filter(|seen| seen["address"] == address)
                .collect::<Vec<_>>()
        };
        let (past, present) = (of(&old.to_string()), of(&new.to_string()));
        assert!(
            !past.is_empty() && past.iter().all(|seen| seen["to"].is_string()),
            "{history:?}"
        );
        assert!(
            present.iter().any(|seen| seen["to"].is_null()),
            "{history:?}"
        );
        // The old address still leads to its last holder, with a note that it is no longer in use.
        let last = hub.json(&["who", &old.to_string()]).await;
        assert_eq!(
            (&last[0]["node"]["name"], &last[0]["current"]),
            (&"laptop".into(), &false.into()),
            "{last:?}"
        );
        assert_eq!(
            hub.json(&["who", &new.to_string()]).await[0]["current"],
            true
        );
    });
}

#[test]
fn a_killed_node_expires_after_its_lease_and_a_stopped_one_leaves_at_once() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", SHORT_LEASE)).await;
        let laptop = fleet.start(fleet.client("laptop", SHORT_LEASE)).await;
        let kiosk = fleet.start(fleet.client("kiosk", SHORT_LEASE)).await;
        laptop.ready().await;
        kiosk.ready().await;
        assert_eq!(hub.names(&[]).await, ["hub", "kiosk", "laptop"]);
        let address = laptop.address().await.to_string();

        kiosk.stop().await;
        // The goodbye was sent before the container ended: nothing is to be waited for but its way.
        await_that(
            Duration::from_secs(3),
            "the stopped node has left",
            async || hub.knows("kiosk").await["state"] == "left",
        )
        .await;
        assert_eq!(hub.names(&[]).await, ["hub", "laptop"]);

        laptop.kill().await;
        let killed = Instant::now();
        await_equal(SOON, "nodes", vec!["hub".to_owned()], async || {
            hub.names(&[]).await
        })
        .await;
        // Its last renewal came at most a third of the lease before; the rest is a busy machine's.
        let took = killed.elapsed();
        assert!(took < Duration::from_secs(12), "{took:?}");
        assert_eq!(hub.names(&["--absent"]).await, ["hub", "kiosk", "laptop"]);
        assert_eq!(
            hub.knows("laptop").await["state"],
            "expired",
            "it had no chance to send a goodbye"
        );

        // Its last address is still reported, with a note that the node is absent.
        let last = hub.exec(&["where", "laptop", "--first"]).await;
        assert_eq!((last.code, last.stdout.trim()), (Some(0), address.as_str()));
        assert!(last.stderr.contains("absent (expired)"), "{last:?}");
    });
}

#[test]
fn a_node_that_slept_past_its_lease_is_back_when_it_wakes() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", SHORT_LEASE)).await;
        let laptop = fleet.start(fleet.client("laptop", SHORT_LEASE)).await;
        laptop.ready().await;
        laptop.pause().await;
        await_that(SOON, "the sleeper expires", async || {
            hub.knows("laptop").await["state"] == "expired"
        })
        .await;
        laptop.unpause().await;
        await_that(SOON, "the sleeper is back", async || {
            hub.knows("laptop").await["state"] == "present"
        })
        .await;
    });
}

#[test]
fn a_server_keeps_every_record_and_its_history_over_a_restart_and_a_kill() {
    run(async {
        let fleet = Fleet::new().await;
        let volume = Volume::new().await;
        let hub = fleet
            .start(fleet.server("hub", "").state(State::Volume(volume)))
            .await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        // This one leaves before the restart, so no node can announce it to the server again.
        let guest = fleet.start(fleet.client("guest", "")).await;
        guest.ready().await;
        guest.stop().await;
        await_that(SOON, "the guest has left", async || {
            hub.knows("guest").await["state"] == "left"
        })
        .await;
        let before = (
            hub.knows("guest").await,
            hub.json(&["history", "guest"]).await,
        );
        let laptop_before = hub.json(&["history", "laptop"]).await;
        assert!(!before.1.is_empty() && !laptop_before.is_empty());
        let own_id = hub.status().await["node"]["node_id"].clone();

        hub.stop().await;
        hub.start().await;
        hub.ready().await;
        assert_eq!(hub.status().await["node"]["node_id"], own_id);
        assert_eq!(
            (
                hub.knows("guest").await,
                hub.json(&["history", "guest"]).await
            ),
            before
        );
        let held = intervals(&hub.json(&["history", "laptop"]).await);
        assert!(
            intervals(&laptop_before)
                .iter()
                .all(|interval| held.contains(interval)),
            "{held:?}"
        );

        // Acknowledged is durable: what a client was sent before the kill is there after it.
        let late = fleet.start(fleet.client("late", "")).await;
        late.ready().await;
        hub.kill().await;
        late.kill().await;
        hub.start().await;
        hub.ready().await;
        assert_eq!(
            hub.names(&["--absent"]).await,
            ["guest", "hub", "laptop", "late"]
        );
        assert_eq!(
            (
                hub.knows("guest").await,
                hub.json(&["history", "guest"]).await
            ),
            before
        );
        assert!(!hub.json(&["history", "late"]).await.is_empty());
        let held = intervals(&hub.json(&["history", "laptop"]).await);
        assert!(
            intervals(&laptop_before)
                .iter()
                .all(|interval| held.contains(interval)),
            "{held:?}"
        );
    });
}

#[test]
fn a_client_finds_its_server_again_after_the_server_was_killed() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", SHORT_LEASE)).await;
        let laptop = fleet.start(fleet.client("laptop", SHORT_LEASE)).await;
        laptop.ready().await;
        // Its state was in memory: it comes back as a stranger with an empty registry.
        hub.kill().await;
        hub.start().await;
        await_that(SOON, "the client has registered again", async || {
            hub.knows("laptop").await["state"] == "present"
        })
        .await;
    });
}
