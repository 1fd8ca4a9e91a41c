use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::*;
use crate::model::Secret;
use crate::model::Timestamp;
use crate::net::SocketSettings;
use crate::wire::keyring::ChannelKey;
use crate::wire::v1::{Query, Regarding, Want};

fn key_ring(channel: &str, key: u8) -> KeyRing {
    KeyRing::new(channel, &[Secret::key([key; 32])]).unwrap()
}

fn sealed(key: &ChannelKey, message: &Message) -> Vec<u8> {
    let mut out = vec![0; seal::MAX_DATAGRAM];
    let length = message.seal(key, &[7; 24], &mut out).unwrap();
    out.truncate(length);
    out
}

fn query() -> Message {
    Message::Query(Query {
        id: 1,
        want: Want::Servers,
        clock: Timestamp(1),
        window: Duration::ZERO,
    })
}

fn refused(refusal: Refusal) -> Message {
    Message::Refused(Refused {
        regarding: Regarding::Query(0),
        refusal,
    })
}

/// The result of opening a datagram by a node of channel `home` with key 1.
async fn opened(bytes: &[u8]) -> Result<Received, Option<Rejected>> {
    let address = Ipv4Addr::LOCALHOST.into();
    let sockets = Sockets::bind(&SocketSettings {
        address,
        port: 0,
        ttl: 1,
    })
    .unwrap();
    let settings = FanoutSettings {
        ipv4_group: Ipv4Addr::new(239, 255, 43, 73),
        ipv6_group: "ff12::4373".parse().unwrap(),
        port: 1,
        broadcast_port: 1,
    };
    let policy = Policy {
        include: Vec::new(),
        exclude: Vec::new(),
        ipv4: true,
        ipv6: true,
        link_local: false,
        loopback: true,
    };
    let traffic = Traffic::new(sockets, settings, policy, key_ring("home", 1));
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sender
        .send_to(bytes, (Ipv4Addr::LOCALHOST, traffic.sockets.port()))
        .unwrap();
    let mut batch = RecvBatch::new();
    let received = tokio::time::timeout(Duration::from_secs(10), traffic.sockets.recv(&mut batch));
    assert_eq!(received.await.expect("it arrives").unwrap(), 1);
    traffic.open(&mut batch, 0, &mut Counters::default())
}

fn is_answered_by_a_hint(outcome: Result<Received, Option<Rejected>>) -> bool {
    matches!(outcome, Err(Some(Rejected { foreign: true, .. })))
}

#[tokio::test]
async fn hint_answers_only_datagrams_as_long_as_a_query() {
    let stranger = key_ring("work", 2);
    assert!(is_answered_by_a_hint(
        opened(&sealed(stranger.first(), &query())).await
    ));
    // The longest hint that a server of another channel and key would send back.
    let hint = refused(Refusal::Channel {
        name: "x".repeat(KeyRing::MAX_CHANNEL).into(),
    });
    assert!(!is_answered_by_a_hint(
        opened(&sealed(&stranger.hint_keys()[0], &hint)).await
    ));
}

#[tokio::test]
async fn hint_key_opens_only_the_refusal_that_names_the_channel() {
    let relative = key_ring("work", 1);
    let hint = &relative.hint_keys()[0];
    let channel = refused(Refusal::Channel {
        name: "work".into(),
    });
    assert!(
        opened(&sealed(hint, &channel))
            .await
            .is_ok_and(|received| received.message == channel)
    );
    for message in [query(), refused(Refusal::Cloned)] {
        assert!(
            opened(&sealed(hint, &message)).await.is_err(),
            "{message:?}"
        );
    }
}
