//! Decides whether an expression of a rule matches a datagram, as far as the rule shows it.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::{Direction, Flow, Kind, network_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Match {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

/// The kind and the content of a statement or an expression.
pub(super) fn kind_and_content(object: &Value) -> Option<(&str, &Value)> {
    object
        .as_object()?
        .iter()
        .next()
        .map(|(kind, content)| (kind.as_str(), content))
}

pub(super) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether `is` holds for an expression or a part of it.
pub(super) fn has_part(expression: &Value, is: &dyn Fn(&str, &Value) -> bool) -> bool {
    match kind_and_content(expression) {
        Some(("concat" | "&" | "|" | "^" | "<<" | ">>", parts)) => parts
            .as_array()
            .is_some_and(|parts| parts.iter().any(|one| has_part(one, is))),
        Some((kind, content)) => is(kind, content),
        None => false,
    }
}

/// Whether an expression is about a header that the datagram does not have. A rule with such an
/// expression never matches, not even by `!=`.
///
/// nft adds a match for the protocol or the family before such an expression, and omits that match
/// from its output.
pub(super) fn never_matches(expression: &Value, flow: &Flow) -> bool {
    has_part(
        expression,
        &|kind, content| match (kind, text(content, "protocol")) {
            (
                "payload",
                "tcp" | "sctp" | "dccp" | "udplite" | "icmp" | "icmpv6" | "igmp" | "arp" | "esp"
                | "ah" | "comp",
            ) => true,
            ("payload", "ip") | ("ip option", _) => flow.ipv6,
            ("payload", "ip6") => !flow.ipv6,
            ("tcp option" | "sctp chunk" | "dccp option", _) => true,
            _ => false,
        },
    )
}

/// Whether a `match` statement matches a flow.
pub(super) fn match_statement(content: &Value, flow: &Flow) -> Match {
    let (Some(left), Some(right)) = (content.get("left"), content.get("right")) else {
        return Match::Unknown;
    };
    if never_matches(left, flow) {
        return Match::No;
    }
    match (text(content, "op"), compare(left, right, flow)) {
        ("==" | "in", matches) => matches,
        ("!=", Match::Yes) => Match::No,
        ("!=", Match::No) => Match::Yes,
        _ => Match::Unknown,
    }
}

/// Whether an expression has one of the values of `right`.
pub(super) fn compare(left: &Value, right: &Value, flow: &Flow) -> Match {
    match kind_and_content(left) {
        Some(("payload", content)) => match_payload(content, right, flow),
        Some(("meta", content)) => match_meta(text(content, "key"), right, flow),
        // An unsolicited datagram is new to connection tracking.
        Some(("ct", content)) if text(content, "key") == "state" => match_new(right),
        _ => Match::Unknown,
    }
}

/// Whether `matches` holds for one of the values of `right`: a value, a list or an anonymous set.
pub(super) fn any_match(right: &Value, matches: &dyn Fn(&Value) -> Match) -> Match {
    let list = right
        .as_array()
        .or_else(|| right.get("set").and_then(Value::as_array));
    let Some(list) = list else {
        return matches(right);
    };
    list.iter()
        .map(|value| {
            value
                .get("elem")
                .and_then(|elem| elem.get("val"))
                .unwrap_or(value)
        })
        .fold(Match::No, |so_far, value| match (so_far, matches(value)) {
            (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
            (Match::Unknown, _) | (_, Match::Unknown) => Match::Unknown,
            (Match::No, Match::No) => Match::No,
        })
}

fn match_payload(content: &Value, right: &Value, flow: &Flow) -> Match {
    match (text(content, "protocol"), text(content, "field")) {
        ("udp" | "th", "dport") => {
            any_match(right, &|value| match_number(value, u64::from(flow.port)))
        }
        ("ip", "protocol") | ("ip6", "nexthdr") => any_match(right, &match_protocol),
        ("ip" | "ip6", "daddr") => match flow.to {
            Some(to) => any_match(right, &|value| match_address(value, to)),
            None => any_match(right, &match_any_host),
        },
        _ => Match::Unknown,
    }
}

fn match_meta(key: &str, right: &Value, flow: &Flow) -> Match {
    match key {
        "l4proto" => any_match(right, &match_protocol),
        "nfproto" => {
            let family = if flow.ipv6 { "ipv6" } else { "ipv4" };
            any_match(right, &|value| match_word(value, family))
        }
        "protocol" => {
            let family = if flow.ipv6 { "ip6" } else { "ip" };
            any_match(right, &|value| match_word(value, family))
        }
        "pkttype" if flow.direction == Direction::In => {
            let kind = if flow.kind == Kind::Unicast {
                "host"
            } else {
                flow.kind.as_str()
            };
            any_match(right, &|value| match_word(value, kind))
        }
        // Discovery does not use the loopback interface. Whether it uses another one does not show
        // in a rule.
        "iifname" | "oifname" | "iif" | "oif" if right.as_str() == Some("lo") => Match::No,
        _ => Match::Unknown,
    }
}

fn match_new(right: &Value) -> Match {
    any_match(right, &|value| match value.as_str() {
        Some("new" | "untracked") => Match::Yes,
        Some(_) => Match::No,
        None => Match::Unknown,
    })
}

fn match_number(value: &Value, wanted: u64) -> Match {
    if let Some(number) = value.as_u64() {
        return Match::from(number == wanted);
    }
    let Some([from, to]) = range(value) else {
        return Match::Unknown;
    };
    match (from.as_u64(), to.as_u64()) {
        (Some(from), Some(to)) => Match::from((from..=to).contains(&wanted)),
        _ => Match::Unknown,
    }
}

fn match_word(value: &Value, wanted: &str) -> Match {
    match value.as_str() {
        // The name of a set.
        Some(text) if text.starts_with('@') => Match::Unknown,
        Some(text) => Match::from(text == wanted),
        None => Match::Unknown,
    }
}

fn match_protocol(value: &Value) -> Match {
    match value.as_u64() {
        Some(number) => Match::from(number == 17),
        None => match_word(value, "udp"),
    }
}

fn match_address(value: &Value, wanted: IpAddr) -> Match {
    if let Some(text) = value.as_str() {
        return text
            .parse::<IpAddr>()
            .map_or(Match::Unknown, |ip| Match::from(ip == wanted));
    }
    if let Some((network, length)) = prefix(value) {
        return Match::from(is_within(network, length, wanted));
    }
    let Some([from, to]) = range(value) else {
        return Match::Unknown;
    };
    match (ip(from), ip(to)) {
        (Some(from), Some(to)) => Match::from(from <= wanted && wanted <= to),
        _ => Match::Unknown,
    }
}

/// A destination that no machine can have does not match a unicast datagram; any other may.
fn match_any_host(value: &Value) -> Match {
    let network = ip(value).or_else(|| prefix(value).map(|(network, _)| network));
    match network {
        Some(ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Match::No,
        _ => Match::Unknown,
    }
}

fn range(value: &Value) -> Option<&[Value; 2]> {
    let range = value.get("range")?.as_array()?;
    range.as_slice().try_into().ok()
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn prefix(value: &Value) -> Option<(IpAddr, u32)> {
    let prefix = value.get("prefix")?;
    let address = ip(prefix.get("addr")?)?;
    let length = u32::try_from(prefix.get("len")?.as_u64()?).ok()?;
    Some((address, length))
}

fn is_within(network: IpAddr, length: u32, ip: IpAddr) -> bool {
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    network.is_ipv4() == ip.is_ipv4() && network_of(network, length) == network_of(ip, length)
}
