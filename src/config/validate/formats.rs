//! The parser of each `format` in the schema.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{
    ChannelName, ConfigDuration, DynipServer, FileMode, InterfacePattern, OfferName, ServerAddress,
    Size,
};
use crate::model::{HttpUrl, NodeId, NodeName, Owner};

/// Validates a text. It is the type's own parser, so that schema and type can't differ.
type Parse = fn(&str) -> Result<(), String>;

pub(super) const FORMATS: [(&str, Parse); 20] = [
    ("hereabouts-NodeId", |text| {
        text.parse::<NodeId>().map(drop).map_err(|_| {
            "expected the id of a node, 52 characters: hereabouts discover --output json prints it"
                .into()
        })
    }),
    ("ip", |text| {
        text.parse::<IpAddr>()
            .map(drop)
            .map_err(|_| "expected an IP address such as 192.0.2.1 or 2001:db8::1".into())
    }),
    ("ipv4", |text| {
        text.parse::<Ipv4Addr>()
            .map(drop)
            .map_err(|_| "expected an IPv4 address such as 239.255.43.73".into())
    }),
    ("ipv6", |text| {
        text.parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| "expected an IPv6 address such as ff12::4373".into())
    }),
    ("socket", |text| {
        text.parse::<SocketAddr>().map(drop).map_err(|_| {
            "expected an IP address with a port, such as 127.0.0.1:24374 or [::1]:24374".into()
        })
    }),
    ("hereabouts-NodeName", parses::<NodeName>),
    ("hereabouts-Duration", parses::<ConfigDuration>),
    ("hereabouts-Size", parses::<Size>),
    ("hereabouts-InterfacePattern", parses::<InterfacePattern>),
    ("hereabouts-ServerAddress", parses::<ServerAddress>),
    ("hereabouts-DynipServer", parses::<DynipServer>),
    ("hereabouts-FileMode", parses::<FileMode>),
    ("hereabouts-Owner", parses::<Owner>),
    ("hereabouts-HttpUrl", parses::<HttpUrl>),
    ("hereabouts-OfferName", parses::<OfferName>),
    ("hereabouts-ChannelName", parses::<ChannelName>),
    ("hereabouts-Path", path),
    ("hereabouts-Service", service),
    ("hereabouts-Domain", domain),
    ("hereabouts-Endpoint", endpoint),
];

fn parses<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<(), String> {
    text.parse::<T>()
        .map(drop)
        .map_err(|error| error.to_string())
}

fn path(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        Err("a path can't contain a NUL character".into())
    } else {
        Ok(())
    }
}

fn service(text: &str) -> Result<(), String> {
    let (name, protocol) = text.split_once('.').unwrap_or((text, ""));
    let name = name.strip_prefix('_').unwrap_or_default();
    let fits = (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && matches!(protocol, "_udp" | "_tcp");
    if fits {
        Ok(())
    } else {
        Err("expected a DNS-SD service type such as _hereabouts._udp (RFC 6763)".into())
    }
}

fn domain(text: &str) -> Result<(), String> {
    let fits = text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err("expected a domain such as local".into())
    }
}

fn endpoint(text: &str) -> Result<(), String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .map(|host| host.strip_suffix('/').unwrap_or(host));
    match host {
        Some(host)
            if !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace()) =>
        {
            Ok(())
        }
        _ => Err("expected an endpoint such as https://10.0.0.1:2379".into()),
    }
}
