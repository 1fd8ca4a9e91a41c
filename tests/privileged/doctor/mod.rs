//! `hereabouts doctor` in network namespaces: each fault is caused, and named.
//!
//! Every code of the program has to be reported in a test here, in `errors` or in `integration/doctor.rs`:
//! `tests/program/docs.rs` searches for each in [`Found::reports`], [`Found::the`] and [`Found::each`], which fail where the
//! program does not report it.
//!
//! Needs root, `ip` of iproute2, `nft` of nftables, and `python3`.

mod errors;

use std::io::{BufRead, BufReader};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use crate::namespaces::program::{KEY, Machine};
use crate::namespaces::{LIMIT, Lab, Namespace, Task};
use hereabouts::model::Timestamp;
use hereabouts::net::{
    DATAGRAM_MAX, Fanout, FanoutSettings, Pattern, Policy, RecvBatch, SendBatch, SocketSettings,
    Sockets, Watch,
};
use hereabouts::wire::seal;
use hereabouts::wire::v1::{Message, Refusal, Refused, Regarding};
use hereabouts::wire::{KeyRing, Secret};
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
    fn not_ok(&self) -> Vec<String> {
        let not_ok = self
            .findings
            .iter()
            .filter(|finding| finding["severity"] != "ok");
        not_ok
            .map(|finding| {
                let about = finding["about"]
                    .as_str()
                    .map_or(String::new(), |about| format!(" {about}"));
                format!("{}{about}", finding["code"].as_str().unwrap())
            })
            .collect()
    }

    /// The finding with this code.
    #[track_caller]
    fn the(&self, code: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code}: {:#?}", self.findings))
    }

    /// What the findings with this code are about.
    fn abouts(&self, code: &str) -> Vec<&str> {
        let such = self
            .findings
            .iter()
            .filter(|finding| finding["code"] == code);
        such.map(|finding| finding["about"].as_str().unwrap())
            .collect()
    }

    /// Asserts that something is found, with a text in the finding or its remedy, and that the exit code is that of findings.
    #[track_caller]
    fn reports(&self, code: &str, severity: &str, text: &str) {
        let finding = self.the(code);
        assert_eq!(finding["severity"], severity, "{finding}");
        let text_of_both = format!(
            "{} | {}",
            finding["finding"].as_str().unwrap(),
            finding["remedy"]
        );
        assert!(text_of_both.contains(text), "{text_of_both}");
        assert_eq!(self.code, 1, "{:#?}", self.findings);
    }

    /// Asserts that each of these is found.
    #[track_caller]
    fn each(&self, codes: &[&str]) {
        for code in codes {
            self.the(code);
        }
    }

    /// Asserts that all is well.
    #[track_caller]
    fn well(&self) {
        assert!(self.not_ok().is_empty(), "{:#?}", self.findings);
        assert_eq!(self.code, 0);
    }
}

/// A UDP port that this process holds in a namespace and does not share.
struct Held {
    done: mpsc::Sender<()>,
    holder: Task<()>,
}

impl Held {
    fn port(namespace: &Namespace, port: u16) -> Self {
        let (taken, wait) = mpsc::channel();
        let (done, until) = mpsc::channel();
        let holder = namespace.run(async move |_| {
            let _socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            taken.send(()).unwrap();
            let _ = until.recv();
        });
        wait.recv_timeout(LIMIT).unwrap();
        Self { done, holder }
    }

    fn free(self) {
        drop(self.done);
        self.holder.join();
    }
}

fn doctor(machine: &Machine) -> Found {
    doctor_with(machine, &[])
}

fn doctor_with(machine: &Machine, environment: &[(&str, &str)]) -> Found {
    let started = std::time::Instant::now();
    let ended = machine.json(&["doctor"], environment);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        started.elapsed()
    );
    Found {
        code: ended.code.unwrap(),
        findings: ended.lines,
    }
}

#[test]
fn beside_a_server_all_is_well_with_and_without_a_node_here() {
    let (_lab, a, b) = pair();
    let hub = Machine::new(&b, "hub", "server", "");
    let _hub = hub.run();
    let laptop = Machine::new(
        &a,
        "laptop",
        "client",
        "discovery: { servers: [\"10.77.0.2:24373\"] }",
    );
    let without = doctor(&laptop);
    without.well();
    without.the("node_absent");
    let running = laptop.run();
    laptop.registered();
    let with = doctor(&laptop);
    with.well();
    with.each(&[
        "config",
        "key",
        "state",
        "node",
        "port",
        "interfaces",
        "mdns",
        "multicast",
        "broadcast",
    ]);
    with.each(&["firewall", "peers", "server"]);
    // It left everything as it was.
    running.stop();
    assert!(!laptop.directory().join("state/.probe").exists());
    doctor(&laptop).well();
}

#[test]
fn on_a_server_without_peers_it_is_reported_that_no_node_answers() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let _running = hub.run();
    // Where the tests themselves run in a container, that is reported, too.
    let found = doctor(&hub);
    found.reports(
        "peers_none",
        "warning",
        "nothing is wrong if no other node runs now",
    );
    let mut not_ok = found.not_ok();
    not_ok.retain(|code| code != "container_network");
    assert_eq!(not_ok, ["peers_none"]);
}

#[test]
fn taken_port_is_reported_with_its_holder() {
    let (_lab, a, _b) = pair();
    let held = Held::port(&a, 24373);
    let found = doctor(&Machine::new(&a, "laptop", "both", ""));
    found.reports(
        "port_taken",
        "problem",
        &format!("PID {}", std::process::id()),
    );
    held.free();
}

#[test]
fn incoming_multicast_that_is_dropped_is_reported_with_the_rule() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab input ip daddr 239.255.43.73 drop"]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor(&laptop);
    found.reports(
        "multicast_not_received",
        "problem",
        "1 node on the network answered it",
    );
    found.reports(
        "firewall_drops",
        "problem",
        "drops incoming multicast to UDP port 24373",
    );
    assert_eq!(found.the("multicast_not_received")["about"], "eth0");
    assert_eq!(
        found.not_ok(),
        [
            "multicast_not_received eth0",
            "firewall_drops inet lab input"
        ]
    );
    // With a node here, which holds the port, the cause is found by what the node receives.
    let _running = laptop.run();
    laptop.registered();
    assert_eq!(
        doctor(&laptop).not_ok(),
        [
            "multicast_not_received eth0",
            "firewall_drops inet lab input"
        ]
    );
}

#[test]
fn firewall_that_is_closed_by_its_policy_is_reported_with_the_command_that_opens_it() {
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
    let remedy = "nft insert rule inet lab input udp dport 24373 accept";
    found.reports("firewall_drops", "problem", remedy);
    found.reports("multicast_not_received", "problem", "incoming");
    // The remedy works.
    a.exec(&remedy.split(' ').collect::<Vec<_>>());
    doctor(&laptop).well();
}

#[test]
fn incoming_broadcasts_that_are_dropped_are_reported_with_the_rule() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab input udp dport 24373 pkttype broadcast drop"]);
    a.nft(&["add rule inet lab input ip daddr { 255.255.255.255, 10.77.0.255 } drop"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports("broadcast_not_received", "problem", "broadcast");
    assert_eq!(found.the("broadcast_not_received")["about"], "eth0");
    assert!(
        found
            .findings
            .iter()
            .any(|finding| finding["code"] == "multicast"),
        "{:#?}",
        found.findings
    );
}

#[test]
fn each_interface_is_diagnosed_by_itself() {
    let (lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    lab.plug(&a, "eth1", "br1");
    a.ip(&["addr", "add", "10.78.0.1/24", "brd", "+", "dev", "eth1"]);
    a.nft(&[
        "add rule inet lab input iifname eth1 ip daddr 239.255.43.73 drop",
        "add rule inet lab input iifname eth1 ip6 daddr ff12::4373 drop",
    ]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let diagnosed = || {
        let found = doctor(&laptop);
        assert_eq!(
            found.abouts("multicast"),
            ["eth0", "eth0"],
            "one for each family: {:#?}",
            found.findings
        );
        assert_eq!(
            found.abouts("multicast_not_received"),
            ["eth1", "eth1"],
            "{:#?}",
            found.findings
        );
        assert_eq!(
            found.abouts("broadcast"),
            ["eth0", "eth1"],
            "{:#?}",
            found.findings
        );
        found.reports(
            "multicast_not_received",
            "problem",
            "IPv4 multicast does not come back",
        );
        found.reports(
            "firewall_may_drop",
            "warning",
            "incoming multicast to UDP port 24373",
        );
    };
    diagnosed();
    // With a node here the cause is found by what the node receives.
    let _running = laptop.run();
    laptop.registered();
    diagnosed();
}

#[test]
fn outgoing_multicast_that_is_dropped_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab output ip daddr 239.255.43.73 drop"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports(
        "multicast_not_sent",
        "problem",
        "a firewall of this machine forbids it",
    );
    found.reports("firewall_drops", "problem", "drops outgoing multicast");
}

#[test]
fn interface_without_multicast_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.ip(&["link", "set", "eth0", "multicast", "off"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports(
        "multicast_off",
        "warning",
        "ip link set dev eth0 multicast on",
    );
}

#[test]
fn multicast_without_an_answer_where_broadcast_works_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    b.nft(&[
        "add rule inet lab input ip daddr 224.0.0.0/4 drop",
        "add rule inet lab input ip6 daddr ff12::4373 drop",
    ]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports("multicast_unanswered", "warning", "IGMP snooping");
    assert_eq!(found.not_ok(), ["multicast_unanswered eth0"]);
}

#[test]
fn another_key_is_reported_where_the_other_node_hints() {
    let (_lab, a, b) = pair();
    let _hub = Machine::with(&b, "hub", "server", "lab", [8; 32], "hidden: false").run();
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports("key_differs", "warning", "10.77.0.2:24373");
    found.reports("server_none", "problem", "no server answered");
}

#[test]
fn another_key_is_reported_by_what_the_node_here_dropped_where_the_other_one_hides() {
    let (_lab, a, b) = pair();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let _laptop = laptop.run();
    let _hub = Machine::with(&b, "hub", "server", "lab", [8; 32], "").run();
    // It announces itself at its start.
    laptop.until("it was received", |status| {
        status["counters"]["dropped"]["unknown_key"].as_u64() > Some(0)
    });
    doctor(&laptop).reports("key_differs", "warning", "no key of ours opens");
}

#[test]
fn another_channel_name_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::with(&b, "hub", "server", "attic", KEY, "hidden: false").run();
    let laptop = Machine::new(
        &a,
        "laptop",
        "client",
        "discovery: { methods: [broadcast] }",
    );
    doctor(&laptop).reports("channel_differs", "problem", "called 'attic', not 'lab'");
    // A node that sends one query after the other receives it each time, and logs it once a minute.
    let _running = laptop.run();
    laptop.until("it asked often", |status| {
        status["methods"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("asked 4 times"))
    });
    let logged = laptop.log().matches("its channel has another name").count();
    assert_eq!(logged, 1, "{}", laptop.log());
}

#[test]
fn another_clock_is_reported() {
    let (_lab, a, b) = pair();
    let (ready, wait) = mpsc::channel();
    let (done, until) = tokio::sync::oneshot::channel::<()>();
    let hour = Duration::from_secs(3600);
    let member = b.run(async move |_| {
        // A member whose clock is an hour ahead, and which reports it as a node does.
        let settings = FanoutSettings {
            ipv4_group: [239, 255, 43, 73].into(),
            ipv6_group: "ff12::4373".parse().unwrap(),
            port: 24373,
            broadcast_port: 24373,
        };
        let bind = SocketSettings {
            address: Ipv6Addr::UNSPECIFIED.into(),
            port: 24373,
            ttl: 1,
        };
        let sockets = Sockets::bind(&bind).unwrap();
        let mut fanout = Fanout::new(settings);
        let include = vec![Pattern::parse("*").unwrap()];
        let policy = Policy {
            include,
            exclude: Vec::new(),
            ipv4: true,
            ipv6: true,
            link_local: false,
            loopback: false,
        };
        fanout.reconcile(&sockets, &policy.used(&Watch::new().next().await));
        let key_ring = KeyRing::new("lab", &[Secret::key(KEY)]).unwrap();
        ready.send(()).unwrap();
        let serve = async {
            let (mut batch, mut replies) = (RecvBatch::new(), SendBatch::new());
            loop {
                for place in 0..sockets.recv(&mut batch).await.unwrap() {
                    let (bytes, arrival) = batch.get_mut(place).unwrap();
                    let opened = seal::open(&key_ring, bytes).unwrap();
                    let Ok(Message::Query(query)) = Message::decode(opened.payload) else {
                        continue;
                    };
                    let clock = Timestamp::from_system(SystemTime::now()).plus(hour);
                    let (regarding, refusal) =
                        (Regarding::Query(query.id), Refusal::Clock { clock });
                    let refused = Message::Refused(Refused { regarding, refusal });
                    let mut nonce = [0; 24];
                    getrandom::fill(&mut nonce).unwrap();
                    let fill = |out: &mut [u8; DATAGRAM_MAX]| {
                        refused.seal(key_ring.first(), &nonce, out).unwrap()
                    };
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
    found.reports("clock_differs", "problem", "3600 s ahead of this machine's");
    assert!(
        found.the("clock_differs")["about"]
            .as_str()
            .unwrap()
            .parse::<SocketAddr>()
            .is_ok()
    );
    drop(done);
    member.join();
}

#[test]
fn without_an_interface_the_rules_that_left_each_out_are_reported() {
    let lab = Lab::new();
    let a = lab.namespace("a");
    lab.plug(&a, "veth7", "br0");
    a.ip(&["addr", "add", "10.77.0.1/24", "dev", "veth7"]);
    let found = doctor(&Machine::new(&a, "laptop", "both", ""));
    found.reports(
        "interfaces_none",
        "problem",
        "veth7 fits 'veth*' in interfaces.exclude",
    );
    found.reports("interfaces_none", "problem", "lo is the loopback interface");
    assert_eq!(found.not_ok(), ["interfaces_none"]);
}

#[test]
fn servers_without_an_address_and_silent_servers_are_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let servers = "discovery: { servers: [\"nowhere.invalid:24373\", \"10.77.0.2:999\", \"10.77.0.2:24373\"] }";
    let found = doctor(&Machine::new(&a, "laptop", "client", servers));
    found.reports("server_unresolved", "problem", "nowhere.invalid");
    found.reports("server_silent", "problem", "no answer from 10.77.0.2:999");
    assert_eq!(
        found.not_ok(),
        [
            "server_unresolved nowhere.invalid:24373",
            "server_silent 10.77.0.2:999"
        ]
    );
}

#[test]
fn small_mtu_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.ip(&["link", "set", "eth0", "mtu", "1000"]);
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports("mtu_small", "warning", "MTU is 1000 bytes");
    assert_eq!(found.not_ok(), ["mtu_small eth0"]);
}

#[test]
fn pod_where_no_node_answers_is_advised_to_use_the_hosts_network() {
    let (_lab, a, _b) = pair();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor_with(&laptop, &[("KUBERNETES_SERVICE_HOST", "10.96.0.1")]);
    found.reports("pod_network", "warning", "hostNetwork: true");
}

#[test]
fn mdns_port_that_is_not_shared_is_reported_with_its_holder() {
    let (_lab, a, _b) = pair();
    let held = Held::port(&a, 5353);
    let laptop = Machine::new(
        &a,
        "laptop",
        "both",
        "discovery: { methods: [multicast, mdns] }",
    );
    doctor(&laptop).reports(
        "mdns_port_taken",
        "problem",
        &format!("PID {}", std::process::id()),
    );
    held.free();
    assert!(
        doctor(&laptop)
            .findings
            .iter()
            .any(|finding| finding["code"] == "mdns")
    );
}

#[test]
fn files_that_can_not_be_used_are_reported() {
    let (_lab, a, _b) = pair();
    let laptop = Machine::new(&a, "laptop", "both", "");
    laptop.key_mode(0o644);
    doctor(&laptop).reports("key_unusable", "problem", "chmod 600");
    std::fs::remove_file(laptop.key()).unwrap();
    doctor(&laptop).reports("key_unusable", "problem", "channel.key can't be read");
    let config = laptop.directory().join("hereabouts.yaml");
    std::fs::write(
        &config,
        "channel: {}\nnode: { name: laptop, state_dir: hereabouts.yaml/state }\n",
    )
    .unwrap();
    let found = doctor(&laptop);
    found.reports("state_unusable", "problem", "hereabouts.yaml/state");
    found.reports("key_none", "warning", "hereabouts init --key");
    std::fs::write(&config, "rolle: both\n").unwrap();
    doctor(&laptop).reports("config_invalid", "problem", "rolle");
}

#[test]
fn state_that_is_held_by_a_node_without_a_control_socket_is_reported() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let running = hub.run();
    let socket = hub.directory().join("state/control.sock");
    std::fs::remove_file(socket).unwrap();
    doctor(&hub).reports(
        "state_held",
        "problem",
        "its control socket does not answer",
    );
    drop(running);
    // The lock went with its holder.
    doctor(&hub).the("state");
}

#[test]
fn address_that_no_interface_has_is_reported() {
    let (_lab, a, _b) = pair();
    let found = doctor(&Machine::new(
        &a,
        "laptop",
        "both",
        "listen: { address: 10.77.0.9 }",
    ));
    found.reports("port_unusable", "problem", "10.77.0.9");
    found.reports("port_unusable", "problem", "set listen.address to '::'");
}

#[test]
fn listening_on_one_address_that_receives_neither_groups_nor_broadcasts_is_reported() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let laptop = Machine::new(&a, "laptop", "both", "listen: { address: 10.77.0.1 }");
    let found = doctor(&laptop);
    found.reports(
        "listens_on_one_address",
        "warning",
        "listen.address is 10.77.0.1",
    );
    // That it does not come back is no firewall's doing.
    assert_eq!(
        found.not_ok(),
        ["listens_on_one_address"],
        "{:#?}",
        found.findings
    );
    let _running = laptop.run();
    assert_eq!(doctor(&laptop).not_ok(), ["listens_on_one_address"]);
}

#[test]
fn node_that_hangs_is_reported() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(&a, "hub", "server", "");
    let running = hub.run();
    let pid = hub.status()["node"]["pid"].to_string();
    let signal = |signal: &str| {
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        )
    };
    signal("-STOP");
    let found = doctor(&hub);
    signal("-CONT");
    found.reports("node_unreachable", "warning", "did not answer");
    found.reports("node_unreachable", "warning", "read its log");
    // Its own port is no stranger's.
    assert!(
        !found.not_ok().contains(&"port_taken".to_owned()),
        "{:#?}",
        found.findings
    );
    drop(running);
}

#[test]
fn node_of_another_user_is_reported_and_not_its_files() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let _running = laptop.run();
    laptop.registered();
    // The config may be read by everybody, as in /etc; key and state may not.
    let open = Command::new("chmod")
        .arg("755")
        .arg(laptop.directory())
        .status()
        .unwrap();
    assert!(open.success());
    let stranger = laptop.within(&[
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
    ]);
    let found = doctor(&stranger);
    found.reports("node_unreachable", "warning", "as root");
    assert_eq!(found.not_ok(), ["node_unreachable"]);
}

#[test]
fn second_node_on_one_port_is_advised_to_take_another_one() {
    let (_lab, a, _b) = pair();
    let _hub = Machine::new(&a, "hub", "server", "").run();
    let found = doctor(&Machine::new(&a, "laptop", "client", ""));
    found.reports("port_taken", "problem", "give this one another listen.port");
    // The remedy is enough.
    let second = Machine::new(&a, "laptop", "client", "listen: { port: 24400 }");
    let _second = second.run();
    second.registered();
    doctor(&second).well();
}

#[test]
fn settings_that_this_version_lacks_are_reported() {
    let (_lab, a, _b) = pair();
    let hub = Machine::new(
        &a,
        "hub",
        "server",
        "http: { listen: 127.0.0.1:24374, token_file: channel.key }",
    );
    doctor(&hub).reports("config_unavailable", "problem", "http.listen");
}

#[test]
fn client_without_a_server_is_reported_with_and_without_a_node_here() {
    let (_lab, a, b) = pair();
    let desk = Machine::new(&b, "desk", "client", "");
    let _desk = desk.run();
    let laptop = Machine::new(&a, "laptop", "client", "");
    doctor(&laptop).reports("server_none", "problem", "role: server or both");
    let _running = laptop.run();
    laptop.until("it gave up waiting", |status| {
        status["health"]["ready"] == false
    });
    let found = doctor(&laptop);
    found.reports("server_none", "problem", "role: server or both");
    found.reports(
        "node_not_ready",
        "problem",
        "no server has acknowledged this node yet",
    );
    assert_eq!(found.not_ok(), ["node_not_ready", "server_none"]);
}

#[test]
fn name_that_two_nodes_want_is_reported_on_all_three_and_freed_by_the_remedy() {
    let (lab, a, b) = pair();
    let hub = Machine::new(&b, "hub", "server", "");
    let _hub = hub.run();
    let first = Machine::new(
        &a,
        "laptop",
        "client",
        "discovery: { methods: [broadcast] }",
    );
    let running = first.run();
    first.registered();
    let space = third(&lab);
    let second = Machine::new(
        &space,
        "laptop",
        "client",
        "discovery: { methods: [broadcast] }",
    );
    let refused = second.run();
    second.until("it is refused", |status| {
        !status["servers"][0]["last_refusal"].is_null()
    });
    let found = doctor(&second);
    found.reports("server_refuses", "problem", "choose another node.name");
    assert_eq!(found.the("server_refuses")["about"], "hub");
    let found = doctor(&hub);
    found.reports("name_conflict", "warning", "from 10.77.0.3:24373");
    found.reports("name_conflict", "warning", "hereabouts forget laptop");
    assert_eq!(found.not_ok(), ["name_conflict laptop"]);
    doctor(&first).well();
    // The remedy, where the second one is the right one.
    running.stop();
    refused.stop();
    assert_eq!(hub.json(&["forget", "laptop"], &[]).code, Some(0));
    let _second = second.run();
    second.registered();
    doctor(&second).well();
}

/// A third machine on the bridge of [`pair`].
fn third(lab: &Lab) -> Namespace {
    let namespace = lab.namespace("c");
    lab.plug(&namespace, "eth0", "br0");
    namespace.ip(&["addr", "add", "10.77.0.3/24", "brd", "+", "dev", "eth0"]);
    namespace
}

#[test]
fn copied_identity_is_reported_with_both_machines_and_ended_by_the_remedy() {
    // A node renews three times within a lease: the sooner, the shorter the test.
    let more = "discovery: { methods: [broadcast] }\nregistry: { lease: 5s }";
    let (lab, a, b) = pair();
    let hub = Machine::new(&b, "hub", "server", more);
    let _hub = hub.run();
    let laptop = Machine::new(&a, "laptop", "client", more);
    let original = laptop.run();
    laptop.registered();
    let copy = laptop.copied_to(&third(&lab));
    let running = copy.run();
    hub.until("the server noticed", |status| {
        status["clones"]
            .as_array()
            .is_some_and(|clones| !clones.is_empty())
    });
    let found = doctor(&hub);
    found.reports("clone", "problem", "10.77.0.1:24373");
    found.reports("clone", "problem", "10.77.0.3:24373");
    assert_eq!(found.not_ok(), ["clone laptop"]);
    // One of the two is refused, with the reason.
    let refused = |machine: &Machine| !machine.status()["servers"][0]["last_refusal"].is_null();
    let either = if refused(&laptop) { &laptop } else { &copy };
    doctor(either).reports(
        "server_refuses",
        "problem",
        "another machine uses the same node id",
    );
    // The remedy works.
    found.reports(
        "clone",
        "problem",
        "delete identity.key in the state directory, set another node.name",
    );
    running.stop();
    std::fs::remove_file(copy.directory().join("state/identity.key")).unwrap();
    copy.reconfigure("name: laptop", "name: copy");
    let _copy = copy.run();
    copy.registered();
    // A node that was refused waits a minute before it tries again, unless it is restarted.
    original.stop();
    let _laptop = laptop.run();
    laptop.registered_within(Duration::from_secs(60));
    hub.until("the server sees one of each", |status| {
        status["clones"].as_array().is_some_and(Vec::is_empty)
    });
    for machine in [&hub, &laptop, &copy] {
        doctor(machine).well();
    }
}

/// A file system of 2 MiB in place of a machine's state directory. It is seen only within the mounts of its holder.
struct SmallDisk {
    holder: Child,
    directory: String,
}

impl SmallDisk {
    fn under(namespace: &Namespace, machine: &Machine) -> Self {
        let directory = machine.directory().join("state");
        std::fs::create_dir(&directory).unwrap();
        let directory = directory.to_str().unwrap().to_owned();
        // `unshare` makes the mounts private. The mount ends with the last process that sees it.
        let script = "mount -t tmpfs -o size=2m,mode=0700 tmpfs \"$0\" && echo mounted && exec cat";
        let mut holder = Command::new("ip")
            .args([
                "netns",
                "exec",
                namespace.name(),
                "unshare",
                "--mount",
                "sh",
                "-c",
                script,
                &directory,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "mounted\n");
        Self { holder, directory }
    }

    /// Runs a program that sees it.
    fn wrapper(&self) -> [String; 4] {
        [
            "nsenter",
            "--mount",
            "--target",
            &self.holder.id().to_string(),
        ]
        .map(str::to_owned)
    }

    fn exec(&self, script: &str) -> bool {
        let [nsenter, arguments @ ..] = self.wrapper();
        let script = format!("cd {}; {script}", self.directory);
        Command::new(nsenter)
            .args(arguments)
            .args(["sh", "-c", &script])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn fill(&self) {
        assert!(!self.exec("cat /dev/zero > fill"), "it is endless");
    }

    fn empty(&self) {
        assert!(self.exec("rm fill"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn disk_of_the_registry_that_is_full_is_reported_here_and_on_a_client() {
    let (_lab, a, b) = pair();
    let hub = Machine::new(&b, "hub", "server", "registry: { lease: 5s }");
    let disk = SmallDisk::under(&b, &hub);
    let hub = hub.within(&disk.wrapper().each_ref().map(String::as_str));
    let running = hub.run();
    // Two commits of its own entry, after which the store has no free page left for a third one.
    let stored = |addresses: usize| {
        hub.until("its own entry is stored", |status| {
            status["node"]["addresses"].as_array().map(Vec::len) == Some(addresses)
                && status["registry"]["present"] == 1
                && status["registry"]["durable_lag_ms"] == 0
        });
    };
    stored(1);
    b.ip(&["addr", "add", "10.77.0.22/24", "brd", "+", "dev", "eth0"]);
    stored(2);
    disk.fill();
    let laptop = Machine::new(&a, "laptop", "client", "");
    let _laptop = laptop.run();
    hub.until("a write failed", |status| {
        status["registry"]["store"]["last_error"].is_string()
    });
    let found = doctor(&hub);
    found.reports("store_fails", "problem", "No space left on device");
    found.reports("store_fails", "problem", "make room on the disk");
    found.reports("state_unusable", "problem", "Make room on its disk");
    assert!(
        found.the("store_fails")["about"]
            .as_str()
            .unwrap()
            .ends_with("state/registry.redb")
    );
    let path = disk.directory.as_str();
    assert_eq!(
        found.not_ok(),
        [
            "state_unusable",
            "node_not_ready",
            &format!("store_fails {path}/registry.redb")
        ]
    );
    // Of two machines this is the one where an operator looks first.
    let found = doctor(&laptop);
    found.reports(
        "node_not_ready",
        "problem",
        "run hereabouts doctor on the server",
    );
    assert_eq!(found.not_ok(), ["node_not_ready"]);
    // The remedy works.
    disk.empty();
    laptop.registered_within(Duration::from_secs(60));
    doctor(&hub).well();
    doctor(&laptop).well();
    // And without a node, which could not start.
    running.stop();
    disk.fill();
    doctor(&hub).reports("state_unusable", "problem", "Make room on its disk");
    disk.empty();
    assert!(disk.exec(&format!("mount -o remount,ro {path}")));
    doctor(&hub).reports("state_unusable", "problem", "that is not read-only");
}

#[test]
fn refused_netlink_is_reported_and_all_else_works_without_it() {
    const NO_NETLINK: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/privileged/namespaces/no_netlink.py"
    );
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    for error in ["EAFNOSUPPORT", "EPERM"] {
        let laptop = Machine::new(&a, error, "client", "").within(&["python3", NO_NETLINK, error]);
        let without = doctor(&laptop);
        without.reports(
            "interfaces_polled",
            "warning",
            "add it to RestrictAddressFamilies=",
        );
        without.reports("interfaces_polled", "warning", "mDNS finds no interface");
        without.each(&["interfaces", "multicast", "broadcast", "peers"]);
        assert_eq!(without.not_ok(), ["interfaces_polled"]);
        let running = laptop.run();
        laptop.registered();
        // The sandbox is the node's alone.
        let with = doctor(&laptop.within(&[]));
        with.reports(
            "interfaces_polled",
            "warning",
            "a change shows after up to 5 s",
        );
        assert_eq!(with.not_ok(), ["interfaces_polled"]);
        running.stop();
    }
}

#[test]
fn groups_that_the_kernel_refuses_are_reported_with_the_setting_that_allows_them() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let laptop = Machine::new(&a, "laptop", "client", "");
    a.sysctl("net.ipv4.igmp_max_memberships", "0");
    let assert_reported = |found: &Found, group: &str, setting: &str| {
        found.reports("multicast_not_joined", "problem", group);
        found.reports("multicast_not_joined", "problem", setting);
        // That nothing is received is a consequence, and no firewall is the cause.
        assert_eq!(found.not_ok(), ["multicast_not_joined eth0"]);
    };
    assert_reported(
        &doctor(&laptop),
        "239.255.43.73",
        "sysctl -w net.ipv4.igmp_max_memberships=100",
    );
    let running = laptop.run();
    laptop.registered();
    assert_reported(
        &doctor(&laptop),
        "239.255.43.73",
        "sysctl -w net.ipv4.igmp_max_memberships=100",
    );
    // The remedy works, and the node needs no restart.
    a.sysctl("net.ipv4.igmp_max_memberships", "100");
    let joined = |status: &Value| {
        let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
        interfaces
            .iter()
            .any(|interface| interface["groups"][0]["joined"] == true)
    };
    laptop.until("it joined", joined);
    doctor(&laptop).well();
    running.stop();
    // Room for the options of one datagram, and not for a membership: on Linux 6.8 and later each namespace has its own.
    a.sysctl("net.ipv4.igmp_max_memberships", "20");
    a.sysctl("net.core.optmem_max", "50");
    let assert_reported = |found: &Found| {
        found.reports(
            "multicast_not_joined",
            "problem",
            "sysctl -w net.core.optmem_max=131072",
        );
        assert!(
            found
                .not_ok()
                .iter()
                .all(|ill| ill == "multicast_not_joined eth0"),
            "{:#?}",
            found.findings
        );
    };
    assert_reported(&doctor(&laptop));
    let _running = laptop.run();
    laptop.registered();
    assert_reported(&doctor(&laptop));
}

#[test]
fn outgoing_broadcasts_that_are_dropped_are_reported_with_the_rule_to_change() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    a.nft(&["add rule inet lab output ip daddr { 255.255.255.255, 10.77.0.255 } drop"]);
    let laptop = Machine::new(&a, "laptop", "client", "");
    let remedy = "nft insert rule inet lab output udp dport 24373 accept";
    let assert_reported = |found: &Found| {
        found.reports(
            "broadcast_not_sent",
            "problem",
            "a firewall of this machine forbids it",
        );
        found.reports(
            "firewall_drops",
            "problem",
            "drops outgoing broadcast to UDP port 24373",
        );
        found.reports("firewall_drops", "problem", remedy);
        assert_eq!(
            found.not_ok(),
            ["broadcast_not_sent eth0", "firewall_drops inet lab output"]
        );
    };
    assert_reported(&doctor(&laptop));
    let _running = laptop.run();
    laptop.registered();
    assert_reported(&doctor(&laptop));
    a.exec(&remedy.split(' ').collect::<Vec<_>>());
    doctor(&laptop).well();
}

#[test]
fn rules_of_uncertain_effect_are_reported_only_where_something_is_lost() {
    let (_lab, a, b) = pair();
    let _hub = Machine::new(&b, "hub", "server", "").run();
    let laptop = Machine::new(&a, "laptop", "client", "");
    // What a set holds may change at any time.
    a.nft(&["add set inet lab shut { type inet_service; elements = { 53, 80 }; }"]);
    a.nft(&["add rule inet lab input udp dport @shut drop"]);
    doctor(&laptop).well();
    a.nft(&["add element inet lab shut { 24373 }"]);
    let assert_reported = |found: &Found| {
        found.reports(
            "firewall_may_drop",
            "warning",
            "may drop incoming multicast, broadcast",
        );
        found.reports(
            "firewall_may_drop",
            "warning",
            "nft insert rule inet lab input udp dport 24373 accept",
        );
        found.reports("multicast_not_received", "problem", "does not come back");
        assert!(
            !found
                .not_ok()
                .iter()
                .any(|ill| ill.starts_with("firewall_drops")),
            "{:#?}",
            found.findings
        );
    };
    assert_reported(&doctor(&laptop));
    // It receives no answer on its own port, so it is not ready, too.
    let _running = laptop.run();
    assert_reported(&doctor(&laptop));
    a.exec(&[
        "nft", "insert", "rule", "inet", "lab", "input", "udp", "dport", "24373", "accept",
    ]);
    laptop.registered_within(Duration::from_secs(60));
    doctor(&laptop).well();
}

#[test]
fn switch_that_forgot_a_member_is_reported_as_snooping_without_a_querier() {
    let (lab, a, b) = pair();
    lab.snoop("br0");
    let space = lab.namespace("hub");
    lab.plug_named(&space, "eth0", "br0", "port7");
    space.ip(&["addr", "add", "10.77.0.4/24", "brd", "+", "dev", "eth0"]);
    let hub = Machine::new(&space, "hub", "server", "");
    let _hub = hub.run();
    hub.forgotten(&lab, "port7");
    let laptop = Machine::new(&a, "laptop", "client", "");
    let found = doctor(&laptop);
    found.reports(
        "multicast_unanswered",
        "warning",
        "IGMP snooping and no querier",
    );
    assert_eq!(found.not_ok(), ["multicast_unanswered eth0"]);
    // A second server that the switch knows does not hide the first one.
    let other = Machine::new(&b, "other", "server", "");
    let _other = other.run();
    doctor(&laptop).reports(
        "multicast_unanswered",
        "warning",
        "1 node answered broadcast, and not multicast",
    );
}
