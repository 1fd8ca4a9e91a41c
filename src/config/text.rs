//! Settings with a text form of their own: interface patterns, server addresses, file modes and
//! names.

use std::fmt;
use std::str::FromStr;

use super::DEFAULT_PORT;
use crate::model::{is_host, text_type};

/// A pattern for the names of interfaces: the name itself, with `*` for any characters and `?` for
/// one character.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InterfacePattern(Box<str>);

/// A text is not an interface pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an interface pattern has 1 to 31 printable ASCII characters without '/', ':' or spaces, such as \"eth0\" or \"wl*\""
)]
pub struct InterfacePatternError;

impl InterfacePattern {
    /// The longest pattern, in bytes. An interface name has at most 15, so a pattern of more than
    /// double is a mistake.
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

text_type!(
    InterfacePattern,
    as_str,
    "InterfacePattern",
    "A pattern for the names of interfaces: the name itself, with `*` for any characters and `?` for one character.",
    { "pattern": InterfacePattern::PATTERN }
);

/// The address of a known server: a host name or an IP address, with a port.
///
/// The text form is `host`, `host:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// The host name or the IP address, without brackets.
    pub host: Box<str>,
    /// The UDP and TCP port; [`DEFAULT_PORT`] if the text has none.
    pub port: u16,
}

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// The text has no host name and no IP address.
    #[error(
        "a server is a host name or an IP address, with a port unless it is the default: \"hub.example.org:24373\", \"[2001:db8::1]:24373\""
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port after the last ':' is not a number from 1 to 65535")]
    Port,
}

impl ServerAddress {
    // The parser alone decides which hosts are valid: a pattern can't express an IPv6 address.
    const PATTERN: &'static str =
        r"^(\[[0-9A-Fa-f:.%]+\]|[0-9A-Fa-f:.]+|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?$";

    /// Parses a text; `default_port` is the port of a text without one.
    fn parse(text: &str, default_port: u16) -> Result<Self, ServerAddressError> {
        let (host, port) = split_host_and_port(text)?;
        let port = match port {
            None => default_port,
            Some(port) => parse_port(port)?,
        };
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

/// The host without brackets, and the text of the port if there is one.
fn split_host_and_port(text: &str) -> Result<(&str, Option<&str>), ServerAddressError> {
    let is_ipv6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
    if is_ipv6(text) {
        return Ok((text, None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(ServerAddressError::Host)?;
        if !is_ipv6(host) {
            return Err(ServerAddressError::Host);
        }
        if rest.is_empty() {
            return Ok((host, None));
        }
        let port = rest.strip_prefix(':').ok_or(ServerAddressError::Port)?;
        return Ok((host, Some(port)));
    }
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    if is_host(host) {
        Ok((host, port))
    } else {
        Err(ServerAddressError::Host)
    }
}

fn parse_port(text: &str) -> Result<u16, ServerAddressError> {
    // `u16::from_str` would accept a sign.
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && port != 0 => Ok(port),
        _ => Err(ServerAddressError::Port),
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        Self::parse(text, DEFAULT_PORT)
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

/// The address of a DynIP server: a host name or an IP address, with a port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DynipServer(pub ServerAddress);

impl DynipServer {
    /// The UDP port of a text that has none.
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

/// The permission bits of a file. The text form is octal: `0644`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMode(pub u32);

/// A text is not a file mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a file mode has three octal digits, with an optional 0 before them: \"0644\"")]
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

/// The name of a file on the channel. The server that offers the file and the nodes that accept it
/// use the same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferName(Box<str>);

/// A text is not the name of an offered file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an offered file has 1 to 63 letters, digits, '-', '_' and '.', and begins with a letter or a digit"
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

text_type!(
    OfferName,
    as_str,
    "OfferName",
    "The name of an offered file: 1 to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.",
    { "pattern": OfferName::PATTERN }
);

/// The name of a channel: 1 to 63 printable ASCII characters without spaces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelName(Box<str>);

/// A text is not the name of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name of a channel has 1 to 63 printable ASCII characters without spaces")]
pub struct ChannelNameError;

impl ChannelName {
    /// The default name.
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

text_type!(
    ChannelName,
    as_str,
    "ChannelName",
    "The name of a channel: 1 to 63 printable ASCII characters without spaces.",
    { "pattern": "^[!-~]{1,63}$" }
);
