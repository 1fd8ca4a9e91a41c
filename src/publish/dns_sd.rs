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
    let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut room = MAX_TEXT;
    let role = publication.role.to_string();
    for (key, value) in [(ROLE_KEY, role.as_str())].into_iter().chain(publication.labels.iter()) {
        let length = key.len() + 1 + value.len();
        let taken = pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(key));
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
        Publication { name, port: 24373, role: Role::Server, labels, addresses: Vec::new() }
    }

    fn pairs(publication: &Publication) -> Vec<String> {
        text(publication).iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn a_host_is_called_by_one_label() {
        assert_eq!(host_label(&publication(&[]).name), "hub");
    }

    #[test]
    fn labels_follow_the_role() {
        let shown = publication(&[("site", "home"), ("room", "kitchen")]);
        assert_eq!(pairs(&shown), ["hereabouts=server", "room=kitchen", "site=home"]);
    }

    #[test]
    fn no_key_comes_twice_in_any_case() {
        let shown = publication(&[("Site", "a"), ("site", "b"), ("hereabouts", "client")]);
        assert_eq!(pairs(&shown), ["hereabouts=server", "Site=a"]);
    }

    #[test]
    fn pairs_and_the_whole_have_their_limits() {
        let (key, value) = ("k".repeat(63), "v".repeat(193));
        assert_eq!(pairs(&publication(&[(&key, &value)])).len(), 1, "key, = and value have more than 255 bytes");
        let all: Vec<_> = (0..16).map(|n| (format!("key{n:02}"), "x".repeat(11))).collect();
        let all: Vec<_> = all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let shown = text(&publication(&all));
        let bytes: usize = shown.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(shown.len() == 17 && bytes <= MAX_TEXT, "{} pairs, {bytes} bytes", shown.len());
    }
}
