use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::net::{InterfaceAddress, RecvBatch, SendBatch, SocketSettings};

const SETTINGS: FanoutSettings = FanoutSettings {
    ipv4_group: Ipv4Addr::new(239, 255, 43, 73),
    ipv6_group: Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x4373),
    port: 24373,
    broadcast_port: 24374,
};

fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let address = |text: &&str| {
        let (ip, prefix) = text.split_once('/').unwrap();
        InterfaceAddress::new(ip.parse().unwrap(), prefix.parse().unwrap())
    };
    Interface {
        index,
        name: InterfaceName::parse(name).unwrap(),
        up: true,
        loopback: name == "lo",
        multicast: name != "lo",
        broadcast: name != "lo" && !name.starts_with("wg"),
        point_to_point: name.starts_with("wg"),
        kind: None,
        addresses: addresses.iter().map(address).collect(),
    }
}

fn sockets() -> Sockets {
    Sockets::bind(&SocketSettings {
        address: Ipv6Addr::UNSPECIFIED.into(),
        port: 0,
        ttl: 1,
    })
    .unwrap()
}

fn lines(fanout: &Fanout, method: FanoutMethod) -> Vec<String> {
    let line = |target: &Target| {
        format!(
            "{} {}%{} {}",
            target.interface, target.source.ip, target.source.interface, target.to
        )
    };
    fanout.targets(method).iter().map(line).collect()
}

#[tokio::test]
async fn multicast_goes_once_an_interface_and_family_from_its_own_address() {
    let mut fanout = Fanout::new(SETTINGS);
    fanout.reconcile(
        &sockets(),
        &[
            interface(
                7001,
                "eth0",
                &[
                    "169.254.1.1/16",
                    "10.0.0.1/24",
                    "10.0.0.2/24",
                    "fd00::1/64",
                    "fe80::1/64",
                ],
            ),
            interface(7002, "eth1", &["10.1.0.1/24"]),
            interface(1, "lo", &["127.0.0.1/8"]),
        ],
    );
    assert_eq!(
        lines(&fanout, FanoutMethod::Multicast),
        [
            "eth0 10.0.0.1%7001 239.255.43.73:24373",
            "eth0 fe80::1%7001 [ff12::4373%7001]:24373",
            "eth1 10.1.0.1%7002 239.255.43.73:24373",
        ]
    );
}

#[tokio::test]
async fn broadcast_goes_to_each_network_from_its_own_address() {
    let mut fanout = Fanout::new(SETTINGS);
    fanout.reconcile(
        &sockets(),
        &[
            interface(
                7001,
                "eth0",
                &["10.0.0.1/24", "10.0.0.2/24", "192.168.1.1/24", "fd00::1/64"],
            ),
            interface(7002, "wg0", &["10.9.0.1/24"]),
            interface(7003, "eth1", &["10.8.0.1/32"]),
            interface(1, "lo", &["127.0.0.1/8", "10.7.0.1/24"]),
        ],
    );
    assert_eq!(
        lines(&fanout, FanoutMethod::Broadcast),
        [
            "eth0 10.0.0.1%7001 10.0.0.255:24374",
            "eth0 10.0.0.1%7001 255.255.255.255:24374",
            "eth0 192.168.1.1%7001 192.168.1.255:24374",
            "eth0 192.168.1.1%7001 255.255.255.255:24374",
            "lo 127.0.0.1%1 127.255.255.255:24374",
        ]
    );
}

#[tokio::test]
async fn used_interfaces_are_known_even_if_no_group_can_be_joined() {
    let mut fanout = Fanout::new(SETTINGS);
    let sockets = sockets();
    let which = |fanout: &Fanout| {
        let places = [7001, 7002, 7003]
            .map(|index| [Family::Ipv4, Family::Ipv6].map(|family| (index, family)));
        places
            .into_iter()
            .flatten()
            .filter(|(index, family)| fanout.uses(*index, *family))
            .collect::<Vec<_>>()
    };
    let [both, tunnel] = [
        interface(7001, "eth0", &["10.0.0.1/24", "fe80::1/64"]),
        interface(7002, "wg0", &["10.1.0.1/24"]),
    ];
    fanout.reconcile(
        &sockets,
        &[
            both,
            Interface {
                multicast: false,
                ..tunnel.clone()
            },
        ],
    );
    assert_eq!(
        which(&fanout),
        [
            (7001, Family::Ipv4),
            (7001, Family::Ipv6),
            (7002, Family::Ipv4)
        ]
    );
    fanout.reconcile(&sockets, &[tunnel]);
    assert_eq!(which(&fanout), [(7002, Family::Ipv4)]);
}

#[tokio::test]
async fn failed_join_is_reported_once_and_tried_again() {
    let mut fanout = Fanout::new(SETTINGS);
    let sockets = sockets();
    let missing = [interface(1_000_007, "gone0", &["10.0.0.1/24"])];
    let reports = fanout.reconcile(&sockets, &missing);
    assert!(
        matches!(
            &reports[..],
            [Report {
                what: Membership::Failed(_),
                family: Family::Ipv4,
                ..
            }]
        ),
        "{reports:?}"
    );
    assert!(fanout.needs_retry());
    assert!(fanout.reconcile(&sockets, &missing).is_empty());
    assert!(matches!(
        fanout.status()[0].ipv4.group,
        GroupStatus::Failed(_)
    ));
    assert_eq!(fanout.status()[0].ipv6.group, GroupStatus::None);
    let reports = fanout.reconcile(&sockets, &[]);
    assert!(
        matches!(
            &reports[..],
            [Report {
                what: Membership::Left,
                ..
            }]
        ),
        "{reports:?}"
    );
    assert!(!fanout.needs_retry() && fanout.status().is_empty());
}

#[tokio::test]
async fn sends_are_counted_and_a_success_clears_the_last_error() {
    let mut fanout = Fanout::new(SETTINGS);
    fanout.reconcile(
        &sockets(),
        &[interface(1_000_007, "gone0", &["10.0.0.1/24"])],
    );
    fanout.count_send(
        1_000_007,
        Family::Ipv4,
        Err(&io::Error::from_raw_os_error(libc::ENETUNREACH)),
    );
    let status = fanout.status().remove(0).ipv4;
    assert_eq!((status.sent, status.failed), (0, 1));
    assert!(status.last_error.unwrap().contains("unreachable"));
    fanout.count_send(1_000_007, Family::Ipv4, Ok(()));
    let status = fanout.status().remove(0).ipv4;
    assert_eq!(
        (status.sent, status.failed, status.last_error),
        (1, 1, None)
    );
    fanout.count_send(9, Family::Ipv4, Ok(()));
}

#[tokio::test]
async fn socket_bound_to_one_address_joins_nothing_but_still_sends() {
    let settings = SocketSettings {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        ttl: 1,
    };
    let sockets = Sockets::bind(&settings).unwrap();
    let mut fanout = Fanout::new(SETTINGS);
    assert!(
        fanout
            .reconcile(
                &sockets,
                &[interface(7001, "eth0", &["10.0.0.1/24", "fe80::1/64"])]
            )
            .is_empty()
    );
    assert_eq!(
        lines(&fanout, FanoutMethod::Multicast),
        ["eth0 10.0.0.1%7001 239.255.43.73:24373"]
    );
}

#[tokio::test]
async fn broadcast_on_loopback_reaches_another_node_of_this_host() {
    let sender = sockets();
    let receiver = sockets();
    let mut fanout = Fanout::new(FanoutSettings {
        broadcast_port: receiver.port(),
        ..SETTINGS
    });
    fanout.reconcile(&sender, &[interface(1, "lo", &["127.0.0.1/8"])]);
    let mut batch = SendBatch::new();
    for target in fanout.targets(FanoutMethod::Broadcast) {
        batch.push(target.to, Some(target.source), |_| 1).unwrap();
    }
    sender
        .flush(&mut batch, |place, error| panic!("target {place}: {error}"))
        .await;
    let mut batch_of_receiver = RecvBatch::new();
    let received = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        receiver.recv(&mut batch_of_receiver),
    )
    .await;
    assert_eq!(received.expect("within the limit").unwrap(), 1);
    let (_, arrival) = batch_of_receiver.get_mut(0).unwrap();
    assert_eq!(arrival.from, (Ipv4Addr::LOCALHOST, sender.port()).into());
    assert_eq!(
        (arrival.to, arrival.interface),
        (IpAddr::from([127, 255, 255, 255]), 1)
    );
    assert_eq!(arrival.local, Some(Ipv4Addr::LOCALHOST.into()));
}
