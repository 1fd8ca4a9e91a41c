//! The addresses of a node: how far each reaches, and where the node got it from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text_type;

/// An address as a node announces it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The IP address; an IPv4-mapped IPv6 address is stored as IPv4.
    pub ip: IpAddr,
    /// The interface of the announcing node that holds the address; `None` if the configuration
    /// names it.
    pub interface: Option<InterfaceName>,
    /// Where the node got the address from.
    pub origin: Origin,
}

impl Address {
    /// How far the address reaches.
    pub fn scope(&self) -> Scope {
        Scope::of(self.ip)
    }
}

/// Where a node got an announced address from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An interface of the node holds it.
    Interface,
    /// `node.advertise` names it.
    Advertised,
}

/// How far an address reaches (RFC 4007 §4, RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The host itself.
    Loopback,
    /// One link: 169.254.0.0/16 (RFC 3927), fe80::/10.
    Link,
    /// A site: RFC 1918, 100.64.0.0/10 (RFC 6598), fc00::/7 (RFC 4193).
    Private,
    /// The Internet.
    Global,
}

impl Scope {
    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, ..] = ip.octets();
        if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_link_local() {
            Self::Link
        } else if ip.is_private() || (a == 100 && (64..128).contains(&b)) {
            Self::Private
        } else {
            Self::Global
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let first = ip.segments()[0];
        if ip.is_loopback() {
            Self::Loopback
        } else if first & 0xffc0 == 0xfe80 {
            Self::Link
        } else if first & 0xfe00 == 0xfc00 {
            Self::Private
        } else {
            Self::Global
        }
    }
}

/// A network interface's name: 1 to 15 bytes, no `/`, no white space, not `.` or `..` (Linux
/// `dev_valid_name`).
///
/// Only printable ASCII is accepted, so that a name can be printed to a terminal without escaping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    length: u8,
    bytes: [u8; Self::MAX],
}

/// A text is not the name of an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an interface name has 1 to 15 printable ASCII characters without '/', ':' or spaces")]
pub struct InterfaceNameError;

impl InterfaceName {
    /// The longest name, in bytes (IFNAMSIZ less the final NUL).
    pub const MAX: usize = 15;

    /// Parses a name; fails if the text breaks a rule above.
    pub fn parse(text: &str) -> Result<Self, InterfaceNameError> {
        let valid = (1..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
            && text != "."
            && text != "..";
        if !valid {
            return Err(InterfaceNameError);
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            length: text.len() as u8,
            bytes,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(text: &str) -> Result<Self, InterfaceNameError> {
        Self::parse(text)
    }
}

text_type!(InterfaceName, as_str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_follows_the_address() {
        for (text, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("169.254.3.4", Scope::Link),
            ("fe80::1", Scope::Link),
            ("10.1.2.3", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("100.128.0.1", Scope::Global),
            ("fd00::1", Scope::Private),
            ("::ffff:10.0.0.1", Scope::Private),
            ("203.0.113.7", Scope::Global),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
    }

    #[test]
    fn interface_names_are_printable_and_short() {
        assert_eq!(
            InterfaceName::parse("enp0s31f6").unwrap().as_str(),
            "enp0s31f6"
        );
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a:1",
            "sixteen-letters-",
            "é",
            "\x1b[31m",
        ] {
            assert_eq!(
                InterfaceName::parse(bad),
                Err(InterfaceNameError),
                "{bad:?}"
            );
        }
    }
}
