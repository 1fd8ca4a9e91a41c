//! The bytes and files of the legacy protocols: no input causes a panic, and a decoded name encodes
//! to the same name.

#![no_main]

use hereabouts::model::Timestamp;
use hereabouts::wire::compat::{dynip, pydiscover, terminals};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(name) = dynip::decode(bytes) {
        assert_eq!(dynip::decode(dynip::encode(&name)), Ok(name));
    }
    let _ = dynip::read_file(bytes, &jiff::tz::TimeZone::UTC);
    let _ = terminals::Call::decode(bytes);
    let mut line = terminals::Line::default();
    for piece in bytes.chunks(7) {
        let _ = line.feed(piece);
    }
    let _ = line.end();
    for password in [None, Some("secret")] {
        let channel = pydiscover::Channel::new("fna349fn", password).expect("ASCII");
        let _ = channel.check(&mut bytes.to_vec(), Timestamp(1_795_200_000_000));
        let _ = channel.read(&mut bytes.to_vec());
        let _ = channel.read(&mut [b"fna349fn#OK#", bytes].concat());
    }
});
