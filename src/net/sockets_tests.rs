use std::time::Duration;

use super::*;
use crate::net::{DATAGRAM_MAX, Source};

/// How long a test waits for a datagram that must arrive.
const LIMIT: Duration = Duration::from_secs(10);

fn bind(address: &str) -> Sockets {
    Sockets::bind(&SocketSettings {
        address: address.parse().unwrap(),
        port: 0,
        ttl: 1,
    })
    .unwrap()
}

fn loopback(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::Ipv4 => (Ipv4Addr::LOCALHOST, port).into(),
        Family::Ipv6 => (Ipv6Addr::LOCALHOST, port).into(),
    }
}

/// Receives until `count` datagrams are there, as (bytes, arrival).
async fn collect(sockets: &Sockets, count: usize) -> Vec<(Vec<u8>, crate::net::Arrival)> {
    let mut batch = RecvBatch::new();
    let mut all = Vec::new();
    while all.len() < count {
        let got = tokio::time::timeout(LIMIT, sockets.recv(&mut batch))
            .await
            .expect("datagrams in time")
            .unwrap();
        assert!(got > 0);
        for place in 0..got {
            let (bytes, arrival) = batch.get_mut(place).unwrap();
            all.push((bytes.to_vec(), arrival));
        }
        assert!(batch.get_mut(got).is_none());
    }
    all
}

async fn flush(sockets: &Sockets, batch: &mut SendBatch) -> (Flushed, Vec<(usize, io::ErrorKind)>) {
    let mut errors = Vec::new();
    let flushed = sockets
        .flush(batch, |place, error| errors.push((place, error.kind())))
        .await;
    (flushed, errors)
}

#[tokio::test]
async fn wildcard_binds_both_families_to_one_port() {
    let sockets = bind("::");
    let addresses: Vec<_> = sockets.addresses().collect();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert!(
        addresses
            .iter()
            .all(|address| address.port() == sockets.port() && address.port() > 0)
    );
    assert!(sockets.family(Family::Ipv4).unwrap().receives_groups());
    assert!(
        !bind("127.0.0.1")
            .family(Family::Ipv4)
            .unwrap()
            .receives_groups()
    );
}

#[tokio::test]
async fn batch_arrives_whole_with_its_addresses() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let sender = bind("::");
        let receiver = bind("::");
        let to = loopback(family, receiver.port());
        let mut batch = SendBatch::new();
        for number in 0..SendBatch::MAX as u8 {
            batch
                .push(to, None, |buffer| {
                    buffer[..3].fill(number);
                    3
                })
                .unwrap();
        }
        assert_eq!(
            flush(&sender, &mut batch).await.0,
            Flushed {
                sent: SendBatch::MAX,
                failed: 0,
                dropped: 0
            }
        );
        assert!(batch.is_empty());
        let all = collect(&receiver, SendBatch::MAX).await;
        for (number, (bytes, arrival)) in all.iter().enumerate() {
            assert_eq!(bytes, &[number as u8; 3]);
            assert_eq!(
                (arrival.from, arrival.to),
                (loopback(family, sender.port()), to.ip())
            );
            assert_eq!(
                (arrival.local, arrival.interface, arrival.truncated),
                (Some(to.ip()), 1, false)
            );
        }
    }
}

#[tokio::test]
async fn datagram_has_the_requested_source_address() {
    let sender = bind("0.0.0.0");
    let receiver = bind("0.0.0.0");
    let mut batch = SendBatch::new();
    for ip in ["127.0.0.5", "127.0.0.6"] {
        let source = Source {
            ip: ip.parse().unwrap(),
            interface: 1,
        };
        batch
            .push(
                loopback(Family::Ipv4, receiver.port()),
                Some(source),
                |buffer| {
                    buffer[0] = 1;
                    1
                },
            )
            .unwrap();
    }
    flush(&sender, &mut batch).await;
    let all = collect(&receiver, 2).await;
    let from: Vec<_> = all
        .iter()
        .map(|(_, arrival)| arrival.from.ip().to_string())
        .collect();
    assert_eq!(from, ["127.0.0.5", "127.0.0.6"]);
    // The answer is sent from the address that received the request.
    let arrival = all[0].1;
    batch
        .push(arrival.from, arrival.reply_source(), |buffer| {
            buffer[0] = 2;
            1
        })
        .unwrap();
    flush(&receiver, &mut batch).await;
    assert_eq!(
        collect(&sender, 1).await[0].1.to,
        "127.0.0.5".parse::<IpAddr>().unwrap()
    );
}

#[tokio::test]
async fn refused_datagram_is_reported_and_others_are_sent() {
    let sender = bind("::");
    let receiver = bind("::");
    let good = loopback(Family::Ipv4, receiver.port());
    let foreign = Source {
        ip: "192.0.2.1".parse().unwrap(),
        interface: 0,
    };
    let no_such_interface = Source {
        ip: Ipv6Addr::UNSPECIFIED.into(),
        interface: u32::MAX / 2,
    };
    let mut batch = SendBatch::new();
    let one = |buffer: &mut [u8; DATAGRAM_MAX]| {
        buffer[0] = 7;
        1
    };
    batch.push(good, Some(foreign), one).unwrap();
    batch.push(good, None, one).unwrap();
    batch
        .push(
            loopback(Family::Ipv6, receiver.port()),
            Some(no_such_interface),
            one,
        )
        .unwrap();
    batch.push(good, Some(foreign), one).unwrap();
    batch
        .push(loopback(Family::Ipv6, receiver.port()), None, one)
        .unwrap();
    batch
        .push((Ipv4Addr::LOCALHOST, 0).into(), None, one)
        .unwrap();
    batch.push(good, None, one).unwrap();
    let (flushed, errors) = flush(&sender, &mut batch).await;
    assert_eq!(
        flushed,
        Flushed {
            sent: 3,
            failed: 4,
            dropped: 0
        }
    );
    assert_eq!(
        errors.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
        [0, 3, 5, 2]
    );
    assert_eq!(collect(&receiver, 3).await.len(), 3);
}

#[tokio::test]
async fn family_without_a_socket_is_reported() {
    let sender = bind("0.0.0.0");
    let mut batch = SendBatch::new();
    batch.push(loopback(Family::Ipv6, 9), None, |_| 1).unwrap();
    let (flushed, errors) = flush(&sender, &mut batch).await;
    assert_eq!((flushed.failed, errors.len()), (1, 1));
    assert!(batch.is_empty());
}

#[tokio::test]
async fn long_datagram_is_marked_as_truncated() {
    let receiver = bind("127.0.0.1");
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [DATAGRAM_MAX, DATAGRAM_MAX + 1, 1500, 1501, 9000] {
        sender
            .send_to(&vec![1; length], loopback(Family::Ipv4, receiver.port()))
            .unwrap();
    }
    let found: Vec<_> = collect(&receiver, 5)
        .await
        .iter()
        .map(|(bytes, arrival)| (bytes.len(), arrival.truncated))
        .collect();
    assert_eq!(
        found,
        [
            (1200, false),
            (1201, false),
            (1500, false),
            (1500, true),
            (1500, true)
        ]
    );
}

#[tokio::test]
async fn closed_port_of_the_peer_does_not_disturb_receiving() {
    let node = bind("127.0.0.1");
    let other = bind("127.0.0.1");
    let closed = loopback(Family::Ipv4, bind("127.0.0.1").port());
    let mut batch = SendBatch::new();
    for to in [closed, closed, loopback(Family::Ipv4, other.port())] {
        batch.push(to, None, |_| 1).unwrap();
    }
    assert_eq!(flush(&node, &mut batch).await.0.sent, 3);
    let from = collect(&other, 1).await[0].1.from;
    batch.push(from, None, |_| 1).unwrap();
    flush(&other, &mut batch).await;
    assert_eq!(collect(&node, 1).await.len(), 1);
}

#[tokio::test]
async fn empty_socket_would_block() {
    let sockets = bind("::");
    assert_eq!(
        sockets.try_recv(&mut RecvBatch::new()).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn flood_on_one_family_does_not_starve_the_other() {
    let sender = bind("::");
    let receiver = bind("::");
    let mut batch = SendBatch::new();
    for _ in 0..SendBatch::MAX {
        batch
            .push(loopback(Family::Ipv4, receiver.port()), None, |_| 1)
            .unwrap();
    }
    flush(&sender, &mut batch).await;
    batch
        .push(loopback(Family::Ipv6, receiver.port()), None, |_| 1)
        .unwrap();
    flush(&sender, &mut batch).await;
    let all = collect(&receiver, RecvBatch::MAX + 1).await;
    assert!(all.iter().any(|(_, arrival)| arrival.from.is_ipv6()));
}

#[tokio::test]
async fn port_in_use_names_its_holder() {
    let first = bind("::");
    let settings = SocketSettings {
        address: Ipv6Addr::UNSPECIFIED.into(),
        port: first.port(),
        ttl: 1,
    };
    let error = Sockets::bind(&settings).unwrap_err().to_string();
    let port = first.port();
    let pid = std::process::id();
    assert!(
        error.contains(&format!("port {port}/udp is taken by PID {pid} (")),
        "{error}"
    );
    assert!(error.ends_with("): stop it or set listen.port"), "{error}");
}

#[tokio::test]
async fn port_in_use_in_one_family_is_an_error() {
    let first = bind("0.0.0.0");
    let settings = SocketSettings {
        address: Ipv6Addr::UNSPECIFIED.into(),
        port: first.port(),
        ttl: 1,
    };
    assert!(
        matches!(Sockets::bind(&settings), Err(BindError::Taken { address, .. }) if address.is_ipv4())
    );
}

#[tokio::test]
async fn address_of_another_host_is_an_error() {
    let settings = SocketSettings {
        address: "192.0.2.1".parse().unwrap(),
        port: 0,
        ttl: 1,
    };
    let error = Sockets::bind(&settings).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no interface of this host has that address"),
        "{error}"
    );
}
