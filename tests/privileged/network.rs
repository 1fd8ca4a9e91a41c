//! The network layer on real interfaces: network namespaces, veth pairs and a bridge, all made and removed here.
//!
//! Needs root and `ip` of iproute2. Each namespace is entered by a thread of its own, so nothing here changes the
//! namespace that the tests run in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::namespaces::{LIMIT, Lab, Namespace};
use hereabouts::net::{
    Arrival, Decision, Family, Fanout, FanoutMethod, FanoutSettings, GroupStatus, Interface,
    InterfaceSource, Membership, Pattern, Policy, RecvBatch, SendBatch, SocketSettings, Sockets,
    Watch,
};

const PORT: u16 = 24373;

const SETTINGS: FanoutSettings = FanoutSettings {
    ipv4_group: Ipv4Addr::new(239, 255, 43, 73),
    ipv6_group: Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x4373),
    port: PORT,
    broadcast_port: PORT,
};

fn policy() -> Policy {
    let include = vec![Pattern::parse("*").unwrap()];
    Policy {
        include,
        exclude: Vec::new(),
        ipv4: true,
        ipv6: true,
        link_local: false,
        loopback: false,
    }
}

/// One node's network layer.
struct Node {
    sockets: Sockets,
    watch: Watch,
    fanout: Fanout,
    interfaces: Vec<Interface>,
}

impl Node {
    fn new() -> Self {
        let settings = SocketSettings {
            address: Ipv6Addr::UNSPECIFIED.into(),
            port: PORT,
            ttl: 1,
        };
        let sockets = Sockets::bind(&settings).expect("sockets");
        Self {
            sockets,
            watch: Watch::new(),
            fanout: Fanout::new(SETTINGS),
            interfaces: Vec::new(),
        }
    }

    /// Follows the interfaces until the condition holds; gives how long that took.
    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let started = std::time::Instant::now();
        while !condition(self) {
            let next = tokio::time::timeout(LIMIT, self.watch.next()).await;
            self.interfaces = next
                .unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}: {:?}", self.interfaces));
            self.fanout
                .reconcile(&self.sockets, &policy().used(&self.interfaces));
        }
        started.elapsed()
    }

    async fn until_joined(&mut self, interfaces: usize) {
        self.until("every group joined", |node| {
            let status = node.fanout.status();
            let joined = |s: &&hereabouts::net::InterfaceStatus| {
                s.ipv4.group == GroupStatus::Joined && s.ipv6.group == GroupStatus::Joined
            };
            status.iter().filter(joined).count() == interfaces
        })
        .await;
    }

    async fn until_joined_ipv6(&mut self) {
        self.until("the IPv6 group joined", |node| {
            node.fanout
                .status()
                .iter()
                .any(|status| status.ipv6.group == GroupStatus::Joined)
        })
        .await;
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name.as_str() == name)
    }

    fn has(&self, name: &str, ip: &str) -> bool {
        let ip: IpAddr = ip.parse().unwrap();
        self.interface(name)
            .is_some_and(|interface| interface.addresses.iter().any(|address| address.ip == ip))
    }

    /// Sends to all by a method; every target must take it.
    async fn send_to_all(&mut self, method: FanoutMethod, text: &[u8]) -> usize {
        let mut batch = SendBatch::new();
        for target in self.fanout.targets(method) {
            let fill = |buffer: &mut [u8; 1200]| {
                buffer[..text.len()].copy_from_slice(text);
                text.len()
            };
            batch.push(target.to, Some(target.source), fill).unwrap();
        }
        let flushed = self
            .sockets
            .flush(&mut batch, |place, error| panic!("target {place}: {error}"))
            .await;
        assert_eq!((flushed.failed, flushed.dropped), (0, 0));
        flushed.sent
    }

    /// The next datagrams that carry this text, one for each of `count`.
    async fn receive(&self, text: &[u8], count: usize) -> Vec<Arrival> {
        let mut batch = RecvBatch::new();
        let mut received = Vec::new();
        while received.len() < count {
            let got = tokio::time::timeout(LIMIT, self.sockets.recv(&mut batch)).await;
            for place in 0..got
                .unwrap_or_else(|_| panic!("received only {received:?}"))
                .unwrap()
            {
                let (bytes, arrival) = batch.get_mut(place).unwrap();
                if bytes == text {
                    received.push(arrival);
                }
            }
        }
        received
    }
}

/// Two namespaces on one bridge, each with `eth0`: 10.77.0.1 and 10.77.0.2.
fn pair() -> (Lab, Namespace, Namespace) {
    let lab = Lab::new();
    let (a, b) = (lab.namespace("a"), lab.namespace("b"));
    lab.plug(&a, "eth0", "br0");
    lab.plug(&b, "eth0", "br0");
    a.ip(&["addr", "add", "10.77.0.1/24", "brd", "+", "dev", "eth0"]);
    b.ip(&["addr", "add", "10.77.0.2/24", "brd", "+", "dev", "eth0"]);
    (lab, a, b)
}

fn sends_and_receives(method: FanoutMethod) -> (Vec<Arrival>, Vec<Interface>, Vec<Interface>) {
    let (_lab, a, b) = pair();
    let (ready, wait) = std::sync::mpsc::channel();
    let listener = b.run(async move |_| {
        let mut node = Node::new();
        node.until_joined(1).await;
        ready.send(()).unwrap();
        (node.receive(b"hello", 2).await, node.interfaces)
    });
    wait.recv_timeout(LIMIT).expect("the listener is ready");
    let sender = a.run(async move |_| {
        let mut node = Node::new();
        node.until_joined(1).await;
        assert_eq!(node.send_to_all(method, b"hello").await, 2);
        node.interfaces
    });
    let sender = sender.join();
    let (arrivals, listener) = listener.join();
    (arrivals, sender, listener)
}

fn eth0(interfaces: &[Interface]) -> &Interface {
    interfaces
        .iter()
        .find(|interface| interface.name.as_str() == "eth0")
        .unwrap()
}

#[test]
fn multicast_of_both_families_arrives_with_interface_destination_and_source() {
    let (arrivals, sender, listener) = sends_and_receives(FanoutMethod::Multicast);
    let (sender, listener) = (eth0(&sender), eth0(&listener));
    let ipv4 = arrivals
        .iter()
        .find(|arrival| arrival.from.is_ipv4())
        .unwrap();
    assert_eq!(
        (ipv4.from, ipv4.to),
        (([10, 77, 0, 1], PORT).into(), SETTINGS.ipv4_group.into())
    );
    assert_eq!(
        (ipv4.interface, ipv4.local),
        (listener.index, Some([10, 77, 0, 2].into()))
    );
    let ipv6 = arrivals
        .iter()
        .find(|arrival| arrival.from.is_ipv6())
        .unwrap();
    let SocketAddr::V6(from) = ipv6.from else {
        unreachable!()
    };
    assert!(
        sender
            .addresses
            .iter()
            .any(|address| address.link_local() && address.ip == IpAddr::V6(*from.ip()))
    );
    assert_eq!((from.scope_id(), from.port()), (listener.index, PORT));
    assert_eq!(
        (ipv6.to, ipv6.interface, ipv6.local),
        (SETTINGS.ipv6_group.into(), listener.index, None)
    );
}

#[test]
fn both_broadcasts_arrive_with_interface_destination_and_source() {
    let (mut arrivals, _, listener) = sends_and_receives(FanoutMethod::Broadcast);
    arrivals.sort_by_key(|arrival| arrival.to);
    let to: Vec<_> = arrivals
        .iter()
        .map(|arrival| arrival.to.to_string())
        .collect();
    assert_eq!(to, ["10.77.0.255", "255.255.255.255"]);
    for arrival in arrivals {
        assert_eq!(
            (arrival.from, arrival.interface),
            (([10, 77, 0, 1], PORT).into(), eth0(&listener).index)
        );
        assert_eq!(arrival.local, Some([10, 77, 0, 2].into()));
    }
}

#[test]
fn two_interfaces_each_send_from_their_own_address() {
    for method in [FanoutMethod::Multicast, FanoutMethod::Broadcast] {
        let lab = Lab::new();
        let (a, b) = (lab.namespace("a"), lab.namespace("b"));
        for (number, bridge) in [(1, "br0"), (2, "br1")] {
            let name = format!("eth{number}");
            lab.plug(&a, &name, bridge);
            lab.plug(&b, &name, bridge);
            a.ip(&["addr", "add", &format!("10.77.{number}.1/24"), "dev", &name]);
            b.ip(&["addr", "add", &format!("10.77.{number}.2/24"), "dev", &name]);
        }
        let (ready, wait) = std::sync::mpsc::channel();
        let listener = b.run(async move |_| {
            let mut node = Node::new();
            node.until_joined(2).await;
            ready.send(()).unwrap();
            (node.receive(b"two", 4).await, node.interfaces)
        });
        wait.recv_timeout(LIMIT).expect("the listener is ready");
        a.run(async move |_| {
            let mut node = Node::new();
            node.until_joined(2).await;
            assert_eq!(node.send_to_all(method, b"two").await, 4);
        })
        .join();
        let (arrivals, interfaces) = listener.join();
        for interface in interfaces.iter().filter(|interface| !interface.loopback) {
            let number: u8 = interface
                .name
                .as_str()
                .trim_start_matches("eth")
                .parse()
                .unwrap();
            let mut here = arrivals
                .iter()
                .filter(|a| a.interface == interface.index && a.from.is_ipv4())
                .peekable();
            assert!(here.peek().is_some(), "{method:?} {arrivals:?}");
            assert!(
                here.all(|arrival| arrival.from.ip() == IpAddr::from([10, 77, number, 1])),
                "{arrivals:?}"
            );
        }
    }
}

#[test]
fn node_that_starts_without_a_network_joins_when_an_interface_appears() {
    let lab = Lab::new();
    let (a, b) = (lab.namespace("a"), lab.namespace("b"));
    let (started, wait) = std::sync::mpsc::channel();
    let (ready, joined) = std::sync::mpsc::channel();
    let listener = b.run(async move |_| {
        let mut node = Node::new();
        node.until("the first list", |node| !node.interfaces.is_empty())
            .await;
        assert!(
            node.fanout.status().is_empty()
                && node.fanout.targets(FanoutMethod::Multicast).is_empty()
        );
        started.send(()).unwrap();
        node.until_joined(1).await;
        ready.send(()).unwrap();
        node.receive(b"late", 2).await
    });
    wait.recv_timeout(LIMIT).expect("the listener has started");
    lab.plug(&a, "eth0", "br0");
    lab.plug(&b, "eth0", "br0");
    a.ip(&["addr", "add", "10.77.0.1/24", "dev", "eth0"]);
    b.ip(&["addr", "add", "10.77.0.2/24", "dev", "eth0"]);
    joined
        .recv_timeout(LIMIT)
        .expect("the late interface is joined");
    a.run(async |_| {
        let mut node = Node::new();
        node.until_joined(1).await;
        node.send_to_all(FanoutMethod::Multicast, b"late").await;
    })
    .join();
    assert_eq!(listener.join().len(), 2);
}

/// Less than any wait between two tries that no event cuts short.
const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn interface_that_comes_up_step_by_step_is_joined_at_the_last_step_whichever_that_is() {
    let orders = [
        ["address", "up", "cable"],
        ["address", "cable", "up"],
        ["up", "address", "cable"],
        ["up", "cable", "address"],
        ["cable", "address", "up"],
        ["cable", "up", "address"],
    ];
    for order in orders {
        let lab = Lab::new();
        let a = lab.namespace("a");
        lab.plug_named(&a, "eth0", "br0", "cable");
        lab.cable("cable", false);
        a.ip(&["link", "set", "eth0", "down"]);
        a.run(async move |here| {
            let mut node = Node::new();
            node.until("the first list", |node| node.interface("eth0").is_some())
                .await;
            let joined = |node: &Node| {
                let status = node.fanout.status();
                status
                    .iter()
                    .any(|s| s.name.as_str() == "eth0" && s.ipv4.group == GroupStatus::Joined)
            };
            for step in order {
                assert!(!joined(&node), "{order:?} before {step}");
                match step {
                    "address" => here.ip(&["addr", "add", "10.77.0.1/24", "dev", "eth0"]),
                    "up" => here.ip(&["link", "set", "eth0", "up"]),
                    _ => lab.cable("cable", true),
                }
            }
            let took = node.until("joined", joined).await;
            assert!(took < AT_ONCE, "{order:?} took {took:?}");
            assert!(
                here.text(&["maddr", "show", "dev", "eth0"])
                    .contains("239.255.43.73")
            );
        })
        .join();
    }
}

#[test]
fn ipv6_group_is_joined_when_the_link_local_address_has_proved_unique() {
    let lab = Lab::new();
    let a = lab.namespace("a");
    lab.plug_named(&a, "eth0", "br0", "cable");
    lab.cable("cable", false);
    a.ip(&["link", "set", "eth0", "down"]);
    a.sysctl("net.ipv6.conf.eth0.accept_dad", "1");
    a.run(async move |here| {
        let mut node = Node::new();
        node.until("the first list", |node| node.interface("eth0").is_some())
            .await;
        here.ip(&["link", "set", "eth0", "up"]);
        lab.cable("cable", true);
        let link_local = |node: &Node, tentative: bool| {
            let addresses = node
                .interface("eth0")
                .map(|eth0| eth0.addresses.clone())
                .unwrap_or_default();
            addresses
                .iter()
                .any(|address| address.link_local() && address.tentative == tentative)
        };
        node.until("the address is being proved", |node| link_local(node, true))
            .await;
        assert!(
            node.fanout.status().is_empty(),
            "nothing leaves from an address that may be another's"
        );
        node.until_joined_ipv6().await;
        assert!(link_local(&node, false));
    })
    .join();
}

#[test]
fn address_changes_are_seen_within_two_seconds() {
    let (_lab, a, _b) = pair();
    a.run(async |here| {
        let mut node = Node::new();
        node.until_joined(1).await;
        assert_eq!(node.watch.source(), InterfaceSource::Netlink);
        for (change, present) in [("add", true), ("del", false)] {
            for ip in ["10.77.9.9", "fd77::9"] {
                let prefix = format!("{ip}/{}", if ip.contains(':') { 64 } else { 24 });
                here.ip(&["addr", change, &prefix, "dev", "eth0"]);
                let took = node
                    .until(change, |node| node.has("eth0", ip) == present)
                    .await;
                assert!(took < Duration::from_secs(2), "{change} {ip} took {took:?}");
            }
        }
    })
    .join();
}

#[test]
fn deleted_interface_is_left_and_a_new_one_of_the_same_name_is_joined() {
    let (lab, a, _b) = pair();
    a.run(async move |here| {
        let mut node = Node::new();
        node.until_joined(1).await;
        let before = node.interface("eth0").unwrap().index;
        here.ip(&["link", "del", "eth0"]);
        node.until("the interface is removed", |node| {
            node.interface("eth0").is_none()
        })
        .await;
        assert!(node.fanout.status().is_empty() && !node.fanout.needs_retry());
        lab.plug(here, "eth0", "br0");
        here.ip(&["addr", "add", "10.77.0.1/24", "dev", "eth0"]);
        node.until_joined(1).await;
        let status = node.fanout.status();
        assert_ne!(status[0].index, before);
    })
    .join();
}

#[test]
fn same_index_after_a_deletion_is_joined_again() {
    let (lab, a, _b) = pair();
    a.run(async move |here| {
        let mut node = Node::new();
        node.until_joined(1).await;
        let index = node.interface("eth0").unwrap().index;
        here.ip(&["link", "del", "eth0"]);
        // No code reads the interfaces while it is missing: the fan-out sees another name under a known index.
        lab.plug_with(here, "eth1", "br0", Some(index));
        here.ip(&["addr", "add", "10.77.0.1/24", "dev", "eth1"]);
        node.until("the new interface", |node| node.has("eth1", "10.77.0.1"))
            .await;
        node.until_joined(1).await;
        assert_eq!(node.fanout.status()[0].index, index);
        assert!(
            here.text(&["maddr", "show", "dev", "eth1"])
                .contains("239.255.43.73")
        );
    })
    .join();
}

#[test]
fn lost_memberships_are_joined_again_on_demand() {
    let (_lab, a, _b) = pair();
    a.run(async |here| {
        let mut node = Node::new();
        node.until_joined(1).await;
        assert!(node.fanout.rejoin(&node.sockets, |_, _| true).is_empty());
        let groups = here.text(&["maddr", "show", "dev", "eth0"]);
        assert!(
            groups.contains("239.255.43.73") && groups.contains("ff12::4373"),
            "{groups}"
        );
        // What is no longer taken is left, in the kernel too.
        let reports = node.fanout.reconcile(&node.sockets, &[]);
        assert!(
            reports.iter().all(|report| report.what == Membership::Left) && reports.len() == 2,
            "{reports:?}"
        );
        let groups = here.text(&["maddr", "show", "dev", "eth0"]);
        assert!(
            !groups.contains("239.255.43.73") && !groups.contains("ff12::4373"),
            "{groups}"
        );
    })
    .join();
}

#[test]
fn host_without_ipv6_works() {
    let (_lab, a, b) = pair();
    a.sysctl("net.ipv6.conf.all.disable_ipv6", "1");
    let (ready, wait) = std::sync::mpsc::channel();
    let listener = a.run(async move |_| {
        let mut node = Node::new();
        node.until("IPv4 joined", |node| {
            node.fanout
                .status()
                .iter()
                .any(|status| status.ipv4.group == GroupStatus::Joined)
        })
        .await;
        assert_eq!(node.fanout.status()[0].ipv6.group, GroupStatus::None);
        assert!(
            node.fanout
                .targets(FanoutMethod::Multicast)
                .iter()
                .all(|target| target.family == Family::Ipv4)
        );
        ready.send(()).unwrap();
        node.receive(b"four", 1).await
    });
    wait.recv_timeout(LIMIT).expect("the listener is ready");
    b.run(async |_| {
        let mut node = Node::new();
        node.until_joined(1).await;
        node.send_to_all(FanoutMethod::Multicast, b"four").await;
    })
    .join();
    assert_eq!(listener.join()[0].from, ([10, 77, 0, 2], PORT).into());
}

#[test]
fn storm_that_loses_events_ends_in_the_true_list() {
    let (_lab, a, _b) = pair();
    a.run(async |here| {
        let mut node = Node::new();
        node.until_joined(1).await;
        // More than the event socket holds, while no task reads it.
        let add: String = (0..1500)
            .map(|n| format!("addr add 10.78.{}.{}/32 dev eth0\n", n / 250, n % 250 + 1))
            .collect();
        here.ip_batch(&add);
        let delete = "addr flush dev eth0 to 10.78.0.0/16\naddr add 10.77.0.9/24 dev eth0\n";
        here.ip_batch(delete);
        node.until("the last address", |node| node.has("eth0", "10.77.0.9"))
            .await;
        assert!(
            node.watch.overruns() > 0,
            "the storm was too small to lose events"
        );
        let eth0 = node.interface("eth0").unwrap();
        assert!(matches!(policy().decide(eth0), Decision::Used { .. }));
        assert_eq!(
            eth0.addresses
                .iter()
                .filter(|address| address.ip.is_ipv4())
                .count(),
            2
        );
    })
    .join();
}
