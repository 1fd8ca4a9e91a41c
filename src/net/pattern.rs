//! Patterns of interface names. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern of interface names: `*` matches any run of characters, `?` one character; every other
/// character matches itself, and case counts.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Box<str>);

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pattern of interface names has 1 to {max} printable ASCII characters without '/' and spaces, like \"eth*\"",
    max = Pattern::MAX
)]
pub struct PatternError;

impl Pattern {
    /// The longest pattern, in bytes: twice a name's length leaves room for wildcards.
    pub const MAX: usize = 32;

    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let valid = (1..=Self::MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(PatternError)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a plain name, without a wildcard.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether a name matches.
    ///
    /// Only the last `*` is ever tried again, so the work is at most the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let pattern = self.0.as_bytes();
        let name = name.as_bytes();
        let mut p = 0;
        let mut n = 0;
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p + 1, n));
                    p += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((after, matched)) = star else {
                        return false;
                    };
                    star = Some((after, matched + 1));
                    p = after;
                    n = matched + 1;
                }
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn wildcards_fit_runs_and_single_characters() {
        for (pattern, name, expected) in [
            ("*", "eth0", true),
            ("*", "", true),
            ("eth*", "eth", true),
            ("eth*", "eth0", true),
            ("eth*", "weth0", false),
            ("*eth*", "veth12ab", true),
            ("br-*", "br-5f2c", true),
            ("br-*", "br0", false),
            ("eth?", "eth0", true),
            ("eth?", "eth", false),
            ("eth?", "eth10", false),
            ("e*0s?1*", "enp0s31f6", true),
            ("*a*b", "aXbXb", true),
            ("*a*b", "aXbXc", false),
            ("eth0", "eth0", true),
            ("eth0", "ETH0", false),
            ("eth0", "eth0.5", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = Pattern::parse("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b").unwrap();
        let started = std::time::Instant::now();
        assert!(!pattern.matches(&"a".repeat(10_000)));
        assert!(started.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn patterns_are_printable_and_short() {
        for bad in [
            "",
            "a b",
            "a/b",
            "é*",
            "\x1b[31m",
            &"x".repeat(Pattern::MAX + 1),
        ] {
            assert_eq!(Pattern::parse(bad), Err(PatternError), "{bad:?}");
        }
        assert!(Pattern::parse("eth0").unwrap().is_literal());
        assert!(!Pattern::parse("eth?").unwrap().is_literal());
    }
}
