use std::path::PathBuf;

use super::decide::decide;
use super::*;
use crate::files::ledger::Entry;
use crate::wire::session::Report;

fn accepted() -> Accepted {
    Accepted {
        name: "a".into(),
        path: "/a".into(),
        mode: 0o644,
        owner: None,
        max_size: 100,
        server: None,
        after: None,
    }
}

fn notice(server: u8, generation: u64, digest: u8) -> Notice {
    Notice {
        server: NodeId([server; 32]),
        name: "a".into(),
        generation,
        size: 10,
        digest: [digest; 32],
        signature: [0; 64],
    }
}

fn held(generation: u64) -> Entry {
    Entry {
        server: NodeId([1; 32]),
        generation,
        size: 10,
        digest: [5; 32],
        unfinished: false,
        failed: None,
        pulled: None,
        server_name: None,
    }
}

#[test]
fn only_newer_generations_are_pulled() {
    let accepted = accepted();
    assert_eq!(decide(None, &accepted, None, &notice(1, 1, 5)), Ok(true));
    assert_eq!(
        decide(Some(&held(2)), &accepted, Some(10), &notice(1, 3, 6)),
        Ok(true)
    );
    assert_eq!(
        decide(Some(&held(2)), &accepted, Some(10), &notice(1, 2, 5)),
        Ok(false)
    );
    assert_eq!(
        decide(Some(&held(2)), &accepted, None, &notice(1, 2, 5)),
        Ok(true),
        "a person removed the file"
    );
    let older = decide(Some(&held(2)), &accepted, Some(10), &notice(1, 1, 6)).unwrap_err();
    assert!(
        older.contains("generation 1, older than generation 2"),
        "{older}"
    );
    assert!(
        decide(Some(&held(2)), &accepted, Some(10), &notice(1, 2, 6))
            .unwrap_err()
            .contains("two contents")
    );
}

#[test]
fn first_server_stays_the_only_one_unless_the_configuration_names_another() {
    let other = decide(Some(&held(2)), &accepted(), Some(10), &notice(2, 9, 6)).unwrap_err();
    assert!(
        other.contains("files.accept") && other.contains(&NodeId([1; 32]).to_string()),
        "{other}"
    );
    // The other side gets it whole, with its remedy.
    assert!(other.len() <= Report::MAX_ERROR, "{} bytes", other.len());
    let named = Accepted {
        server: Some(NodeId([2; 32])),
        ..accepted()
    };
    assert_eq!(
        decide(Some(&held(2)), &named, Some(10), &notice(2, 1, 6)),
        Ok(true)
    );
    assert!(decide(Some(&held(2)), &named, Some(10), &notice(1, 9, 6)).is_err());
    assert!(decide(None, &named, None, &notice(1, 9, 6)).is_err());
}

#[test]
fn files_over_the_limit_are_not_pulled() {
    let small = Accepted {
        max_size: 9,
        ..accepted()
    };
    assert!(
        decide(None, &small, None, &notice(1, 1, 5))
            .unwrap_err()
            .contains("max_size")
    );
}

fn state(spread: Duration) -> State {
    let settings = Puller {
        key_ring: key_ring(),
        channel: "home".into(),
        identity: Identity::from_seed(&[77; 32]),
        node: "kiosk".parse().unwrap(),
        accepted: vec![accepted()],
        accepts: Accepts::default(),
        spread,
        ledger_path: PathBuf::new(),
    };
    State::new(settings, watch::channel(Vec::new()).1)
}

fn key_ring() -> KeyRing {
    KeyRing::new("home", &[crate::model::Secret::key([1; 32])]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn visits_after_a_notice_are_spread_over_the_configured_time() {
    let spread = Duration::from_secs(10);
    let waits: Vec<_> = std::iter::repeat_with(|| {
        let mut state = state(spread);
        state.visit_within(spread);
        state.due.unwrap() - Instant::now()
    })
    .take(200)
    .collect();
    assert!(waits.iter().all(|wait| *wait <= spread), "{waits:?}");
    // Of 200 random moments, none is in one of the halves once in 2^199 times.
    let early = waits.iter().filter(|wait| **wait < spread / 2).count();
    assert!((1..200).contains(&early), "{waits:?}");
    // A later notice brings the visit forward and never puts it off.
    let mut state = state(spread);
    state.visit_within(Duration::ZERO);
    state.visit_within(spread);
    assert_eq!(state.due.unwrap(), Instant::now());
}
