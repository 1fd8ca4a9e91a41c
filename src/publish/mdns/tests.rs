use std::net::IpAddr;

use super::browse::{MAX_ADDRESSES_PER_SERVICE, candidates};
use super::service::faces_internet;
use super::*;
use crate::model::PublicationState;
use crate::net::InterfaceAddress;
use crate::net::mdns::AnnouncedService;

fn found(text: &[(&str, &str)], addresses: &[&str]) -> FoundService {
    let text = text
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let addresses = addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    FoundService {
        name: "x._hereabouts._udp.local.".to_owned(),
        addresses,
        text,
    }
}

fn link() -> Vec<InterfaceAddress> {
    vec![
        InterfaceAddress::new("10.0.0.1".parse().unwrap(), 24),
        InterfaceAddress::new("fe80::1".parse().unwrap(), 64),
    ]
}

#[test]
fn candidates_are_on_the_link_and_no_clients() {
    let all = [
        "10.0.0.7:24373",
        "192.0.2.1:24373",
        "10.0.0.8:0",
        "[fe80::7%3]:24373",
        "[fe80::7%4]:24373",
    ];
    let texts = |found: &FoundService| {
        candidates(found, &link(), 3)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&found(&[], &all)),
        ["10.0.0.7:24373", "[fe80::7%3]:24373"]
    );
    assert_eq!(texts(&found(&[("Hereabouts", "server")], &all)).len(), 2);
    assert!(texts(&found(&[("hereabouts", "client")], &all)).is_empty());
}

#[test]
fn conflict_reports_name_addresses_and_remedy() {
    let text = report::conflict("hub.local", &["10.0.0.9".parse().unwrap()]);
    for part in ["hub.local", "10.0.0.9", "node.name"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn host_on_the_internet_is_not_announced_by_default() {
    let facing = |texts: &[&str]| {
        let addresses = texts
            .iter()
            .map(|text| InterfaceAddress::new(text.parse().unwrap(), 24));
        faces_internet(&addresses.collect::<Vec<_>>())
    };
    assert!(facing(&["10.0.0.1", "203.0.113.7"]));
    assert!(
        !facing(&["192.168.1.2", "2001:db8::7", "fe80::1"]),
        "a home has global IPv6 addresses as well"
    );
    assert!(
        !facing(&["2001:db8::7", "fd00::7", "fe80::1"]),
        "a home without IPv4"
    );
    assert!(
        facing(&["2001:db8::7", "fe80::1"]),
        "a rented machine without IPv4"
    );
    assert!(
        facing(&["2001:db8::7", "169.254.1.2"]),
        "an IPv4 link-local address is no private address"
    );
    assert!(!facing(&["fe80::1"]) && !facing(&["169.254.1.2"]) && !facing(&[]));
}

#[test]
fn candidates_are_limited_after_those_off_the_link_are_dropped() {
    let far: Vec<_> = (0..40).map(|n| format!("192.0.2.{n}:24373")).collect();
    let mut all: Vec<_> = far.iter().map(String::as_str).collect();
    all.push("10.0.0.7:24373");
    let returned = candidates(&found(&[], &all), &link(), 3);
    assert_eq!(
        returned.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.7:24373"]
    );
    let near: Vec<_> = (0..40).map(|n| format!("10.0.0.{n}:24373")).collect();
    let near: Vec<_> = near.iter().map(String::as_str).collect();
    assert_eq!(
        candidates(&found(&[], &near), &link(), 3).len(),
        MAX_ADDRESSES_PER_SERVICE
    );
}

fn settings(name: &str) -> MdnsSettings {
    MdnsSettings {
        service: "_hereabouts._udp".into(),
        name: NodeName::parse(name).unwrap(),
        port: 24373,
        role: Role::Server,
        publishes: true,
        advertises: true,
        hidden: false,
    }
}

fn policy() -> Policy {
    let include = vec!["*".parse().unwrap()];
    Policy {
        include,
        exclude: Vec::new(),
        ipv4: true,
        ipv6: true,
        link_local: false,
        loopback: false,
    }
}

fn interface(index: u32, addresses: &[&str]) -> Interface {
    Interface {
        index,
        name: InterfaceName::parse(&format!("eth{index}")).unwrap(),
        up: true,
        loopback: false,
        multicast: true,
        broadcast: true,
        point_to_point: false,
        kind: None,
        addresses: addresses
            .iter()
            .map(|ip| InterfaceAddress::new(ip.parse().unwrap(), 24))
            .collect(),
    }
}

fn at(seconds: u64) -> Now {
    Now {
        elapsed: Duration::from_secs(seconds),
        wall: crate::model::Timestamp(1_795_150_000_000 + seconds * 1000),
    }
}

fn receive(mdns: &mut Mdns, seconds: u64, what: LinkEventKind) {
    mdns.on_event(at(seconds), LinkEvent { interface: 1, what });
}

/// Takes the interfaces, and publishes the addresses of the first one there. Its link never runs,
/// because nothing awaits it: the test makes up what it receives.
fn update(mdns: &mut Mdns, seconds: u64, interfaces: &[Interface]) {
    mdns.update(at(seconds), interfaces, &policy());
    let addresses = policy()
        .on_link(&interfaces[0])
        .into_iter()
        .map(|ip| crate::model::Address {
            ip,
            interface: Some(interfaces[0].name),
            origin: crate::model::Origin::Interface,
        });
    let publication = Publication {
        name: mdns.settings.name.clone(),
        port: 24373,
        role: Role::Server,
        labels: crate::model::Labels::default(),
        addresses: addresses.collect(),
    };
    mdns.links.get_mut(&1).unwrap().wanted = Some(publication);
    mdns.follow();
}

/// A node that holds the name on one interface, where no other host has it.
fn holding(name: &str) -> Mdns {
    let (mut mdns, _) = Mdns::new(settings(name));
    update(&mut mdns, 0, &[interface(1, &["10.0.0.1"])]);
    receive(&mut mdns, 1, LinkEventKind::Started);
    mdns.advance(at(3));
    receive(&mut mdns, 4, LinkEventKind::Announced);
    assert_eq!(state(&mdns), PublicationState::Published);
    mdns
}

fn state(mdns: &Mdns) -> PublicationState {
    mdns.publications()[0].state
}

fn shown(mdns: &Mdns) -> Option<AnnouncedService> {
    mdns.links[&1].link.settings().shown
}

#[tokio::test]
async fn instance_name_is_one_label() {
    for name in [
        "hub.attic.example".to_owned(),
        format!("{}.example", "n".repeat(63)),
    ] {
        let mut mdns = holding(&name);
        let label = name.split('.').next().unwrap();
        assert_eq!(&*shown(&mdns).unwrap().instance, label);
        mdns.settings.publishes = false;
        mdns.links.get_mut(&1).unwrap().claim = None;
        mdns.follow();
        let instance = shown(&mdns).unwrap().instance;
        assert!(
            instance.len() <= 63 && !instance.contains('.'),
            "{instance}"
        );
        assert!(
            instance.starts_with(&label[..label.len().min(46)])
                && instance.ends_with(&*mdns.opaque),
            "{instance}"
        );
    }
}

#[tokio::test]
async fn server_announces_only_addresses_for_the_link() {
    let (mut mdns, _) = Mdns::new(MdnsSettings {
        publishes: false,
        ..settings("hub")
    });
    let mut eth1 = interface(1, &["10.0.0.1", "10.0.0.2", "fe80::1"]);
    eth1.addresses[1].deprecated = true;
    mdns.update(at(0), std::slice::from_ref(&eth1), &policy());
    mdns.follow();
    assert_eq!(
        shown(&mdns).unwrap().addresses,
        ["10.0.0.1".parse::<IpAddr>().unwrap()]
    );
    eth1.addresses.retain(|address| address.deprecated);
    mdns.update(at(1), &[eth1], &policy());
    mdns.follow();
    assert_eq!(shown(&mdns), None, "no address that others may use");
}

#[tokio::test]
async fn failed_or_flooded_link_announces_nothing_before_a_new_query() {
    let flooded = || LinkEventKind::Flooded {
        rest: Duration::from_secs(1),
        again: false,
    };
    for what in [
        flooded(),
        LinkEventKind::Failed("share the port".to_owned()),
    ] {
        let mut mdns = holding("hub");
        receive(&mut mdns, 5, what);
        assert_eq!((shown(&mdns), mdns.deadline()), (None, None));
        mdns.advance(at(60));
        assert_eq!(shown(&mdns), None, "the query starts when the link works");
        receive(&mut mdns, 61, LinkEventKind::Started);
        receive(
            &mut mdns,
            62,
            LinkEventKind::Host(vec!["10.0.0.9".parse().unwrap()]),
        );
        assert_eq!(state(&mdns), PublicationState::Conflict);
    }
}

#[tokio::test]
async fn name_is_queried_and_probed_again_after_sleep_and_on_another_network() {
    let mut mdns = holding("hub");
    update(&mut mdns, 5, &[interface(1, &["10.0.0.1", "10.0.0.2"])]);
    assert!(
        !shown(&mdns).unwrap().probe,
        "a change of addresses is announced at once"
    );
    let restarted: [fn(&mut Mdns); 2] = [Mdns::restart, |mdns| {
        update(mdns, 10, &[interface(1, &["10.0.9.1", "10.0.9.2"])])
    }];
    for restart in restarted {
        let round = mdns.links[&1].link.settings().round;
        restart(&mut mdns);
        assert_eq!(
            (shown(&mdns), state(&mdns)),
            (None, PublicationState::Asking)
        );
        assert_ne!(mdns.links[&1].link.settings().round, round);
        receive(&mut mdns, 11, LinkEventKind::Started);
        mdns.advance(at(13));
        assert!(shown(&mdns).unwrap().probe);
    }
}

#[tokio::test]
async fn records_of_another_link_are_no_other_responder() {
    let (mut mdns, _) = Mdns::new(settings("hub"));
    let [eth1, eth2] = [interface(1, &["10.0.0.1"]), interface(2, &["10.0.0.2"])];
    update(&mut mdns, 0, &[eth1.clone(), eth2]);
    receive(&mut mdns, 1, LinkEventKind::Started);
    receive(
        &mut mdns,
        1,
        LinkEventKind::Host(vec!["10.0.0.2".parse().unwrap()]),
    );
    mdns.advance(at(3));
    let first = shown(&mdns).unwrap();
    assert_eq!((&*first.host, first.probe), ("hub", false));
    // When the link is removed, other hosts remember its addresses for a while.
    update(&mut mdns, 4, &[eth1]);
    mdns.restart();
    receive(&mut mdns, 5, LinkEventKind::Started);
    receive(
        &mut mdns,
        5,
        LinkEventKind::Host(vec!["10.0.0.2".parse().unwrap()]),
    );
    mdns.advance(at(7));
    assert_eq!(&*shown(&mdns).unwrap().host, "hub");
}

#[tokio::test]
async fn other_responder_is_checked_again_when_addresses_or_links_change() {
    let (mut mdns, _) = Mdns::new(settings("hub"));
    let eth1 = interface(1, &["10.0.0.1", "10.0.0.3"]);
    update(&mut mdns, 0, std::slice::from_ref(&eth1));
    let beside = |mdns: &mut Mdns, seconds| {
        receive(mdns, seconds, LinkEventKind::Started);
        receive(
            mdns,
            seconds,
            LinkEventKind::Host(vec!["10.0.0.3".parse().unwrap()]),
        );
        mdns.advance(at(seconds + 2));
        receive(mdns, seconds + 3, LinkEventKind::Announced);
        let view = mdns.publications().remove(0);
        assert_eq!(
            (view.state, &*view.name),
            (PublicationState::Published, "hub.local")
        );
        assert!(view.reason.unwrap().contains("these addresses alone"));
    };
    beside(&mut mdns, 1);
    update(&mut mdns, 5, std::slice::from_ref(&eth1));
    assert_eq!(state(&mdns), PublicationState::Published, "nothing changed");
    update(&mut mdns, 6, &[eth1.clone(), interface(2, &["10.1.0.1"])]);
    assert_eq!(state(&mdns), PublicationState::Asking, "a link was added");
    beside(&mut mdns, 10);
    update(
        &mut mdns,
        15,
        &[
            interface(1, &["10.0.0.1", "10.0.0.4"]),
            interface(2, &["10.1.0.1"]),
        ],
    );
    assert_eq!(state(&mdns), PublicationState::Asking, "an address changed");
}

#[tokio::test]
async fn service_under_another_host_name_is_reported() {
    let (mut mdns, _) = Mdns::new(settings("hub"));
    let mut eth1 = interface(1, &["10.0.0.1", "10.0.0.3"]);
    eth1.addresses[1].deprecated = true;
    update(&mut mdns, 0, &[eth1]);
    receive(&mut mdns, 1, LinkEventKind::Started);
    receive(
        &mut mdns,
        1,
        LinkEventKind::Host(vec!["10.0.0.3".parse().unwrap()]),
    );
    mdns.advance(at(3));
    receive(&mut mdns, 4, LinkEventKind::Announced);
    let view = mdns.publications().remove(0);
    assert_eq!(view.name, format!("h-{}.local", mdns.opaque));
    assert!(
        view.reason
            .unwrap()
            .contains("announces hub.local with other addresses")
    );
}
