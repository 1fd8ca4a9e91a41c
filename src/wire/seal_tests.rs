use proptest::prelude::*;

use super::*;
use crate::model::Secret;

fn key_ring(channel: &str, key: u8) -> KeyRing {
    KeyRing::new(channel, &[Secret::key([key; 32])]).unwrap()
}

fn sealed(key_ring: &KeyRing, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; MAX_DATAGRAM];
    let length = seal(key_ring.first(), &[9; NONCE], payload, &mut out).unwrap();
    out[..length].to_vec()
}

#[test]
fn header_names_version_key_and_nonce() {
    let key_ring = key_ring("home", 1);
    let datagram = sealed(&key_ring, b"payload");
    assert_eq!(datagram[0], 1);
    assert_eq!(datagram[1..5], key_ring.first().id().0);
    assert_eq!(datagram[5..29], [9; 24]);
    assert_eq!(datagram.len(), 29 + 7 + 16);
}

#[test]
fn changed_bit_makes_a_datagram_dropped() {
    let key_ring = key_ring("home", 1);
    let datagram = sealed(&key_ring, b"payload");
    for index in 0..datagram.len() {
        for bit in 0..8 {
            let mut changed = datagram.clone();
            changed[index] ^= 1 << bit;
            let expected = match index {
                0 => Dropped::OtherVersion,
                1..5 => Dropped::UnknownKey,
                _ => Dropped::Forged,
            };
            let before = changed.clone();
            assert_eq!(
                open(&key_ring, &mut changed),
                Err(expected),
                "bit {bit} of byte {index}"
            );
            assert_eq!(changed, before, "a dropped datagram is left as it was");
        }
    }
}

#[test]
fn every_shorter_datagram_is_dropped() {
    let key_ring = key_ring("home", 1);
    let datagram = sealed(&key_ring, b"payload");
    for length in 0..datagram.len() {
        let expected = if length < MIN_DATAGRAM {
            Dropped::TooShort
        } else {
            Dropped::Forged
        };
        assert_eq!(
            open(&key_ring, &mut datagram[..length].to_vec()),
            Err(expected),
            "{length} bytes"
        );
    }
}

#[test]
fn longest_datagram_opens_and_one_byte_more_is_dropped() {
    let key_ring = key_ring("home", 1);
    let mut longest = sealed(&key_ring, &[5; MAX_PAYLOAD]);
    assert_eq!(longest.len(), 1200);
    assert_eq!(
        open(&key_ring, &mut longest).unwrap().payload,
        [5; MAX_PAYLOAD]
    );
    assert_eq!(
        open(&key_ring, &mut [1; MAX_DATAGRAM + 1]),
        Err(Dropped::TooLong)
    );
}

#[test]
fn payload_that_no_receiver_accepts_is_not_sealed() {
    let key_ring = key_ring("home", 1);
    let mut out = [0; 2 * MAX_DATAGRAM];
    let too_long = |limit| {
        Err(SealError::TooLong {
            length: MAX_PAYLOAD + 1,
            limit,
        })
    };
    assert_eq!(
        seal(key_ring.first(), &[0; NONCE], &[], &mut out),
        Err(SealError::Empty)
    );
    assert_eq!(
        seal(
            key_ring.first(),
            &[0; NONCE],
            &[0; MAX_PAYLOAD + 1],
            &mut out
        ),
        too_long(MAX_PAYLOAD)
    );
    assert_eq!(
        seal(
            key_ring.first(),
            &[0; NONCE],
            &[0; MAX_PAYLOAD + 1],
            &mut out[..50]
        ),
        too_long(5)
    );
    assert_eq!(
        seal_in_place(key_ring.first(), &[0; NONCE], &mut [], MAX_PAYLOAD + 1),
        too_long(0)
    );
}

#[test]
fn another_channel_or_key_does_not_open() {
    let datagram = sealed(&key_ring("home", 1), b"payload");
    for other in [key_ring("work", 1), key_ring("home", 2)] {
        assert_eq!(
            open(&other, &mut datagram.clone()),
            Err(Dropped::UnknownKey)
        );
    }
}

#[test]
fn guessed_key_id_does_not_open() {
    let ours = key_ring("home", 1);
    let theirs = key_ring("home", 2);
    let mut datagram = sealed(&theirs, b"payload");
    datagram[1..5].copy_from_slice(&ours.first().id().0);
    assert_eq!(open(&ours, &mut datagram), Err(Dropped::Forged));
}

#[test]
fn every_key_of_the_key_ring_opens_and_is_reported() {
    let both = KeyRing::new("home", &[Secret::key([1; 32]), Secret::key([2; 32])]).unwrap();
    for key in [1, 2] {
        let one = key_ring("home", key);
        assert_eq!(
            open(&both, &mut sealed(&one, b"payload")).unwrap().key,
            one.first().id()
        );
    }
    assert_eq!(both.first().id(), key_ring("home", 1).first().id());
}

#[test]
fn hint_key_opens_across_channel_names_but_opens_no_ordinary_traffic() {
    let home = key_ring("home", 1);
    let work = key_ring("work", 1);
    let mut out = [0; MAX_DATAGRAM];
    let length = seal(&home.hint_keys()[0], &[9; NONCE], b"payload", &mut out).unwrap();
    let hint = &out[..length];
    assert_eq!(
        open_hint(&work, &mut hint.to_vec()).unwrap().payload,
        b"payload"
    );
    assert_eq!(open(&work, &mut hint.to_vec()), Err(Dropped::UnknownKey));
    assert_eq!(open(&home, &mut hint.to_vec()), Err(Dropped::UnknownKey));
    assert_eq!(
        open_hint(&home, &mut sealed(&home, b"payload")),
        Err(Dropped::UnknownKey)
    );
    assert_eq!(
        open_hint(&key_ring("work", 2), &mut hint.to_vec()),
        Err(Dropped::UnknownKey)
    );
}

proptest! {
    #[test]
    fn datagram_roundtrip(payload in prop::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD), nonce: [u8; NONCE]) {
        let key_ring = key_ring("home", 1);
        let mut out = [0; MAX_DATAGRAM];
        let length = seal(key_ring.first(), &nonce, &payload, &mut out).unwrap();
        prop_assert_eq!(length, payload.len() + OVERHEAD);
        let opened = open(&key_ring, &mut out[..length]).unwrap();
        prop_assert_eq!(opened, Opened { key: key_ring.first().id(), nonce, payload: &payload });
    }

    #[test]
    fn datagram_open_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..1300), known: bool) {
        let key_ring = key_ring("home", 1);
        if known && bytes.len() > HEADER {
            bytes[0] = VERSION;
            bytes[1..5].copy_from_slice(&key_ring.first().id().0);
        }
        prop_assert!(open(&key_ring, &mut bytes).is_err());
        prop_assert!(open_hint(&key_ring, &mut bytes).is_err());
    }
}
