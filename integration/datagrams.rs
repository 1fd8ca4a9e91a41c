//! Datagrams sealed by hand, from this machine to a server's container.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hereabouts::model::Timestamp;
use hereabouts::wire::seal::{self, HEADER, MAX_DATAGRAM, MIN_DATAGRAM};
use hereabouts::wire::v1::{Answer, Message, Query, Refusal, Refused, Regarding, Subject, Want};
use hereabouts::wire::{KeyRing, Secret};
use tokio::net::UdpSocket;

use crate::harness::{Fleet, Node, PORT, run};

/// How long an answer may take on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A holder of the key who writes its own datagrams.
struct Member {
    key_ring: KeyRing,
    socket: UdpSocket,
}

impl Member {
    async fn of(fleet: &Fleet, server: &Node) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        // Connected, so that nothing else than this server's answers is received.
        socket
            .connect(SocketAddr::new(server.address().await, PORT))
            .await
            .unwrap();
        Self {
            key_ring: KeyRing::new(fleet.channel(), &[Secret::key(fleet.key)]).unwrap(),
            socket,
        }
    }

    fn sealed(&self, message: &Message) -> Vec<u8> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).unwrap();
        let mut datagram = [0; MAX_DATAGRAM];
        let length = message
            .seal(self.key_ring.first(), &nonce, &mut datagram)
            .unwrap();
        datagram[..length].to_vec()
    }

    async fn send(&self, datagram: &[u8]) {
        assert_eq!(self.socket.send(datagram).await.unwrap(), datagram.len());
    }

    /// The next answer, and its length as a datagram.
    async fn receive(&self) -> (Message, usize) {
        let mut datagram = [0; 2048];
        let received = tokio::time::timeout(ANSWER_LIMIT, self.socket.recv(&mut datagram)).await;
        let length = received
            .unwrap_or_else(|_| panic!("no answer within {ANSWER_LIMIT:?}"))
            .unwrap();
        let opened = seal::open(&self.key_ring, &mut datagram[..length]).unwrap();
        (Message::decode(opened.payload).unwrap(), length)
    }
}

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

fn query(id: u64, clock: Timestamp) -> Message {
    Message::Query(Query {
        id,
        want: Want::Servers,
        clock,
        window: Duration::ZERO,
    })
}

/// Asserts that a message is the server's answer to the query with this id.
fn assert_answers(message: &Message, id: u64) {
    let Message::Answer(Answer {
        id: answered,
        subject: Subject::Own { record, .. },
        ..
    }) = message
    else {
        panic!("not the server's own record: {message:?}");
    };
    assert_eq!(*answered, id);
    assert_eq!(record.verify(|_| true).unwrap().name.as_str(), "hub");
}

#[test]
fn a_clock_that_is_off_by_an_hour_costs_one_round_trip() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let member = Member::of(&fleet, &hub).await;
        let hour = Duration::from_secs(3600);
        for (id, wrong) in [(1, now().minus(hour)), (2, now().plus(hour))] {
            // A server answers one source with the time once a second at most, so the query is repeated.
            let refusal = loop {
                let asked = member.sealed(&query(id, wrong));
                member.send(&asked).await;
                match tokio::time::timeout(Duration::from_secs(1), member.receive()).await {
                    Ok((message, length)) => {
                        assert!(length <= 3 * asked.len(), "{length} for {}", asked.len());
                        break message;
                    }
                    Err(_) if id == 1 => panic!("the first wrong clock is refused at once"),
                    Err(_) => {}
                }
            };
            let Message::Refused(Refused {
                regarding,
                refusal: Refusal::Clock { clock },
            }) = refusal
            else {
                panic!("no refusal because of the clock: {refusal:?}");
            };
            assert_eq!(regarding, Regarding::Query(id));
            assert!(
                clock.distance(now()) < Duration::from_secs(10),
                "{clock} is not this kernel's clock"
            );
            // With the server's clock the same question is answered.
            member.send(&member.sealed(&query(id, clock))).await;
            assert_answers(&member.receive().await.0, id);
        }
        let status = hub.status().await;
        assert_eq!(status["counters"]["refused"]["clock"], 2, "{status}");
    });
}

#[test]
fn damaged_and_replayed_datagrams_get_no_answer_and_are_counted_by_reason() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let member = Member::of(&fleet, &hub).await;
        let first = member.sealed(&query(1, now()));
        member.send(&first).await;
        let (answer, length) = member.receive().await;
        assert_answers(&answer, 1);
        assert!(
            length <= 3 * first.len(),
            "{length} bytes for {}",
            first.len()
        );

        let fresh = || member.sealed(&query(2, now()));
        let changed = |at: usize| {
            let mut datagram = fresh();
            datagram[at] ^= 1;
            datagram
        };
        let longer = [fresh(), vec![0; MAX_DATAGRAM]].concat();
        let last_byte = first.len() - 1;
        let cut = &fresh()[..first.len() / 2];
        let bad: [(&str, &str, Vec<u8>); 10] = [
            ("dropped", "too_short", Vec::new()),
            ("dropped", "too_short", fresh()[..MIN_DATAGRAM - 1].to_vec()),
            ("dropped", "too_long", longer[..=MAX_DATAGRAM].to_vec()),
            ("dropped", "too_long", longer),
            ("dropped", "other_version", changed(0)),
            ("dropped", "unknown_key", changed(1)),
            // The nonce, the ciphertext and the tag are covered by the tag; so is the length.
            ("dropped", "forged", changed(HEADER - 1)),
            ("dropped", "forged", changed(HEADER)),
            ("dropped", "forged", changed(last_byte)),
            ("dropped", "forged", cut.to_vec()),
        ];
        for (_, _, datagram) in &bad {
            member.send(datagram).await;
        }
        member.send(&first).await;

        // One path, one order: an answer to anything above would come before this one.
        member.send(&member.sealed(&query(3, now()))).await;
        assert_answers(&member.receive().await.0, 3);

        let status = hub.status().await;
        let counted =
            |group: &str, reason: &str| status["counters"][group][reason].as_u64().unwrap_or(0);
        for (group, reason, _) in &bad {
            let sent = bad.iter().filter(|(_, other, _)| other == reason).count() as u64;
            assert_eq!(counted(group, reason), sent, "{group}.{reason}: {status}");
        }
        assert_eq!(counted("ignored", "replayed"), 1, "{status}");
    });
}

#[test]
fn a_captured_query_is_of_no_use_to_another_sender() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let member = Member::of(&fleet, &hub).await;
        let captured = member.sealed(&query(1, now()));
        member.send(&captured).await;
        assert_answers(&member.receive().await.0, 1);

        // From another port, as a sender that captured it would.
        let thief = Member::of(&fleet, &hub).await;
        thief.send(&captured).await;
        thief.send(&thief.sealed(&query(2, now()))).await;
        assert_answers(&thief.receive().await.0, 2);
        assert_eq!(hub.status().await["counters"]["ignored"]["replayed"], 1);
    });
}
