//! Whatever arrives on the socket: open, decode, verify. The input is tried as it is, and then as the payload of a
//! datagram that a member of the channel sealed.

#![no_main]

use std::sync::LazyLock;

use hereabouts::wire::seal::{self, HEADER, MAX_DATAGRAM, MAX_PAYLOAD};
use hereabouts::wire::v1::{Answer, Message, SignedRecord, Subject};
use hereabouts::wire::{KeyRing, Secret};
use libfuzzer_sys::fuzz_target;

static RING: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing::new("fuzz", &[Secret::key([1; 32])]).expect("one key makes a ring"));

fuzz_target!(|input: &[u8]| {
    let mut arrived = input.to_vec();
    assert!(
        seal::open(&RING, &mut arrived).is_err(),
        "nobody guesses a tag"
    );
    assert!(
        seal::open_hint(&RING, &mut arrived).is_err(),
        "nobody guesses a tag"
    );
    assert_eq!(arrived, input, "a dropped datagram is left as it was");

    // With the header right, the tag decides.
    if input.len() > HEADER {
        arrived[0] = seal::VERSION;
        arrived[1..5].copy_from_slice(&RING.first().id().0);
        assert!(
            seal::open(&RING, &mut arrived).is_err(),
            "nobody guesses a tag"
        );
    }

    let mut datagram = [0; MAX_DATAGRAM];
    let Ok(length) = seal::seal(RING.first(), &[7; 24], input, &mut datagram) else {
        assert!(input.is_empty() || input.len() > MAX_PAYLOAD);
        return;
    };
    let opened = seal::open(&RING, &mut datagram[..length]).expect("what was sealed opens");
    assert_eq!(opened.payload, input);
    let known = |key| RING.by_id(key).is_some();
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
