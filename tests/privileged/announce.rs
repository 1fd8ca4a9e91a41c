//! `announce` without a running node, as cron runs it.
//!
//! Needs root and `ip` of iproute2.

use crate::namespaces::program::{Machine, Running};
use crate::namespaces::{Lab, Namespace};

/// A server and a machine on one switch; with IPv4 addresses, or with link-local IPv6 ones alone.
fn site(ipv4: bool, more: &str) -> (Lab, Machine, Running, Machine) {
    let lab = Lab::new();
    let place = |name: &str, address: &str| -> Namespace {
        let namespace = lab.namespace(name);
        lab.plug(&namespace, "eth0", "br0");
        if ipv4 {
            namespace.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
        }
        namespace
    };
    let hub = Machine::new(&place("hub", "10.77.0.2/24"), "hub", "server", more);
    let running = hub.run();
    let laptop = Machine::new(&place("laptop", "10.77.0.1/24"), "laptop", "client", "");
    (lab, hub, running, laptop)
}

#[test]
fn announce_registers_by_ipv4_in_every_run_where_link_local_ipv6_works_too() {
    let (_lab, _hub, _running, laptop) = site(true, "");
    for run in 0..12 {
        assert_eq!(laptop.plain(&["announce"]), "10.77.0.1", "run {run}");
    }
}

#[test]
fn announce_prints_the_zone_of_an_address_where_there_is_nothing_but_link_local_ipv6() {
    let (_lab, _hub, _running, laptop) = site(false, "");
    let printed = laptop.plain(&["announce"]);
    assert!(printed.starts_with("fe80::"), "{printed}");
    assert!(printed.ends_with("%eth0"), "{printed}");
}
