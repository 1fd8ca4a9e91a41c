//! What decodes as a message of a session has a form of its own, and that form decodes to the same.

#![no_main]

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
});
