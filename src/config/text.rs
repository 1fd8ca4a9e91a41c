//! Texts with rules of their own: interface patterns, server addresses, file modes, offer names.

use std::fmt;
use std::str::FromStr;

use super::DEFAULT_PORT;
use crate::model::is_host;

/// Gives a type that parses and prints itself what a setting needs: `Debug`, serde and a JSON Schema.
///
/// `{ … }` are the keywords of its schema beside `type: string` and the description.
macro_rules! text_type {
    ($type:ty, $name:literal, $description:literal, { $($keyword:literal: $value:expr),* $(,)? }) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "format": concat!("hereabouts-", $name),
                    $($keyword: $value),*
                })
            }
        }
    };
}
pub(super) use text_type;

/// A pattern for interface names: the name itself, with `*` for any characters and `?` for one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InterfacePattern(Box<str>);

/// Why a text is not an interface pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an interface pattern has 1 to 31 printable ASCII characters without '/', ':' or spaces, such as \"eth0\" or \"wl*\""
)]
pub struct InterfacePatternError;

impl InterfacePattern {
    /// The longest pattern, in bytes: an interface name has 15, so more than double is a mistake.
    pub const MAX: usize = 31;
    const PATTERN: &'static str = "^[!-.0-9;-~]{1,31}$";

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfacePattern {
    type Err = InterfacePatternError;

    fn from_str(text: &str) -> Result<Self, InterfacePatternError> {
        let valid = (1..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InterfacePatternError)
        }
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_type!(
    InterfacePattern,
    "InterfacePattern",
    "A pattern for interface names: the name itself, with `*` for any characters and `?` for one.",
    { "pattern": InterfacePattern::PATTERN }
);

/// Where a known server is asked: a host name or an IP address, with a port.
///
/// As text `host`, `host:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// The host name or IP address, without brackets.
    pub host: Box<str>,
    /// The UDP and TCP port; [`DEFAULT_PORT`] where none is written.
    pub port: u16,
}

/// Why a text is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// No host name and no IP address.
    #[error(
        "a server is a host name or an IP address, with a port if it is not the usual one: \"hub.example.org:24373\", \"[2001:db8::1]:24373\""
    )]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("the port behind the last ':' is a number from 1 to 65535")]
    Port,
}

impl ServerAddress {
    // What the host may be is left to the loader: an IPv6 address is no matter for a pattern.
    const PATTERN: &'static str =
        r"^(\[[0-9A-Fa-f:.%]+\]|[0-9A-Fa-f:.]+|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?$";
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        Self::parse(text, DEFAULT_PORT)
    }
}

impl ServerAddress {
    /// Parses a text, with the port that counts where none is written.
    fn parse(text: &str, default_port: u16) -> Result<Self, ServerAddressError> {
        let plain = |host: &str, port| {
            Ok(Self {
                host: host.into(),
                port,
            })
        };
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return plain(text, default_port);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(ServerAddressError::Host)?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| ServerAddressError::Host)?;
                let port = if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':').ok_or(ServerAddressError::Port)?)
                };
                (host, port)
            }
            None => {
                let (host, port) = text
                    .split_once(':')
                    .map_or((text, None), |(host, port)| (host, Some(port)));
                if !is_host(host) {
                    return Err(ServerAddressError::Host);
                }
                (host, port)
            }
        };
        match port {
            None => plain(host, default_port),
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
                Ok(port) if port != 0 => plain(host, port),
                _ => Err(ServerAddressError::Port),
            },
            Some(_) => Err(ServerAddressError::Port),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

text_type!(
    ServerAddress,
    "ServerAddress",
    "A host name or an IP address, with a port unless it is 24373: `hub.example.org`, `192.0.2.1:24373`, `[2001:db8::1]:24373`.",
    { "pattern": ServerAddress::PATTERN }
);

/// Where a DynIP server listens: a host name or an IP address, with a port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DynipServer(pub ServerAddress);

impl DynipServer {
    /// The port where none is written.
    pub const PORT: u16 = 28630;
}

impl FromStr for DynipServer {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        ServerAddress::parse(text, Self::PORT).map(Self)
    }
}

impl fmt::Display for DynipServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_type!(
    DynipServer,
    "DynipServer",
    "A host name or an IP address, with a port unless it is 28630: `hub.example.org`, `192.0.2.1:28630`, `[2001:db8::1]:28630`.",
    { "pattern": ServerAddress::PATTERN }
);

/// The permission bits of a file, as text: `0644`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMode(pub u32);

/// Why a text is not a file mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a file mode has three octal digits, with a 0 before them if you like: \"0644\"")]
pub struct FileModeError;

impl FromStr for FileMode {
    type Err = FileModeError;

    fn from_str(text: &str) -> Result<Self, FileModeError> {
        let digits = if text.len() == 4 {
            text.strip_prefix('0').ok_or(FileModeError)?
        } else {
            text
        };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FileModeError);
        }
        u32::from_str_radix(digits, 8)
            .map(Self)
            .map_err(|_| FileModeError)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04o}", self.0))
    }
}

text_type!(
    FileMode,
    "FileMode",
    "The permission bits of a file in octal, as text in quotes: `\"0644\"`.",
    { "pattern": "^0?[0-7]{3}$" }
);

/// The name of an offered file, the same for who offers and who accepts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferName(Box<str>);

/// Why a text is not the name of an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an offer has 1 to 63 letters, digits, '-', '_' and '.', a letter or digit first"
)]
pub struct OfferNameError;

impl OfferName {
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OfferName {
    type Err = OfferNameError;

    fn from_str(text: &str) -> Result<Self, OfferNameError> {
        let valid = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(OfferNameError)
        }
    }
}

impl fmt::Display for OfferName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_type!(
    OfferName,
    "OfferName",
    "The name of an offered file: 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit first.",
    { "pattern": OfferName::PATTERN }
);

/// The name of a channel, for people: 1 to 63 bytes without control characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelName(Box<str>);

/// Why a text is not the name of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of a channel has 1 to 63 printable ASCII characters without spaces")]
pub struct ChannelNameError;

impl ChannelName {
    /// The name of a channel that nobody named.
    pub(super) fn home() -> Self {
        Self("home".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(text: &str) -> Result<Self, ChannelNameError> {
        let valid = (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(ChannelNameError)
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_type!(
    ChannelName,
    "ChannelName",
    "The name of a channel: 1 to 63 printable ASCII characters without spaces.",
    { "pattern": "^[!-~]{1,63}$" }
);
