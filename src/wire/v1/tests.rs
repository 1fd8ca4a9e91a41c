//! The golden bytes of version 1, with a word for each field, and the properties of its codec.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Secret;
use crate::model::{
    Address, InterfaceName, Labels, Lease, NodeId, NodeName, Origin, Protocol, Record, Role, State,
    Timestamp,
};
use crate::wire::keyring::KeyRing;
use crate::wire::seal::{self, MAX_DATAGRAM, MAX_PAYLOAD, OVERHEAD};
use crate::wire::{Identity, IdentityError, KeyId};

const KEY: KeyId = KeyId(*b"key!");

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = [0; MAX_PAYLOAD];
    let length = message.encode(&mut out).unwrap();
    out[..length].to_vec()
}

/// Hexadecimal with words in parentheses, which are comments for the reader.
fn bytes(text: &str) -> Vec<u8> {
    let mut hex = String::new();
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && !c.is_whitespace() => hex.push(c),
            _ => {}
        }
    }
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn query(want: Want) -> Message {
    Message::Query(Query {
        id: 0x0102_0304_0506_0708,
        want,
        clock: Timestamp(1000),
        window: Duration::from_millis(300),
    })
}

fn signed() -> SignedRecord {
    SignedRecord {
        node: NodeId([0xaa; 32]),
        key: KEY,
        body: (*b"body").into(),
        signature: [0xbb; 64],
    }
}

fn record() -> Record {
    Record {
        name: name("hub"),
        epoch: 1,
        sequence: 2,
        boot: 3,
        lease: Lease(60),
        addresses: vec![
            Address {
                ip: "192.0.2.1".parse().unwrap(),
                interface: Some(InterfaceName::parse("eth0").unwrap()),
                origin: Origin::Interface,
            },
            Address {
                ip: "2001:db8::1".parse().unwrap(),
                interface: None,
                origin: Origin::Advertised,
            },
        ],
        port: 24373,
        role: Role::Both,
        labels: Labels::new([("site", "home")]).unwrap(),
    }
}

/// The largest record: names, numbers and labels at their limits, as many addresses as fit.
fn largest_record() -> Record {
    let mut record = Record {
        name: name(&["n".repeat(63), "a".repeat(63)].join(".")),
        epoch: u64::MAX,
        sequence: u64::MAX,
        boot: u64::MAX,
        lease: Lease(u32::MAX),
        addresses: Vec::new(),
        port: u16::MAX,
        role: Role::Both,
        labels: largest_labels(),
    };
    for number in 0..Record::MAX_ADDRESSES as u16 {
        record.addresses.push(Address {
            ip: Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, number).into(),
            interface: Some(InterfaceName::parse("fifteen-letters").unwrap()),
            origin: Origin::Interface,
        });
        if codec::encoded_len(&record) > SignedRecord::MAX_BODY {
            record.addresses.pop();
            break;
        }
    }
    record
}

/// Labels with the longest form: as many pairs and bytes as labels have, in strings whose heads are
/// long.
fn largest_labels() -> Labels {
    // 16 pairs of 16 bytes each; values of 24 bytes and more would have longer heads, but then
    // there are fewer.
    Labels::new((0..16).map(|i| (format!("key-{i:04}"), "v".repeat(8)))).unwrap()
}

fn largest_signed_record() -> SignedRecord {
    SignedRecord {
        node: NodeId([1; 32]),
        key: KEY,
        body: [0; SignedRecord::MAX_BODY].into(),
        signature: [2; 64],
    }
}

fn largest_answers() -> [Message; 2] {
    let seen = SocketAddr::new(Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 8).into(), u16::MAX);
    let answer = |subject| {
        Message::Answer(Answer {
            id: u64::MAX,
            seen,
            subject,
        })
    };
    let sighting = Sighting {
        source: seen,
        last_seen: Timestamp(u64::MAX),
        state: State::Left,
    };
    [
        answer(Subject::Own {
            record: largest_signed_record(),
            info: largest_labels(),
        }),
        answer(Subject::Found {
            server: NodeId([3; 32]),
            record: largest_signed_record(),
            sighting,
        }),
    ]
}

fn refusals() -> [Refusal; 7] {
    [
        Refusal::Clock {
            clock: Timestamp(u64::MAX),
        },
        Refusal::NameHeld {
            holder: NodeId([1; 32]),
        },
        Refusal::Rate {
            wait: Duration::from_millis(u32::MAX.into()),
        },
        Refusal::Outdated {
            epoch: u64::MAX,
            sequence: u64::MAX,
        },
        Refusal::UnknownRecord,
        Refusal::Cloned,
        Refusal::Channel {
            name: "c".repeat(64).into(),
        },
    ]
}

fn unverified(protocol: Protocol) -> Subject {
    let sighting = Sighting {
        source: socket("192.0.2.9:4"),
        last_seen: Timestamp(5),
        state: State::Present,
    };
    Subject::UnverifiedClaim {
        server: NodeId([0xcc; 32]),
        name: name("laptop"),
        protocol,
        sighting,
    }
}

/// One message of every shape.
fn samples() -> Vec<Message> {
    let seen = socket("192.0.2.7:40000");
    let answer = |subject| {
        Message::Answer(Answer {
            id: 7,
            seen,
            subject,
        })
    };
    let mut samples = vec![
        query(Want::Servers),
        query(Want::All),
        query(Want::Name(name("hub.example"))),
        query(Want::Holder("192.0.2.1".parse().unwrap())),
        answer(Subject::Own {
            record: signed(),
            info: Labels::default(),
        }),
        answer(Subject::Own {
            record: signed(),
            info: Labels::new([("a", "1"), ("b", "2")]).unwrap(),
        }),
        answer(Subject::Found {
            server: NodeId([0xcc; 32]),
            record: signed(),
            sighting: Sighting {
                source: socket("[2001:db8::1]:1"),
                last_seen: Timestamp(5),
                state: State::Expired,
            },
        }),
        answer(Subject::Unknown {
            server: NodeId([0xcc; 32]),
        }),
        answer(unverified(Protocol::Dynip)),
        Message::Register(signed()),
        Message::Registered(Registered {
            sequence: 9,
            seen,
            lease: Lease(60),
            clock: Timestamp(1000),
            offers: None,
        }),
        Message::Registered(Registered {
            sequence: 9,
            seen,
            lease: Lease(60),
            clock: Timestamp(1000),
            offers: Some(70),
        }),
        Message::Renew(Renewal {
            node: NodeId([0xaa; 32]),
            epoch: 1,
            base: 2,
            sequence: 300,
            proof: [0xdd; 16],
        }),
        Message::Announcement(signed()),
        Message::Goodbye(signed()),
        Message::Notice(Notice {
            server: NodeId([0xcc; 32]),
            name: "hosts".into(),
            generation: 4,
            size: 70_000,
            digest: [0xee; 32],
            signature: [0xff; 64],
        }),
    ];
    samples.extend(
        refusals()
            .into_iter()
            .zip(
                [Regarding::Query(1), Regarding::Sequence(2)]
                    .into_iter()
                    .cycle(),
            )
            .map(|(refusal, regarding)| Message::Refused(Refused { regarding, refusal })),
    );
    samples
}

mod golden {
    use super::*;

    fn assert_bytes(message: Message, text: &str) {
        let expected = bytes(text);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&encoded(&message)),
            data_encoding::HEXLOWER.encode(&expected)
        );
        assert_eq!(Message::decode(&expected), Ok(message));
    }

    const SIGNED: &str = "a4 (signed record) \
        01 5820 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (node) \
        02 44 6b657921 (key id) \
        03 44 626f6479 (body) \
        04 5840 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb \
                bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb (signature)";
    const SERVER: &str = "5820 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

    fn zeros(count: usize) -> String {
        "00".repeat(count)
    }

    #[test]
    fn query_for_servers() {
        assert_bytes(
            query(Want::Servers),
            &format!(
                "82 01 (query) a5 01 1b0102030405060708 (id) 02 00 (servers) 03 1903e8 (clock) 04 19012c (window) \
                 0f 590148 (padding) {}",
                zeros(328)
            ),
        );
    }

    #[test]
    fn query_for_all_nodes() {
        assert_bytes(
            query(Want::All),
            &format!(
                "82 01 (query) a5 01 1b0102030405060708 (id) 02 01 (all) 03 1903e8 (clock) 04 19012c (window) \
                 0f 590148 (padding) {}",
                zeros(328)
            ),
        );
    }

    #[test]
    fn query_for_a_name() {
        assert_bytes(
            query(Want::Name(name("hub"))),
            &format!(
                "82 01 (query) a6 01 1b0102030405060708 (id) 02 02 (name) 03 1903e8 (clock) 04 19012c (window) \
                 05 63 687562 (hub) 0f 590143 (padding) {}",
                zeros(323)
            ),
        );
    }

    #[test]
    fn query_for_the_holder_of_an_address() {
        assert_bytes(
            query(Want::Holder("192.0.2.1".parse().unwrap())),
            &format!(
                "82 01 (query) a6 01 1b0102030405060708 (id) 02 03 (holder) 03 1903e8 (clock) 04 19012c (window) \
                 06 44 c0000201 (192.0.2.1) 0f 590142 (padding) {}",
                zeros(322)
            ),
        );
    }

    #[test]
    fn answer_of_a_server_about_itself() {
        let info = Labels::new([("b", "2"), ("a", "1")]).unwrap();
        assert_bytes(
            Message::Answer(Answer {
                id: 7,
                seen: socket("192.0.2.7:40000"),
                subject: Subject::Own {
                    record: signed(),
                    info,
                },
            }),
            &format!(
                "82 02 (answer) a5 01 07 (id) 02 82 44 c0000207 19 9c40 (seen) 03 00 (own) \
                 04 {SIGNED} 05 a2 61 61 61 31 (a: 1) 61 62 61 32 (b: 2)"
            ),
        );
    }

    #[test]
    fn answer_of_a_client_about_itself() {
        assert_bytes(
            Message::Answer(Answer {
                id: 7,
                seen: socket("192.0.2.7:40000"),
                subject: Subject::Own {
                    record: signed(),
                    info: Labels::default(),
                },
            }),
            &format!(
                "82 02 (answer) a4 01 07 (id) 02 82 44 c0000207 19 9c40 (seen) 03 00 (own) 04 {SIGNED}"
            ),
        );
    }

    #[test]
    fn answer_from_a_registry() {
        assert_bytes(
            Message::Answer(Answer {
                id: 7,
                seen: socket("192.0.2.7:40000"),
                subject: Subject::Found {
                    server: NodeId([0xcc; 32]),
                    record: signed(),
                    sighting: Sighting {
                        source: socket("[2001:db8::1]:1"),
                        last_seen: Timestamp(5),
                        state: State::Expired,
                    },
                },
            }),
            &format!(
                "82 02 (answer) a6 01 07 (id) 02 82 44 c0000207 19 9c40 (seen) 03 01 (found) 04 {SIGNED} \
                 06 {SERVER} (server) \
                 07 a3 (sighting) 01 82 50 20010db8000000000000000000000001 01 (source) 02 05 (last seen) 03 01 (expired)"
            ),
        );
    }

    #[test]
    fn answer_unverified() {
        for (protocol, byte) in [(Protocol::Dynip, "01"), (Protocol::Terminals, "02")] {
            assert_bytes(
                Message::Answer(Answer {
                    id: 7,
                    seen: socket("192.0.2.7:40000"),
                    subject: unverified(protocol),
                }),
                &format!(
                    "82 02 (answer) a7 01 07 (id) 02 82 44 c0000207 19 9c40 (seen) 03 03 (unverified) 06 {SERVER} (server) \
                     07 a3 (sighting) 01 82 44 c0000209 04 (source) 02 05 (last seen) 03 00 (present) \
                     08 66 6c6170746f70 (name) 09 {byte} (protocol)"
                ),
            );
        }
    }

    #[test]
    fn claim_of_our_own_protocol_is_not_encoded() {
        let message = Message::Answer(Answer {
            id: 7,
            seen: socket("192.0.2.7:40000"),
            subject: unverified(Protocol::Hereabouts),
        });
        assert_eq!(
            message.encode(&mut [0; 1200]),
            Err(EncodeError::Refused {
                field: "answer.protocol"
            })
        );
    }

    #[test]
    fn answer_without_a_match() {
        assert_bytes(
            Message::Answer(Answer {
                id: 7,
                seen: socket("192.0.2.7:40000"),
                subject: Subject::Unknown {
                    server: NodeId([0xcc; 32]),
                },
            }),
            &format!(
                "82 02 (answer) a4 01 07 (id) 02 82 44 c0000207 19 9c40 (seen) 03 02 (unknown) 06 {SERVER} (server)"
            ),
        );
    }

    #[test]
    fn register_announcement_and_goodbye() {
        assert_bytes(
            Message::Register(signed()),
            &format!("82 03 (register) {SIGNED}"),
        );
        assert_bytes(
            Message::Announcement(signed()),
            &format!("82 06 (announcement) {SIGNED}"),
        );
        assert_bytes(
            Message::Goodbye(signed()),
            &format!("82 07 (goodbye) {SIGNED}"),
        );
    }

    #[test]
    fn registered() {
        assert_bytes(
            Message::Registered(Registered {
                sequence: 9,
                seen: socket("192.0.2.7:40000"),
                lease: Lease(60),
                clock: Timestamp(1_795_200_000_123),
                offers: None,
            }),
            "82 04 (registered) a4 01 09 (sequence) 02 82 44 c0000207 19 9c40 (seen) 03 183c (lease) \
             04 1b 000001a1fa42207b (clock)",
        );
        assert_bytes(
            Message::Registered(Registered {
                sequence: 9,
                seen: socket("192.0.2.7:40000"),
                lease: Lease(60),
                clock: Timestamp(1_795_200_000_123),
                offers: Some(0x0102_0304_0506_0708),
            }),
            "82 04 (registered) a5 01 09 (sequence) 02 82 44 c0000207 19 9c40 (seen) 03 183c (lease) \
             04 1b 000001a1fa42207b (clock) 05 1b 0102030405060708 (offers)",
        );
    }

    #[test]
    fn renew() {
        assert_bytes(
            Message::Renew(Renewal {
                node: NodeId([0xaa; 32]),
                epoch: 1,
                base: 2,
                sequence: 300,
                proof: [0xdd; 16],
            }),
            "82 05 (renew) a5 \
             01 5820 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (node) \
             02 01 (epoch) 03 02 (base) 04 19012c (sequence) 05 50 dddddddddddddddddddddddddddddddd (proof)",
        );
    }

    #[test]
    fn notice() {
        assert_bytes(
            Message::Notice(Notice {
                server: NodeId([0xcc; 32]),
                name: "hosts".into(),
                generation: 4,
                size: 70_000,
                digest: [0xee; 32],
                signature: [0xff; 64],
            }),
            &format!(
                "82 08 (notice) a6 01 {SERVER} (server) 02 65 686f737473 (hosts) 03 04 (generation) \
                 04 1a00011170 (size) \
                 05 5820 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee (digest) \
                 06 5840 {} (signature)",
                "ff".repeat(64)
            ),
        );
    }

    #[test]
    fn refused_for_every_reason() {
        let id = Regarding::Query(1);
        let sequence = Regarding::Sequence(2);
        for (regarding, refusal, text) in [
            (
                id,
                Refusal::Clock {
                    clock: Timestamp(1000),
                },
                "a3 01 01 (query id) 03 00 (clock) 04 1903e8".to_owned(),
            ),
            (
                sequence,
                Refusal::NameHeld {
                    holder: NodeId([0xcc; 32]),
                },
                format!("a3 02 02 (sequence) 03 01 (name held) 05 {SERVER} (holder)"),
            ),
            (
                id,
                Refusal::Rate {
                    wait: Duration::from_secs(1),
                },
                "a3 01 01 (query id) 03 02 (rate) 06 1903e8 (ms)".to_owned(),
            ),
            (
                sequence,
                Refusal::Outdated {
                    epoch: 3,
                    sequence: 4,
                },
                "a4 02 02 (sequence) 03 03 (outdated) 07 03 (epoch) 08 04 (sequence)".to_owned(),
            ),
            (
                sequence,
                Refusal::UnknownRecord,
                "a2 02 02 (sequence) 03 04 (unknown record)".to_owned(),
            ),
            (
                sequence,
                Refusal::Cloned,
                "a2 02 02 (sequence) 03 05 (cloned)".to_owned(),
            ),
            (
                id,
                Refusal::Channel {
                    name: "home".into(),
                },
                "a3 01 01 (query id) 03 06 (channel) 09 64 686f6d65 (home)".to_owned(),
            ),
        ] {
            assert_bytes(
                Message::Refused(Refused { regarding, refusal }),
                &format!("82 09 (refused) {text}"),
            );
        }
    }

    #[test]
    fn record_body() {
        let signed = SignedRecord::sign(&record(), &Identity::from_seed(&[1; 32]), KEY).unwrap();
        let expected = bytes(
            "a9 01 63 687562 (name) 02 01 (epoch) 03 02 (sequence) 04 03 (boot) 05 183c (lease) \
             06 82 (addresses) \
                83 44 c0000201 00 (of an interface) 64 65746830 (eth0) \
                82 50 20010db8000000000000000000000001 01 (advertised) \
             07 195f35 (port) 08 02 (both) 09 a1 64 73697465 64 686f6d65 (site: home)",
        );
        assert_eq!(
            data_encoding::HEXLOWER.encode(&signed.body),
            data_encoding::HEXLOWER.encode(&expected)
        );
        assert_eq!(SignedRecord::decode_body(&expected), Ok(record()));
    }
}

mod limits {
    use super::*;

    #[test]
    fn largest_answers_fit_a_datagram() {
        let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        for message in largest_answers() {
            let mut out = [0; MAX_DATAGRAM];
            let length = message.seal(key_ring.first(), &[0; 24], &mut out).unwrap();
            assert!(length <= MAX_DATAGRAM, "{length}");
            let payload = seal::open(&key_ring, &mut out[..length])
                .unwrap()
                .payload
                .to_vec();
            assert_eq!(Message::decode(&payload), Ok(message));
        }
    }

    /// However the bytes are distributed over labels, no form is longer than the room in the
    /// largest answer.
    #[test]
    fn longest_labels_fit_an_answer() {
        let [own, _] = largest_answers();
        let with_these = own.encoded_len();
        // Heads: one byte per string, one more for each string over 23 bytes; 256 bytes hold ten
        // such at most.
        let longest_labels = Labels::MAX_BYTES + 2 * Labels::MAX_PAIRS + Labels::MAX_BYTES / 24;
        let here = Labels::MAX_BYTES + 2 * Labels::MAX_PAIRS;
        assert!(
            with_these - here + longest_labels <= MAX_PAYLOAD,
            "{with_these}"
        );
    }

    #[test]
    fn every_kind_of_query_is_padded() {
        for length in 1..=NodeName::MAX {
            let text: Vec<String> = "a"
                .repeat(length)
                .as_bytes()
                .chunks(63)
                .map(|c| "a".repeat(c.len()))
                .collect();
            let Ok(name) = NodeName::parse(&text.join(".")) else {
                continue;
            };
            for id in [0, u64::MAX] {
                let message = Message::Query(Query {
                    id,
                    want: Want::Name(name.clone()),
                    clock: Timestamp(id),
                    window: Duration::ZERO,
                });
                let payload = encoded(&message);
                assert!(
                    (QUERY_PAYLOAD..QUERY_PAYLOAD + 3).contains(&payload.len()),
                    "{} for {name}",
                    payload.len()
                );
                assert_eq!(Message::decode(&payload), Ok(message));
            }
        }
    }

    #[test]
    fn short_queries_are_refused() {
        let payload = bytes("82 01 a4 01 01 02 00 03 01 04 01");
        let error = DecodeError {
            field: "query",
            fault: Fault::TooShort {
                limit: QUERY_PAYLOAD,
            },
        };
        assert_eq!(Message::decode(&payload), Err(error));
    }

    #[test]
    fn no_reply_is_longer_than_three_times_its_request() {
        let shortest_query = QUERY_PAYLOAD + OVERHEAD;
        assert_eq!(shortest_query, QUERY_DATAGRAM);
        assert!(MAX_DATAGRAM <= 3 * shortest_query);
        let renewal = Renewal {
            node: NodeId([0; 32]),
            epoch: 0,
            base: 0,
            sequence: 0,
            proof: [0; 16],
        };
        let empty = SignedRecord {
            body: [].into(),
            ..signed()
        };
        let seen = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), u16::MAX);
        let mut replies = vec![Message::Registered(Registered {
            sequence: u64::MAX,
            seen,
            lease: Lease(u32::MAX),
            clock: Timestamp(u64::MAX),
            offers: Some(u64::MAX),
        })];
        replies.extend(refusals().map(|refusal| {
            Message::Refused(Refused {
                regarding: Regarding::Sequence(u64::MAX),
                refusal,
            })
        }));
        for request in [Message::Renew(renewal), Message::Register(empty)] {
            for reply in &replies {
                let request_bytes = request.encoded_len() + OVERHEAD;
                let reply_bytes = reply.encoded_len() + OVERHEAD;
                assert!(
                    reply_bytes <= 3 * request_bytes,
                    "{reply_bytes} bytes for {request_bytes}: {reply:?}"
                );
            }
        }
    }

    #[test]
    fn largest_record_is_signed_and_a_larger_one_is_not() {
        let identity = Identity::from_seed(&[1; 32]);
        let mut record = largest_record();
        assert!(
            codec::encoded_len(&record) > SignedRecord::MAX_BODY - 40,
            "close to the limit"
        );
        assert_eq!(
            SignedRecord::sign(&record, &identity, KEY)
                .unwrap()
                .verify(|_| true),
            Ok(record.clone())
        );
        while record.addresses.len() <= Record::MAX_ADDRESSES {
            record.addresses.push(record.addresses[0].clone());
        }
        let error = SignedRecord::sign(&record, &identity, KEY).unwrap_err();
        assert_eq!(
            error,
            RecordTooLarge {
                length: codec::encoded_len(&record),
                addresses: 13
            }
        );
    }

    #[test]
    fn records_with_too_many_short_addresses_are_not_signed() {
        let mut record = record();
        record.addresses = vec![record.addresses[0].clone(); Record::MAX_ADDRESSES + 1];
        assert!(codec::encoded_len(&record) < SignedRecord::MAX_BODY);
        assert!(SignedRecord::sign(&record, &Identity::from_seed(&[1; 32]), KEY).is_err());
    }

    #[test]
    fn message_that_receivers_refuse_is_not_encoded() {
        let body = [0; SignedRecord::MAX_BODY + 1];
        let record = SignedRecord {
            body: body.into(),
            ..signed()
        };
        let refused = |field| Err(EncodeError::Refused { field });
        let encode = |message: Message| message.encode(&mut [0; MAX_PAYLOAD]);
        assert_eq!(
            encode(Message::Register(record.clone())),
            refused("record.body")
        );
        let own = Subject::Own {
            record,
            info: Labels::default(),
        };
        let seen = socket("192.0.2.1:1");
        assert_eq!(
            encode(Message::Answer(Answer {
                id: 1,
                seen,
                subject: own
            })),
            refused("answer.record")
        );
        let channel = Refusal::Channel { name: "".into() };
        let regarding = Regarding::Query(1);
        assert_eq!(
            encode(Message::Refused(Refused {
                regarding,
                refusal: channel
            })),
            refused("refused.channel")
        );
        let Some(Message::Notice(notice)) = samples()
            .into_iter()
            .find(|m| matches!(m, Message::Notice(_)))
        else {
            panic!("a notice is among the samples")
        };
        assert_eq!(
            encode(Message::Notice(Notice {
                name: "a b".into(),
                ..notice
            })),
            refused("notice.name")
        );
    }

    #[test]
    fn too_small_buffer_is_an_error() {
        for message in samples() {
            let length = message.encoded_len();
            let error = EncodeError::TooLong {
                length,
                limit: length - 1,
            };
            assert_eq!(message.encode(&mut vec![0; length - 1]), Err(error));
            assert_eq!(message.encode(&mut vec![0; length]), Ok(length));
        }
        let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        for length in [0, OVERHEAD, 60] {
            assert!(
                query(Want::All)
                    .seal(key_ring.first(), &[0; 24], &mut vec![0; length])
                    .is_err()
            );
        }
    }

    #[test]
    fn long_windows_are_cut() {
        let Message::Query(long) = query(Want::All) else {
            unreachable!()
        };
        let payload = encoded(&Message::Query(Query {
            window: Duration::MAX,
            ..long
        }));
        let Ok(Message::Query(query)) = Message::decode(&payload) else {
            panic!("a query")
        };
        assert_eq!(query.window, Duration::from_millis(65_535));
    }
}

mod strict {
    use super::*;

    fn fault(text: &str) -> (&'static str, Fault) {
        let error = Message::decode(&bytes(text)).unwrap_err();
        (error.field, error.fault)
    }

    const RENEW: &str = "82 05 a5 01 5820 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
        02 01 03 02 04 04 05 50 dddddddddddddddddddddddddddddddd";

    #[test]
    fn every_truncation_is_refused() {
        for message in samples() {
            let payload = encoded(&message);
            for length in 0..payload.len() {
                assert!(
                    Message::decode(&payload[..length]).is_err(),
                    "{length} bytes of {message:?}"
                );
            }
        }
        let body = SignedRecord::sign(&record(), &Identity::from_seed(&[1; 32]), KEY)
            .unwrap()
            .body;
        for length in 0..body.len() {
            assert!(
                SignedRecord::decode_body(&body[..length]).is_err(),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        for message in samples() {
            let mut payload = encoded(&message);
            payload.push(0);
            let error = Message::decode(&payload).unwrap_err();
            assert_eq!(
                error,
                DecodeError {
                    field: "message",
                    fault: Fault::Trailing
                },
                "{message:?}"
            );
        }
    }

    #[test]
    fn payload_over_a_datagram_is_refused() {
        let error = DecodeError {
            field: "message",
            fault: Fault::TooLong { limit: MAX_PAYLOAD },
        };
        assert_eq!(Message::decode(&[0; MAX_PAYLOAD + 1]), Err(error));
    }

    #[test]
    fn fields_come_once_and_in_order() {
        assert_eq!(
            fault("82 09 a3 02 02 02 02 03 04"),
            ("refused", Fault::Duplicate)
        );
        assert_eq!(fault("82 09 a2 03 04 02 02"), ("refused", Fault::Order));
        // This holds for unknown fields, too.
        assert_eq!(
            fault("82 09 a4 02 02 03 04 14 00 14 00"),
            ("refused", Fault::Duplicate)
        );
    }

    #[test]
    fn missing_field_is_refused() {
        for (text, field) in [
            ("82 05 a0", "renew.node"),
            ("82 04 a0", "registered.sequence"),
            ("82 04 a1 01 00", "registered.seen"),
            ("82 08 a0", "notice.server"),
            ("82 03 a0", "register"),
            ("82 02 a0", "answer.subject"),
            ("82 02 a1 03 00", "answer.record"),
            ("82 02 a1 03 01", "answer.server"),
            ("82 02 a1 03 02", "answer.server"),
            ("82 09 a1 03 04", "refused.regarding"),
            ("82 09 a1 01 04", "refused.why"),
            ("82 09 a2 01 00 03 00", "refused.clock"),
            ("82 09 a2 01 00 03 01", "refused.holder"),
            ("82 09 a2 01 00 03 02", "refused.wait"),
            ("82 09 a3 01 00 03 03 08 00", "refused.epoch"),
            ("82 09 a3 01 00 03 03 07 00", "refused.sequence"),
            ("82 09 a2 01 00 03 06", "refused.channel"),
        ] {
            assert_eq!(fault(text), (field, Fault::Missing), "{text}");
        }
    }

    #[test]
    fn fields_of_other_kinds_are_refused() {
        for (text, field) in [
            ("82 09 a3 01 00 02 00 03 04", "refused.regarding"),
            ("82 09 a3 01 00 03 04 04 00", "refused.clock"),
            ("82 09 a3 01 00 03 04 06 00", "refused.wait"),
            ("82 09 a3 01 00 03 04 07 00", "refused.epoch"),
            ("82 09 a3 01 00 03 04 08 00", "refused.sequence"),
            ("82 09 a3 01 00 03 04 09 61 61", "refused.channel"),
            ("82 02 a2 03 02 05 a0", "answer.info"),
            ("82 02 a2 03 02 08 61 61", "answer.name"),
            ("82 02 a2 03 01 09 01", "answer.protocol"),
            ("82 02 a2 03 03 05 a0", "answer.info"),
        ] {
            assert_eq!(fault(text), (field, Fault::Unexpected), "{text}");
        }
    }

    #[test]
    fn each_want_accepts_only_its_own_field() {
        let padding = "00".repeat(QUERY_PAYLOAD);
        let query = |fields: u8, want: &str| {
            fault(&format!(
                "82 01 {:02x} 01 01 02 {want} 0f 590163 {padding}",
                0xa3 + fields
            ))
        };
        assert_eq!(query(0, "02"), ("query.name", Fault::Missing));
        assert_eq!(query(0, "03"), ("query.address", Fault::Missing));
        assert_eq!(query(1, "00 05 61 61"), ("query.name", Fault::Unexpected));
        assert_eq!(
            query(1, "01 06 44 00000000"),
            ("query.address", Fault::Unexpected)
        );
        assert_eq!(
            query(2, "02 05 61 61 06 44 00000000"),
            ("query.address", Fault::Unexpected)
        );
        assert_eq!(
            query(2, "03 05 61 61 06 44 00000000"),
            ("query.name", Fault::Unexpected)
        );
        assert_eq!(query(0, "04"), ("query.want", Fault::Unknown { value: 4 }));
        assert_eq!(query(1, "02 05 61 41"), ("query.name", Fault::Text));
        assert_eq!(query(0, "00"), ("query.clock", Fault::Missing));
    }

    #[test]
    fn unknown_numbers_are_refused() {
        assert_eq!(
            fault("82 00 a0"),
            ("message.type", Fault::Unknown { value: 0 })
        );
        assert_eq!(
            fault("82 0a a0"),
            ("message.type", Fault::Unknown { value: 10 })
        );
        assert_eq!(
            fault("82 02 a1 03 04"),
            ("answer.subject", Fault::Unknown { value: 4 })
        );
        assert_eq!(
            fault("82 02 a1 09 00"),
            ("answer.protocol", Fault::Unknown { value: 0 })
        );
        assert_eq!(
            fault("82 09 a2 01 00 03 07"),
            ("refused.why", Fault::Unknown { value: 7 })
        );
    }

    #[test]
    fn only_the_deterministic_form_is_accepted() {
        for (text, expected) in [
            ("9f 04 a0 ff", ("message", Fault::Indefinite)),
            ("82 04 bf ff", ("registered", Fault::Indefinite)),
            ("82 09 a1 01 1801", ("refused.query", Fault::NotShortest)),
            ("82 09 a1 01 190001", ("refused.query", Fault::NotShortest)),
            (
                "82 09 a1 01 1a00000001",
                ("refused.query", Fault::NotShortest),
            ),
            (
                "82 09 a1 01 1b0000000000000001",
                ("refused.query", Fault::NotShortest),
            ),
            ("82 09 a1 01 1c", ("refused.query", Fault::Malformed)),
            ("82 09 a1 09 7f", ("refused.channel", Fault::Indefinite)),
            ("82 05 a1 01 5f", ("renew.node", Fault::Indefinite)),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn wrong_types_and_lengths_are_refused() {
        for (text, expected) in [
            ("", ("message", Fault::Truncated)),
            ("a0", ("message", Fault::Type)),
            ("81 05", ("message", Fault::Length)),
            ("83 05 a0 00", ("message", Fault::TooLong { limit: 2 })),
            ("82 61 61 a0", ("message.type", Fault::Type)),
            ("82 05 80", ("renew", Fault::Type)),
            ("82 05 a1 61 61 00", ("renew", Fault::Type)),
            ("82 05 a1 20 00", ("renew", Fault::Type)),
            ("82 05 a1 01 41 00", ("renew.node", Fault::Length)),
            (
                "82 05 a1 01 5821 00",
                ("renew.node", Fault::TooLong { limit: 32 }),
            ),
            ("82 05 a1 02 20", ("renew.epoch", Fault::Type)),
            (
                "82 05 a1 02 fb 3ff0000000000000",
                ("renew.epoch", Fault::Type),
            ),
            (
                "82 04 a1 02 82 45 0000000000 00",
                ("registered.seen", Fault::Length),
            ),
            (
                "82 04 a1 02 82 44 00000000 1a00010000",
                ("registered.seen", Fault::Range),
            ),
            (
                "82 04 a1 02 81 44 00000000",
                ("registered.seen", Fault::Length),
            ),
            (
                "82 04 a1 03 1b0000000100000000",
                ("registered.lease", Fault::Range),
            ),
            (
                "82 03 a1 03 590281",
                (
                    "register",
                    Fault::TooLong {
                        limit: SignedRecord::MAX_BODY,
                    },
                ),
            ),
            (
                "82 03 a1 03 5bffffffffffffffff",
                (
                    "register",
                    Fault::TooLong {
                        limit: SignedRecord::MAX_BODY,
                    },
                ),
            ),
            (
                "82 08 a1 02 7840",
                ("notice.name", Fault::TooLong { limit: 63 }),
            ),
            ("82 08 a1 02 61 20", ("notice.name", Fault::Text)),
            ("82 08 a1 02 60", ("notice.name", Fault::Text)),
            (
                "82 09 a1 09 7841",
                ("refused.channel", Fault::TooLong { limit: 64 }),
            ),
            ("82 09 a1 09 61 0a", ("refused.channel", Fault::Text)),
            ("82 09 a1 09 61 ff", ("refused.channel", Fault::Utf8)),
            (
                "82 09 a1 06 1b0000000100000000",
                ("refused.wait", Fault::Range),
            ),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_labels_are_refused() {
        for (text, expected) in [
            ("b1", Fault::TooLong { limit: 16 }),
            ("a2 61 61 60 61 61 60", Fault::Duplicate),
            ("a2 61 62 60 61 61 60", Fault::Order),
            ("a1 60 60", Fault::Text),
            ("a1 61 20 60", Fault::Text),
            ("a1 61 61 61 0a", Fault::Text),
            ("a1 7840", Fault::TooLong { limit: 63 }),
            ("a1 61 61 790100", Fault::TooLong { limit: 255 }),
            ("bb ffffffffffffffff", Fault::TooLong { limit: 16 }),
        ] {
            assert_eq!(
                fault(&format!("82 02 a1 05 {text}")),
                ("answer.info", expected),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let expected = Message::decode(&bytes(RENEW));
        assert!(expected.is_ok());
        for value in [
            "00",
            "3bffffffffffffffff",
            "43 010203",
            "63 616263",
            "82 01 82 02 03",
            "a1 61 61 81 00",
            "c1 1a00010000",
            "f4",
            "f6",
            "f8ff",
            "f90000",
            "fa00000000",
            "fb0000000000000000",
            "80",
            "a0",
            "8181818100",
        ] {
            let text = format!("{} 1903e8 {value}", RENEW.replace("82 05 a5", "82 05 a6"));
            assert_eq!(Message::decode(&bytes(&text)), expected, "{value}");
        }
    }

    #[test]
    fn unknown_fields_must_be_bounded_and_well_formed() {
        let long_map = "bb 8000000000000000";
        for (value, expected) in [
            ("818181818100", Fault::Depth),
            ("a100a100a100a100a10000", Fault::Depth),
            ("c1c1c1c1c100", Fault::Depth),
            ("9f ff", Fault::Indefinite),
            ("5f ff", Fault::Indefinite),
            ("ff", Fault::Indefinite),
            ("1c", Fault::Malformed),
            ("1801", Fault::NotShortest),
            ("9bffffffffffffffff 00", Fault::Truncated),
            (long_map, Fault::Truncated),
            ("5bffffffffffffffff 00", Fault::Truncated),
            ("", Fault::Truncated),
        ] {
            let text = format!("{} 1903e8 {value}", RENEW.replace("82 05 a5", "82 05 a6"));
            assert_eq!(fault(&text), ("renew", expected), "{value}");
        }
        let deep = format!(
            "{} 1903e8 {}",
            RENEW.replace("82 05 a5", "82 05 a6"),
            "81".repeat(1000)
        );
        assert_eq!(fault(&deep), ("renew", Fault::Depth));
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let text = "82 04 a4 01 09 02 82 50 00000000000000000000ffffc0000207 01 03 00 04 00";
        let Ok(Message::Registered(registered)) = Message::decode(&bytes(text)) else {
            panic!("registered")
        };
        assert_eq!(registered.seen, socket("192.0.2.7:1"));
        let seen = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().into(), 1);
        let sent = encoded(&Message::Registered(Registered {
            seen,
            ..registered.clone()
        }));
        assert_eq!(Message::decode(&sent), Ok(Message::Registered(registered)));
    }

    #[test]
    fn body_that_is_no_record_is_refused() {
        let fault = |text: &str| {
            let error = SignedRecord::decode_body(&bytes(text)).unwrap_err();
            (error.field, error.fault)
        };
        for (text, expected) in [
            ("a0", ("record.name", Fault::Missing)),
            ("a1 01 61 41", ("record.name", Fault::Text)),
            ("a1 01 62 612e", ("record.name", Fault::Text)),
            ("a1 01 7880", ("record.name", Fault::TooLong { limit: 127 })),
            (
                "a1 06 8d",
                ("record.addresses", Fault::TooLong { limit: 12 }),
            ),
            ("a1 06 81 81 44 00000000", ("record.address", Fault::Length)),
            (
                "a1 06 81 82 44 00000000 02",
                ("record.address", Fault::Unknown { value: 2 }),
            ),
            (
                "a1 06 81 83 44 00000000 00 61 20",
                ("record.address", Fault::Text),
            ),
            (
                "a1 06 81 84 44 00000000 00 61 61 00",
                ("record.address", Fault::TooLong { limit: 3 }),
            ),
            ("a1 07 1a00010000", ("record.port", Fault::Range)),
            ("a1 08 03", ("record.role", Fault::Unknown { value: 3 })),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        let long = DecodeError {
            field: "record",
            fault: Fault::TooLong {
                limit: SignedRecord::MAX_BODY,
            },
        };
        assert_eq!(
            SignedRecord::decode_body(&[0; SignedRecord::MAX_BODY + 1]),
            Err(long)
        );
    }

    /// Another implementation reads every message as well-formed, up to its last byte.
    #[test]
    fn minicbor_accepts_every_message() {
        for message in samples().iter().chain(&largest_answers()) {
            let payload = encoded(message);
            let mut decoder = minicbor::Decoder::new(&payload);
            decoder.skip().unwrap();
            assert_eq!(decoder.position(), payload.len());
        }
    }
}

mod signatures {
    use super::*;

    fn identity() -> Identity {
        Identity::from_seed(&[1; 32])
    }

    #[test]
    fn signed_record_verifies_under_its_key_only() {
        let signed = SignedRecord::sign(&record(), &identity(), KEY).unwrap();
        assert_eq!(signed.node, identity().id());
        assert_eq!(signed.verify(|key| key == KEY), Ok(record()));
        assert_eq!(
            signed.verify(|_| false),
            Err(RecordError::ForeignKey { key: KEY })
        );
        let moved = SignedRecord {
            key: KeyId([0; 4]),
            ..signed
        };
        assert_eq!(
            moved.verify(|_| true),
            Err(RecordError::Signature(IdentityError::Signature))
        );
    }

    #[test]
    fn changed_record_does_not_verify() {
        let signed = SignedRecord::sign(&record(), &identity(), KEY).unwrap();
        for index in 0..signed.body.len() {
            let mut changed = signed.clone();
            changed.body[index] ^= 1;
            assert_eq!(
                changed.verify(|_| true),
                Err(RecordError::Signature(IdentityError::Signature)),
                "{index}"
            );
        }
        for index in 0..64 {
            let mut changed = signed.clone();
            changed.signature[index] ^= 1;
            assert_eq!(
                changed.verify(|_| true),
                Err(RecordError::Signature(IdentityError::Signature)),
                "{index}"
            );
        }
        let other = SignedRecord {
            node: Identity::from_seed(&[2; 32]).id(),
            ..signed
        };
        assert_eq!(
            other.verify(|_| true),
            Err(RecordError::Signature(IdentityError::Signature))
        );
    }

    #[test]
    fn record_of_a_weak_node_id_does_not_verify() {
        // With the neutral point as key and R, and S = 0, the equation holds for every message.
        let mut one = [0; 32];
        one[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let forged = SignedRecord {
            node: NodeId(one),
            key: KEY,
            body: [0xa0].into(),
            signature,
        };
        assert_eq!(
            forged.verify(|_| true),
            Err(RecordError::Signature(IdentityError::Weak))
        );
    }

    #[test]
    fn body_over_the_limit_is_refused_before_it_is_copied() {
        let long = SignedRecord {
            body: [0; 4096].into(),
            ..signed()
        };
        let error = DecodeError {
            field: "record",
            fault: Fault::TooLong {
                limit: SignedRecord::MAX_BODY,
            },
        };
        assert_eq!(long.verify(|_| true), Err(RecordError::Body(error)));
    }

    #[test]
    fn notice_is_bound_to_key_and_every_field() {
        let notice = Notice::sign(&identity(), KEY, "hosts", 4, 70_000, [0xee; 32]).unwrap();
        assert_eq!(notice.verify(KEY), Ok(()));
        assert_eq!(notice.verify(KeyId([0; 4])), Err(IdentityError::Signature));
        for changed in [
            Notice {
                server: Identity::from_seed(&[2; 32]).id(),
                ..notice.clone()
            },
            Notice {
                name: "host".into(),
                ..notice.clone()
            },
            Notice {
                name: "h".repeat(64).into(),
                ..notice.clone()
            },
            Notice {
                generation: 5,
                ..notice.clone()
            },
            Notice {
                size: 5,
                ..notice.clone()
            },
            Notice {
                digest: [0; 32],
                ..notice.clone()
            },
            Notice {
                signature: [0; 64],
                ..notice.clone()
            },
        ] {
            assert_eq!(
                changed.verify(KEY),
                Err(IdentityError::Signature),
                "{changed:?}"
            );
        }
        let refused = Notice::sign(&identity(), KEY, "", 4, 7, [0; 32]);
        assert_eq!(
            refused,
            Err(EncodeError::Refused {
                field: "notice.name"
            })
        );
    }
}

mod properties {
    use super::*;

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(|ip| IpAddr::from(ip).to_canonical())
        ]
    }

    fn any_socket() -> impl Strategy<Value = SocketAddr> {
        (any_ip(), any::<u16>()).prop_map(SocketAddr::from)
    }

    fn any_id() -> impl Strategy<Value = NodeId> {
        any::<[u8; 32]>().prop_map(NodeId)
    }

    fn any_signature() -> impl Strategy<Value = [u8; 64]> {
        (any::<[u8; 32]>(), any::<[u8; 32]>())
            .prop_map(|(r, s)| std::array::from_fn(|i| if i < 32 { r[i] } else { s[i - 32] }))
    }

    fn any_name() -> impl Strategy<Value = NodeName> {
        "[a-z0-9_]{1,40}(\\.[a-z0-9_]{1,40}){0,2}".prop_map(|text| name(&text))
    }

    fn any_labels() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[A-Za-z0-9._/-]{1,8}", "[ -~é]{0,4}", 0..=16)
            .prop_map(|map| Labels::new(map).unwrap())
    }

    fn any_signed() -> impl Strategy<Value = SignedRecord> {
        let body = prop::collection::vec(any::<u8>(), 0..=SignedRecord::MAX_BODY);
        (any_id(), any::<[u8; 4]>(), body, any_signature()).prop_map(
            |(node, key, body, signature)| SignedRecord {
                node,
                key: KeyId(key),
                body: body.into(),
                signature,
            },
        )
    }

    fn any_query() -> impl Strategy<Value = Message> {
        let want = prop_oneof![
            Just(Want::Servers),
            Just(Want::All),
            any_name().prop_map(Want::Name),
            any_ip().prop_map(Want::Holder)
        ];
        (any::<u64>(), want, any::<u64>(), any::<u16>()).prop_map(|(id, want, clock, window)| {
            Message::Query(Query {
                id,
                want,
                clock: Timestamp(clock),
                window: Duration::from_millis(window.into()),
            })
        })
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Present),
            Just(State::Expired),
            Just(State::Left)
        ]
    }

    fn any_answer() -> impl Strategy<Value = Message> {
        let sighting =
            (any_socket(), any::<u64>(), any_state()).prop_map(|(source, last_seen, state)| {
                Sighting {
                    source,
                    last_seen: Timestamp(last_seen),
                    state,
                }
            });
        let subject = prop_oneof![
            (any_signed(), any_labels()).prop_map(|(record, info)| Subject::Own { record, info }),
            (any_id(), any_signed(), sighting).prop_map(|(server, record, sighting)| {
                Subject::Found {
                    server,
                    record,
                    sighting,
                }
            }),
            any_id().prop_map(|server| Subject::Unknown { server }),
            (any_id(), any::<bool>()).prop_map(|(server, dynip)| {
                let protocol = if dynip {
                    Protocol::Dynip
                } else {
                    Protocol::Terminals
                };
                let Subject::UnverifiedClaim { name, sighting, .. } = super::unverified(protocol)
                else {
                    unreachable!()
                };
                Subject::UnverifiedClaim {
                    server,
                    name,
                    protocol,
                    sighting,
                }
            }),
        ];
        (any::<u64>(), any_socket(), subject)
            .prop_map(|(id, seen, subject)| Message::Answer(Answer { id, seen, subject }))
    }

    fn any_carried_record() -> impl Strategy<Value = Message> {
        any_signed().prop_flat_map(|record| {
            prop_oneof![
                Just(Message::Register(record.clone())),
                Just(Message::Announcement(record.clone())),
                Just(Message::Goodbye(record))
            ]
        })
    }

    fn any_registered() -> impl Strategy<Value = Message> {
        (
            any::<u64>(),
            any_socket(),
            any::<u32>(),
            any::<u64>(),
            any::<Option<u64>>(),
        )
            .prop_map(|(sequence, seen, lease, clock, offers)| {
                Message::Registered(Registered {
                    sequence,
                    seen,
                    lease: Lease(lease),
                    clock: Timestamp(clock),
                    offers,
                })
            })
    }

    fn any_renewal() -> impl Strategy<Value = Message> {
        (
            any_id(),
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<[u8; 16]>(),
        )
            .prop_map(|(node, epoch, base, sequence, proof)| {
                Message::Renew(Renewal {
                    node,
                    epoch,
                    base,
                    sequence,
                    proof,
                })
            })
    }

    fn any_notice() -> impl Strategy<Value = Message> {
        (
            any_id(),
            "[A-Za-z0-9._/-]{1,63}",
            any::<u64>(),
            any::<u64>(),
            any::<[u8; 32]>(),
            any_signature(),
        )
            .prop_map(|(server, name, generation, size, digest, signature)| {
                Message::Notice(Notice {
                    server,
                    name: name.into(),
                    generation,
                    size,
                    digest,
                    signature,
                })
            })
    }

    fn any_refused() -> impl Strategy<Value = Message> {
        let regarding = prop_oneof![
            any::<u64>().prop_map(Regarding::Query),
            any::<u64>().prop_map(Regarding::Sequence)
        ];
        let refusal = prop_oneof![
            any::<u64>().prop_map(|clock| Refusal::Clock {
                clock: Timestamp(clock)
            }),
            any_id().prop_map(|holder| Refusal::NameHeld { holder }),
            any::<u32>().prop_map(|wait| Refusal::Rate {
                wait: Duration::from_millis(wait.into())
            }),
            (any::<u64>(), any::<u64>())
                .prop_map(|(epoch, sequence)| Refusal::Outdated { epoch, sequence }),
            Just(Refusal::UnknownRecord),
            Just(Refusal::Cloned),
            "[ -~é]{1,32}".prop_map(|name| Refusal::Channel { name: name.into() }),
        ];
        (regarding, refusal)
            .prop_map(|(regarding, refusal)| Message::Refused(Refused { regarding, refusal }))
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let interface =
            prop::option::of("[a-z0-9]{1,6}".prop_map(|text| InterfaceName::parse(&text).unwrap()));
        let origin = prop_oneof![Just(Origin::Interface), Just(Origin::Advertised)];
        let address = (any_ip(), interface, origin).prop_map(|(ip, interface, origin)| Address {
            ip,
            interface,
            origin,
        });
        let role = prop_oneof![Just(Role::Client), Just(Role::Server), Just(Role::Both)];
        let numbers = (
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<u32>(),
            any::<u16>(),
        );
        let labels = prop::collection::btree_map("[a-z]{1,6}", "[ -~]{0,5}", 0..=8)
            .prop_map(|map| Labels::new(map).unwrap());
        (
            any_name(),
            numbers,
            prop::collection::vec(address, 0..=12),
            role,
            labels,
        )
            .prop_map(
                |(name, (epoch, sequence, boot, lease, port), addresses, role, labels)| Record {
                    name,
                    epoch,
                    sequence,
                    boot,
                    lease: Lease(lease),
                    addresses,
                    port,
                    role,
                    labels,
                },
            )
    }

    macro_rules! codec_properties {
        ($($strategy:ident: $roundtrip:ident, $encoded_len:ident, $decode_no_panic:ident;)*) => { proptest! { $(
            #[test]
            fn $roundtrip(message in $strategy()) {
                prop_assert_eq!(Message::decode(&encoded(&message)), Ok(message));
            }

            #[test]
            fn $encoded_len(message in $strategy()) {
                prop_assert_eq!(encoded(&message).len(), message.encoded_len());
                prop_assert!(message.encoded_len() <= MAX_PAYLOAD);
            }

            /// A valid message with some bytes changed: if it still decodes, its encoded form
            /// decodes to the same message.
            #[test]
            fn $decode_no_panic(message in $strategy(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
                let mut payload = encoded(&message);
                let length = payload.len();
                for (at, byte) in changes {
                    payload[at % length] = byte;
                }
                if let Ok(decoded) = Message::decode(&payload) {
                    prop_assert_eq!(Message::decode(&encoded(&decoded)), Ok(decoded));
                }
            }
        )* } };
    }

    codec_properties! {
        any_query: query_roundtrip, query_encoded_len, query_decode_no_panic;
        any_answer: answer_roundtrip, answer_encoded_len, answer_decode_no_panic;
        any_carried_record: carried_record_roundtrip, carried_record_encoded_len, carried_record_decode_no_panic;
        any_registered: registered_roundtrip, registered_encoded_len, registered_decode_no_panic;
        any_renewal: renewal_roundtrip, renewal_encoded_len, renewal_decode_no_panic;
        any_notice: notice_roundtrip, notice_encoded_len, notice_decode_no_panic;
        any_refused: refused_roundtrip, refused_encoded_len, refused_decode_no_panic;
    }

    proptest! {
        #[test]
        fn message_decode_no_panic(payload in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = Message::decode(&payload);
        }

        #[test]
        fn record_roundtrip(record in any_record()) {
            let identity = Identity::from_seed(&[1; 32]);
            match SignedRecord::sign(&record, &identity, KEY) {
                Ok(signed) => {
                    prop_assert_eq!(signed.body.len(), codec::encoded_len(&record));
                    prop_assert_eq!(signed.verify(|key| key == KEY), Ok(record));
                }
                Err(error) => prop_assert!(error.length > SignedRecord::MAX_BODY),
            }
        }

        #[test]
        fn record_decode_no_panic(record in any_record(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4)) {
            if let Ok(signed) = SignedRecord::sign(&record, &Identity::from_seed(&[1; 32]), KEY) {
                let mut body = signed.body.to_vec();
                let length = body.len();
                for (at, byte) in changes {
                    body[at % length] = byte;
                }
                let _ = SignedRecord::decode_body(&body);
            }
        }
    }
}
