//! What the history says of the past: in network namespaces, with the real binary.
//!
//! Needs root and `ip` of iproute2.

use std::fs;
use std::time::{Duration, Instant};

use hereabouts::model::Timestamp;
use serde_json::Value;

use crate::namespaces::program::Machine;
use crate::namespaces::{LIMIT, Lab, Namespace};

/// A lease so long that no renewal comes during a test.
const LONG_LEASE: &str = "registry: { lease: 1h }";

fn host(lab: &Lab, name: &str, address: &str) -> Namespace {
    let namespace = lab.namespace(name);
    lab.plug(&namespace, "eth0", "br0");
    let address = format!("{address}/24");
    namespace.ip(&["addr", "add", &address, "brd", "+", "dev", "eth0"]);
    namespace
}

/// The addresses in an answer of `where`, with whether each is probable.
fn places(lines: &[Value]) -> Vec<(String, bool)> {
    let listed = lines
        .iter()
        .flat_map(|line| line["addresses"].as_array().cloned().unwrap_or_default());
    listed
        .map(|place| {
            (
                place["address"].as_str().unwrap().to_owned(),
                place["probable"].as_bool().unwrap(),
            )
        })
        .collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn address_between_two_renewals_is_held_until_the_change() {
    let lab = Lab::new();
    let hub = Machine::new(&host(&lab, "hub", "10.77.0.2"), "hub", "both", LONG_LEASE);
    let _hub = hub.run();
    let space = host(&lab, "laptop", "10.77.0.1");
    let laptop = Machine::new(&space, "laptop", "client", LONG_LEASE);
    let _laptop = laptop.run();
    laptop.registered();
    let is_at = |address: &str| {
        let now = places(&hub.json(&["where", "laptop"], &[]).lines);
        now.iter().any(|(held, _)| held == address)
    };
    until("the hub knows the first address", || is_at("10.77.0.1"));
    // After the only message of this lease, and before the change.
    let history = hub.json(&["history", "laptop"], &[]).lines;
    let from: Timestamp = history[0]["from"].as_str().unwrap().parse().unwrap();
    let before = from.plus(Duration::from_millis(1)).to_string();
    space.ip(&["addr", "flush", "dev", "eth0", "scope", "global"]);
    space.ip(&["addr", "add", "10.77.0.3/24", "brd", "+", "dev", "eth0"]);
    until("the hub knows the second address", || is_at("10.77.0.3"));

    for machine in [&hub, &laptop] {
        let past = machine.json(&["where", "laptop", "--at", &before], &[]);
        assert!(
            places(&past.lines).contains(&("10.77.0.1".to_owned(), false)),
            "{:?}",
            past.lines
        );
        let past = machine.json(&["who", "10.77.0.1", "--at", &before], &[]);
        assert_eq!(past.code, Some(0));
        assert_eq!(past.lines[0]["node"]["name"], "laptop");
        assert_eq!(past.lines[0]["probable"], false);
    }
}

#[test]
fn lost_node_had_its_address_probably_between_its_last_message_and_the_end_of_its_lease() {
    let lab = Lab::new();
    let short = "registry: { lease: 6s }";
    let hub = Machine::new(&host(&lab, "hub", "10.77.0.2"), "hub", "both", short);
    let _hub = hub.run();
    let space = host(&lab, "laptop", "10.77.0.1");
    let laptop = Machine::new(&space, "laptop", "client", short);
    let running = laptop.run();
    laptop.registered();
    // Dropped is killed: no goodbye.
    drop(running);
    let lost =
        |interval: &Value| interval["address"] == "10.77.0.1" && !interval["lost_by"].is_null();
    let mut found = None;
    until("the hub has lost the laptop", || {
        let history = hub.json(&["history", "laptop"], &[]).lines;
        found = history.into_iter().find(lost);
        found.is_some()
    });
    let found = found.unwrap();
    let time = |key: &str| -> Timestamp { found[key].as_str().unwrap().parse().unwrap() };
    let (last, lost_by) = (time("to"), time("lost_by"));
    assert!(lost_by.since(last) >= Duration::from_secs(5), "{found}");
    let between = last.plus(Duration::from_secs(2)).to_string();
    let past = hub.json(&["where", "laptop", "--at", &between], &[]);
    assert!(
        places(&past.lines).contains(&("10.77.0.1".to_owned(), true)),
        "{:?}",
        past.lines
    );
    let past = hub.json(&["who", "10.77.0.1", "--at", &between], &[]);
    assert_eq!(past.lines[0]["probable"], true, "{:?}", past.lines);
    let after = lost_by.plus(Duration::from_secs(2)).to_string();
    assert_eq!(
        hub.json(&["where", "laptop", "--at", &after], &[]).code,
        Some(3)
    );
}

#[test]
fn address_change_of_a_server_reaches_its_own_export_and_its_watchers() {
    let lab = Lab::new();
    let space = host(&lab, "hub", "10.77.0.2");
    let export = "registry: { export: { path: nodes.json, format: hereabouts } }";
    let hub = Machine::new(&space, "hub", "server", export);
    let _hub = hub.run();
    let written = hub.directory().join("state/nodes.json");
    let exported =
        |address: &str| fs::read_to_string(&written).is_ok_and(|text| text.contains(address));
    until("the export has the first address", || exported("10.77.0.2"));
    let laptop = Machine::new(&host(&lab, "laptop", "10.77.0.9"), "laptop", "client", "");
    let watch = laptop.watch();
    hub.until("it is watched", |status| {
        status["counters"]["sessions"]["requests"].as_u64() >= Some(1)
    });
    space.ip(&["addr", "add", "10.77.0.3/24", "brd", "+", "dev", "eth0"]);
    until("the export has the second address", || {
        exported("10.77.0.3")
    });
    until("a watcher sees the change", || {
        let lines = watch.lines();
        lines.iter().any(|line| {
            line["change"] == "changed" && line["node"].to_string().contains("10.77.0.3")
        })
    });
    let history = hub.json(&["history", "hub"], &[]).lines;
    assert!(
        history
            .iter()
            .all(|interval| interval["address"] != "127.0.0.1"),
        "the start leaves no interval at the loopback address: {history:?}"
    );
}
