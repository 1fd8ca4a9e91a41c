//! One policy for listening, sending and announcing: in network namespaces, with the real binary.
//!
//! Needs root and `ip` of iproute2.

use std::net::UdpSocket;

use crate::namespaces::program::{Machine, Running};
use crate::namespaces::{GROUPS, Lab, Namespace};
use serde_json::Value;

/// The index of the hub's `docker0`.
const DOCKER0: u32 = 77;
/// Each way in which everybody is asked: what it is called, and the settings that leave no other.
const WAYS: [(&str, &str); 3] = [
    (
        "IPv4 multicast",
        "discovery: { methods: [multicast] }\ninterfaces: { addresses: { ipv6: false } }",
    ),
    (
        "IPv6 multicast",
        "discovery: { methods: [multicast] }\ninterfaces: { addresses: { ipv4: false } }",
    ),
    ("broadcast", "discovery: { methods: [broadcast] }"),
];

/// A server with `eth0` (10.77.0.2) on one switch and `docker0` (10.79.0.2) on the other, and a machine at each.
struct Site {
    _lab: Lab,
    hub: Machine,
    _running: Running,
    /// Beside the hub's `eth0`.
    laptop: Namespace,
    /// Beside its `docker0`.
    container: Namespace,
    /// Another program's memberships on `docker0`: with them the kernel takes in what is sent to the groups there.
    _members: (UdpSocket, UdpSocket),
}

impl Site {
    fn new(more: &str) -> Self {
        let lab = Lab::new();
        let (host, laptop, container) = (
            lab.namespace("hub"),
            lab.namespace("laptop"),
            lab.namespace("container"),
        );
        lab.plug(&host, "eth0", "br0");
        lab.plug_with(&host, "docker0", "br1", Some(DOCKER0));
        lab.plug(&laptop, "eth0", "br0");
        lab.plug(&container, "eth0", "br1");
        for (namespace, interface, address) in [
            (&host, "eth0", "10.77.0.2/24"),
            (&host, "docker0", "10.79.0.2/24"),
            (&laptop, "eth0", "10.77.0.1/24"),
            (&container, "eth0", "10.79.0.1/24"),
        ] {
            namespace.ip(&["addr", "add", address, "brd", "+", "dev", interface]);
        }
        let members = host.run(async |_| {
            let (ipv4, ipv6) = (
                UdpSocket::bind("0.0.0.0:0").unwrap(),
                UdpSocket::bind("[::]:0").unwrap(),
            );
            ipv4.join_multicast_v4(&GROUPS[0].parse().unwrap(), &"10.79.0.2".parse().unwrap())
                .unwrap();
            ipv6.join_multicast_v6(&GROUPS[1].parse().unwrap(), DOCKER0)
                .unwrap();
            (ipv4, ipv6)
        });
        let members = members.join();
        let hub = Machine::new(
            &host,
            "hub",
            "server",
            &format!("discovery: {{ methods: [] }}\n{more}"),
        );
        let running = hub.run();
        Self {
            _lab: lab,
            hub,
            _running: running,
            laptop,
            container,
            _members: members,
        }
    }

    fn count(&self, group: &str, name: &str) -> u64 {
        self.hub.status()["counters"][group][name]
            .as_u64()
            .unwrap_or(0)
    }
}

/// The servers that answer a machine there.
fn found(namespace: &Namespace, settings: &str) -> Vec<Value> {
    let requester = Machine::new(namespace, "requester", "client", settings);
    requester
        .json(&["discover", "--timeout", "2s"], &[])
        .lines
        .into_iter()
        .map(|line| line["name"].clone())
        .collect()
}

#[test]
fn a_query_to_all_on_an_excluded_interface_gets_no_answer_and_is_counted() {
    let site = Site::new("");
    for (way, settings) in WAYS {
        let dropped = site.count("dropped", "interface");
        assert_eq!(
            found(&site.container, settings),
            [""; 0],
            "{way} on docker0"
        );
        // Of the IPv4 groups the kernel gives a socket only what comes in where that socket is a member.
        let more = site.count("dropped", "interface") > dropped;
        assert_eq!(
            more,
            way != "IPv4 multicast",
            "{way}: {}",
            site.hub.status()["counters"]
        );
    }
    assert_eq!(
        site.count("datagrams", "queries"),
        0,
        "none was opened: {}",
        site.hub.status()["counters"]
    );
    for (way, settings) in WAYS {
        assert_eq!(found(&site.laptop, settings), ["hub"], "{way} on eth0");
    }
}

#[test]
fn what_is_sent_to_the_node_itself_is_taken_on_whatever_interface() {
    let site = Site::new("");
    for (namespace, address) in [(&site.container, "10.79.0.2"), (&site.laptop, "10.77.0.2")] {
        let settings = format!("discovery: {{ methods: [], servers: [\"{address}:24373\"] }}");
        assert_eq!(found(namespace, &settings), ["hub"], "{address}");
    }
}

#[test]
fn an_interface_that_is_left_by_default_is_in_by_naming_it() {
    let site = Site::new("interfaces: { include: [\"*\", docker0] }");
    for (way, settings) in WAYS {
        assert_eq!(
            found(&site.container, settings),
            ["hub"],
            "{way} on docker0"
        );
        assert_eq!(found(&site.laptop, settings), ["hub"], "{way} on eth0");
    }
    assert_eq!(site.count("dropped", "interface"), 0);
}

#[test]
fn a_family_that_is_off_is_not_received_in_broadcasts_either() {
    let site = Site::new("interfaces: { addresses: { ipv4: false } }");
    for (way, settings) in WAYS {
        let expected: &[&str] = if way == "IPv6 multicast" {
            &["hub"]
        } else {
            &[]
        };
        assert_eq!(found(&site.laptop, settings), expected, "{way}");
    }
    assert!(
        site.count("dropped", "interface") > 0,
        "{}",
        site.hub.status()["counters"]
    );
}

#[test]
fn addresses_of_node_advertise_replace_those_of_the_interfaces() {
    let site = Site::new("");
    // By broadcast, so that the server sees its IPv4 address.
    let laptop = Machine::new(
        &site.laptop,
        "laptop",
        "client",
        "discovery: { methods: [broadcast] }",
    );
    laptop.reconfigure(
        "state_dir: state",
        "state_dir: state, advertise: [203.0.113.7, '2001:db8::7']",
    );
    let _laptop = laptop.run();
    laptop.registered();
    // Address, whether the node announces it, and how it came into the record; in the order of `where`.
    let shown = || -> Vec<(String, bool, Value)> {
        let lines = site.hub.json(&["where", "laptop"], &[]).lines;
        let addresses = lines[0]["addresses"].as_array().unwrap().iter();
        let shown = addresses.map(|address| {
            let ip = address["address"].as_str().unwrap().to_owned();
            (ip, address["announced"] == true, address["origin"].clone())
        });
        shown.collect()
    };
    let exactly_the_advertised = || {
        let mut shown = shown();
        // The source of its messages is what the server observed: it comes last, and the node does not announce it.
        assert_eq!(
            shown.pop(),
            Some(("10.77.0.1".to_owned(), false, Value::Null))
        );
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            shown,
            ["2001:db8::7", "203.0.113.7"].map(|ip| (ip.to_owned(), true, "advertised".into()))
        );
    };
    exactly_the_advertised();
    // What changes on the interfaces changes nothing of it.
    site.laptop
        .ip(&["addr", "add", "10.77.0.99/24", "dev", "eth0"]);
    laptop.until("the node knows its new address", |status| {
        status["interfaces"].to_string().contains("10.77.0.99")
            && !status["servers"][0]["last_acknowledged"].is_null()
    });
    exactly_the_advertised();
    assert_eq!(
        laptop.status()["node"]["addresses"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
