//! A body that any node may have signed: a decoded record can be signed again, verifies, and is the
//! same record.

#![no_main]

use hereabouts::wire::v1::SignedRecord;
use hereabouts::wire::{Identity, KeyId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(record) = SignedRecord::decode_body(body) else {
        return;
    };
    let key = KeyId([1; 4]);
    let signed = SignedRecord::sign(&record, &Identity::from_seed(&[1; 32]), key)
        .expect("a decoded record can be signed");
    assert!(
        signed.body.len() <= body.len(),
        "the deterministic form is the shortest"
    );
    assert_eq!(signed.verify(|id| id == key), Ok(record));
});
