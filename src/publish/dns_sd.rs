//! A record in the words of DNS-SD (RFC 6763). Pure.

use super::Publication;
use crate::model::NodeName;

/// The key under which a TXT record says what a node runs as, and so that it is a node of hereabouts.
pub const ROLE_KEY: &str = "hereabouts";
/// The most bytes of a TXT record; RFC 6763 §6.2 wants "under 400".
pub const MAX_TEXT: usize = 400;
/// The longest pair, `=` included (RFC 6763 §6.1).
const MAX_PAIR: usize = 255;

/// The host name of a node without its domain: the first label of its name.
///
/// A name with dots would not be found by those who ask for `NAME.local`, which has one label (RFC 6762 §3).
pub fn host_label(name: &NodeName) -> &str {
    name.as_str().split('.').next().unwrap_or_default()
}

/// The pairs of the TXT record: what the node runs as, then its labels as far as they fit.
///
/// A label whose key is taken, in whatever case, is left out: only the first would count (RFC 6763 §6.4).
pub fn text(publication: &Publication) -> Vec<(Box<str>, Box<str>)> {
    let role = publication.role.to_string();
    fitting(
        [(ROLE_KEY, role.as_str())]
            .into_iter()
            .chain(publication.labels.iter()),
    )
}

/// Those pairs that a TXT record has room for, in their order. What a node may have of labels never fills it.
fn fitting<'a>(wanted: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(Box<str>, Box<str>)> {
    let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut room = MAX_TEXT;
    for (key, value) in wanted {
        let length = key.len() + 1 + value.len();
        let taken = pairs
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(key));
        if taken || length > MAX_PAIR || length + 1 > room {
            continue;
        }
        room -= length + 1;
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

    /// With the length before each.
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
    fn a_host_is_called_by_one_label() {
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
    fn no_key_comes_twice_in_any_case() {
        let shown = publication(&[("Site", "a"), ("site", "b"), ("hereabouts", "client")]);
        assert_eq!(pairs(&shown), ["hereabouts=server", "Site=a"]);
    }

    #[test]
    fn pairs_and_the_whole_have_their_limits() {
        let (key, value) = ("k".repeat(63), "v".repeat(193));
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
    fn pairs_past_the_record_are_left_out_and_shorter_ones_behind_them_are_not() {
        // 20 bytes each with the length before it: 20 fill the record to its last byte.
        let keys: Vec<_> = (0..25).map(|n| format!("key{n:02}")).collect();
        let full: Vec<_> = keys
            .iter()
            .map(|key| (key.as_str(), "0123456789abc"))
            .collect();
        let shown = fitting(full.iter().copied());
        assert_eq!((shown.len(), bytes(&shown)), (20, MAX_TEXT));
        // With a byte more in the first one, there is room for a twentieth only if that is a byte shorter.
        let mut behind = full;
        (behind[0].1, behind[24].1) = ("0123456789abcd", "0123456789ab");
        let shown = fitting(behind.iter().copied());
        assert_eq!((shown.len(), bytes(&shown)), (20, MAX_TEXT));
        assert_eq!(
            &*shown[19].0, "key24",
            "those between have no room, and this one has"
        );
    }
}
