use super::*;
use crate::cli::tests::node;
use crate::net::rank::{PolicyTable, interface};

fn home() -> AddressSelector {
    AddressSelector::new(
        vec![interface(2, "wlan0", &["192.168.1.4/24", "fe80::4/64"])],
        PolicyTable::default(),
    )
}

fn order(found: &Location) -> Vec<String> {
    found.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn address_on_a_subnet_of_this_machine_is_first() {
    let mut node = node("laptop", &["203.0.113.7", "10.9.0.5", "192.168.1.20"]);
    node.source = None;
    let found = now(&node, &home());
    assert_eq!(order(&found), ["192.168.1.20", "203.0.113.7", "10.9.0.5"]);
    assert!(found.addresses[0].same_subnet && !found.addresses[1].same_subnet);
}

#[test]
fn source_that_is_not_announced_is_last() {
    let mut node = node("laptop", &["10.9.0.5"]);
    node.source = Some("[::ffff:192.168.1.20]:4000".parse().unwrap());
    let found = now(&node, &home());
    assert_eq!(order(&found), ["10.9.0.5", "192.168.1.20"]);
    assert!(found.addresses[1].seen && !found.addresses[1].announced);
}

#[test]
fn source_that_is_announced_is_one_place() {
    let mut node = node("laptop", &["10.9.0.5", "192.168.1.20"]);
    node.source = Some("10.9.0.5:24373".parse().unwrap());
    let found = now(&node, &home());
    assert_eq!(order(&found), ["192.168.1.20", "10.9.0.5"]);
    assert_eq!(
        found
            .addresses
            .iter()
            .map(|place| place.seen)
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn intervals_of_one_address_are_one_place() {
    let interval = |address: &str, evidence| HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([7; 32]),
        address: address.parse().unwrap(),
        evidence,
        from: Timestamp(1),
        to: None,
        lost_by: None,
    };
    let intervals = [
        interval("203.0.113.7", Evidence::Observed),
        interval("192.168.1.20", Evidence::Observed),
        interval("192.168.1.20", Evidence::Announced),
    ];
    let found = at(&intervals, Timestamp(5), &home()).unwrap();
    assert_eq!(order(&found), ["192.168.1.20", "203.0.113.7"]);
    assert!(found.addresses[0].announced && found.addresses[0].seen);
    assert_eq!(found.at, Some(Timestamp(5)));
    assert_eq!(at(&[], Timestamp(5), &home()), None);
}

#[test]
fn place_is_probable_only_if_no_interval_is_certain() {
    let interval = |address: &str, evidence, to| HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([7; 32]),
        address: address.parse().unwrap(),
        evidence,
        from: Timestamp(1),
        to: Some(Timestamp(to)),
        lost_by: Some(Timestamp(9)),
    };
    let intervals = [
        interval("192.168.1.20", Evidence::Observed, 3),
        interval("192.168.1.20", Evidence::Announced, 5),
        interval("192.168.1.21", Evidence::Announced, 3),
    ];
    let probable = |time| -> Vec<_> {
        let found = at(&intervals, Timestamp(time), &home()).unwrap();
        found.addresses.iter().map(|place| place.probable).collect()
    };
    assert_eq!(probable(3), [false, false]);
    assert_eq!(probable(5), [false, true]);
    assert_eq!(probable(6), [true, true]);
}

#[test]
fn link_local_address_without_zone_is_never_first_beside_another() {
    let mut node = node("laptop", &["fe80::7"]);
    node.source = Some("[fe80::7%2]:24373".parse().unwrap());
    let found = now(&node, &home());
    assert_eq!(order(&found), ["fe80::7%wlan0"]);
    assert!(found.addresses[0].seen && found.addresses[0].announced);
    // Its messages came from another address, such as that of a router: that one can be used.
    node.source = Some("203.0.113.7:4000".parse().unwrap());
    assert_eq!(order(&now(&node, &home())), ["203.0.113.7", "fe80::7"]);
    node.source = None;
    assert_eq!(order(&now(&node, &home())), ["fe80::7"]);
}

#[test]
fn link_local_source_that_is_not_announced_has_a_zone() {
    let mut node = node("laptop", &["10.9.0.5"]);
    node.source = Some("[fe80::7%2]:24373".parse().unwrap());
    assert_eq!(order(&now(&node, &home())), ["10.9.0.5", "fe80::7%wlan0"]);
}
