use super::*;

/// An interface of these addresses, each with the length of its network prefix.
pub(crate) fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let address = |text: &&str| {
        let (ip, prefix) = text.split_once('/').unwrap();
        InterfaceAddress::new(ip.parse().unwrap(), prefix.parse().unwrap())
    };
    Interface {
        index,
        name: name.parse().unwrap(),
        up: true,
        loopback: name == "lo",
        multicast: true,
        broadcast: true,
        point_to_point: false,
        kind: None,
        addresses: addresses.iter().map(address).collect(),
    }
}

fn requester(addresses: &[&str]) -> Requester {
    Requester::new(
        vec![interface(2, "eth0", addresses)],
        PolicyTable::default(),
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

/// The addresses in the asker's order; a link-local one may have a zone.
fn ranked<'a>(requester: &Requester, addresses: &[&'a str]) -> Vec<&'a str> {
    let mut ranked = addresses.to_vec();
    ranked.sort_by_key(|text| {
        let (address, zone) = text
            .split_once('%')
            .map_or((*text, None), |(address, zone)| (address, Some(name(zone))));
        requester.merit(ip(address), zone)
    });
    ranked
}

#[test]
fn an_address_on_the_askers_network_comes_first() {
    let addresses = [
        "169.254.1.1",
        "10.9.0.5",
        "203.0.113.7",
        "192.168.1.20",
        "2001:db8::7",
        "127.0.0.1",
    ];
    let home = requester(&["127.0.0.1/8", "192.168.1.4/24", "2001:db8:1::4/64"]);
    assert_eq!(
        ranked(&home, &addresses),
        [
            "192.168.1.20",
            "2001:db8::7",
            "203.0.113.7",
            "10.9.0.5",
            "169.254.1.1",
            "127.0.0.1"
        ]
    );
    // Whatever the policy says of the others.
    let ula = requester(&["fd00:1::4/64", "192.168.1.4/24", "2001:db8:1::4/64"]);
    assert_eq!(
        ranked(&ula, &["2001:db8:9::7", "203.0.113.7", "fd00:1::7"])[0],
        "fd00:1::7"
    );
}

#[test]
fn of_two_on_the_askers_networks_the_policy_decides() {
    let home = requester(&["192.168.1.4/24", "2001:db8:1::4/64", "fd00:1::4/64"]);
    let addresses = ["192.168.1.20", "fd00:1::20", "2001:db8:1::20"];
    assert_eq!(
        ranked(&home, &addresses),
        ["2001:db8:1::20", "192.168.1.20", "fd00:1::20"]
    );
}

#[test]
fn an_asker_with_a_unique_local_address_alone_reaches_global_ones_by_ipv4() {
    let ula = requester(&["fe80::4/64", "fd00:1::4/64", "192.168.1.4/24"]);
    assert_eq!(
        ranked(&ula, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
    // As source and destination that suit each other, it goes before a global one that it does not suit.
    assert_eq!(
        ranked(&ula, &["2001:db8::7", "fd00:9::7"]),
        ["fd00:9::7", "2001:db8::7"]
    );
}

#[test]
fn an_asker_with_a_global_ipv6_address_prefers_ipv6() {
    let global = requester(&["2001:db8:1::4/64", "192.168.1.4/24"]);
    assert_eq!(
        ranked(&global, &["203.0.113.7", "2001:db8::7"]),
        ["2001:db8::7", "203.0.113.7"]
    );
    assert_eq!(
        ranked(&global, &["fd00:9::7", "203.0.113.7"]),
        ["203.0.113.7", "fd00:9::7"]
    );
}

#[test]
fn an_asker_without_ipv6_gets_it_after_ipv4() {
    let requester = requester(&["192.168.1.4/24", "fe80::1/64"]);
    assert_eq!(
        ranked(&requester, &["2001:db8::7", "fd00::7", "10.0.0.1"]),
        ["10.0.0.1", "2001:db8::7", "fd00::7"]
    );
}

#[test]
fn an_asker_without_ipv4_gets_it_after_ipv6() {
    let requester = requester(&["2001:db8:1::4/64", "fe80::1/64"]);
    assert_eq!(
        ranked(&requester, &["10.0.0.1", "fe80::7%eth0", "fd00::7"]),
        ["fd00::7", "fe80::7%eth0", "10.0.0.1"]
    );
}

#[test]
fn a_deprecated_address_of_the_asker_does_not_count_beside_another() {
    let deprecated = |addresses: &[&str]| {
        let mut interface = interface(2, "eth0", addresses);
        interface.addresses[0].deprecated = true;
        Requester::new(vec![interface], PolicyTable::default())
    };
    let renumbered = deprecated(&["2001:db8:1::4/64", "fd00:1::4/64", "192.168.1.4/24"]);
    assert_eq!(
        ranked(&renumbered, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
    let alone = deprecated(&["2001:db8:1::4/64", "192.168.1.4/24"]);
    assert_eq!(
        ranked(&alone, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
}

#[test]
fn the_administrators_table_decides_between_the_families() {
    let interfaces = vec![interface(
        2,
        "eth0",
        &["2001:db8:1::4/64", "192.168.1.4/24"],
    )];
    let ipv4_first = PolicyTable::parse("precedence ::ffff:0:0/96 100\n");
    let requester = Requester::new(interfaces, ipv4_first);
    assert_eq!(
        ranked(&requester, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
    assert_eq!(
        ranked(&requester, &["2001:db8:1::20", "192.168.1.20"]),
        ["192.168.1.20", "2001:db8:1::20"]
    );
    assert_eq!(
        ranked(&requester, &["203.0.113.7", "2001:db8:1::20"])[0],
        "2001:db8:1::20",
        "the same subnet is first"
    );
}

#[test]
fn a_link_local_address_without_its_zone_is_last_but_for_loopback() {
    let home = requester(&["192.168.1.4/24", "fe80::1/64"]);
    let addresses = [
        "127.0.0.1",
        "fe80::7",
        "fe80::8%eth0",
        "2001:db8::7",
        "10.9.0.5",
    ];
    assert_eq!(
        ranked(&home, &addresses),
        [
            "10.9.0.5",
            "fe80::8%eth0",
            "2001:db8::7",
            "fe80::7",
            "127.0.0.1"
        ]
    );
    // IPv4 has no zones: the asker has an address of that network, or not.
    assert_eq!(
        ranked(&home, &["169.254.7.7", "2001:db8::7"]),
        ["2001:db8::7", "169.254.7.7"]
    );
    let cable = requester(&["169.254.1.1/16", "fe80::1/64"]);
    assert_eq!(
        ranked(&cable, &["2001:db8::7", "169.254.7.7"]),
        ["169.254.7.7", "2001:db8::7"]
    );
}

#[test]
fn addresses_that_are_alike_keep_the_nodes_order() {
    let home = requester(&["192.168.1.4/24", "2001:db8:1::4/64"]);
    for addresses in [
        ["2001:db8:1::a", "2001:db8:1::9"],
        ["10.1.0.1", "10.0.0.1"],
        ["2001:db8:7::1", "2001:db8:1:f::1"],
    ] {
        assert_eq!(ranked(&home, &addresses), addresses);
        let turned = [addresses[1], addresses[0]];
        assert_eq!(ranked(&home, &turned), turned);
    }
}

#[test]
fn an_address_that_the_asker_has_itself_is_no_neighbour() {
    let requester = requester(&["172.17.0.1/16", "192.168.1.4/24", "fe80::1/64"]);
    assert!(!requester.shares_subnet(ip("172.17.0.1")));
    assert!(requester.shares_subnet(ip("172.17.0.2")));
    assert!(!requester.shares_subnet(ip("fe80::2")));
}

#[test]
fn what_is_down_or_tentative_counts_for_nothing() {
    let mut down = interface(2, "eth0", &["10.0.0.4/24"]);
    down.up = false;
    let mut tentative = interface(3, "eth1", &["2001:db8:1::4/64"]);
    tentative.addresses[0].tentative = true;
    let requester = Requester::new(vec![down, tentative], PolicyTable::default());
    for address in ["10.0.0.7", "2001:db8:1::7"] {
        assert_eq!(requester.merit(ip(address), None).reach(), Reach::NoSource);
    }
}

/// The zone of each of a node's addresses: its text, and the node's interface that holds it.
fn zones(
    requester: &Requester,
    addresses: &[(&str, &str)],
    source: Option<&str>,
) -> Vec<Option<String>> {
    let addresses = addresses
        .iter()
        .map(|(address, interface)| (ip(address), Some(name(interface))));
    let links = requester.links(
        addresses.clone(),
        source.map(|source| source.parse().unwrap()),
    );
    addresses
        .map(|(ip, interface)| links.zone(ip, interface).map(|zone| zone.to_string()))
        .collect()
}

#[test]
fn the_zone_is_the_askers_interface_on_that_link() {
    let requester = Requester::new(
        vec![
            interface(2, "eth0", &["192.168.1.4/24", "fe80::1/64"]),
            interface(7, "wlan0", &["192.168.2.4/24", "fe80::1/64"]),
        ],
        PolicyTable::default(),
    );
    let eth0 = Some("eth0".to_owned());
    // By which interface the node's messages came; also for another address of the interface that they came from.
    assert_eq!(
        zones(
            &requester,
            &[("fe80::7", "enp3s0")],
            Some("[fe80::7%7]:24373")
        ),
        [Some("wlan0".to_owned())]
    );
    let wlan0 = Some("wlan0".to_owned());
    let two = [
        ("fe80::7", "enp3s0"),
        ("fe80::8", "enp3s0"),
        ("fe80::9", "enp4s0"),
    ];
    assert_eq!(
        zones(&requester, &two, Some("[fe80::7%7]:24373")),
        [wlan0.clone(), wlan0, None]
    );
    // By another address of the same interface, on a network of the asker.
    let both = [
        ("192.168.1.20", "enp3s0"),
        ("fe80::7", "enp3s0"),
        ("fe80::9", "enp4s0"),
    ];
    assert_eq!(
        zones(&requester, &both, Some("192.168.1.20:24373")),
        [None, eth0, None]
    );
    // Nothing tells: a server's word has no zone, and an interface that is not here is another machine's.
    assert_eq!(
        zones(&requester, &[("fe80::7", "eth0")], Some("[fe80::7]:24373")),
        [None]
    );
    assert_eq!(
        zones(
            &requester,
            &[("fe80::7", "eth0")],
            Some("[fe80::7%9]:24373")
        ),
        [None]
    );
    // Only link-local IPv6 has one.
    assert_eq!(
        zones(
            &requester,
            &[("169.254.7.7", "eth0"), ("192.168.1.20", "eth0")],
            None
        ),
        [None, None]
    );
}

#[test]
fn two_networks_that_look_the_same_tell_no_zone() {
    let twice = ["192.168.1.4/24", "fe80::1/64"];
    let interfaces = vec![
        interface(2, "eth0", &twice),
        interface(3, "eth1", &["192.168.1.5/24", "fe80::2/64"]),
    ];
    let requester = Requester::new(interfaces, PolicyTable::default());
    let node = [("192.168.1.20", "eth0"), ("fe80::7", "eth0")];
    assert_eq!(
        zones(&requester, &node, Some("192.168.1.20:24373")),
        [None, None]
    );
    // The way that its messages came by settles it.
    assert_eq!(
        zones(&requester, &node, Some("[fe80::7%3]:24373")),
        [None, Some("eth1".to_owned())]
    );
}
