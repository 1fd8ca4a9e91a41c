//! A datagram from the socket: open, decode, verify. The input is tried as a datagram, and then as
//! the payload of a datagram that a member of the channel sealed.

#![no_main]

use std::sync::LazyLock;

use hereabouts::wire::seal::{self, HEADER, MAX_DATAGRAM, MAX_PAYLOAD};
use hereabouts::wire::v1::{Answer, Message, SignedRecord, Subject};
use hereabouts::wire::{KeyRing, Secret};
use libfuzzer_sys::fuzz_target;

static KEY_RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new("fuzz", &[Secret::key([1; 32])]).expect("one key makes a key ring")
});

fuzz_target!(|input: &[u8]| {
    let mut arrived = input.to_vec();
    assert!(
        seal::open(&KEY_RING, &mut arrived).is_err(),
        "no input has a valid tag"
    );
    assert!(
        seal::open_hint(&KEY_RING, &mut arrived).is_err(),
        "no input has a valid tag"
    );
    assert_eq!(arrived, input, "a dropped datagram stays unchanged");

    // With a right header, only the tag decides.
    if input.len() > HEADER {
        arrived[0] = seal::VERSION;
        arrived[1..5].copy_from_slice(&KEY_RING.first().id().0);
        assert!(
            seal::open(&KEY_RING, &mut arrived).is_err(),
            "no input has a valid tag"
        );
    }

    let mut datagram = [0; MAX_DATAGRAM];
    let Ok(length) = seal::seal(KEY_RING.first(), &[7; 24], input, &mut datagram) else {
        assert!(input.is_empty() || input.len() > MAX_PAYLOAD);
        return;
    };
    let opened = seal::open(&KEY_RING, &mut datagram[..length]).expect("a sealed payload opens");
    assert_eq!(opened.payload, input);
    let known = |key| KEY_RING.by_id(key).is_some();
    match Message::decode(opened.payload) {
        Ok(
            Message::Register(record) | Message::Announcement(record) | Message::Goodbye(record),
        ) => {
            verify(&record, known);
        }
        Ok(Message::Answer(Answer {
            subject: Subject::Own { record, .. } | Subject::Found { record, .. },
            ..
        })) => {
            verify(&record, known);
        }
        Ok(Message::Notice(notice)) => {
            let _ = notice.verify(opened.key);
        }
        _ => {}
    }
});

fn verify(record: &SignedRecord, known: impl Fn(hereabouts::wire::KeyId) -> bool) {
    let _ = record.verify(known);
    let _ = record.verify(|_| true);
}
