use super::*;
use crate::cli::rank::interface;
use crate::cli::tests::node;

fn home() -> Requester {
    Requester::new(
        vec![interface(2, "wlan0", &["192.168.1.4/24", "fe80::4/64"])],
        PolicyTable::default(),
    )
}

fn order(found: &Whereabouts) -> Vec<String> {
    found.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn first_is_the_address_on_the_askers_subnet() {
    let mut node = node("laptop", &["203.0.113.7", "10.9.0.5", "192.168.1.20"]);
    node.source = None;
    let found = now_at(&node, &home());
    assert_eq!(order(&found), ["192.168.1.20", "203.0.113.7", "10.9.0.5"]);
    assert!(found.addresses[0].same_subnet && !found.addresses[1].same_subnet);
}

#[test]
fn a_source_that_is_not_announced_stands_last() {
    let mut node = node("laptop", &["10.9.0.5"]);
    node.source = Some("[::ffff:192.168.1.20]:4000".parse().unwrap());
    let found = now_at(&node, &home());
    assert_eq!(order(&found), ["10.9.0.5", "192.168.1.20"]);
    assert!(found.addresses[1].seen && !found.addresses[1].announced);
}

#[test]
fn a_source_that_is_announced_is_one_place() {
    let mut node = node("laptop", &["10.9.0.5", "192.168.1.20"]);
    node.source = Some("10.9.0.5:24373".parse().unwrap());
    let found = now_at(&node, &home());
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
    let interval = |address: &str, seen| HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([7; 32]),
        address: address.parse().unwrap(),
        seen,
        from: Timestamp(1),
        to: None,
    };
    let intervals = [
        interval("203.0.113.7", Seen::Observed),
        interval("192.168.1.20", Seen::Observed),
        interval("192.168.1.20", Seen::Announced),
    ];
    let found = then_at(&intervals, Timestamp(5), &home()).unwrap();
    assert_eq!(order(&found), ["192.168.1.20", "203.0.113.7"]);
    assert!(found.addresses[0].announced && found.addresses[0].seen);
    assert_eq!(found.at, Some(Timestamp(5)));
    assert_eq!(then_at(&[], Timestamp(5), &home()), None);
}

#[test]
fn a_link_local_address_has_the_askers_zone_or_is_never_first_beside_another() {
    let mut node = node("laptop", &["fe80::7"]);
    node.source = Some("[fe80::7%2]:24373".parse().unwrap());
    let found = now_at(&node, &home());
    assert_eq!(order(&found), ["fe80::7%wlan0"]);
    assert!(found.addresses[0].seen && found.addresses[0].announced);
    // Seen from elsewhere, through a router say: that at least can be used.
    node.source = Some("203.0.113.7:4000".parse().unwrap());
    assert_eq!(order(&now_at(&node, &home())), ["203.0.113.7", "fe80::7"]);
    node.source = None;
    assert_eq!(order(&now_at(&node, &home())), ["fe80::7"]);
}

#[test]
fn a_link_local_source_that_is_not_announced_has_its_zone_too() {
    let mut node = node("laptop", &["10.9.0.5"]);
    node.source = Some("[fe80::7%2]:24373".parse().unwrap());
    assert_eq!(
        order(&now_at(&node, &home())),
        ["10.9.0.5", "fe80::7%wlan0"]
    );
}
