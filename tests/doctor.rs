//! `hereabouts doctor` in network namespaces: each fault is caused, and named.
//!
//! Needs root, `ip` of iproute2 and `nft` of nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod namespaces;

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use hereabouts::model::Timestamp;
use hereabouts::net::{
    DATAGRAM_MAX, Fanout, FanoutSettings, Pattern, Policy, RecvBatch, SendBatch, SocketSettings, Sockets, Watch,
};
use hereabouts::wire::seal;
use hereabouts::wire::v1::{Message, Refusal, Refused, Regarding};
use hereabouts::wire::{KeyRing, Secret};
use namespaces::program::{KEY, Machine};
use namespaces::{LIMIT, Lab, Namespace};
use serde_json::Value;

/// Two namespaces on one bridge, each with `eth0`: 10.77.0.1 and 10.77.0.2.
fn pair() -> (Lab, Namespace, Namespace) {
    let lab = Lab::new();
    let (a, b) = (lab.namespace("a"), lab.namespace("b"));
    for (namespace, address) in [(&a, "10.77.0.1/24"), (&b, "10.77.0.2/24")] {
        lab.plug(namespace, "eth0", "br0");
        namespace.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
    }
    (lab, a, b)
}

/// What a doctor found.
struct Found {
    code: i32,
    findings: Vec<Value>,
}

impl Found {
    /// The findings that are not fine, as `code about`.
    fn ills(&self) -> Vec<String> {
        let ills = self.findings.iter().filter(|finding| finding["mark"] != "ok");
        ills.map(|ill| {
            let about = ill["about"].as_str().map_or(String::new(), |about| format!(" {about}"));
            format!("{}{about}", ill["code"].as_str().unwrap())
        })
        .collect()
    }

    /// The finding with this code.
    #[track_caller]
    fn the(&self, code: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code}: {:#?}", self.findings))
    }

    /// Asserts that something is found, with a text in the finding or its mend, and that the exit code says so.
    #[track_caller]
    fn says(&self, code: &str, mark: &str, text: &str) {
        let finding = self.the(code);
        assert_eq!(finding["mark"], mark, "{finding}");
        let told = format!("{} | {}", finding["finding"].as_str().unwrap(), finding["mend"]);
        assert!(told.contains(text), "{told}");
        assert_eq!(self.code, 1, "{:#?}", self.findings);
    }

    /// Asserts that all is well.
    #[track_caller]
    fn well(&self) {
        assert!(self.ills().is_empty(), "{:#?}", self.findings);
        assert_eq!(self.code, 0);
    }
}

fn doctor(machine: &Machine) -> Found {
    doctor_with(machine, &[])
}

fn doctor_with(machine: &Machine, environment: &[(&str, &str)]) -> Found {
    let started = std::time::Instant::now();
    let ended = machine.json(&["doctor"], environment);
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?}", started.elapsed());
    Found { code: ended.code.unwrap(), findings: ended.lines }
}

#[test]
fn beside_a_server_all_is_well_with_and_without_a_node_here() {
    let (_lab, a, b) = pair();
    let hub = Machine::new(&b, "hub", "server", "");
    let _hub = hub.run();
    let laptop = Machine::new(&a, "laptop", "client", "discovery: { servers: [\"10.77.0.2:24373\"] }");
    let without = doctor(&laptop);
    without.well();
    without.the("node_absent");
    let running = laptop.run();
    laptop.registered();
    let with = doctor(&laptop);
    with.well();
    for code in ["node", "port", "multicast", "broadcast", "firewall", "peers", "server"] {
        with.the(code);
    }
    // It left everything as it was.
    running.stop();
    assert!(!laptop.folder().join("state/.probe").exists());
    doctor(&laptop).well();
}

#[test]
fn a_server_without_others_is_told_that_nobody_answers() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let _running = hub.run();
    // Where the tests themselves run in a container, that is told, too.
    let mut ills = doctor(&hub).ills();
    ills.retain(|ill| ill != "container_network");
    assert_eq!(ills, ["peers_none"]);
}

#[test]
fn taken_port_is_told_with_its_holder() {
    let (_lab, a, _b) = pair();
    let (taken, wait) = std::sync::mpsc::channel();
    let (done, until) = std::sync::mpsc::channel::<()>();
    let holder = a.run(async move |_| {
        let _socket = UdpSocket::bind("0.0.0.0:24373").unwrap();
        taken.send(()).unwrap();
        let _ = until.recv_timeout(LIMIT);
    });
    wait.recv_timeout(LIMIT).unwrap();
    let found = doctor(&Machine::new(&a, "laptop", "both", ""));
    found.says("port_taken", "problem", &format!("PID {}", std::process::id()));
    drop(done);
    holder.join();
}

#[test]
fn incoming_multicast_that_is_dropped_is_told_with_the_rule() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab input ip daddr 239.255.43.73 drop"]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor(&laptop);
    found.says("multicast_not_heard", "problem", "1 node on the network answered it");
    found.says("firewall_drops", "problem", "drops incoming multicast to UDP port 24373");
    assert_eq!(found.the("multicast_not_heard")["about"], "eth0");
    assert_eq!(found.ills(), ["multicast_not_heard eth0", "firewall_drops inet lab input"]);
    // With a node here, which holds the port, it is told by what the node hears.
    let _running = laptop.run();
    laptop.registered();
    assert_eq!(doctor(&laptop).ills(), ["multicast_not_heard eth0", "firewall_drops inet lab input"]);
}

#[test]
fn firewall_that_is_closed_by_its_policy_is_told_with_the_command_that_opens_it() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&[
        "add rule inet lab input ct state established,related accept",
        "add rule inet lab input iifname lo accept",
        "add rule inet lab input tcp dport 22 accept",
        "add rule inet lab input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "add chain inet lab input { policy drop; }",
    ]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor(&laptop);
    let mend = "nft insert rule inet lab input udp dport 24373 accept";
    found.says("firewall_drops", "problem", mend);
    found.says("multicast_not_heard", "problem", "incoming");
    // What it says mends it.
    a.exec(&mend.split(' ').collect::<Vec<_>>());
    doctor(&laptop).well();
}

#[test]
fn incoming_broadcasts_that_are_dropped_are_told_with_the_rule() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab input udp dport 24373 pkttype broadcast drop"]);
    a.nft(&["add rule inet lab input ip daddr { 255.255.255.255, 10.77.0.255 } drop"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("broadcast_not_heard", "problem", "broadcast");
    assert_eq!(found.the("broadcast_not_heard")["about"], "eth0");
    assert!(found.findings.iter().any(|finding| finding["code"] == "multicast"), "{:#?}", found.findings);
}

#[test]
fn outgoing_multicast_that_is_dropped_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab output ip daddr 239.255.43.73 drop"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("multicast_not_sent", "problem", "a firewall of this machine forbids it");
    found.says("firewall_drops", "problem", "drops outgoing multicast");
}

#[test]
fn interface_without_multicast_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.ip(&["link", "set", "eth0", "multicast", "off"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("multicast_off", "warning", "ip link set dev eth0 multicast on");
}

#[test]
fn nobody_answering_multicast_where_broadcast_works_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    b.nft(&["add rule inet lab input ip daddr 224.0.0.0/4 drop", "add rule inet lab input ip6 daddr ff12::4373 drop"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("multicast_unanswered", "warning", "IGMP snooping");
    assert_eq!(found.ills(), ["multicast_unanswered eth0"]);
}

#[test]
fn another_key_is_told_where_the_other_node_hints() {
    let (_lab, a, b) = pair();
    let _hub = Machine::with(&b, "hub", "server", "lab", [8; 32], "hidden: false").run();
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("key_differs", "warning", "10.77.0.2:24373");
    found.says("server_none", "problem", "no server answered");
}

#[test]
fn another_key_is_told_by_what_the_node_here_dropped_where_the_other_one_hides() {
    let (_lab, a, b) = pair();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let _laptop = laptop.run();
    let _hub = Machine::with(&b, "hub", "server", "lab", [8; 32], "").run();
    // It announces itself at its start.
    laptop.until("it was heard", |status| status["counters"]["dropped"]["unknown_key"].as_u64() > Some(0));
    doctor(&laptop).says("key_differs", "warning", "no key of ours opens");
}

#[test]
fn another_channel_name_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::with(&b, "hub", "server", "attic", KEY, "hidden: false").run();
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("channel_differs", "problem", "called 'attic', not 'lab'");
}

#[test]
fn another_clock_is_told() {
    let (_lab, a, b) = pair();
    let (ready, wait) = std::sync::mpsc::channel();
    let (done, until) = tokio::sync::oneshot::channel::<()>();
    let hour = Duration::from_secs(3600);
    let member = b.run(async move |_| {
        // A member whose clock is an hour ahead, and which tells it as a node does.
        let settings = FanoutSettings {
            ipv4_group: [239, 255, 43, 73].into(),
            ipv6_group: "ff12::4373".parse().unwrap(),
            port: 24373,
            broadcast_port: 24373,
        };
        let bind = SocketSettings { address: Ipv6Addr::UNSPECIFIED.into(), port: 24373, ttl: 1 };
        let sockets = Sockets::bind(&bind).unwrap();
        let mut fanout = Fanout::new(settings);
        let include = vec![Pattern::parse("*").unwrap()];
        let policy =
            Policy { include, exclude: Vec::new(), ipv4: true, ipv6: true, link_local: false, loopback: false };
        fanout.reconcile(&sockets, &policy.taken(&Watch::new().next().await));
        let ring = KeyRing::new("lab", &[Secret::key(KEY)]).unwrap();
        ready.send(()).unwrap();
        let serve = async {
            let (mut batch, mut replies) = (RecvBatch::new(), SendBatch::new());
            loop {
                for place in 0..sockets.recv(&mut batch).await.unwrap() {
                    let (bytes, arrival) = batch.get_mut(place).unwrap();
                    let opened = seal::open(&ring, bytes).unwrap();
                    let Ok(Message::Query(query)) = Message::decode(opened.payload) else { continue };
                    let clock = Timestamp::from_system(SystemTime::now()).plus(hour);
                    let (regarding, refusal) = (Regarding::Query(query.id), Refusal::Clock { clock });
                    let refused = Message::Refused(Refused { regarding, refusal });
                    let mut nonce = [0; 24];
                    getrandom::fill(&mut nonce).unwrap();
                    let fill = |out: &mut [u8; DATAGRAM_MAX]| refused.seal(ring.first(), &nonce, out).unwrap();
                    replies.push(arrival.from, None, fill).unwrap();
                }
                sockets.flush(&mut replies, |_, _| {}).await;
            }
        };
        tokio::select! {
            () = serve => {}
            _ = until => {}
        }
    });
    wait.recv_timeout(LIMIT).unwrap();
    let found = doctor(&Machine::new(&a, "laptop", "both", ""));
    found.says("clock_differs", "problem", "3600 s ahead of this machine's");
    assert!(found.the("clock_differs")["about"].as_str().unwrap().parse::<SocketAddr>().is_ok());
    drop(done);
    member.join();
}

#[test]
fn without_an_interface_the_rules_that_left_each_out_are_told() {
    let lab = Lab::new();
    let a = lab.namespace("a");
    lab.plug(&a, "veth7", "br0");
    a.ip(&["addr", "add", "10.77.0.1/24", "dev", "veth7"]);
    let found = doctor(&Machine::new(&a, "laptop", "both", ""));
    found.says("interfaces_none", "problem", "veth7 fits 'veth*' in interfaces.exclude");
    found.says("interfaces_none", "problem", "lo is the loopback interface");
}

#[test]
fn servers_without_an_address_and_servers_that_keep_silent_are_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let servers = "discovery: { servers: [\"nowhere.invalid:24373\", \"10.77.0.2:999\", \"10.77.0.2:24373\"] }";
    let found = doctor(&Machine::new(&a, "laptop", "client", servers));
    found.says("server_unresolved", "problem", "nowhere.invalid");
    found.says("server_silent", "problem", "no answer from 10.77.0.2:999");
    assert_eq!(found.ills(), ["server_unresolved nowhere.invalid:24373", "server_silent 10.77.0.2:999"]);
}

#[test]
fn small_mtu_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.ip(&["link", "set", "eth0", "mtu", "1000"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.says("mtu_small", "warning", "MTU is 1000 bytes");
    assert_eq!(found.ills(), ["mtu_small eth0"]);
}

#[test]
fn pod_where_nobody_answers_is_told_of_the_hosts_network() {
    let (_lab, a, _b) = pair();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor_with(&laptop, &[("KUBERNETES_SERVICE_HOST", "10.96.0.1")]);
    found.says("pod_network", "warning", "hostNetwork: true");
}

#[test]
fn mdns_port_that_is_not_shared_is_told_with_its_holder() {
    let (_lab, a, _b) = pair();
    let (taken, wait) = std::sync::mpsc::channel();
    let (done, until) = std::sync::mpsc::channel::<()>();
    let holder = a.run(async move |_| {
        let _socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        taken.send(()).unwrap();
        let _ = until.recv_timeout(LIMIT);
    });
    wait.recv_timeout(LIMIT).unwrap();
    let laptop = Machine::new(&a, "laptop", "both", "discovery: { methods: [multicast, mdns] }");
    doctor(&laptop).says("mdns_port_taken", "problem", &format!("PID {}", std::process::id()));
    drop(done);
    holder.join();
    assert!(doctor(&laptop).findings.iter().any(|finding| finding["code"] == "mdns"));
}

#[test]
fn files_that_can_not_be_used_are_told() {
    let (_lab, a, _b) = pair();
    let laptop = Machine::new(&a, "laptop", "both", "");
    laptop.key_mode(0o644);
    doctor(&laptop).says("key_unusable", "problem", "chmod 600");
    std::fs::remove_file(laptop.key()).unwrap();
    doctor(&laptop).says("key_unusable", "problem", "channel.key can't be read");
    let config = laptop.folder().join("hereabouts.yaml");
    std::fs::write(&config, "channel: {}\nnode: { name: laptop, state_dir: hereabouts.yaml/state }\n").unwrap();
    let found = doctor(&laptop);
    found.says("state_unusable", "problem", "hereabouts.yaml/state");
    found.says("key_none", "warning", "hereabouts init --key");
    std::fs::write(&config, "rolle: both\n").unwrap();
    doctor(&laptop).says("config_invalid", "problem", "rolle");
}

#[test]
fn state_that_is_held_by_a_node_without_a_control_socket_is_told() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let running = hub.run();
    let socket = hub.folder().join("state/control.sock");
    std::fs::remove_file(socket).unwrap();
    doctor(&hub).says("state_held", "problem", "its control socket does not answer");
    drop(running);
    // The lock went with its holder.
    doctor(&hub).the("state");
}

#[test]
fn address_that_no_interface_has_is_told() {
    let (_lab, a, _b) = pair();
    let found = doctor(&Machine::new(&a, "laptop", "both", "listen: { address: 10.77.0.9 }"));
    found.says("port_unusable", "problem", "10.77.0.9");
}

#[test]
fn one_address_that_hears_neither_groups_nor_broadcasts_is_told() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let found = doctor(&Machine::new(&a, "laptop", "both", "listen: { address: 10.77.0.1 }"));
    found.says("listens_on_one_address", "warning", "listen.address is 10.77.0.1");
    assert!(found.findings.iter().any(|finding| finding["code"] == "port"), "{:#?}", found.findings);
}

#[test]
fn node_that_hangs_is_told() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let running = hub.run();
    let pid = hub.status()["node"]["pid"].to_string();
    let signal =
        |signal: &str| assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    signal("-STOP");
    let found = doctor(&hub);
    signal("-CONT");
    found.says("node_unreachable", "warning", "did not answer");
    drop(running);
}
