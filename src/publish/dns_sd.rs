//! Encodes a record for DNS-SD (RFC 6763): its host name and its TXT record. Pure.

use super::Publication;
use crate::model::NodeName;

/// The key of the role in a TXT record; it also marks the service as a node of hereabouts.
pub const ROLE_KEY: &str = "hereabouts";
/// The limit of a TXT record in bytes; RFC 6763 §6.2 wants "under 400".
pub const MAX_TEXT: usize = 400;
/// The limit of one pair in bytes, `=` included (RFC 6763 §6.1).
const MAX_PAIR: usize = 255;

/// The host name of a node without its domain: the first label of its name.
///
/// A query for `NAME.local`, which has one label, would not find a name with dots (RFC 6762 §3).
pub fn host_label(name: &NodeName) -> &str {
    name.as_str().split('.').next().unwrap_or_default()
}

/// The pairs of the TXT record: the role of the node, then its labels as far as they fit.
///
/// A label is omitted if its key is already used, in any case: only the first one would count (RFC
/// 6763 §6.4).
pub fn text(publication: &Publication) -> Vec<(Box<str>, Box<str>)> {
    let role = publication.role.to_string();
    fitting(
        [(ROLE_KEY, role.as_str())]
            .into_iter()
            .chain(publication.labels.iter()),
    )
}

/// The pairs that fit into a TXT record, in their order. The labels that a node may have always
/// fit.
fn fitting<'a>(wanted: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(Box<str>, Box<str>)> {
    let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut free = MAX_TEXT;
    for (key, value) in wanted {
        let length = key.len() + 1 + value.len();
        let used = pairs
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(key));
        if used || length > MAX_PAIR || length + 1 > free {
            continue;
        }
        free -= length + 1;
        pairs.push((key.into(), value.into()));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Role};

    fn publication(labels: &[(&str, &str)]) -> Publication {
        let labels = Labels::new(labels.iter().copied()).unwrap();
        let name = NodeName::parse("hub.example.org").unwrap();
        Publication {
            name,
            port: 24373,
            role: Role::Server,
            labels,
            addresses: Vec::new(),
        }
    }

    /// The length of the record, with the length byte of each pair.
    fn bytes(pairs: &[(Box<str>, Box<str>)]) -> usize {
        pairs
            .iter()
            .map(|(key, value)| 1 + key.len() + 1 + value.len())
            .sum()
    }

    fn pairs(publication: &Publication) -> Vec<String> {
        text(publication)
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    #[test]
    fn host_label_is_one_label() {
        assert_eq!(host_label(&publication(&[]).name), "hub");
    }

    #[test]
    fn labels_follow_the_role() {
        let shown = publication(&[("site", "home"), ("room", "kitchen")]);
        assert_eq!(
            pairs(&shown),
            ["hereabouts=server", "room=kitchen", "site=home"]
        );
    }

    #[test]
    fn keys_are_unique_in_any_case() {
        let shown = publication(&[("Site", "a"), ("site", "b"), ("hereabouts", "client")]);
        assert_eq!(pairs(&shown), ["hereabouts=server", "Site=a"]);
    }

    #[test]
    fn pair_and_record_are_limited() {
        let key = "k".repeat(63);
        let value = "v".repeat(193);
        assert_eq!(
            pairs(&publication(&[(&key, &value)])).len(),
            1,
            "key, = and value have more than 255 bytes"
        );
        let all: Vec<_> = (0..16)
            .map(|n| (format!("key{n:02}"), "x".repeat(11)))
            .collect();
        let all: Vec<_> = all
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let shown = text(&publication(&all));
        assert!(
            shown.len() == 17 && bytes(&shown) <= MAX_TEXT,
            "{} pairs, {} bytes",
            shown.len(),
            bytes(&shown)
        );
    }

    #[test]
    fn pairs_that_do_not_fit_are_omitted_and_later_shorter_ones_are_not() {
        // Each pair has 20 bytes with its length byte, so 20 pairs fill the record to its last
        // byte.
        let keys: Vec<_> = (0..25).map(|n| format!("key{n:02}")).collect();
        let full: Vec<_> = keys
            .iter()
            .map(|key| (key.as_str(), "0123456789abc"))
            .collect();
        let shown = fitting(full.iter().copied());
        assert_eq!((shown.len(), bytes(&shown)), (20, MAX_TEXT));
        // With one byte more in the first pair, a twentieth pair fits only if it is one byte
        // shorter.
        let mut behind = full;
        (behind[0].1, behind[24].1) = ("0123456789abcd", "0123456789ab");
        let shown = fitting(behind.iter().copied());
        assert_eq!((shown.len(), bytes(&shown)), (20, MAX_TEXT));
        assert_eq!(
            &*shown[19].0, "key24",
            "the pairs between do not fit, and this one does"
        );
    }
}
