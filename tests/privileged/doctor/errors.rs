//! Mistakes of a doctor: false alarms, faults that it misses, and remedies that do harm.

use super::*;

const PUBLISHES: &str = "publish: [{ type: server }, { type: mdns }]";

/// A port that this process holds for IPv6 alone and does not share.
fn held_ipv6(namespace: &Namespace, port: u16) -> Held {
    let (taken, wait) = mpsc::channel();
    let (done, until) = mpsc::channel();
    let holder = namespace.run(async move |_| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
        socket.set_only_v6(true).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())
            .unwrap();
        taken.send(()).unwrap();
        let _ = until.recv();
    });
    wait.recv_timeout(LIMIT).unwrap();
    Held { done, holder }
}

fn publication(state: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let views = status["publications"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        views
            .iter()
            .any(|view| view["target"] == "mdns" && view["state"] == state)
    }
}

#[test]
fn rules_that_drop_nothing_of_ours_are_no_ill() {
    for rules in [
        &["add rule inet lab input ip saddr != 10.0.0.0/8 drop"][..],
        &[
            "add rule inet lab input tcp dport != 22 drop",
            "add rule inet lab input icmp type != echo-request drop",
        ],
        &[
            // By the loopback interface, a link-local address counts as none of this machine's.
            "add rule inet lab input iifname lo accept",
            "add rule inet lab input fib daddr type { local, multicast, broadcast } return",
            "add rule inet lab input drop",
        ],
    ] {
        let (_lab, a, b) = pair();
        let _hub = Machine::new(&b, "hub", "server", "").run();
        a.nft(rules);
        let laptop = Machine::new(&a, "laptop", "client", "");
        doctor(&laptop).well();
        let _running = laptop.run();
        laptop.registered();
        doctor(&laptop).well();
    }
}

#[test]
fn family_that_a_rule_leaves_closed_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&[
        "add rule inet lab input ip protocol udp accept",
        "add rule inet lab input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "add chain inet lab input { policy drop; }",
    ]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports(
        "firewall_drops",
        "problem",
        "drops incoming multicast, unicast to UDP port 24373",
    );
    assert_eq!(
        found.not_ok(),
        [
            "multicast_not_received eth0",
            "firewall_drops inet lab input"
        ]
    );
}

#[test]
fn remedy_for_rules_that_accept_by_source_opens_the_port_to_the_own_network_alone() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&[
        "add rule inet lab input ip saddr 10.99.0.0/16 accept",
        "add rule inet lab input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "add chain inet lab input { policy drop; }",
    ]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor(&laptop);
    let remedy = "nft insert rule inet lab input ip saddr 10.77.0.0/24 udp dport 24373 accept && \
                nft insert rule inet lab input ip6 saddr fe80::/64 udp dport 24373 accept";
    found.reports("firewall_drops", "problem", remedy);
    a.exec(&["sh", "-c", remedy]);
    doctor(&laptop).well();
}

#[test]
fn client_without_the_discovery_port_learns_its_holder_and_no_firewall_is_blamed() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let held = Held::port(&a, 24373);
    let laptop = Machine::new(&a, "laptop", "client", "listen: { port: 24400 }");
    let found = doctor(&laptop);
    found.reports(
        "port_taken",
        "warning",
        &format!("PID {}", std::process::id()),
    );
    assert_eq!(found.not_ok(), ["port_taken"]);
    let _running = laptop.run();
    laptop.registered();
    let found = doctor(&laptop);
    found.reports("port_taken", "warning", "it asks servers itself");
    assert_eq!(found.not_ok(), ["port_taken"]);
    held.free();
}

#[test]
fn local_name_that_another_host_has_is_reported_and_the_remedy_removes_the_conflict() {
    let (_lab, a, b) = pair();
    // A stranger: it has nothing in common but the link.
    let other = Machine::with(&b, "laptop", "both", "attic", [8; 32], PUBLISHES);
    let _other = other.run();
    other.until("it is published", publication("published"));
    let laptop = Machine::new(&a, "laptop", "both", PUBLISHES);
    let running = laptop.run();
    laptop.until("the other one was received", publication("conflict"));
    let found = doctor(&laptop);
    found.reports(
        "not_published",
        "problem",
        "laptop.local is taken by a host at 10.77.0.2",
    );
    found.reports("not_published", "problem", "Choose another node.name");
    assert_eq!(found.the("not_published")["about"], "laptop.local on eth0");
    running.stop();
    laptop.reconfigure("name: laptop", "name: desk");
    let _running = laptop.run();
    laptop.until("it is published", publication("published"));
    let not_ok = doctor(&laptop).not_ok();
    assert!(
        !not_ok
            .iter()
            .any(|finding| finding.starts_with("not_published")),
        "{not_ok:?}"
    );
}

#[test]
fn mdns_port_that_is_not_shared_over_ipv6_alone_is_reported_once() {
    let (_lab, a, _b) = pair();
    let held = held_ipv6(&a, 5353);
    let laptop = Machine::new(&a, "laptop", "both", PUBLISHES);
    let _running = laptop.run();
    laptop.until("it could not", publication("failed"));
    assert!(
        laptop.log().contains("failed to share port 5353/udp"),
        "{}",
        laptop.log()
    );
    let found = doctor(&laptop);
    found.reports(
        "mdns_port_taken",
        "problem",
        &format!("PID {}", std::process::id()),
    );
    assert!(
        !found
            .not_ok()
            .iter()
            .any(|finding| finding.starts_with("not_published")),
        "{:#?}",
        found.findings
    );
    held.free();
    // The node tries again by itself.
    laptop.until("it is published", publication("published"));
    let found = doctor(&laptop);
    found.the("mdns");
    assert!(
        !found
            .not_ok()
            .iter()
            .any(|finding| finding.starts_with("mdns")),
        "{:#?}",
        found.findings
    );
}

#[test]
fn closed_firewall_with_an_open_port_is_well_with_and_without_a_node_here() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&[
        "add rule inet lab input ct state vmap { established : accept, related : accept, invalid : drop }",
        "add rule inet lab input iifname lo accept",
        "add rule inet lab input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "add rule inet lab input udp dport 24373 accept",
        "add chain inet lab input { policy drop; }",
    ]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    doctor(&laptop).well();
    let _running = laptop.run();
    laptop.registered();
    // Answers of others to the doctor's own port are dropped, as they should be.
    let found = doctor(&laptop);
    found.well();
    assert!(
        found.the("peers")["finding"]
            .as_str()
            .unwrap()
            .contains("no node answered the doctor")
    );
}

#[test]
fn node_that_was_started_with_another_key_is_reported() {
    let (_lab, a, b) = pair();
    let _desk = Machine::with(&b, "desk", "both", "lab", [8; 32], "").run();
    let hub = Machine::new(&a, "hub", "both", "");
    let running = hub.run();
    std::fs::write(hub.key(), data_encoding::BASE64.encode(&[8; 32]) + "\n").unwrap();
    let found = doctor(&hub);
    found.reports("node_outdated", "warning", "restart the node");
    running.stop();
    let _running = hub.run();
    doctor(&hub).well();
}

#[test]
fn offered_file_that_does_not_exist_is_reported() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(
        &a,
        "hub",
        "server",
        "files: { offer: [{ name: f, path: offered }] }",
    );
    let _running = hub.run();
    hub.until("it looked", |status| {
        status["offers"][0]["error"].is_string()
    });
    doctor(&hub).reports(
        "file_fails",
        "problem",
        "it is offered, and not served as it is now",
    );
    std::fs::write(hub.directory().join("offered"), "1").unwrap();
    hub.until("it looked again", |status| {
        status["offers"][0]["generation"].is_number()
    });
    let not_ok = doctor(&hub).not_ok();
    assert!(
        !not_ok
            .iter()
            .any(|finding| finding.starts_with("file_fails")),
        "{not_ok:?}"
    );
}
