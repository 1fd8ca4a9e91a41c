use super::*;
use crate::model::InterfaceName;
use crate::net::Rule;

fn interface(name: &str, addresses: &[&str]) -> Interface {
    let address = |text: &&str| {
        let (ip, prefix) = text.split_once('/').unwrap();
        InterfaceAddress::new(ip.parse().unwrap(), prefix.parse().unwrap())
    };
    Interface {
        index: 2,
        name: InterfaceName::parse(name).unwrap(),
        up: true,
        loopback: name == "lo",
        multicast: true,
        broadcast: true,
        point_to_point: false,
        kind: None,
        addresses: addresses.iter().map(address).collect(),
    }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|text| Pattern::parse(text).unwrap())
        .collect()
}

/// A policy like that of the built-in defaults, with a part of their patterns.
fn defaults() -> Policy {
    Policy {
        include: patterns(&["*"]),
        exclude: patterns(&[
            "docker*",
            "veth*",
            "br-*",
            "cni*",
            "flannel*",
            "virbr*",
            "tun*",
            "wg*",
            "tailscale*",
        ]),
        ipv4: true,
        ipv6: true,
        link_local: false,
        loopback: false,
    }
}

fn rule(policy: &Policy, name: &str) -> String {
    match policy.decide(&interface(name, &["10.0.0.1/24"])) {
        Decision::Used { rule } => format!("used, because it {rule}"),
        Decision::Unused { rule } => format!("not used, because it {rule}"),
    }
}

fn announced(policy: &Policy, interfaces: &[Interface]) -> Vec<String> {
    policy
        .announced(interfaces)
        .iter()
        .map(|address| address.ip.to_string())
        .collect()
}

#[test]
fn patterns_exclude_interfaces_of_containers_and_tunnels() {
    for name in [
        "docker0",
        "veth1a2b3c",
        "br-5f2c91",
        "cni0",
        "virbr0",
        "tun0",
        "wg0",
        "tailscale0",
    ] {
        assert!(
            rule(&defaults(), name).starts_with("not used, because it fits '"),
            "{name}"
        );
    }
    for name in ["eth0", "enp3s0", "wlan0", "br0", "bond0"] {
        assert_eq!(
            rule(&defaults(), name),
            "used, because it fits '*' in interfaces.include",
            "{name}"
        );
    }
}

#[test]
fn included_name_has_precedence_over_an_excluding_pattern() {
    let policy = Policy {
        include: patterns(&["*", "wg0"]),
        ..defaults()
    };
    assert_eq!(
        rule(&policy, "wg0"),
        "used, because it fits 'wg0' in interfaces.include"
    );
    assert_eq!(
        rule(&policy, "wg1"),
        "not used, because it fits 'wg*' in interfaces.exclude"
    );
}

#[test]
fn excluded_name_has_precedence_over_everything() {
    let policy = Policy {
        include: patterns(&["eth0"]),
        exclude: patterns(&["eth0"]),
        ..defaults()
    };
    assert_eq!(
        rule(&policy, "eth0"),
        "not used, because it fits 'eth0' in interfaces.exclude"
    );
}

#[test]
fn interface_that_is_not_included_is_unused() {
    let policy = Policy {
        include: patterns(&["eth*"]),
        ..defaults()
    };
    assert_eq!(
        rule(&policy, "wlan0"),
        "not used, because it fits nothing in interfaces.include"
    );
    assert_eq!(
        rule(&policy, "eth7"),
        "used, because it fits 'eth*' in interfaces.include"
    );
}

#[test]
fn down_loopback_and_addressless_interfaces_are_unused() {
    let down = Interface {
        up: false,
        ..interface("eth0", &["10.0.0.1/24"])
    };
    assert_eq!(
        defaults().decide(&down),
        Decision::Unused { rule: Rule::Down }
    );
    assert_eq!(
        defaults().decide(&interface("lo", &["127.0.0.1/8"])),
        Decision::Unused {
            rule: Rule::Loopback
        }
    );
    assert_eq!(
        defaults().decide(&interface("eth0", &[])),
        Decision::Unused {
            rule: Rule::NoAddress
        }
    );
    let ipv4_only = Policy {
        ipv6: false,
        ..defaults()
    };
    assert_eq!(
        ipv4_only.decide(&interface("eth0", &["fd00::1/64"])),
        Decision::Unused {
            rule: Rule::NoAddress
        }
    );
}

#[test]
fn link_local_address_sends_but_is_not_announced_besides_others() {
    let [bare, full] = [
        interface("eth0", &["fe80::1/64"]),
        interface("eth1", &["10.0.0.1/24"]),
    ];
    assert!(matches!(defaults().decide(&bare), Decision::Used { .. }));
    assert_eq!(
        defaults().used(std::slice::from_ref(&bare))[0]
            .addresses
            .len(),
        1
    );
    assert_eq!(announced(&defaults(), &[bare, full]), ["10.0.0.1"]);
}

#[test]
fn link_local_is_announced_if_there_is_no_other_address() {
    let bare = interface("eth0", &["fe80::1/64", "169.254.7.7/16"]);
    assert_eq!(announced(&defaults(), &[bare]), ["169.254.7.7", "fe80::1"]);
}

#[test]
fn announced_addresses_are_best_first() {
    let mut eth0 = interface(
        "eth0",
        &[
            "fe80::1/64",
            "2001:db8::7/64",
            "2001:db8::8/64",
            "fd00::1/64",
            "10.0.0.1/24",
        ],
    );
    eth0.addresses[1].temporary = true;
    eth0.addresses[2].deprecated = true;
    let policy = Policy {
        link_local: true,
        ..defaults()
    };
    assert_eq!(
        announced(&policy, &[eth0]),
        ["10.0.0.1", "fd00::1", "2001:db8::7", "fe80::1"]
    );
}

#[test]
fn tentative_addresses_are_neither_announced_nor_sent_from() {
    let mut eth0 = interface("eth0", &["10.0.0.1/24", "fd00::1/64"]);
    eth0.addresses[1].tentative = true;
    assert_eq!(
        announced(&defaults(), std::slice::from_ref(&eth0)),
        ["10.0.0.1"]
    );
    assert_eq!(defaults().used(&[eth0])[0].addresses.len(), 1);
}

#[test]
fn many_addresses_of_one_interface_do_not_push_out_another() {
    let many: Vec<String> = (1..=40).map(|last| format!("10.0.0.{last}/24")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let announced = announced(
        &defaults(),
        &[
            interface("eth0", &many),
            interface("eth1", &["10.1.0.1/24"]),
        ],
    );
    assert_eq!(announced.len(), Record::MAX_ADDRESSES);
    assert_eq!(announced[..3], ["10.0.0.1", "10.1.0.1", "10.0.0.2"]);
}

#[test]
fn one_address_on_two_interfaces_is_announced_once() {
    let two = [
        interface("eth0", &["10.0.0.1/24"]),
        interface("eth1", &["10.0.0.1/24"]),
    ];
    assert_eq!(announced(&defaults(), &two), ["10.0.0.1"]);
    let two = [
        interface("eth0", &["fe80::1/64"]),
        interface("eth1", &["fe80::1/64"]),
    ];
    assert_eq!(announced(&defaults(), &two).len(), 2);
}

#[test]
fn loopback_is_announced_only_if_the_policy_allows_it() {
    let lo = interface("lo", &["127.0.0.1/8", "::1/128"]);
    assert!(announced(&defaults(), std::slice::from_ref(&lo)).is_empty());
    let policy = Policy {
        loopback: true,
        ..defaults()
    };
    assert_eq!(announced(&policy, &[lo]), ["127.0.0.1", "::1"]);
}

#[test]
fn families_that_are_off_are_not_announced() {
    let eth0 = [interface("eth0", &["10.0.0.1/24", "fd00::1/64"])];
    assert_eq!(
        announced(
            &Policy {
                ipv4: false,
                ..defaults()
            },
            &eth0
        ),
        ["fd00::1"]
    );
    assert_eq!(
        announced(
            &Policy {
                ipv6: false,
                ..defaults()
            },
            &eth0
        ),
        ["10.0.0.1"]
    );
}

#[test]
fn temporary_address_comes_after_lasting_ones() {
    let mut eth0 = interface("eth0", &["2001:db8::7/64", "2001:db8::8/64"]);
    eth0.addresses[0].temporary = true;
    assert_eq!(
        announced(&defaults(), std::slice::from_ref(&eth0)),
        ["2001:db8::8", "2001:db8::7"]
    );
    eth0.addresses[1].deprecated = true;
    assert_eq!(
        announced(&defaults(), std::slice::from_ref(&eth0)),
        ["2001:db8::7"]
    );
}

#[test]
fn link_gets_link_local_addresses_only_without_others() {
    let texts = |interface: &Interface| {
        defaults()
            .on_link(interface)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&interface(
            "eth0",
            &["fe80::1/64", "fd00::1/64", "10.0.0.1/24"]
        )),
        ["10.0.0.1", "fd00::1"]
    );
    assert_eq!(texts(&interface("eth0", &["fe80::1/64"])), ["fe80::1"]);
    assert!(texts(&interface("docker0", &["172.17.0.1/16"])).is_empty());
}
