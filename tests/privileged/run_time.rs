//! The network changes while the program runs: in network namespaces, with the real binary.
//!
//! Needs root, `ip` of iproute2, `nft` of nftables and `python3`.

use std::time::{Duration, Instant};

use crate::namespaces::program::{Machine, Running};
use crate::namespaces::{GROUPS, LIMIT, Lab, Namespace};
use serde_json::Value;

/// How soon a change has to show.
const TWO_SECONDS: Duration = Duration::from_secs(2);
/// By multicast alone, so that nothing else hides what happens to it; a lease that is short enough to see a renewal.
const MULTICAST: &str = "discovery: { methods: [multicast] }\nregistry: { lease: 6s }";

/// A server at 10.77.0.2 on the bridge, which runs.
fn hub(lab: &Lab) -> (Namespace, Machine, Running) {
    hub_with(lab, MULTICAST)
}

/// The same with a configuration of its own.
fn hub_with(lab: &Lab, more: &str) -> (Namespace, Machine, Running) {
    let namespace = lab.namespace("hub");
    lab.plug(&namespace, "eth0", "br0");
    namespace.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
    let machine = Machine::new(&namespace, "hub", "server", more);
    let running = machine.run();
    (namespace, machine, running)
}

/// A client on the bridge at 10.77.0.1, by a cable called `cable`.
fn laptop(lab: &Lab, more: &str) -> (Namespace, Machine) {
    let namespace = lab.namespace("laptop");
    lab.plug_named(&namespace, "eth0", "br0", "cable");
    namespace.ip(&["addr", "add", "10.77.0.1/24", "brd", "+", "dev", "eth0"]);
    let machine = Machine::new(&namespace, "laptop", "client", more);
    (namespace, machine)
}

/// Asks the server where the laptop is until the answer is as wanted; gives how long that took.
fn until_where(hub: &Machine, what: &str, holds: impl Fn(&[String]) -> bool) -> Duration {
    let started = Instant::now();
    loop {
        let lines = hub.json(&["where", "laptop"], &[]).lines;
        let listed = lines
            .iter()
            .flat_map(|line| line["addresses"].as_array().cloned().unwrap_or_default());
        let addresses: Vec<_> = listed
            .filter_map(|address| Some(address["address"].as_str()?.to_owned()))
            .collect();
        if holds(&addresses) {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < LIMIT,
            "not within {LIMIT:?}: {what}: {lines:?}"
        );
    }
}

/// Whether the kernel holds both groups on an interface.
fn in_groups(namespace: &Namespace, interface: &str) -> bool {
    let groups = namespace.text(&["maddr", "show", "dev", interface]);
    GROUPS.iter().all(|group| groups.contains(group))
}

fn rejoined(status: &Value) -> u64 {
    status["counters"]["memberships"]["rejoined"]
        .as_u64()
        .unwrap_or(0)
}

fn joined(status: &Value, interface: &str) -> bool {
    let interfaces = status["interfaces"].as_array().into_iter().flatten();
    let groups = interfaces
        .filter(|view| view["name"] == interface)
        .flat_map(|view| view["groups"].as_array().unwrap());
    groups.filter(|group| group["joined"] == true).count() == 2
}

#[test]
fn address_that_is_added_or_removed_shows_within_two_seconds() {
    let lab = Lab::new();
    let (_space, hub, _hub) = hub(&lab);
    let (space, laptop) = laptop(&lab, MULTICAST);
    let _laptop = laptop.run();
    laptop.registered();
    for (change, there) in [("add", true), ("del", false)] {
        space.ip(&["addr", change, "10.77.0.99/24", "dev", "eth0"]);
        let is_there =
            |addresses: &[String]| addresses.iter().any(|address| address == "10.77.0.99") == there;
        let took = until_where(&hub, change, is_there);
        assert!(took < TWO_SECONDS, "{change} took {took:?}");
    }
}

#[test]
fn server_that_starts_while_the_fallback_asks_is_found_by_the_better_method() {
    let lab = Lab::new();
    let both = "discovery: { methods: [multicast, broadcast] }";
    let (_space, laptop) = laptop(&lab, both);
    let _laptop = laptop.run();
    laptop.until("broadcast has its turn", |status| {
        status["methods"][1]["state"] == "trying"
    });
    let _hub = hub_with(&lab, both);
    laptop.registered();
    // Its last quick question, three seconds after its first, is answered too.
    laptop.until("broadcast has asked its questions", |status| {
        status["node"]["uptime_seconds"].as_u64() >= Some(8)
    });
    let status = laptop.status();
    assert_eq!(status["servers"][0]["found_by"], "multicast", "{status}");
    assert_eq!(status["methods"][0]["state"], "found", "{status}");
}

#[test]
fn interface_that_appears_late_disappears_and_comes_back_elsewhere_is_followed() {
    let lab = Lab::new();
    let (_space, hub, _hub) = hub(&lab);
    let space = lab.namespace("laptop");
    let laptop = Machine::new(&space, "laptop", "client", MULTICAST);
    let _laptop = laptop.run();
    assert!(laptop.status()["servers"].as_array().unwrap().is_empty());
    for address in ["10.77.0.1", "10.77.0.77"] {
        lab.plug(&space, "eth0", "br0");
        space.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        let found = |addresses: &[String]| addresses.iter().any(|found| found == address);
        until_where(&hub, &format!("it is at {address}"), found);
        laptop.until("it is in the groups", |status| joined(status, "eth0"));
        assert!(in_groups(&space, "eth0"));
        space.ip(&["link", "del", "eth0"]);
        laptop.until("the interface is removed", |status| {
            status["interfaces"]
                .as_array()
                .unwrap()
                .iter()
                .all(|interface| interface["name"] != "eth0")
        });
    }
}

#[test]
fn pulled_cable_is_noticed_and_a_plugged_one_joins_again() {
    let lab = Lab::new();
    let (_space, hub, _hub) = hub(&lab);
    let (space, laptop) = laptop(&lab, MULTICAST);
    let _laptop = laptop.run();
    laptop.registered();
    // At the switch's end, then at this machine's.
    let pull: [&dyn Fn(bool); 2] = [&|plugged| lab.cable("cable", plugged), &|plugged| {
        space.ip(&["link", "set", "eth0", if plugged { "up" } else { "down" }])
    }];
    for cable in pull {
        cable(false);
        let left = |status: &Value| {
            let interfaces = status["interfaces"].as_array().unwrap();
            interfaces.iter().any(|view| {
                view["name"] == "eth0" && view["used"] == false && view["rule"] == "is down"
            })
        };
        laptop.until_within(TWO_SECONDS, "the interface is left", left);
        // Long enough for the server to miss a renewal.
        laptop.until("the server is lost", |status| {
            status["servers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|server| server["last_acknowledged"].is_null())
        });
        cable(true);
        laptop.until("it is in the groups", |status| joined(status, "eth0"));
        assert!(in_groups(&space, "eth0"));
        laptop.registered();
        until_where(&hub, "it is known again", |addresses| {
            addresses.iter().any(|found| found == "10.77.0.1")
        });
    }
}

#[test]
fn membership_that_the_kernel_dropped_in_passing_is_joined_again() {
    let lab = Lab::new();
    let (space, hub, _hub) = hub(&lab);
    hub.until("it is in the groups", |status| joined(status, "eth0"));
    let before = rejoined(&hub.status());
    // Too small for IPv6 for a moment, so that the kernel drops the family with all that belongs to it. The list of
    // interfaces is soon as before, and the socket still believes in its membership.
    space.ip_batch("link set eth0 mtu 1000\nlink set eth0 mtu 1500\n");
    assert!(
        !in_groups(&space, "eth0") || rejoined(&hub.status()) > before,
        "the kernel kept the groups"
    );
    hub.until("it joined again", |status| rejoined(status) > before);
    assert!(
        in_groups(&space, "eth0"),
        "{}",
        space.text(&["maddr", "show", "dev", "eth0"])
    );
    let by_ipv6 = format!("{MULTICAST}\ninterfaces: {{ addresses: {{ ipv4: false }} }}");
    let (_space, laptop) = laptop(&lab, &by_ipv6);
    let _laptop = laptop.run();
    laptop.registered();
}

#[test]
fn group_that_could_not_be_joined_is_joined_soon_after_it_can_be() {
    let lab = Lab::new();
    let space = lab.namespace("hub");
    space.sysctl("net.ipv4.igmp_max_memberships", "0");
    lab.plug(&space, "eth0", "br0");
    space.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
    let hub = Machine::new(&space, "hub", "server", MULTICAST);
    let _hub = hub.run();
    let refused = |status: &Value| {
        status["interfaces"]
            .to_string()
            .contains("igmp_max_memberships")
    };
    hub.until("the kernel has refused", refused);
    space.sysctl("net.ipv4.igmp_max_memberships", "20");
    // The wait is no longer than what has passed since the first try.
    hub.until_within(Duration::from_secs(4), "it is in the groups", |status| {
        joined(status, "eth0")
    });
    assert!(in_groups(&space, "eth0"));
}

/// A server behind a snooping switch that has forgotten that it is in the groups.
fn forgotten_hub(lab: &Lab) -> (Namespace, Machine, Running) {
    lab.snoop("br0");
    let space = lab.namespace("hub");
    lab.plug_named(&space, "eth0", "br0", "port7");
    space.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
    let hub = Machine::new(&space, "hub", "server", MULTICAST);
    let running = hub.run();
    hub.forgotten(lab, "port7");
    (space, hub, running)
}

#[test]
fn switch_that_forgot_a_member_learns_it_again_by_the_next_event() {
    let lab = Lab::new();
    let (space, hub, _hub) = forgotten_hub(&lab);
    space.ip(&["addr", "add", "10.77.0.22/24", "dev", "eth0"]);
    hub.until("the switch knows it", |_| {
        GROUPS
            .iter()
            .all(|group| lab.knows_member("br0", "port7", group))
    });
}

#[test]
fn switch_that_forgot_a_member_learns_it_again_after_three_silent_intervals() {
    let lab = Lab::new();
    let (_space, hub, _hub) = forgotten_hub(&lab);
    let before = rejoined(&hub.status());
    // Three intervals of 30 s from the join.
    hub.until_within(Duration::from_secs(100), "it joined again", |status| {
        rejoined(status) > before
    });
    hub.until("the switch knows it", |_| {
        GROUPS
            .iter()
            .all(|group| lab.knows_member("br0", "port7", group))
    });
}

/// Makes the kernel lose a node's memberships of both groups.
fn lose_memberships(space: &Namespace, node: &Running) {
    GROUPS
        .iter()
        .for_each(|group| node.lose_membership(space, "eth0", group));
    let groups = space.text(&["maddr", "show", "dev", "eth0"]);
    assert!(
        GROUPS.iter().all(|group| !groups.contains(group)),
        "the kernel holds them still: {groups}"
    );
}

/// That a server is found by its groups alone, each family for itself.
fn is_found_by_both_groups(lab: &Lab) {
    for (name, without, address) in [
        ("four", "ipv6", "10.77.0.14/24"),
        ("six", "ipv4", "10.77.0.16/24"),
    ] {
        let space = lab.namespace(name);
        lab.plug(&space, "eth0", "br0");
        space.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
        let settings = format!("{MULTICAST}\ninterfaces: {{ addresses: {{ {without}: false }} }}");
        let machine = Machine::new(&space, name, "client", &settings);
        let _running = machine.run();
        machine.registered();
    }
}

#[test]
fn memberships_that_the_kernel_lost_are_joined_again_by_the_next_event() {
    let lab = Lab::new();
    let (space, hub, running) = hub(&lab);
    hub.until("it is in the groups", |status| joined(status, "eth0"));
    let before = rejoined(&hub.status());
    lose_memberships(&space, &running);
    // An event after which the interface is as before.
    space.ip(&["link", "set", "eth0", "txqueuelen", "500"]);
    hub.until("it is in the groups again", |_| in_groups(&space, "eth0"));
    assert_eq!(rejoined(&hub.status()) - before, 2, "one for each family");
    is_found_by_both_groups(&lab);
}

#[test]
fn memberships_that_the_kernel_lost_are_joined_again_after_three_silent_intervals() {
    let lab = Lab::new();
    let (space, hub, running) = hub(&lab);
    hub.until("it is in the groups", |status| joined(status, "eth0"));
    lose_memberships(&space, &running);
    hub.until_within(
        Duration::from_secs(120),
        "it is in the groups again",
        |_| in_groups(&space, "eth0"),
    );
    is_found_by_both_groups(&lab);
}

/// Longer than a node may be late without being taken for stopped: a check every 5 s, and 10 s.
const LONG_STOP: Duration = Duration::from_secs(20);

/// Waits until a server counts the laptop as absent, and for the rest of [`LONG_STOP`].
fn while_stopped(hub: &Machine) {
    let started = Instant::now();
    hub.until("the lease ran out and the stop is long", |_| {
        let lines = hub.json(&["where", "laptop"], &[]).lines;
        let present = lines.iter().any(|line| line["state"] == "present");
        !present && started.elapsed() > LONG_STOP
    });
}

#[test]
fn node_that_was_stopped_is_back_in_its_groups_though_no_event_shows_that_it_lost_them() {
    let lab = Lab::new();
    let (_space, hub, _hub) = hub(&lab);
    let (space, laptop) = laptop(&lab, MULTICAST);
    let running = laptop.run();
    laptop.registered();
    running.pause(true);
    lose_memberships(&space, &running);
    while_stopped(&hub);
    running.pause(false);
    let took = laptop.until("it is in the groups again", |_| in_groups(&space, "eth0"));
    let present = || {
        hub.json(&["where", "laptop"], &[])
            .lines
            .iter()
            .any(|line| line["state"] == "present")
    };
    hub.until("it is registered again", |_| present());
    eprintln!("in the groups {took:?} after SIGCONT");
    assert!(
        laptop.log().contains("this node was stopped for"),
        "{}",
        laptop.log()
    );
}

#[test]
fn server_that_was_stopped_for_longer_than_leases_cuts_nobodys_history() {
    let lab = Lab::new();
    let (_space, hub, hub_runs) = hub(&lab);
    let (_laptop_space, laptop) = laptop(&lab, MULTICAST);
    let _laptop = laptop.run();
    laptop.registered();
    let lease = laptop.status()["servers"][0]["lease_seconds"]
        .as_u64()
        .map(Duration::from_secs)
        .unwrap();
    let acknowledged = || laptop.status()["servers"][0]["last_acknowledged"].clone();
    let before = acknowledged();
    hub_runs.pause(true);
    let started = Instant::now();
    laptop.until("the lease ran out and the stop is long", |_| {
        started.elapsed() > LONG_STOP.max(lease * 2)
    });
    hub_runs.pause(false);
    hub.until("it noticed", |_| {
        hub.log().contains("this node was stopped for")
    });
    laptop.until("it is registered again", |_| {
        ![Value::Null, before.clone()].contains(&acknowledged())
    });
    // Which of its addresses the server saw last is another matter.
    let history = hub.json(&["history", "laptop"], &[]).lines;
    let announced: Vec<_> = history
        .iter()
        .filter(|interval| interval["evidence"] == "announced")
        .collect();
    assert!(
        announced.len() == 1 && announced[0]["to"].is_null(),
        "{history:?}"
    );
    assert!(!hub.log().contains("lease ran out"), "{}", hub.log());
}

#[test]
fn network_that_changed_while_a_node_was_stopped_is_followed() {
    let lab = Lab::new();
    let (_space, hub, _hub) = hub(&lab);
    let (space, laptop) = laptop(&lab, MULTICAST);
    let running = laptop.run();
    laptop.registered();
    running.pause(true);
    space.ip(&["link", "del", "eth0"]);
    while_stopped(&hub);
    lab.plug(&space, "eth0", "br0");
    space.ip(&["addr", "add", "10.77.0.88/24", "brd", "+", "dev", "eth0"]);
    running.pause(false);
    let started = Instant::now();
    until_where(&hub, "it is at its new address", |addresses| {
        addresses.iter().any(|found| found == "10.77.0.88")
    });
    hub.until("it is registered again", |_| {
        hub.json(&["where", "laptop"], &[])
            .lines
            .iter()
            .any(|line| line["state"] == "present")
    });
    laptop.until("it is in the groups", |status| {
        joined(status, "eth0") && in_groups(&space, "eth0")
    });
    laptop.registered();
    eprintln!(
        "registered and in the groups {:?} after SIGCONT",
        started.elapsed()
    );
}

#[test]
fn three_datagrams_in_ten_are_lost_and_all_find_each_other_all_the_same() {
    let lab = Lab::new();
    let lossy = |space: &Namespace| {
        space.nft(&["add rule inet lab input meta l4proto udp numgen random mod 100 < 30 drop"])
    };
    let (space, hub, _hub) = hub(&lab);
    lossy(&space);
    let mut running = Vec::new();
    let mut machines = Vec::new();
    for number in 1..=4 {
        let space = lab.namespace(&format!("n{number}"));
        lab.plug(&space, "eth0", "br0");
        space.ip(&[
            "addr",
            "add",
            &format!("10.77.0.1{number}/24"),
            "brd",
            "+",
            "dev",
            "eth0",
        ]);
        lossy(&space);
        let machine = Machine::new(&space, &format!("n{number}"), "client", MULTICAST);
        running.push(machine.run());
        machines.push(machine);
    }
    machines.iter().for_each(Machine::registered);
    hub.until("every node is present", |status| {
        status["registry"]["present"] == 5
    });
    // Through some renewals, and no lease runs out for long.
    let acknowledged =
        |machine: &Machine| machine.status()["servers"][0]["last_acknowledged"].clone();
    for machine in &machines {
        let before = acknowledged(machine);
        machine.until("it renewed", |status| {
            let now = &status["servers"][0]["last_acknowledged"];
            !now.is_null() && *now != before
        });
    }
    hub.until("every node is present", |status| {
        status["registry"]["present"] == 5
    });
}

#[test]
fn server_with_a_port_of_its_own_is_found_by_group_and_by_broadcast() {
    for method in ["multicast", "broadcast"] {
        let lab = Lab::new();
        let settings = format!("discovery: {{ methods: [{method}] }}");
        let space = lab.namespace("hub");
        lab.plug(&space, "eth0", "br0");
        space.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
        let hub = Machine::new(
            &space,
            "hub",
            "server",
            &format!("{settings}\nlisten: {{ port: 24400 }}"),
        );
        let _hub = hub.run();
        let (_space, laptop) = laptop(&lab, &settings);
        let _laptop = laptop.run();
        laptop.registered();
        let status = laptop.status();
        assert_eq!(status["servers"][0]["found_by"], method, "{status}");
        assert!(
            status["servers"][0]["address"]
                .as_str()
                .unwrap()
                .ends_with(":24400"),
            "{status}"
        );
        let sockets = hub.status()["sockets"].to_string();
        assert!(
            sockets.contains("239.255.43.73:24373") && sockets.contains("255.255.255.255:24373"),
            "{sockets}"
        );
        assert_eq!(laptop.json(&["doctor"], &[]).code, Some(0));
    }
}

#[test]
fn ipv6_group_alone_is_enough_for_a_server_with_a_port_of_its_own() {
    let lab = Lab::new();
    let settings =
        "discovery: { methods: [multicast] }\ninterfaces: { addresses: { ipv4: false } }";
    let space = lab.namespace("hub");
    lab.plug(&space, "eth0", "br0");
    let hub = Machine::new(
        &space,
        "hub",
        "server",
        &format!("{settings}\nlisten: {{ port: 24400 }}"),
    );
    let _hub = hub.run();
    let space = lab.namespace("laptop");
    lab.plug(&space, "eth0", "br0");
    let laptop = Machine::new(&space, "laptop", "client", settings);
    let _laptop = laptop.run();
    laptop.registered();
    assert!(
        laptop.status()["servers"][0]["address"]
            .as_str()
            .unwrap()
            .starts_with("[fe80:"),
        "{}",
        laptop.status()
    );
}

#[test]
fn two_nodes_share_the_groups_port_on_one_machine_in_either_order() {
    for own_port_first in [true, false] {
        let lab = Lab::new();
        let space = lab.namespace("host");
        lab.plug(&space, "eth0", "br0");
        space.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
        let plain = Machine::new(&space, "plain", "server", MULTICAST);
        let other = Machine::new(
            &space,
            "other",
            "server",
            &format!("{MULTICAST}\nlisten: {{ port: 24400 }}"),
        );
        let order = if own_port_first {
            [&plain, &other]
        } else {
            [&other, &plain]
        };
        let _running = order.map(Machine::run);
        for machine in order {
            machine.until("it is in the groups", |status| joined(status, "eth0"));
        }
        let (_space, laptop) = laptop(&lab, MULTICAST);
        let _laptop = laptop.run();
        laptop.until("both are found", |status| {
            let servers = status["servers"].as_array().unwrap();
            servers
                .iter()
                .filter(|server| !server["last_acknowledged"].is_null())
                .count()
                == 2
        });
        // What is sent to the port itself reaches the node that has it as its own.
        let status = laptop.status();
        let ports: Vec<_> = status["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|server| {
                let address = server["address"].as_str().unwrap();
                (
                    server["name"].as_str().unwrap().to_owned(),
                    address.rsplit(':').next().unwrap().to_owned(),
                )
            })
            .collect();
        assert!(
            ports.contains(&("plain".to_owned(), "24373".to_owned())),
            "{ports:?}"
        );
        assert!(
            ports.contains(&("other".to_owned(), "24400".to_owned())),
            "{ports:?}"
        );
        // A second one with the same port is refused all the same.
        let third = Machine::new(&space, "third", "server", MULTICAST);
        let refused = third.json(&["run"], &[]);
        assert_eq!(refused.code, Some(1));
    }
}
