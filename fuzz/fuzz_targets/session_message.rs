//! A session message that decodes can be encoded, and its encoding decodes to the same value. The same
//! holds for the texts that it carries.

#![no_main]

use hereabouts::api::session::{decode_item, decode_request, encode_item, encode_request};
use hereabouts::wire::session::{Answer, MAX_MESSAGE, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let mut out = vec![0; MAX_MESSAGE];
    if let Ok(request) = Request::decode(message) {
        let length = request.encode(&mut out).expect("what decodes can be sent");
        assert_eq!(Request::decode(&out[..length]), Ok(request));
    }
    if let Ok(answer) = Answer::decode(message) {
        let length = answer.encode(&mut out).expect("what decodes can be sent");
        assert_eq!(Answer::decode(&out[..length]), Ok(answer));
    }
    // As texts, the same bytes reach the JSON codec without the mutator having to keep a CBOR head.
    if let Ok(text) = std::str::from_utf8(message) {
        texts(text);
    }
});

/// The encoding may cut what it decoded, so it is compared with its own decoding; a text that grows beyond
/// a frame is refused.
fn texts(text: &str) {
    if let Ok(request) = decode_request(text)
        && let Ok(first) = encode_request(&request)
    {
        let again = decode_request(&first).expect("what was encoded decodes");
        assert_eq!(encode_request(&again).ok(), Some(first));
    }
    if let Ok(item) = decode_item(text)
        && let Ok(first) = encode_item(item)
    {
        let again = decode_item(&first).expect("what was encoded decodes");
        assert_eq!(encode_item(again).ok(), Some(first));
    }
}
