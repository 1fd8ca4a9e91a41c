use super::*;

/// An interface with these addresses, each with the length of its network prefix.
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

fn selector(addresses: &[&str]) -> AddressSelector {
    AddressSelector::new(
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

/// The addresses in the order of the selector; a link-local one may have a zone.
fn ranked<'a>(selector: &AddressSelector, addresses: &[&'a str]) -> Vec<&'a str> {
    let mut ranked = addresses.to_vec();
    ranked.sort_by_key(|text| {
        let (address, zone) = text
            .split_once('%')
            .map_or((*text, None), |(address, zone)| (address, Some(name(zone))));
        selector.rank(ip(address), zone)
    });
    ranked
}

#[test]
fn address_on_a_network_of_this_machine_comes_first() {
    let addresses = [
        "169.254.1.1",
        "10.9.0.5",
        "203.0.113.7",
        "192.168.1.20",
        "2001:db8::7",
        "127.0.0.1",
    ];
    let home = selector(&["127.0.0.1/8", "192.168.1.4/24", "2001:db8:1::4/64"]);
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
    // The policy does not change that.
    let ula = selector(&["fd00:1::4/64", "192.168.1.4/24", "2001:db8:1::4/64"]);
    assert_eq!(
        ranked(&ula, &["2001:db8:9::7", "203.0.113.7", "fd00:1::7"])[0],
        "fd00:1::7"
    );
}

#[test]
fn policy_decides_between_two_addresses_on_networks_of_this_machine() {
    let home = selector(&["192.168.1.4/24", "2001:db8:1::4/64", "fd00:1::4/64"]);
    let addresses = ["192.168.1.20", "fd00:1::20", "2001:db8:1::20"];
    assert_eq!(
        ranked(&home, &addresses),
        ["2001:db8:1::20", "192.168.1.20", "fd00:1::20"]
    );
}

#[test]
fn global_addresses_are_reached_by_ipv4_with_only_a_unique_local_source() {
    let ula = selector(&["fe80::4/64", "fd00:1::4/64", "192.168.1.4/24"]);
    assert_eq!(
        ranked(&ula, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
    // A unique local destination has the label of the source, and goes before a global one with
    // another label.
    assert_eq!(
        ranked(&ula, &["2001:db8::7", "fd00:9::7"]),
        ["fd00:9::7", "2001:db8::7"]
    );
}

#[test]
fn ipv6_is_preferred_with_a_global_ipv6_source() {
    let global = selector(&["2001:db8:1::4/64", "192.168.1.4/24"]);
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
fn ipv6_comes_after_ipv4_without_an_ipv6_source() {
    let selector = selector(&["192.168.1.4/24", "fe80::1/64"]);
    assert_eq!(
        ranked(&selector, &["2001:db8::7", "fd00::7", "10.0.0.1"]),
        ["10.0.0.1", "2001:db8::7", "fd00::7"]
    );
}

#[test]
fn ipv4_comes_after_ipv6_without_an_ipv4_source() {
    let selector = selector(&["2001:db8:1::4/64", "fe80::1/64"]);
    assert_eq!(
        ranked(&selector, &["10.0.0.1", "fe80::7%eth0", "fd00::7"]),
        ["fd00::7", "fe80::7%eth0", "10.0.0.1"]
    );
}

#[test]
fn deprecated_source_does_not_count_beside_another() {
    let deprecated = |addresses: &[&str]| {
        let mut interface = interface(2, "eth0", addresses);
        interface.addresses[0].deprecated = true;
        AddressSelector::new(vec![interface], PolicyTable::default())
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
fn table_of_the_administrator_decides_between_the_families() {
    let interfaces = vec![interface(
        2,
        "eth0",
        &["2001:db8:1::4/64", "192.168.1.4/24"],
    )];
    let ipv4_first = PolicyTable::parse("precedence ::ffff:0:0/96 100\n");
    let selector = AddressSelector::new(interfaces, ipv4_first);
    assert_eq!(
        ranked(&selector, &["2001:db8::7", "203.0.113.7"]),
        ["203.0.113.7", "2001:db8::7"]
    );
    assert_eq!(
        ranked(&selector, &["2001:db8:1::20", "192.168.1.20"]),
        ["192.168.1.20", "2001:db8:1::20"]
    );
    assert_eq!(
        ranked(&selector, &["203.0.113.7", "2001:db8:1::20"])[0],
        "2001:db8:1::20",
        "the same subnet is first"
    );
}

#[test]
fn link_local_address_without_zone_is_last_but_for_loopback() {
    let home = selector(&["192.168.1.4/24", "fe80::1/64"]);
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
    // IPv4 has no zones: this machine has an address of that network, or it has none.
    assert_eq!(
        ranked(&home, &["169.254.7.7", "2001:db8::7"]),
        ["2001:db8::7", "169.254.7.7"]
    );
    let cable = selector(&["169.254.1.1/16", "fe80::1/64"]);
    assert_eq!(
        ranked(&cable, &["2001:db8::7", "169.254.7.7"]),
        ["169.254.7.7", "2001:db8::7"]
    );
}

#[test]
fn equal_addresses_keep_the_order_of_the_node() {
    let home = selector(&["192.168.1.4/24", "2001:db8:1::4/64"]);
    for addresses in [
        ["2001:db8:1::a", "2001:db8:1::9"],
        ["10.1.0.1", "10.0.0.1"],
        ["2001:db8:7::1", "2001:db8:1:f::1"],
    ] {
        assert_eq!(ranked(&home, &addresses), addresses);
        let reversed = [addresses[1], addresses[0]];
        assert_eq!(ranked(&home, &reversed), reversed);
    }
}

#[test]
fn own_address_of_this_machine_shares_no_subnet() {
    let selector = selector(&["172.17.0.1/16", "192.168.1.4/24", "fe80::1/64"]);
    assert!(!selector.shares_subnet(ip("172.17.0.1")));
    assert!(selector.shares_subnet(ip("172.17.0.2")));
    assert!(!selector.shares_subnet(ip("fe80::2")));
}

#[test]
fn interface_that_is_down_and_tentative_address_do_not_count() {
    let mut down = interface(2, "eth0", &["10.0.0.4/24"]);
    down.up = false;
    let mut tentative = interface(3, "eth1", &["2001:db8:1::4/64"]);
    tentative.addresses[0].tentative = true;
    let selector = AddressSelector::new(vec![down, tentative], PolicyTable::default());
    for address in ["10.0.0.7", "2001:db8:1::7"] {
        assert_eq!(selector.rank(ip(address), None).reach(), Reach::NoSource);
    }
}

/// The zone of each of a node's addresses: its text, and the node's interface that holds it.
fn zones(
    selector: &AddressSelector,
    addresses: &[(&str, &str)],
    source: Option<&str>,
) -> Vec<Option<String>> {
    let addresses = addresses
        .iter()
        .map(|(address, interface)| (ip(address), Some(name(interface))));
    let links = selector.links(
        addresses.clone(),
        source.map(|source| source.parse().unwrap()),
    );
    addresses
        .map(|(ip, interface)| links.zone(ip, interface).map(|zone| zone.to_string()))
        .collect()
}

#[test]
fn zone_is_the_interface_of_this_machine_on_that_link() {
    let selector = AddressSelector::new(
        vec![
            interface(2, "eth0", &["192.168.1.4/24", "fe80::1/64"]),
            interface(7, "wlan0", &["192.168.2.4/24", "fe80::1/64"]),
        ],
        PolicyTable::default(),
    );
    let eth0 = Some("eth0".to_owned());
    // The interface that received the node's messages; also for another address of the interface
    // that they came from.
    assert_eq!(
        zones(
            &selector,
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
        zones(&selector, &two, Some("[fe80::7%7]:24373")),
        [wlan0.clone(), wlan0, None]
    );
    // Another address of the same interface is on a network of this machine.
    let both = [
        ("192.168.1.20", "enp3s0"),
        ("fe80::7", "enp3s0"),
        ("fe80::9", "enp4s0"),
    ];
    assert_eq!(
        zones(&selector, &both, Some("192.168.1.20:24373")),
        [None, eth0, None]
    );
    // Unknown: a source that a server reports has no zone, and an index without an interface is of
    // another machine.
    assert_eq!(
        zones(&selector, &[("fe80::7", "eth0")], Some("[fe80::7]:24373")),
        [None]
    );
    assert_eq!(
        zones(&selector, &[("fe80::7", "eth0")], Some("[fe80::7%9]:24373")),
        [None]
    );
    // Only link-local IPv6 has a zone.
    assert_eq!(
        zones(
            &selector,
            &[("169.254.7.7", "eth0"), ("192.168.1.20", "eth0")],
            None
        ),
        [None, None]
    );
}

#[test]
fn two_networks_that_look_the_same_give_no_zone() {
    let twice = ["192.168.1.4/24", "fe80::1/64"];
    let interfaces = vec![
        interface(2, "eth0", &twice),
        interface(3, "eth1", &["192.168.1.5/24", "fe80::2/64"]),
    ];
    let selector = AddressSelector::new(interfaces, PolicyTable::default());
    let node = [("192.168.1.20", "eth0"), ("fe80::7", "eth0")];
    assert_eq!(
        zones(&selector, &node, Some("192.168.1.20:24373")),
        [None, None]
    );
    // The interface that received its messages decides.
    assert_eq!(
        zones(&selector, &node, Some("[fe80::7%3]:24373")),
        [None, Some("eth1".to_owned())]
    );
}
