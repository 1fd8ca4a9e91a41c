//! What decodes has a form of its own, no longer than the datagram allows, and that form decodes to the same.

#![no_main]

use hereabouts::wire::MAX_PAYLOAD;
use hereabouts::wire::v1::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = Message::decode(payload) else {
        return;
    };
    let mut out = [0; MAX_PAYLOAD];
    let length = message.encode(&mut out).expect("what decodes can be sent");
    assert_eq!(length, message.encoded_len());
    assert_eq!(Message::decode(&out[..length]), Ok(message));
});
