//! Multicast DNS beside Debian's avahi-daemon and systemd-resolved, in network namespaces that are made and removed here.
//!
//! Needs root, `ip` of iproute2, `tcpdump`, of Debian's packages avahi-daemon, avahi-utils and dbus, and what
//! `.ci/fetch-resolved` gets.

mod defects;
mod lab;
mod resolved;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::namespaces::{Namespace, Task};
use lab::{Node, Pair, await_that};

const SERVICE: &str = "_hereabouts._udp";
const PUBLISHED: &str = "publish: [{ type: server }, { type: mdns }]";

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn published(node: &Node) {
    await_that("the name is published", || {
        node.publication("eth0")["state"] == "published"
    });
}

#[test]
fn avahi_sees_our_host_and_service_until_the_goodbye() {
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "box");
    let mut laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    await_that("avahi-resolve gives our address", || {
        avahi.resolve("laptop.local") == ip("10.77.0.2")
    });
    await_that("avahi-browse resolves our service", || {
        !avahi.browse(SERVICE).is_empty()
    });
    let found = avahi.browse(SERVICE);
    for part in [
        "laptop",
        "laptop.local",
        "10.77.0.2",
        "24373",
        "\"hereabouts=client\"",
        "\"site=attic\"",
    ] {
        assert!(
            found.iter().any(|line| line.contains(part)),
            "no {part}: {found:?}"
        );
    }
    laptop.program.stop();
    await_that("the goodbye removed it", || {
        avahi.browse(SERVICE).is_empty()
    });
    await_that("no host has the name", || {
        avahi.resolve("laptop.local").is_none()
    });
}

#[test]
fn avahi_resolves_our_name_to_its_ipv6_address() {
    let pair = Pair::new();
    for (namespace, address) in [(&pair.a, "fd77::1/64"), (&pair.b, "fd77::2/64")] {
        namespace.ip(&["addr", "add", address, "dev", "eth0", "nodad"]);
    }
    let avahi = pair.avahi(&pair.a, "box");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    await_that("avahi-resolve -6 gives our address", || {
        avahi.resolve_ipv6("laptop.local") == ip("fd77::2")
    });
    assert_eq!(avahi.resolve("laptop.local"), ip("10.77.0.2"));
    let addresses = laptop.publication("eth0")["addresses"].clone();
    assert!(
        addresses.as_array().unwrap().contains(&"fd77::2".into()),
        "{addresses}"
    );
}

#[test]
fn a_server_that_avahi_announces_is_found_and_asked() {
    let pair = Pair::new();
    let announcing = pair.avahi(&pair.a, "box");
    // On the client's host as well: both share port 5353.
    let beside = pair.avahi(&pair.b, "desk");
    let hub = pair.node(&pair.a, "server", "hub", "discovery: { methods: [] }");
    let _service = announcing.publish("Attic Server", SERVICE, 24373);
    let laptop = pair.node(
        &pair.b,
        "client",
        "laptop",
        "discovery: { methods: [mdns] }",
    );
    await_that("the client holds its server", || {
        laptop.server()["name"] == "hub"
    });
    assert_eq!(laptop.server()["found_by"], "mdns");
    // What was found is Avahi's word: the server itself shows nothing.
    assert!(!hub.uses_mdns("eth0"), "{}", hub.status()["sockets"]);
    let shown = beside.browse(SERVICE);
    assert!(
        !shown.is_empty() && shown.iter().all(|line| line.contains("Attic")),
        "{shown:?}"
    );
    assert_eq!(
        beside.resolve("box.local"),
        ip("10.77.0.1"),
        "the Avahi on the same host receives as before"
    );
}

/// A third machine beside the pair, at 10.77.0.3.
fn third(pair: &Pair) -> Namespace {
    let namespace = pair.lab.namespace("c");
    pair.lab.plug(&namespace, "eth0", "br0");
    namespace.ip(&["addr", "add", "10.77.0.3/24", "dev", "eth0"]);
    namespace
}

#[test]
fn a_service_of_another_name_is_found_by_that_name_alone() {
    const OTHER: &str = "discovery: { methods: [mdns], mdns: { service: _attic._udp } }";
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "box");
    let hub = pair.node(&pair.a, "server", "hub", OTHER);
    await_that("the server is shown", || {
        !avahi.browse("_attic._udp").is_empty()
    });
    assert_eq!(avahi.browse(SERVICE), [""; 0]);
    let desk = pair.node(
        &third(&pair),
        "client",
        "desk",
        "discovery: { methods: [mdns] }",
    );
    let laptop = pair.node(&pair.b, "client", "laptop", OTHER);
    await_that("who browses for that name holds the server", || {
        laptop.server()["name"] == "hub"
    });
    assert_eq!(laptop.server()["found_by"], "mdns");
    await_that(
        "a browser for the default service type has found no instance",
        || {
            let reason = desk.status()["methods"][0]["reason"].clone();
            reason
                .as_str()
                .is_some_and(|reason| reason.contains("no server is announced"))
        },
    );
    assert_eq!(desk.status()["servers"], serde_json::json!([]));
    assert_eq!(
        hub.status()["registry"]["present"],
        2,
        "the server and the laptop"
    );
}

#[test]
fn a_server_that_does_not_list_mdns_shows_nothing() {
    let pair = Pair::new();
    let capture = pair.capture(&pair.b, "eth0");
    let avahi = pair.avahi(&pair.b, "box");
    let quiet = pair.node(
        &pair.a,
        "server",
        "quiet",
        "discovery: { methods: [multicast, broadcast] }",
    );
    await_that("the quiet server serves", || {
        quiet.status()["health"]["ready"] == true
    });
    // What shows that one that lists it would have been seen.
    let shown = pair.node(
        &third(&pair),
        "server",
        "shown",
        "discovery: { methods: [multicast, broadcast, mdns] }",
    );
    await_that("the other server is shown", || {
        !avahi.browse(SERVICE).is_empty()
    });
    let found = avahi.browse(SERVICE);
    let instances: HashSet<_> = found.iter().map(|line| line.split(';').nth(3)).collect();
    assert!(
        instances.len() == 1 && found.iter().any(|line| line.contains("10.77.0.3")),
        "{found:?}"
    );
    assert!(shown.uses_mdns("eth0") && !quiet.uses_mdns("eth0"));
    let link_local = pair.a.text(&[
        "-6", "-o", "address", "show", "dev", "eth0", "scope", "link",
    ]);
    let link_local = link_local
        .split_whitespace()
        .nth(3)
        .and_then(|word| word.split('/').next())
        .unwrap();
    let (text, _) = capture.end();
    let sent = |address: &str| text.contains(&format!("{address}.5353 > "));
    assert!(
        sent("10.77.0.3") && !sent("10.77.0.1") && !sent(link_local),
        "{text}"
    );
}

#[test]
fn a_name_that_another_host_has_is_a_reported_conflict_and_no_rename() {
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "laptop");
    let capture = pair.capture(&pair.a, "eth0");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    await_that("the conflict is in the status", || {
        laptop.publication("eth0")["state"] == "conflict"
    });
    let reason = laptop.publication("eth0")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("laptop.local") && reason.contains("10.77.0.1"),
        "{reason}"
    );
    await_that("the conflict is in the log", || {
        laptop
            .program
            .log()
            .contains("laptop.local is taken by a host at")
    });
    assert_eq!(avahi.resolve("laptop.local"), ip("10.77.0.1"));
    let (text, _) = capture.end();
    assert!(
        !text.contains("laptop-2") && !text.contains("laptop (2)"),
        "renamed in silence: {text}"
    );
    assert!(
        !avahi.daemon.log().contains("conflict"),
        "{}",
        avahi.daemon.log()
    );
}

#[test]
fn a_conflict_that_arises_later_is_reported_and_taken_back() {
    let pair = Pair::new();
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    // Two networks grow together: the other one never asked whether the name is free.
    let (started, other) = (std::time::Instant::now(), pair.lab.namespace("c"));
    pair.lab.plug(&other, "eth0", "br1");
    other.ip(&["addr", "add", "10.77.0.3/24", "dev", "eth0"]);
    let avahi = pair.avahi(&other, "laptop");
    pair.lab.join_bridges();
    // The node asks for its own name now and then, and receives both answers.
    await_that("the conflict is in the status", || {
        laptop.publication("eth0")["state"] == "conflict"
    });
    let reason = laptop.publication("eth0")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("laptop.local is taken by a host at"),
        "{reason}"
    );
    assert!(
        avahi.resolve("laptop.local") != ip("10.77.0.2"),
        "what was ours is taken back"
    );
    eprintln!(
        "seen {:?} after the networks were joined",
        started.elapsed()
    );
}

#[test]
fn a_responder_of_this_host_with_our_name_is_no_conflict() {
    let pair = Pair::new();
    let far = pair.avahi(&pair.a, "box");
    let near = pair.avahi(&pair.b, "laptop");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    assert_eq!(laptop.publication("eth0")["addresses"][0], "10.77.0.2");
    await_that("the name resolves", || {
        far.resolve("laptop.local") == ip("10.77.0.2")
    });
    await_that("our service is seen", || {
        far.browse(SERVICE)
            .iter()
            .any(|line| line.contains("site=attic"))
    });
    assert!(
        !near.daemon.log().contains("conflict"),
        "{}",
        near.daemon.log()
    );
}

#[test]
fn a_new_address_is_announced_within_a_second() {
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "box");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    await_that("the old address resolves", || {
        avahi.resolve("laptop.local") == ip("10.77.0.2")
    });
    let capture = pair.capture(&pair.a, "eth0");
    // Otherwise a new address of the same network is removed with the old one.
    pair.b.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    pair.b.ip(&["addr", "add", "10.77.0.9/24", "dev", "eth0"]);
    pair.b.ip(&["addr", "del", "10.77.0.2/24", "dev", "eth0"]);
    let changed = SystemTime::now();
    let announced = "laptop.local. (Cache flush) [2m] A 10.77.0.9";
    await_that("the new address is announced", || {
        capture.when(announced).is_some()
    });
    // By the packet's own time: when this test sees it depends on more than the node. It may come before the old one is removed.
    let took = capture
        .when(announced)
        .unwrap()
        .duration_since(changed)
        .unwrap_or_default();
    eprintln!("announced {took:?} after the change");
    assert!(took < Duration::from_secs(1), "{took:?}");
    await_that("avahi has the new address", || {
        avahi.resolve("laptop.local") == ip("10.77.0.9")
    });
    assert_eq!(laptop.publication("eth0")["state"], "published");
}

#[test]
fn hidden_servers_show_nothing_of_themselves() {
    let pair = Pair::new();
    let capture = pair.capture(&pair.b, "eth0");
    let avahi = pair.avahi(&pair.b, "box");
    let mut hub = pair.node(&pair.a, "server", "hub", "");
    await_that("the server is shown", || !avahi.browse(SERVICE).is_empty());
    assert!(hub.uses_mdns("eth0"), "{}", hub.status()["sockets"]);
    hub.program.stop();
    let (text, bytes) = capture.end();
    for secret in ["hub", "attic", "namespaces", "server"] {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret:?} is in a packet: {text}");
    }
    assert!(text.contains("TXT \"\""), "{text}");
}

#[test]
fn probes_announcements_and_goodbyes_are_sent() {
    let pair = Pair::new();
    let capture = pair.capture(&pair.a, "eth0");
    let mut laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    // RFC 6762 §8.3: at least two announcements, a second apart.
    let announced = "laptop.local. (Cache flush) [2m] A 10.77.0.2";
    let answers = |text: &str| {
        text.lines()
            .filter(|line| line.contains("*- [0q]") && line.contains(announced))
            .count()
    };
    await_that("it was announced twice", || answers(&capture.so_far()) >= 2);
    laptop.program.stop();
    let (text, _) = capture.end();
    // RFC 6762 §8.1: three probes, with what is to be announced as authority.
    assert!(
        text.matches("ANY (QM)? laptop.local.").count() >= 3,
        "{text}"
    );
    assert!(
        text.contains("ANY (QM)? laptop._hereabouts._udp.local."),
        "{text}"
    );
    // RFC 6762 §10.1: a TTL of zero.
    assert!(
        text.matches("laptop.local. (Cache flush) [0s] A 10.77.0.2")
            .count()
            >= 2,
        "{text}"
    );
    assert!(
        !text.contains("[|domain]") && !text.contains("malformed"),
        "{text}"
    );
}

#[test]
fn each_interface_announces_its_own_addresses_and_an_excluded_one_announces_nothing() {
    let pair = Pair::new();
    let (far, other) = (pair.lab.namespace("far"), pair.lab.namespace("other"));
    pair.lab.plug(&far, "eth0", "br1");
    pair.lab.plug(&pair.b, "eth1", "br1");
    pair.b.ip(&["addr", "add", "10.78.0.2/24", "dev", "eth1"]);
    let switch = pair.lab.bridge("br2");
    pair.lab.plug(&other, "eth0", &switch);
    pair.lab.plug(&pair.b, "docker0", &switch);
    pair.b
        .ip(&["addr", "add", "10.79.0.2/24", "dev", "docker0"]);
    let captures = [
        pair.capture(&pair.a, "eth0"),
        pair.capture(&far, "eth0"),
        pair.capture(&other, "eth0"),
    ];
    let mut laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    for interface in ["eth0", "eth1"] {
        await_that("both are published", || {
            laptop.publication(interface)["state"] == "published"
        });
    }
    assert!(laptop.publication("docker0").is_null());
    laptop.program.stop();
    let [first, second, left] = captures.map(|capture| capture.end().0);
    assert!(
        first.contains("A 10.77.0.2") && !first.contains("10.78.0.2"),
        "{first}"
    );
    assert!(
        second.contains("A 10.78.0.2") && !second.contains("10.77.0.2"),
        "{second}"
    );
    assert_eq!(left, "");
}

/// A response with many address records of hosts that are not there.
fn made_up_hosts(first: u32, count: u32) -> Vec<u8> {
    let mut packet = vec![0, 0, 0x84, 0, 0, 0];
    packet.extend(u16::try_from(count).unwrap().to_be_bytes());
    packet.extend([0; 4]);
    for number in first..first + count {
        let label = format!("made-up-{number}");
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.as_bytes());
        packet.extend(b"\x05local\x00");
        // A, IN, 120 s, four bytes.
        packet.extend([0, 1, 0, 1, 0, 0, 0, 120, 0, 4]);
        packet.extend(number.to_be_bytes());
    }
    packet
}

#[test]
fn a_flood_of_foreign_records_is_forgotten_and_counted() {
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "box");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    pair.a
        .run(async |_| {
            let socket = std::net::UdpSocket::bind("10.77.0.1:0").unwrap();
            for packet in 0..400 {
                socket
                    .send_to(&made_up_hosts(packet * 30, 30), "224.0.0.251:5353")
                    .unwrap();
                // So that the receiver's buffer takes them all.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .join();
    let flooded = || {
        laptop.status()["counters"]["mdns"]["floods"]
            .as_u64()
            .is_some_and(|count| count > 0)
    };
    await_that("the flood is counted", flooded);
    await_that("the name is published again", || {
        laptop.publication("eth0")["state"] == "published"
            && avahi.resolve("laptop.local") == ip("10.77.0.2")
    });
}

/// Floods the link without a pause until the flag is set; gives how many packets were sent.
fn flood(pair: &Pair, end: &Arc<AtomicBool>, packet: fn(u32) -> Vec<u8>) -> Task<u32> {
    let end = end.clone();
    pair.a.run(async move |_| {
        let socket = std::net::UdpSocket::bind("10.77.0.1:0").unwrap();
        let mut sent = 0;
        while !end.load(Ordering::Relaxed) {
            // A full queue is part of it.
            sent += u32::from(socket.send_to(&packet(sent), "224.0.0.251:5353").is_ok());
        }
        sent
    })
}

/// A server that publishes its name is flooded for `LONG`; all its functions continue, and its memory stays within `KIB`.
fn withstands(packet: fn(u32) -> Vec<u8>) {
    const LONG: Duration = Duration::from_secs(12);
    const KIB: u64 = 64 * 1024;
    let pair = Pair::new();
    let avahi = pair.avahi(&pair.a, "box");
    let hub = pair.node(&pair.b, "server", "hub", "publish: [{ type: mdns }]");
    published(&hub);
    let (before, started, end) = (
        hub.program.peak(),
        Instant::now(),
        Arc::new(AtomicBool::new(false)),
    );
    let flood = flood(&pair, &end, packet);
    let desk = pair.node(
        &pair.a,
        "client",
        "desk",
        "discovery: { methods: [multicast, broadcast] }",
    );
    await_that("a flooded server is found and asked", || {
        desk.server()["name"] == "hub"
    });
    await_that("the flood lasts", || {
        started.elapsed() > LONG && hub.status()["node"].is_object()
    });
    await_that("the flood is counted", || {
        hub.status()["counters"]["mdns"]["floods"].as_u64() > Some(0)
    });
    let grown = hub.program.peak() - before;
    end.store(true, Ordering::Relaxed);
    eprintln!(
        "{} packets in {:?}: {before} KiB and {grown} more",
        flood.join(),
        started.elapsed()
    );
    assert!(grown < KIB, "{before} KiB grew by {grown}");
    await_that("the name is published again", || {
        hub.publication("eth0")["state"] == "published"
            && avahi.resolve("hub.local") == ip("10.77.0.2")
    });
    assert_eq!(
        hub.program.log().matches("flooded").count(),
        1,
        "a flood is logged once"
    );
}

#[test]
fn a_flood_without_a_pause_takes_bounded_memory() {
    withstands(|number| made_up_hosts(number.wrapping_mul(30), 30));
}

#[test]
fn a_flood_of_one_record_takes_bounded_memory() {
    withstands(|_| made_up_hosts(0, 30));
}
