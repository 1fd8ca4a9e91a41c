//! DynIP 0.1: a client's host name in one UDP datagram, and the file in which its server kept them.
//!
//! The datagram is the raw host name, of which the first [`MAX_NAME`] bytes count. There is no
//! reply, no check and no time: the record is the datagram's source address and the time of its
//! arrival. The file is one JSON object, `{"host": ["203.0.113.7", "2013-02-01 10:00:00.123456"]}`,
//! with the time in the server's local time.

use std::net::IpAddr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::{NameError, NodeName, Timestamp};

/// The number of bytes of a datagram that count.
pub const MAX_NAME: usize = 256;
/// The maximum number of records of a file.
pub const MAX_RECORDS: usize = 100_000;

/// Why a datagram is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// It is not UTF-8.
    #[error("the name is not text")]
    Text,
    /// A host can't have this name: it has control characters, is a path, or is too long.
    #[error("{0}")]
    Name(#[from] NameError),
}

/// Reads a client's datagram.
///
/// One line break at the end is ignored: people test with `echo NAME | nc -u`.
pub fn decode(datagram: &[u8]) -> Result<NodeName, NotAName> {
    let name = &datagram[..datagram.len().min(MAX_NAME)];
    let text = std::str::from_utf8(name).map_err(|_| NotAName::Text)?;
    let text = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(NodeName::parse(text)?)
}

/// A client's datagram.
pub fn encode(name: &NodeName) -> &[u8] {
    name.as_str().as_bytes()
}

/// One record of the server's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The name.
    pub name: NodeName,
    /// The source address of its last datagram.
    pub address: IpAddr,
    /// When that datagram arrived.
    pub at: Timestamp,
}

/// Why a text is not the server's file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not JSON, or not an object.
    #[error("it is not DynIP's file, a JSON object of names: {0}")]
    Json(#[from] serde_json::Error),
    /// It has more than [`MAX_RECORDS`] records.
    #[error("it has more than {MAX_RECORDS} records")]
    TooMany,
}

/// A record of the file that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// The name in the file, with control characters replaced, at most 64 characters.
    pub name: String,
    /// What is wrong with the record.
    pub reason: String,
}

/// Reads the server's file; `zone` is the zone of its local times. A bad record does not affect the
/// others.
pub fn read_file(
    bytes: &[u8],
    zone: &TimeZone,
) -> Result<(Vec<FileRecord>, Vec<BadRecord>), FileError> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    if object.len() > MAX_RECORDS {
        return Err(FileError::TooMany);
    }
    let mut records = Vec::new();
    let mut bad = Vec::new();
    for (name, value) in &object {
        match read_record(name, value, zone) {
            Ok(record) => records.push(record),
            Err(reason) => {
                let shown = name
                    .chars()
                    .take(64)
                    .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                    .collect();
                bad.push(BadRecord {
                    name: shown,
                    reason,
                });
            }
        }
    }
    Ok((records, bad))
}

fn read_record(
    name: &str,
    value: &serde_json::Value,
    zone: &TimeZone,
) -> Result<FileRecord, String> {
    let name = NodeName::parse(name).map_err(|error| error.to_string())?;
    let (Some(address), Some(time), 2) = (
        value[0].as_str(),
        value[1].as_str(),
        value.as_array().map_or(0, std::vec::Vec::len),
    ) else {
        return Err("an address and a time were expected".to_owned());
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| "its address is no IP address".to_owned())?;
    let at = read_time(time, zone)
        .ok_or("its time is not as DynIP writes it, such as 2013-02-01 10:00:00.123456")?;
    Ok(FileRecord {
        name,
        address: address.to_canonical(),
        at,
    })
}

/// `2013-02-01 10:00:00.123456`, without the fraction if it is zero: Python's `isoformat(' ')` of a
/// local time.
fn read_time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let shape = text.len() >= 19
        && text.as_bytes()[10] == b' '
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"- :.".contains(&b));
    let local: DateTime = if shape {
        text.parse().ok()?
    } else {
        return None;
    };
    let instant = zone.to_timestamp(local).ok()?;
    u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(hours: i8) -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(hours))
    }

    #[test]
    fn datagram_is_the_bare_host_name() {
        let name = NodeName::parse("laptop").unwrap();
        assert_eq!(encode(&name), b"laptop");
        assert_eq!(decode(b"laptop"), Ok(name.clone()));
        assert_eq!(decode(b"laptop\n"), Ok(name.clone()));
        assert_eq!(decode(b"laptop\r\n"), Ok(name));
        assert_eq!(
            decode(b"Laptop.Example.ORG").unwrap().as_str(),
            "laptop.example.org"
        );
    }

    #[test]
    fn text_that_is_no_host_name_is_refused() {
        let bad: [&[u8]; 13] = [
            b"",
            b"\n",
            b"laptop\n\n",
            b"lap\ntop",
            b"../../etc/passwd",
            b"/etc/passwd",
            b"..",
            b"lap\0top",
            b"\x1b[31mred",
            b"caf\xc3\xa9",
            b"\xff\xfe",
            b"a b",
            b"-rf",
        ];
        for bytes in bad {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(decode(b"\xff"), Err(NotAName::Text));
        let long = decode(&[b'a'; 65_507]);
        assert_eq!(
            long,
            Err(NotAName::Name(NameError::TooLong { length: MAX_NAME }))
        );
    }

    #[test]
    fn file_of_the_server_is_read_in_local_time() {
        let text = br#"{"laptop": ["203.0.113.7", "2013-02-01 10:00:00.123456"], "Hub": ["::ffff:10.0.0.1", "2013-02-01 10:00:00"]}"#;
        let (mut records, bad) = read_file(text, &utc(2)).unwrap();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        let record = |name: &str, address: &str, at| FileRecord {
            name: name.parse().unwrap(),
            address: address.parse().unwrap(),
            at: Timestamp(at),
        };
        let expected = [
            record("hub", "10.0.0.1", 1_359_705_600_000),
            record("laptop", "203.0.113.7", 1_359_705_600_123),
        ];
        assert_eq!(
            (records.as_slice(), bad.as_slice()),
            (&expected[..], &[][..])
        );
    }

    #[test]
    fn bad_record_does_not_affect_the_others() {
        let text = br#"{"ok": ["10.0.0.1", "2013-02-01 10:00:00"], "../x": ["10.0.0.1", "2013-02-01 10:00:00"],
            "a": "text", "b": ["10.0.0.1"], "c": ["no", "2013-02-01 10:00:00"], "d": ["10.0.0.1", "yesterday"],
            "e": ["10.0.0.1", "2013-02-01T10:00:00Z"], "f": ["10.0.0.1", "1913-02-01 10:00:00"],
            "g": ["10.0.0.1", "2013-02-01 10:00:00", 1], "\u001b[31m": []}"#;
        let (records, bad) = read_file(text, &utc(0)).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(bad.len(), 9);
        assert!(
            bad.iter()
                .all(|bad| !bad.name.contains('\x1b') && !bad.reason.is_empty()),
            "{bad:?}"
        );
        for text in [&b"[]"[..], b"", b"{\"a\":", b"\xff", b"null", b"[[[[[[[["] {
            assert!(read_file(text, &utc(0)).is_err());
        }
    }

    #[test]
    fn export_is_read_back() {
        // The output of registry::export in DynIP's format.
        let (records, bad) = read_file(
            br#"{"node-2": ["10.0.0.2", "2013-02-01 12:00:00.120000"]}"#,
            &utc(2),
        )
        .unwrap();
        assert!(bad.is_empty());
        assert_eq!(records[0].at, Timestamp(1_359_712_800_120));
    }

    proptest! {
        #[test]
        fn decode_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(name) = decode(&bytes) {
                prop_assert_eq!(decode(encode(&name)), Ok(name.clone()));
            }
            let _ = read_file(&bytes, &utc(0));
        }

        #[test]
        fn read_time_no_panic(text in "[0-9 :.-]{0,40}") {
            let _ = read_time(&text, &utc(0));
        }
    }
}
