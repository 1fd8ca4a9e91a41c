//! The policy table of RFC 6724 §2.1, which the administrator may have replaced in `/etc/gai.conf`
//! (gai.conf(5)).
//!
//! The text of that file goes in, precedences and labels come out. A file or a line that can't be
//! used is ignored: it never keeps `where` from answering.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// The administrator's table.
const FILE: &str = "/etc/gai.conf";
/// A longer file is ignored; Debian's, all comments, has 2.6 KB.
const MAX_BYTES: u64 = 64 << 10;

/// The default table: prefix, its length, precedence, label.
const DEFAULT: [(Ipv6Addr, u8, u32, u32); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 50, 0),
    (Ipv6Addr::UNSPECIFIED, 0, OTHER_PRECEDENCE, OTHER_LABEL),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 35, 4),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    (Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
];
/// The values of an address that no line matches; glibc adds the same line for `::/0` to a table
/// that has none.
const OTHER_PRECEDENCE: u32 = 40;
const OTHER_LABEL: u32 = 1;

/// Which addresses are preferred, and which of them belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTable {
    precedences: Vec<Entry>,
    labels: Vec<Entry>,
}

/// A value for the addresses with a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    prefix: Ipv6Addr,
    bits: u8,
    value: u32,
}

impl Default for PolicyTable {
    fn default() -> Self {
        let entry = |prefix, bits, value| Entry {
            prefix,
            bits,
            value,
        };
        Self {
            precedences: DEFAULT
                .map(|(prefix, bits, precedence, _)| entry(prefix, bits, precedence))
                .to_vec(),
            labels: DEFAULT
                .map(|(prefix, bits, _, label)| entry(prefix, bits, label))
                .to_vec(),
        }
    }
}

impl PolicyTable {
    /// The table of this machine: the administrator's, or the default one where there is none.
    pub fn of_this_machine() -> Self {
        Self::read(Path::new(FILE))
    }

    fn read(file: &Path) -> Self {
        let read = || -> io::Result<String> {
            if !std::fs::metadata(file)?.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            let mut bytes = Vec::new();
            File::open(file)?
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(io::Error::other(format!(
                    "longer than {} KiB",
                    MAX_BYTES >> 10
                )));
            }
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::debug!(%error, file = %file.display(), "policy table ignored");
                Self::default()
            }
        }
    }

    /// The table of a text. Its lines of one kind replace all default lines of that kind
    /// (gai.conf(5)).
    pub(super) fn parse(text: &str) -> Self {
        let mut precedences = Vec::new();
        let mut labels = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let entries = match words.next() {
                Some("precedence") => &mut precedences,
                Some("label") => &mut labels,
                // The other commands have nothing to do with the order, or are not known.
                _ => continue,
            };
            match entry(words.next(), words.next()) {
                Some(entry) => entries.push(entry),
                None => {
                    tracing::debug!("{FILE}:{number} ignored: it has no IPv6 prefix and number");
                }
            }
        }
        let default = Self::default();
        Self {
            precedences: if precedences.is_empty() {
                default.precedences
            } else {
                precedences
            },
            labels: if labels.is_empty() {
                default.labels
            } else {
                labels
            },
        }
    }

    /// How much an address is preferred: the greater, the better.
    pub(super) fn precedence(&self, ip: IpAddr) -> u32 {
        longest_match(&self.precedences, ip).unwrap_or(OTHER_PRECEDENCE)
    }

    /// To which group an address belongs: a source suits a destination if both have the same label.
    pub(super) fn label(&self, ip: IpAddr) -> u32 {
        longest_match(&self.labels, ip).unwrap_or(OTHER_LABEL)
    }
}

fn entry(prefix: Option<&str>, value: Option<&str>) -> Option<Entry> {
    let (prefix, bits) = match prefix?.split_once('/') {
        Some((prefix, bits)) => (prefix, bits.parse().ok().filter(|bits| *bits <= 128)?),
        None => (prefix?, 128),
    };
    let value = value?
        .parse()
        .ok()
        .filter(|value| i32::try_from(*value).is_ok())?;
    Some(Entry {
        prefix: prefix.parse().ok()?,
        bits,
        value,
    })
}

/// The value of the longest prefix that matches; of two equal prefixes, the value of the first.
fn longest_match(entries: &[Entry], ip: IpAddr) -> Option<u32> {
    let ip = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let matches = |entry: &&Entry| same_prefix(entry.prefix.into(), ip.into(), entry.bits);
    let longest = entries
        .iter()
        .filter(matches)
        .min_by_key(|entry| std::cmp::Reverse(entry.bits));
    longest.map(|entry| entry.value)
}

/// Whether two addresses of one family agree in their first `length` bits.
pub(super) fn same_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precedence_and_label(table: &PolicyTable, ip: &str) -> (u32, u32) {
        let ip = ip.parse().unwrap();
        (table.precedence(ip), table.label(ip))
    }

    #[test]
    fn default_is_the_table_of_rfc_6724() {
        let table = PolicyTable::default();
        for (ip, expected) in [
            ("::1", (50, 0)),
            ("2001:db8::1", (40, 1)),
            ("192.0.2.1", (35, 4)),
            ("2002:c000:201::1", (30, 2)),
            ("2001::1", (5, 5)),
            ("fd00::1", (3, 13)),
            ("::192.0.2.1", (1, 3)),
            ("fec0::1", (1, 11)),
            ("3ffe::1", (1, 12)),
            ("fe80::1", (40, 1)),
        ] {
            assert_eq!(precedence_and_label(&table, ip), expected, "{ip}");
        }
    }

    #[test]
    fn lines_of_one_kind_replace_default_lines_of_that_kind_only() {
        let table = PolicyTable::parse(
            "# IPv4 first\nprecedence ::ffff:0:0/96  100 # as RFC 6724 §10.3 has it\n",
        );
        assert_eq!(precedence_and_label(&table, "192.0.2.1"), (100, 4));
        // The default line of fc00::/7 is replaced, too, and an address without a line counts as it
        // does with glibc.
        assert_eq!(precedence_and_label(&table, "fd00::1"), (40, 13));
        let table =
            PolicyTable::parse("label ::/0 1\nlabel 2001:db8:1::/48 99\nlabel 2001:db8:1::7 100\n");
        assert_eq!(precedence_and_label(&table, "2001:db8:1::1"), (40, 99));
        assert_eq!(precedence_and_label(&table, "2001:db8:1::7"), (40, 100));
        assert_eq!(precedence_and_label(&table, "fd00::1"), (3, 1));
    }

    #[test]
    fn damaged_lines_are_ignored() {
        let damaged = "precedence\nprecedence ::/0\nprecedence 10.0.0.0/8 5\nprecedence ::/129 5\nprecedence ::/x 5\n\
                       precedence ::/0 -5\nprecedence ::/0 99999999999\nprecedence ::/0 2147483648\nreload yes\n\
                       scopev4 ::ffff:169.254.0.0/112 2\nlabel \u{fffd}/7 3\nfoo bar\n";
        assert_eq!(PolicyTable::parse(damaged), PolicyTable::default());
        let table = PolicyTable::parse(&format!("{damaged}precedence ::ffff:0:0/96 100"));
        assert_eq!(precedence_and_label(&table, "192.0.2.1"), (100, 4));
    }

    #[test]
    fn file_that_is_missing_too_long_or_not_regular_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gai.conf");
        assert_eq!(PolicyTable::read(&file), PolicyTable::default());
        assert_eq!(PolicyTable::read(directory.path()), PolicyTable::default());
        std::fs::write(&file, "precedence ::ffff:0:0/96 100\n").unwrap();
        assert_ne!(PolicyTable::read(&file), PolicyTable::default());
        std::fs::write(&file, "precedence ::ffff:0:0/96 100\n".repeat(3000)).unwrap();
        assert_eq!(PolicyTable::read(&file), PolicyTable::default());
    }

    #[test]
    fn prefixes_of_any_length_are_compared() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert!(same_prefix(ip("10.0.0.1"), ip("192.0.2.1"), 0));
        assert!(!same_prefix(ip("10.0.0.1"), ip("10.0.0.2"), 32));
        assert!(same_prefix(ip("fd00::1"), ip("fd00::1"), 128));
        assert!(!same_prefix(ip("fd00::1"), ip("10.0.0.1"), 0));
    }
}
