//! The published vector, the bytes of messages, and properties of the handshake, frames and the
//! codec.

use proptest::prelude::*;
use snow::Builder;
use zeroize::Zeroizing;

use super::resolver::Resolver;
use super::*;
use crate::model::Secret;
use crate::model::{NodeId, Timestamp};
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::v1::{EncodeError, Fault, Notice};

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key_ring(keys: &[u8]) -> KeyRing {
    let secrets: Vec<_> = keys.iter().map(|byte| Secret::key([*byte; 32])).collect();
    KeyRing::new("home", &secrets).unwrap()
}

fn ephemeral(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

const CLOCK: Timestamp = Timestamp(1_795_200_000_000);

/// A handshake between a caller and a server with these key rings.
fn handshake(
    caller: &KeyRing,
    server: &KeyRing,
) -> Result<(Established, Established), HandshakeError> {
    let (initiator, hello) = Initiator::new(caller.first(), "home", CLOCK, ephemeral(1))?;
    let hello = Hello::open(server, "home", &hello, ephemeral(2))?;
    assert_eq!(hello.clock(), CLOCK);
    let (at_server, reply) = hello.reply()?;
    Ok((initiator.finish(&reply)?, at_server))
}

/// The vector of cacophony for this pattern, with the primitives of this module.
#[test]
fn published_noise_vector_holds() {
    const MESSAGES: [(&str, &str); 6] = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79447c37a89fc17813788d30df2d59501d6066f5f8aecc3406bbd9829f2d24a531b1",
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432f29d79368ef9de4e1ae7a362fb05bf0ad668e026bf5714554497b3a720461",
        ),
        (
            "462e20412e20486179656b",
            "7c01e898a6201f36aecee532e29cd0b7f8ffa29d3366ad0dce39a6",
        ),
        (
            "4361726c204d656e676572",
            "a9ff535aace3db6a1da1a7fb00fe2de2622bb373abad9fb42c00e0",
        ),
        (
            "4a65616e2d426170746973746520536179",
            "6cfc49a3e65472edc2d0152abe5ce950170a8a47c959f30bd48b5f0aacf29adbfd",
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "9bc86e6d974ed21ba04604a94aa68de21677eb409ead070c0cd569b069ee19ba142aa4c1a9",
        ),
    ];
    let psk: [u8; 32] = hex("54686973206973206d7920417573747269616e20706572737065637469766521")
        .try_into()
        .unwrap();
    let builder = |seed: &str| {
        let seed: [u8; 32] = hex(seed).try_into().unwrap();
        let pattern = "Noise_NNpsk0_25519_AESGCM_SHA256".parse().unwrap();
        Builder::with_resolver(pattern, Box::new(Resolver(Zeroizing::new(seed))))
            .psk(0, &psk)
            .unwrap()
            .prologue(b"John Galt")
            .unwrap()
    };
    let mut one = builder("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
        .build_initiator()
        .unwrap();
    let mut other = builder("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
        .build_responder()
        .unwrap();
    let mut sealed = [0; 256];
    let mut opened = [0; 256];
    for (text, expected) in &MESSAGES[..2] {
        let length = one.write_message(&hex(text), &mut sealed).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&sealed[..length]), *expected);
        other.read_message(&sealed[..length], &mut opened).unwrap();
        std::mem::swap(&mut one, &mut other);
    }
    assert_eq!(
        data_encoding::HEXLOWER.encode(one.get_handshake_hash()),
        "9f3b1f9afd7767767b5b9d1069844a6154fdbdcc36dfb3e31c0fffc5c973d530"
    );
    let mut one = one.into_transport_mode().unwrap();
    let mut other = other.into_transport_mode().unwrap();
    for (text, expected) in &MESSAGES[2..] {
        let length = one.write_message(&hex(text), &mut sealed).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&sealed[..length]), *expected);
        let length = other.read_message(&sealed[..length], &mut opened).unwrap();
        assert_eq!(opened[..length], hex(text));
        std::mem::swap(&mut one, &mut other);
    }
}

#[test]
fn both_sides_agree_and_frames_open_in_order_only() {
    let (mut caller, mut server) = handshake(&key_ring(&[1]), &key_ring(&[1])).unwrap();
    assert_eq!(caller.binding(), server.binding());
    assert_eq!(caller.key(), key_ring(&[1]).first().id());
    let mut first = [0; 64];
    let mut second = [0; 64];
    let mut out = [0; 64];
    let one = caller.seal(b"one", &mut first).unwrap();
    let two = caller.seal(b"two", &mut second).unwrap();
    assert_eq!(
        server.open(&second[..two], &mut out),
        Err(TransportError::Forged)
    );
    assert_eq!(server.open(&first[..one], &mut out), Ok(3));
    assert_eq!(
        server.open(&first[..one], &mut out),
        Err(TransportError::Forged),
        "a frame that is received twice"
    );
    assert_eq!(server.open(&second[..two], &mut out), Ok(3));
    assert_eq!(&out[..3], b"two");
    let answer = server.seal(b"three", &mut first).unwrap();
    assert_eq!(caller.open(&first[..answer], &mut out), Ok(5));
    // A frame does not open on the side that sealed it.
    let length = caller.seal(b"mine", &mut first).unwrap();
    assert_eq!(
        caller.open(&first[..length], &mut out),
        Err(TransportError::Forged)
    );
    assert_eq!(caller.seal(b"", &mut first), Err(TransportError::Length));
    assert_eq!(
        caller.open(&[0; TAG], &mut out),
        Err(TransportError::Length)
    );
}

#[test]
fn every_key_of_the_key_ring_and_no_other_opens_a_session() {
    for caller in [1, 2, 3] {
        assert!(handshake(&key_ring(&[caller]), &key_ring(&[3, 2, 1])).is_ok());
    }
    let error = handshake(&key_ring(&[4]), &key_ring(&[3, 2, 1])).err();
    assert_eq!(
        error,
        Some(HandshakeError::UnknownKey {
            key: key_ring(&[4]).first().id()
        })
    );
}

#[test]
fn hello_of_another_channel_or_damaged_hello_does_not_open() {
    let key_ring = key_ring(&[1]);
    let (_, hello) = Initiator::new(key_ring.first(), "home", CLOCK, ephemeral(1)).unwrap();
    assert!(Hello::open(&key_ring, "home", &hello, ephemeral(2)).is_ok());
    assert_eq!(
        Hello::open(&key_ring, "work", &hello, ephemeral(2)).err(),
        Some(HandshakeError::Forged)
    );
    for place in 0..HELLO {
        let mut damaged = hello;
        damaged[place] ^= 1;
        assert!(
            Hello::open(&key_ring, "home", &damaged, ephemeral(2)).is_err(),
            "byte {place}"
        );
    }
}

#[test]
fn reply_without_the_key_ends_the_handshake() {
    let key_ring = key_ring(&[1]);
    let (initiator, hello) = Initiator::new(key_ring.first(), "home", CLOCK, ephemeral(1)).unwrap();
    let (_, mut reply) = Hello::open(&key_ring, "home", &hello, ephemeral(2))
        .unwrap()
        .reply()
        .unwrap();
    reply[REPLY - 1] ^= 1;
    assert_eq!(initiator.finish(&reply).err(), Some(HandshakeError::Forged));
    // A point of low order, which would make the shared secret public.
    let (initiator, _) = Initiator::new(key_ring.first(), "home", CLOCK, ephemeral(1)).unwrap();
    assert_eq!(
        initiator.finish(&[0; REPLY]).err(),
        Some(HandshakeError::Forged)
    );
}

#[test]
fn each_hello_has_its_own_nonce() {
    let key_ring = key_ring(&[1]);
    let nonce = |seed| {
        let (_, hello) = Initiator::new(key_ring.first(), "home", CLOCK, ephemeral(seed)).unwrap();
        Hello::open(&key_ring, "home", &hello, ephemeral(9))
            .unwrap()
            .nonce()
    };
    assert_eq!(nonce(1), nonce(1));
    assert_ne!(nonce(1), nonce(2));
}

#[test]
fn introduction_is_valid_on_its_own_session_only() {
    let identity = Identity::from_seed(&[5; 32]);
    let Request::Introduce { node, signature } = Request::introduce(&identity, &[1; 32]) else {
        unreachable!()
    };
    assert_eq!(node, identity.id());
    assert!(verify_introduction(&node, &signature, &[1; 32]).is_ok());
    assert!(verify_introduction(&node, &signature, &[2; 32]).is_err());
    assert!(
        verify_introduction(&Identity::from_seed(&[6; 32]).id(), &signature, &[1; 32]).is_err()
    );
}

fn encoded(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = vec![0; MAX_MESSAGE];
    let length = answer.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

fn encoded_request(request: &Request) -> Vec<u8> {
    let mut out = vec![0; MAX_MESSAGE];
    let length = request.encode(&mut out).unwrap();
    out.truncate(length);
    out
}

#[test]
fn bytes_of_messages_are_stable() {
    let cases: [(&str, Vec<u8>); 9] = [
        (
            "8201707b2274797065223a227761746368227d",
            encoded_request(&Request::Registry(r#"{"type":"watch"}"#.into())),
        ),
        ("8202a0", encoded_request(&Request::Offers)),
        (
            "8203a20161610205",
            encoded_request(&Request::Pull {
                name: "a".into(),
                offset: 5,
                digest: None,
            }),
        ),
        (
            "8205a501616102 03 03626e6f 0404 0501",
            encoded_request(&Request::Report(Report {
                name: "a".into(),
                generation: 3,
                error: Some("no".into()),
                attempted: Some(4),
                again: true,
            })),
        ),
        ("8201627b7d", encoded(&Answer::Item("{}"))),
        ("820443010203", encoded(&Answer::Content(&[1, 2, 3]))),
        ("8205a0", encoded(&Answer::Alive)),
        ("8206a0", encoded(&Answer::End)),
        (
            "8207a2010002626e6f",
            encoded(&Answer::Failed {
                kind: ErrorKind::NotFound,
                message: "no".into(),
            }),
        ),
    ];
    for (expected, bytes) in cases {
        assert_eq!(
            data_encoding::HEXLOWER.encode(&bytes),
            expected.replace(' ', "")
        );
    }
}

#[test]
fn longest_text_fits_a_frame() {
    let longest = "x".repeat(MAX_TEXT);
    assert_eq!(encoded(&Answer::Item(&longest)).len(), MAX_MESSAGE);
    assert!(matches!(
        Answer::Item(&"x".repeat(MAX_TEXT + 1)).encode(&mut vec![0; 2 * MAX_MESSAGE]),
        Err(EncodeError::TooLong { .. })
    ));
}

#[test]
fn content_head_is_written_in_front_of_the_bytes() {
    for length in [0, 1, 23, 24, 255, 256, 1000, MAX_CONTENT] {
        let mut message = vec![7; content_frame::HEAD + length];
        let start = content_frame::write(&mut message, length).unwrap();
        assert_eq!(
            message[start..],
            encoded(&Answer::Content(&vec![7; length]))
        );
        assert!(message.len() - start <= MAX_MESSAGE);
    }
    assert_eq!(
        content_frame::write(&mut vec![0; MAX_MESSAGE * 2], MAX_CONTENT + 1),
        None
    );
    assert_eq!(content_frame::write(&mut [0; 20], 16), None);
}

#[test]
fn wrong_messages_are_refused() {
    for (bytes, fault) in [
        ("", Fault::Truncated),
        ("8105", Fault::Length),
        ("8206a0", Fault::Unknown { value: 6 }),
        ("8202a000", Fault::Trailing),
        ("8203a0", Fault::Missing),
        ("8203bf01616102 00ff", Fault::Indefinite),
        ("8203a2016120 0200", Fault::Text),
        ("8201 61ff", Fault::Utf8),
        ("8205a3016161 0200 0502", Fault::Unknown { value: 2 }),
    ] {
        let bytes = hex(&bytes.replace(' ', ""));
        assert_eq!(
            Request::decode(&bytes).unwrap_err().fault,
            fault,
            "{bytes:02x?}"
        );
    }
    let long = vec![0; MAX_MESSAGE + 1];
    assert_eq!(
        Answer::decode(&long).unwrap_err().fault,
        Fault::TooLong { limit: MAX_MESSAGE }
    );
    // A length beyond the end of the message allocates nothing and is an error.
    assert!(Answer::decode(&hex("82045b7fffffffffffffff")).is_err());
    assert!(Answer::decode(&hex("82017b7fffffffffffffff")).is_err());
    // Fields of a later version are skipped.
    assert_eq!(Request::decode(&hex("8202a1186380")), Ok(Request::Offers));
}

#[test]
fn invalid_messages_are_not_sent() {
    let mut out = vec![0; MAX_MESSAGE];
    let pull = Request::Pull {
        name: "a b".into(),
        offset: 0,
        digest: None,
    };
    assert_eq!(
        pull.encode(&mut out),
        Err(EncodeError::Refused { field: "pull.name" })
    );
    let failed = Answer::Failed {
        kind: ErrorKind::Failed,
        message: "x".repeat(513).into(),
    };
    assert_eq!(
        failed.encode(&mut out),
        Err(EncodeError::Refused {
            field: "failed.message"
        })
    );
    assert!(matches!(
        Request::Offers.encode(&mut [0; 2]),
        Err(EncodeError::TooLong {
            length: 3,
            limit: 2
        })
    ));
}

fn report() -> impl Strategy<Value = Report> {
    let error = prop::option::of("[a-zé ]{0,100}");
    (
        "[a-z./]{1,63}",
        any::<u64>(),
        error,
        any::<Option<u64>>(),
        any::<bool>(),
    )
        .prop_map(|(name, generation, error, attempted, again)| Report {
            name: name.into(),
            generation,
            error: error.map(Into::into),
            attempted,
            again,
        })
}

fn notice() -> impl Strategy<Value = Notice> {
    (
        any::<[u8; 32]>(),
        "[a-z]{1,63}",
        any::<(u64, u64)>(),
        any::<[u8; 32]>(),
    )
        .prop_map(|(server, name, (generation, size), digest)| Notice {
            server: NodeId(server),
            name: name.into(),
            generation,
            size,
            digest,
            signature: [3; 64],
        })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        ".{0,300}".prop_map(|text| Request::Registry(text.into())),
        Just(Request::Offers),
        (
            "[a-z]{1,63}",
            any::<u64>(),
            prop::option::of(any::<[u8; 32]>())
        )
            .prop_map(|(name, offset, digest)| {
                Request::Pull {
                    name: name.into(),
                    offset,
                    digest,
                }
            }),
        any::<[u8; 32]>().prop_map(|node| Request::Introduce {
            node: NodeId(node),
            signature: [9; 64]
        }),
        report().prop_map(Request::Report),
    ]
}

fn answer() -> impl Strategy<Value = Answer<'static>> {
    let failure = prop_oneof![
        Just(ErrorKind::NotFound),
        Just(ErrorKind::NotServer),
        Just(ErrorKind::BadRequest),
        Just(ErrorKind::Busy),
        Just(ErrorKind::Failed),
    ];
    prop_oneof![
        prop_oneof![
            Just(""),
            Just("{\"node\":{}}"),
            Just("é, and more than 23 bytes")
        ]
        .prop_map(Answer::Item),
        notice().prop_map(Answer::Offer),
        (notice(), any::<u64>()).prop_map(|(notice, offset)| Answer::File { notice, offset }),
        Just(Answer::Content(b"content")),
        Just(Answer::Alive),
        Just(Answer::End),
        (failure, "[ -~é]{0,200}").prop_map(|(kind, message)| Answer::Failed {
            kind,
            message: message.into()
        }),
    ]
}

proptest! {
    #[test]
    fn request_roundtrip(request in request()) {
        prop_assert_eq!(Request::decode(&encoded_request(&request)), Ok(request));
    }

    #[test]
    fn answer_roundtrip(answer in answer()) {
        let bytes = encoded(&answer);
        prop_assert_eq!(Answer::decode(&bytes), Ok(answer));
    }

    #[test]
    fn request_decode_no_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(&message);
        let _ = Answer::decode(&message);
    }

    /// If a damaged message still decodes, its encoding decodes to the same value.
    #[test]
    fn damaged_answer_decode_no_panic(
        answer in answer(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut message = encoded(&answer);
        let length = message.len();
        for (at, byte) in changes {
            message[at % length] = byte;
        }
        if let Ok(decoded) = Answer::decode(&message) {
            let bytes = encoded(&decoded);
            prop_assert_eq!(Answer::decode(&bytes), Ok(decoded));
        }
    }

    #[test]
    fn hello_open_no_panic(bytes in prop::collection::vec(any::<u8>(), HELLO)) {
        let key_ring = key_ring(&[1]);
        let mut hello: [u8; HELLO] = bytes.try_into().unwrap();
        prop_assert!(Hello::open(&key_ring, "home", &hello, ephemeral(2)).is_err());
        hello[0] = 1;
        hello[1..5].copy_from_slice(&key_ring.first().id().0);
        prop_assert!(Hello::open(&key_ring, "home", &hello, ephemeral(2)).is_err());
    }
}
