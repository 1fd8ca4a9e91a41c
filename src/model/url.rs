//! The URLs of webhooks, and the rule for host names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::text_type;

/// An `http` or `https` URL without user, password and fragment.
///
/// The path and the query may hold a secret, as those of many chat services do: messages name
/// [`HttpUrl::origin`] only.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

/// Why a text is not accepted as a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// The scheme is missing, or it is not `http` or `https`.
    #[error(
        "the URL does not begin with http:// or https://: write one such as https://hooks.example.org/reload"
    )]
    Scheme,
    /// The URL has a user or a password.
    #[error(
        "the URL has a user or a password, which is not supported: put a token into a file and name it in token_file"
    )]
    User,
    /// The host is neither a host name nor an IP address.
    #[error(
        "the host of the URL is not a host name or an IP address; put an IPv6 address in brackets: https://[2001:db8::1]/reload"
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the URL is not a number from 1 to 65535")]
    Port,
    /// The path or the query has a character that must be escaped.
    #[error(
        "the path of the URL has a character that must be escaped: write \" # < > ` and all that is not printable ASCII as %XX"
    )]
    Path,
    /// The URL is longer than [`HttpUrl::MAX`].
    #[error("the URL is too long: at most {max} bytes are allowed", max = HttpUrl::MAX)]
    Long,
}

impl HttpUrl {
    /// The longest URL, in bytes.
    pub const MAX: usize = 2048;

    /// Whether the request goes over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// The host name or IP address; an IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        without_brackets(self.0.host().unwrap_or_default())
    }

    /// The TCP port: the written one, or that of the scheme.
    pub fn port(&self) -> u16 {
        self.0
            .port_u16()
            .unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// The host and the port as `host:port`; an IPv6 address has brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.0.host().unwrap_or_default(), self.port())
    }

    /// The value of the header `Host` (RFC 9110 §7.2): it has a port only if the URL has one.
    pub fn host_field(&self) -> &str {
        self.0.authority().map_or("", Authority::as_str)
    }

    /// The request target (RFC 9112 §3.2.1), path and query: never empty.
    pub fn target(&self) -> Uri {
        self.0
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
            .into()
    }

    /// The scheme, the host and the port: the part that messages may show.
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
        // `Uri` alone is not strict enough: its errors name no place, it drops a fragment silently,
        // and it accepts a user, bytes outside ASCII and any port.
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
        let is_valid = if host == authority.host() {
            is_host(host)
        } else {
            host.parse::<Ipv6Addr>().is_ok()
        };
        if !is_valid {
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

/// An IPv6 address without its brackets; any other host unchanged.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether a text is an IPv4 address or a host name (RFC 1123 §2.1, underscores allowed, 253
/// bytes).
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
    /// The whole URL, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for HttpUrl {
    /// The origin alone: the rest may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

text_type!(HttpUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_into_its_parts() {
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
    fn path_and_query_accept_only_characters_that_need_no_escape() {
        for byte in 0..=u8::MAX {
            let byte = char::from(byte);
            let is_accepted = byte.is_ascii_graphic() && !"\"#<>`".contains(byte);
            for text in [format!("http://hub/{byte}"), format!("http://hub?{byte}")] {
                match text.parse::<HttpUrl>() {
                    Ok(url) => assert!(is_accepted && url.to_string().ends_with(byte), "{text}"),
                    Err(error) => {
                        assert!(
                            !is_accepted && error == HttpUrlError::Path,
                            "{text}: {error}"
                        )
                    }
                }
            }
        }
    }

    #[test]
    fn invalid_url_is_refused_with_its_reason() {
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
    fn debug_form_shows_the_origin_only() {
        let url: HttpUrl = "https://hub/services/T0/s3cret?key=s3cret".parse().unwrap();
        assert_eq!(
            format!("{url:?} {}", url.origin()),
            "https://hub:443/… https://hub:443"
        );
    }
}
