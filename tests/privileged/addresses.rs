//! Which address of a node suits which requester, with both families: in network namespaces, with the real binary.
//!
//! Needs root, `ip` of iproute2, `python3` and `unshare`.

use std::fs;
use std::time::Instant;

use crate::namespaces::program::Machine;
use crate::namespaces::{LIMIT, Lab, Namespace};
use serde_json::Value;

/// By multicast alone, so that it learns what is on the link; a lease that is short enough to see a change soon.
const MULTICAST: &str = "discovery: { methods: [multicast] }\nregistry: { lease: 6s }";

/// Reaches an address, as any program does that takes it as text: no program listens there, and the machine itself refuses.
const REACH: &str = "
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 30)
except ConnectionRefusedError:
    sys.exit()
sys.exit('it is not there')
";

/// A machine plugged into bridges: for each its interface, the bridge and the interface's addresses.
fn machine(
    lab: &Lab,
    name: &str,
    role: &str,
    plugs: &[(&str, &str, &[&str])],
    more: &str,
) -> (Namespace, Machine) {
    let namespace = lab.namespace(name);
    for (interface, bridge, addresses) in plugs {
        lab.plug(&namespace, interface, bridge);
        for address in *addresses {
            namespace.ip(&["addr", "add", address, "dev", interface]);
        }
    }
    let machine = Machine::new(&namespace, name, role, &format!("{MULTICAST}\n{more}"));
    (namespace, machine)
}

/// The link-local IPv6 address of an interface.
fn link_local(namespace: &Namespace, interface: &str) -> String {
    let shown = namespace.text(&[
        "-6", "-o", "addr", "show", "dev", interface, "scope", "link",
    ]);
    let address = shown
        .split_whitespace()
        .find(|word| word.starts_with("fe80::"))
        .expect("it has one");
    address.split('/').next().unwrap().to_owned()
}

/// The addresses of `eth0` to which the kernel gave a flag.
fn flagged(namespace: &Namespace, flag: &str) -> Vec<String> {
    let shown = namespace.text(&[
        "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global", flag,
    ]);
    let addresses = shown
        .split_whitespace()
        .filter_map(|word| word.strip_suffix("/64"));
    addresses.map(str::to_owned).collect()
}

/// A node's own addresses as a machine gets them, in their order; not where its messages came from.
fn addresses(requester: &Machine, node: &str) -> Vec<Value> {
    let lines = requester.json(&["where", node], &[]).lines;
    let mut addresses = lines
        .first()
        .and_then(|line| line["addresses"].as_array().cloned())
        .unwrap_or_default();
    addresses.retain(|address| address["announced"] == true);
    addresses
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn texts(addresses: &[Value]) -> Vec<String> {
    addresses
        .iter()
        .map(|address| address["address"].as_str().unwrap().to_owned())
        .collect()
}

/// Asks until the answer is as wanted, and gives it.
fn until<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let answer = ask();
        if holds(&answer) {
            return answer;
        }
        assert!(
            started.elapsed() < LIMIT,
            "not within {LIMIT:?}: {what}: {answer:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_link_local_address_is_printed_with_the_requesters_own_zone_and_is_reached_by_it() {
    let lab = Lab::new();
    // The interfaces that share the link have another name on each, and each requester has a second link.
    let (hub_space, hub) = machine(
        &lab,
        "hub",
        "server",
        &[("lan1", "br1", &[]), ("lan0", "br0", &[])],
        "",
    );
    let (laptop_space, laptop) = machine(&lab, "laptop", "client", &[("eth0", "br0", &[])], "");
    let (tablet_space, tablet) = machine(
        &lab,
        "tablet",
        "client",
        &[("wlan1", "br1", &[]), ("wlan0", "br0", &[])],
        "",
    );
    let (phone_space, phone) = machine(
        &lab,
        "phone",
        "client",
        &[("usb1", "br1", &[]), ("usb0", "br0", &[])],
        "",
    );
    let _running = [hub.run(), laptop.run(), tablet.run()];
    laptop.registered();
    tablet.registered();
    let address = link_local(&laptop_space, "eth0");
    // A registry, a node without one, and no node at all.
    for (space, requester, interface) in [
        (&hub_space, &hub, "lan0"),
        (&tablet_space, &tablet, "wlan0"),
        (&phone_space, &phone, "usb0"),
    ] {
        // A server's word, where the laptop's own is late, has no zone.
        let first = || requester.plain(&["where", "laptop", "--first"]);
        let first = until(interface, first, |first| {
            *first == format!("{address}%{interface}")
        });
        space.exec(&["python3", "-c", REACH, &first]);
        assert_eq!(requester.plain(&["who", &first]), "laptop");
        let zoned =
            |shown: &Vec<Value>| shown.first().is_some_and(|first| !first["zone"].is_null());
        let told = until(interface, || addresses(requester, "laptop"), zoned);
        assert_eq!(
            (told.len(), &told[0]["address"]),
            (1, &address.as_str().into()),
            "{told:?}"
        );
        assert_eq!(
            (&told[0]["zone"], &told[0]["interface"]),
            (&interface.into(), &"eth0".into()),
            "{told:?}"
        );
    }
    // On another link than the laptop nothing makes its address one that could be used.
    let (_space, other) = machine(&lab, "other", "client", &[("usb0", "br1", &[])], "");
    assert_eq!(other.plain(&["where", "laptop", "--first"]), address);
    assert_eq!(addresses(&other, "laptop")[0]["zone"], Value::Null);
}

#[test]
fn a_link_local_address_beside_another_one_has_the_zone_of_the_link_that_they_share() {
    let lab = Lab::new();
    let (_space, hub) = machine(
        &lab,
        "hub",
        "server",
        &[("lan0", "br0", &["10.77.0.2/24"])],
        "",
    );
    let both = "interfaces: { addresses: { link_local: true } }";
    let (space, laptop) = machine(
        &lab,
        "laptop",
        "client",
        &[("eth0", "br0", &["10.77.0.1/24"])],
        both,
    );
    let _running = [hub.run(), laptop.run()];
    laptop.registered();
    let (_space, phone) = machine(
        &lab,
        "phone",
        "client",
        &[("usb1", "br1", &[]), ("usb0", "br0", &["10.77.0.3/24"])],
        "",
    );
    let zoned = |interface| format!("10.77.0.1\n{}%{interface}", link_local(&space, "eth0"));
    assert_eq!(phone.plain(&["where", "laptop"]), zoned("usb0"));
    assert_eq!(hub.plain(&["where", "laptop"]), zoned("lan0"));
}

#[test]
fn a_node_on_two_networks_is_shown_to_each_by_its_address_there() {
    let lab = Lab::new();
    let plugs: [(&str, &str, &[&str]); 2] = [
        ("eth0", "br0", &["10.1.0.7/24", "2001:db8:1::7/64"]),
        ("eth1", "br1", &["10.2.0.7/24", "2001:db8:2::7/64"]),
    ];
    let (_space, nas) = machine(&lab, "nas", "both", &plugs, "");
    let _nas = nas.run();
    for (bridge, own, first, last) in [
        ("br0", "10.1.0.1/24", "10.1.0.7", "10.2.0.7"),
        ("br1", "10.2.0.1/24", "10.2.0.7", "10.1.0.7"),
        ("br0", "2001:db8:1::1/64", "2001:db8:1::7", "2001:db8:2::7"),
        ("br1", "2001:db8:2::1/64", "2001:db8:2::7", "2001:db8:1::7"),
    ] {
        let (_space, requester) =
            machine(&lab, "requester", "client", &[("eth0", bridge, &[own])], "");
        assert_eq!(
            requester.plain(&["where", "nas", "--first"]),
            first,
            "asked from {own}"
        );
        let told = addresses(&requester, "nas");
        let near: Vec<_> = told
            .iter()
            .map(|address| address["same_subnet"] == true)
            .collect();
        assert_eq!(near, [true, false, false, false], "{told:?}");
        assert_eq!(
            told[1]["address"], last,
            "then an address of a family that the requester has: {told:?}"
        );
    }
}

#[test]
fn an_address_that_the_kernel_deprecates_or_will_replace_is_never_first_beside_a_lasting_one() {
    let lab = Lab::new();
    let (_space, hub) = machine(
        &lab,
        "hub",
        "server",
        &[("eth0", "br0", &["2001:db8:1::2/64"])],
        "",
    );
    let space = lab.namespace("laptop");
    lab.plug(&space, "eth0", "br0");
    space.sysctl("net.ipv6.conf.eth0.use_tempaddr", "2");
    // Those that must not be first are there first.
    space.ip(&[
        "addr",
        "add",
        "2001:db8:1::dead/64",
        "dev",
        "eth0",
        "preferred_lft",
        "0",
    ]);
    space.ip(&[
        "addr",
        "add",
        "2001:db8:1::1/64",
        "dev",
        "eth0",
        "mngtmpaddr",
    ]);
    let made = || flagged(&space, "temporary");
    let temporary = until("the kernel made a temporary address", made, |made| {
        made.len() == 1
    });
    assert_eq!(flagged(&space, "deprecated"), ["2001:db8:1::dead"]);
    let laptop = Machine::new(&space, "laptop", "client", MULTICAST);
    let _running = [hub.run(), laptop.run()];
    laptop.registered();
    let lasting = "2001:db8:1::1".to_owned();
    let wanted = vec![lasting.clone(), temporary[0].clone()];
    assert_eq!(
        texts(laptop.status()["node"]["addresses"].as_array().unwrap()),
        wanted
    );
    assert_eq!(texts(&addresses(&hub, "laptop")), wanted);
}

#[test]
fn a_temporary_address_is_announced_where_the_lasting_one_turned_out_to_be_another_hosts() {
    let lab = Lab::new();
    let plugs: [(&str, &str, &[&str]); 1] =
        [("eth0", "br0", &["2001:db8:1::2/64", "2001:db8:1::1/64"])];
    let (_space, hub) = machine(&lab, "hub", "server", &plugs, "");
    let space = lab.namespace("laptop");
    lab.plug(&space, "eth0", "br0");
    space.sysctl("net.ipv6.conf.eth0.use_tempaddr", "2");
    space.sysctl("net.ipv6.conf.eth0.accept_dad", "1");
    space.ip(&[
        "addr",
        "add",
        "2001:db8:1::1/64",
        "dev",
        "eth0",
        "mngtmpaddr",
    ]);
    until(
        "the duplicate is found",
        || flagged(&space, "dadfailed"),
        |failed| failed == &["2001:db8:1::1"],
    );
    let laptop = Machine::new(&space, "laptop", "client", MULTICAST);
    let _running = [hub.run(), laptop.run()];
    laptop.registered();
    let temporary = flagged(&space, "temporary");
    assert_eq!(temporary.len(), 1);
    until(
        "it is announced",
        || texts(&addresses(&hub, "laptop")),
        |told| *told == temporary,
    );
}

#[test]
fn a_node_of_both_families_is_shown_and_found_by_both() {
    let lab = Lab::new();
    let (_space, hub) = machine(
        &lab,
        "hub",
        "server",
        &[(
            "eth0",
            "br0",
            &["10.77.0.2/24", "2001:db8:1::2/64", "fd77::2/64"],
        )],
        "",
    );
    let own: &[&str] = &["10.77.0.1/24", "2001:db8:1::1/64", "fd77::1/64"];
    let (_space, laptop) = machine(&lab, "laptop", "client", &[("eth0", "br0", own)], "");
    let _running = [hub.run(), laptop.run()];
    laptop.registered();
    let (_space, phone) = machine(
        &lab,
        "phone",
        "client",
        &[(
            "eth0",
            "br0",
            &["10.77.0.3/24", "2001:db8:1::3/64", "fd77::3/64"],
        )],
        "",
    );
    let own = sorted(
        own.iter()
            .map(|address| address.split('/').next().unwrap().to_owned())
            .collect(),
    );
    for requester in [&hub, &laptop, &phone] {
        let nodes = requester.json(&["nodes"], &[]).lines;
        let laptop = nodes.iter().find(|node| node["name"] == "laptop").unwrap();
        assert_eq!(
            sorted(texts(laptop["addresses"].as_array().unwrap())),
            own,
            "{laptop}"
        );
        for address in &own {
            let holders = requester.json(&["who", address], &[]).lines;
            let holder = holders
                .first()
                .unwrap_or_else(|| panic!("no interface has {address}"));
            assert_eq!(
                (&holder["node"]["name"], &holder["current"]),
                (&"laptop".into(), &true.into()),
                "{holder}"
            );
            assert_eq!(
                sorted(texts(holder["node"]["addresses"].as_array().unwrap())),
                own,
                "{holder}"
            );
        }
    }
    // Best first for the requester: the platform's policy, which the administrator may change.
    let by_default = ["2001:db8:1::1", "10.77.0.1", "fd77::1"];
    assert_eq!(texts(&addresses(&hub, "laptop")), by_default);
    assert_eq!(texts(&addresses(&phone, "laptop")), by_default);
    // A directory in the place of `/etc`, which may have no such file, for this program alone.
    let etc = phone.directory().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(
        etc.join("gai.conf"),
        "precedence ::ffff:0:0/96 100\nprecedence fc00::/7 50\n",
    )
    .unwrap();
    let with_table = format!("mount --bind {} /etc && exec \"$@\"", etc.display());
    let phone = phone.within(&["unshare", "--mount", "sh", "-c", &with_table, "sh"]);
    assert_eq!(
        texts(&addresses(&phone, "laptop")),
        ["10.77.0.1", "fd77::1", "2001:db8:1::1"]
    );
}

#[test]
fn a_session_and_a_file_go_by_ipv6_alone() {
    let lab = Lab::new();
    let offer = "files: { offer: [{ name: f, path: offered }] }";
    let (_space, hub) = machine(
        &lab,
        "hub",
        "server",
        &[("eth0", "br0", &["2001:db8:1::2/64"])],
        offer,
    );
    fs::write(hub.directory().join("offered"), "the first").unwrap();
    let accept = "files: { spread: 0s, accept: [{ name: f, path: taken }] }";
    let (_space, laptop) = machine(
        &lab,
        "laptop",
        "client",
        &[("eth0", "br0", &["2001:db8:1::1/64"])],
        accept,
    );
    let (_space, phone) = machine(
        &lab,
        "phone",
        "client",
        &[("eth0", "br0", &["2001:db8:1::3/64"])],
        "",
    );
    let _running = [hub.run(), laptop.run()];
    laptop.registered();
    let taken = laptop.directory().join("state/taken");
    until(
        "the file came",
        || fs::read_to_string(&taken).unwrap_or_default(),
        |taken| taken == "the first",
    );
    fs::write(hub.directory().join("offered"), "the second").unwrap();
    let pushed = hub.json(&["push", "f"], &[]);
    assert_eq!(
        (pushed.code, &pushed.lines.last().unwrap()["state"]),
        (Some(0), &"done".into()),
        "{:?}",
        pushed.lines
    );
    assert_eq!(fs::read_to_string(&taken).unwrap(), "the second");
    let pulled = laptop.json(&["pull", "f"], &[]);
    assert_eq!(
        (pulled.code, &pulled.lines.last().unwrap()["state"]),
        (Some(0), &"done".into()),
        "{:?}",
        pulled.lines
    );
    // No node runs there: a server is asked over a session.
    let nodes = phone.json(&["nodes"], &[]).lines;
    let laptops = nodes.iter().find(|node| node["name"] == "laptop").unwrap();
    assert_eq!(
        texts(laptops["addresses"].as_array().unwrap()),
        ["2001:db8:1::1"]
    );
    let history = phone.json(&["history", "laptop"], &[]).lines;
    assert!(
        history
            .iter()
            .any(|interval| interval["address"] == "2001:db8:1::1"),
        "{history:?}"
    );
    let counters = &hub.status()["counters"]["sessions"];
    assert!(
        counters["opened"].as_u64() >= Some(3) && counters["pulls"].as_u64() >= Some(2),
        "{counters}"
    );
}
