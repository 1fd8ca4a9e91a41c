//! URLs of programs that are told something by HTTP.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// An `http` or `https` URL without user, password and fragment.
///
/// Its path and query may hold a secret, as those of many chat services do: [`HttpUrl::origin`] is what goes into messages.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// Another scheme, or none.
    #[error(
        "a URL that begins with http:// or https:// was expected, such as https://hooks.example.org/reload"
    )]
    Scheme,
    /// A user or a password.
    #[error("a URL with a user or a password is not taken: put a token into token_file")]
    User,
    /// No host name and no address.
    #[error(
        "the URL's host is a name or an IP address, an IPv6 address in brackets: https://[2001:db8::1]/reload"
    )]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("the URL's port is a number from 1 to 65535")]
    Port,
    /// What may not stand in a path or a query.
    #[error(
        "the URL's path has printable ASCII characters only, none of \" # < > `: write others as %XX"
    )]
    Path,
    /// More than fits.
    #[error("a URL has at most {max} bytes", max = HttpUrl::MAX)]
    Long,
}

impl HttpUrl {
    /// The longest URL, in bytes.
    pub const MAX: usize = 2048;

    /// Whether it is requested over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// The host's name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        without_brackets(self.0.host().unwrap_or_default())
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.0
            .port_u16()
            .unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Host and port as `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.0.host().unwrap_or_default(), self.port())
    }

    /// The host as a request names it (RFC 9110 §7.2): with its port if that was written.
    pub fn host_field(&self) -> &str {
        self.0.authority().map_or("", Authority::as_str)
    }

    /// Path and query as they are requested (RFC 9112 §3.2.1): never empty.
    pub fn target(&self) -> Uri {
        self.0
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
            .into()
    }

    /// Scheme, host and port: what may be told of it.
    pub fn origin(&self) -> String {
        format!(
            "{}://{}",
            if self.is_https() { "https" } else { "http" },
            self.authority()
        )
    }
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        if text.len() > Self::MAX {
            return Err(HttpUrlError::Long);
        }
        let (scheme, rest) = text.split_once("://").ok_or(HttpUrlError::Scheme)?;
        if !["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(HttpUrlError::Scheme);
        }
        // `Uri` says of no error where it is, drops a fragment without a word, and takes a user, bytes that are no ASCII and
        // any port.
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !target
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"#<>`".contains(&b))
        {
            return Err(HttpUrlError::Path);
        }
        if authority.contains('@') {
            return Err(HttpUrlError::User);
        }
        let authority: Authority = authority.parse().map_err(|_| HttpUrlError::Host)?;
        let host = without_brackets(authority.host());
        let is_known = if host == authority.host() {
            is_host(host)
        } else {
            host.parse::<Ipv6Addr>().is_ok()
        };
        if !is_known {
            return Err(HttpUrlError::Host);
        }
        if let Some(port) = authority
            .as_str()
            .strip_prefix(authority.host())
            .filter(|port| !port.is_empty())
        {
            let digits = port
                .strip_prefix(':')
                .filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
            if digits
                .and_then(|digits| digits.parse().ok())
                .is_none_or(|port: u16| port == 0)
            {
                return Err(HttpUrlError::Port);
            }
        }
        text.parse().map(Self).map_err(|_| HttpUrlError::Path)
    }
}

/// The address within brackets, or the name that has none.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether a text is an IPv4 address or a host name (RFC 1123 §2.1, underscores allowed, 253 bytes).
pub(crate) fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl fmt::Display for HttpUrl {
    /// All of it, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for HttpUrl {
    /// The origin alone: what follows may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

impl serde::Serialize for HttpUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for HttpUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, https, authority, field, target) in [
            ("http://hub", false, "hub:80", "hub", "/"),
            (
                "HTTPS://hooks.example.org/a/b?c=d",
                true,
                "hooks.example.org:443",
                "hooks.example.org",
                "/a/b?c=d",
            ),
            (
                "http://127.0.0.1:8080/reload",
                false,
                "127.0.0.1:8080",
                "127.0.0.1:8080",
                "/reload",
            ),
            (
                "https://[2001:db8::1]:8443?x",
                true,
                "[2001:db8::1]:8443",
                "[2001:db8::1]:8443",
                "/?x",
            ),
            ("https://[::1]", true, "[::1]:443", "[::1]", "/"),
            ("https://hub//a", true, "hub:443", "hub", "//a"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!(
                (url.is_https(), url.authority().as_str(), url.host_field()),
                (https, authority, field)
            );
            assert_eq!(url.target().to_string(), target);
            assert_eq!(
                url.to_string(),
                format!("{}://{field}{target}", if https { "https" } else { "http" })
            );
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn path_and_query_take_what_needs_no_escape() {
        for byte in 0..=u8::MAX {
            let byte = char::from(byte);
            let is_taken = byte.is_ascii_graphic() && !"\"#<>`".contains(byte);
            for text in [format!("http://hub/{byte}"), format!("http://hub?{byte}")] {
                match text.parse::<HttpUrl>() {
                    Ok(url) => assert!(is_taken && url.to_string().ends_with(byte), "{text}"),
                    Err(error) => {
                        assert!(!is_taken && error == HttpUrlError::Path, "{text}: {error}")
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (text, error) in [
            ("hub/reload", HttpUrlError::Scheme),
            ("ftp://hub/", HttpUrlError::Scheme),
            ("https://me:secret@hub/", HttpUrlError::User),
            ("https://", HttpUrlError::Host),
            ("https:///reload", HttpUrlError::Host),
            ("https://a b/", HttpUrlError::Host),
            ("https://1.2.3/", HttpUrlError::Host),
            ("https://[hub]/", HttpUrlError::Host),
            ("https://[::1/", HttpUrlError::Host),
            ("https://hub:0/", HttpUrlError::Port),
            ("https://hub:/", HttpUrlError::Port),
            ("https://hub:65536/", HttpUrlError::Port),
            ("https://hub:+80/", HttpUrlError::Port),
            ("https://[::1]443/", HttpUrlError::Port),
            ("https://hub/a#b", HttpUrlError::Path),
            ("https://hub/a b", HttpUrlError::Path),
            ("https://hub/a\r\nHost: other", HttpUrlError::Path),
            ("https://hub/ä", HttpUrlError::Path),
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(error), "{text}");
        }
        assert_eq!(
            format!("https://hub/{}", "a".repeat(2048)).parse::<HttpUrl>(),
            Err(HttpUrlError::Long)
        );
    }

    #[test]
    fn debug_form_ends_where_a_secret_may_begin() {
        let url: HttpUrl = "https://hub/services/T0/s3cret?key=s3cret".parse().unwrap();
        assert_eq!(
            format!("{url:?} {}", url.origin()),
            "https://hub:443/… https://hub:443"
        );
    }
}
