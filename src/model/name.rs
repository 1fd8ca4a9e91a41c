//! The names of nodes.

use std::fmt;
use std::str::FromStr;

use super::text_type;

/// The name of a node: a host name of RFC 1123 §2.1, with underscores allowed, in lower case.
///
/// A name has at most [`NodeName::MAX`] bytes. Each of its labels has 1 to 63 bytes of `a-z 0-9 -
/// _`, and no hyphen at either end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Box<str>);

impl NodeName {
    /// The longest name, in bytes: a host name on Linux has at most 64, a Kubernetes one 63.
    pub const MAX: usize = 127;
    /// The longest label, in bytes (RFC 1035 §2.3.4).
    pub const MAX_LABEL: usize = 63;

    /// Parses a name. Upper case becomes lower case, and a final dot is dropped.
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
    /// The text is empty.
    #[error("a name is never empty: write letters, digits, '-', '_' and '.'")]
    Empty,
    /// The name is longer than [`NodeName::MAX`].
    #[error("a name has at most {max} bytes, this one has {length}", max = NodeName::MAX)]
    TooLong {
        /// The length of the text, in bytes.
        length: usize,
    },
    /// Two dots are adjacent, or the first character is a dot.
    #[error(
        "a name has two dots in a row, or begins with a dot: write a part on both sides of each dot"
    )]
    EmptyLabel,
    /// A label is longer than [`NodeName::MAX_LABEL`].
    #[error("each part of a name has at most {max} bytes, this one has {length}", max = NodeName::MAX_LABEL)]
    LabelTooLong {
        /// The length of the label, in bytes.
        length: usize,
    },
    /// A character is not allowed in host names.
    #[error("a name can't contain {character:?}: use letters, digits, '-', '_' and '.'")]
    Character {
        /// The first such character.
        character: char,
    },
    /// A label begins or ends with a hyphen.
    #[error("a part of a name can't begin or end with '-'")]
    Hyphen,
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

text_type!(NodeName, as_str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_lower_case_without_final_dot() {
        assert_eq!(
            NodeName::parse("Hub.Example.ORG.").unwrap().as_str(),
            "hub.example.org"
        );
    }

    #[test]
    fn name_that_is_not_a_host_name_is_refused() {
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
