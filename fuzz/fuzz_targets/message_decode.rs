//! A decoded message can be encoded, its bytes fit a datagram, and they decode to the same message.

#![no_main]

use hereabouts::wire::MAX_PAYLOAD;
use hereabouts::wire::v1::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = Message::decode(payload) else {
        return;
    };
    let mut out = [0; MAX_PAYLOAD];
    let length = message
        .encode(&mut out)
        .expect("a decoded message can be encoded");
    assert_eq!(length, message.encoded_len());
    assert_eq!(Message::decode(&out[..length]), Ok(message));
});
