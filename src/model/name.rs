//! Node names.

use std::fmt;
use std::str::FromStr;

/// The name of a node: a host name of RFC 1123 §2.1, with underscores allowed, in lower case.
///
/// At most [`NodeName::MAX`] bytes, each label 1 to 63 bytes of `a-z 0-9 - _`, no hyphen first or last.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Box<str>);

impl NodeName {
    /// The longest name, in bytes: a host name on Linux has at most 64, a Kubernetes one 63.
    pub const MAX: usize = 127;
    /// The longest label, in bytes (RFC 1035 §2.3.4).
    pub const MAX_LABEL: usize = 63;

    /// Parses a name; upper case becomes lower case, a final dot is dropped.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > Self::MAX_LABEL {
                return Err(NameError::LabelTooLong {
                    length: label.len(),
                });
            }
            if let Some(character) = label
                .chars()
                .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            {
                return Err(NameError::Character { character });
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(NameError::Hyphen);
            }
        }
        Ok(Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a node name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a name needs at least one character")]
    Empty,
    /// Longer than [`NodeName::MAX`].
    #[error("a name has at most {max} bytes, this one has {length}", max = NodeName::MAX)]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// Two dots in a row, or a dot first.
    #[error("a name has a character on both sides of each dot")]
    EmptyLabel,
    /// A label longer than [`NodeName::MAX_LABEL`].
    #[error("each part of a name has at most {max} bytes, this one has {length}", max = NodeName::MAX_LABEL)]
    LabelTooLong {
        /// Bytes given.
        length: usize,
    },
    /// A character that no host name has.
    #[error("{character:?} can't stand in a name: letters, digits, '-', '_' and '.' can")]
    Character {
        /// The first such character.
        character: char,
    },
    /// A hyphen at the edge of a label.
    #[error("no part of a name begins or ends with '-'")]
    Hyphen,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl serde::Serialize for NodeName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for NodeName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_without_final_dot() {
        assert_eq!(
            NodeName::parse("Hub.Example.ORG.").unwrap().as_str(),
            "hub.example.org"
        );
    }

    #[test]
    fn names_that_no_host_has_are_refused() {
        let long = "a".repeat(64);
        let longer = ["a"; 65].join(".");
        for (text, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            ("../etc", NameError::EmptyLabel),
            ("a/b", NameError::Character { character: '/' }),
            ("a\0", NameError::Character { character: '\0' }),
            ("ä", NameError::Character { character: 'ä' }),
            ("-a", NameError::Hyphen),
            ("a-.b", NameError::Hyphen),
            (long.as_str(), NameError::LabelTooLong { length: 64 }),
            (longer.as_str(), NameError::TooLong { length: 129 }),
        ] {
            assert_eq!(NodeName::parse(text), Err(error), "{text:?}");
        }
    }
}
