//! Key/value pairs: the labels of a node, and the `info` that a server answers with.

use std::collections::BTreeMap;

/// Key/value pairs ordered by key, few and short enough for a datagram.
///
/// There are at most [`Labels::MAX_PAIRS`] pairs and [`Labels::MAX_BYTES`] bytes of keys and values
/// together. A key has 1 to 63 bytes of `A-Z a-z 0-9 - _ . /`; a value has at most 255 bytes of
/// UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<Box<str>, Box<str>>);

impl Labels {
    /// How many pairs there may be.
    pub const MAX_PAIRS: usize = 16;
    /// How many bytes all keys and values together may have.
    pub const MAX_BYTES: usize = 256;
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 63;
    /// The longest value, in bytes.
    pub const MAX_VALUE: usize = 255;

    /// Collects pairs in any order. A key that occurs twice is an error.
    pub fn new<K: Into<Box<str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, LabelsError> {
        let mut labels = Self::default();
        for (key, value) in pairs {
            labels.insert(key.into(), value.into())?;
        }
        Ok(labels)
    }

    /// Adds one pair; fails if the pair or the sum breaks a limit, or if the key exists.
    pub fn insert(&mut self, key: Box<str>, value: Box<str>) -> Result<(), LabelsError> {
        let key_valid = (1..=Self::MAX_KEY).contains(&key.len())
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
        if !key_valid {
            return Err(LabelsError::Key { key });
        }
        if value.len() > Self::MAX_VALUE || value.chars().any(char::is_control) {
            return Err(LabelsError::Value { key });
        }
        if self.0.len() == Self::MAX_PAIRS {
            return Err(LabelsError::TooMany);
        }
        if self.bytes() + key.len() + value.len() > Self::MAX_BYTES {
            return Err(LabelsError::TooLong);
        }
        if self.0.contains_key(&key) {
            return Err(LabelsError::Duplicate { key });
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// The value of a key; `None` if there is no such key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// All pairs, ordered by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }
}

/// Why key/value pairs are not accepted as labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A key is empty, too long, or has a character that is not allowed.
    #[error("the key {key:?} is not valid: a key has 1 to {max} letters, digits, '-', '_', '.' and '/'", max = Labels::MAX_KEY)]
    Key {
        /// The refused key.
        key: Box<str>,
    },
    /// A value is too long or has control characters.
    #[error("the value of {key:?} has control characters or more than {max} bytes", max = Labels::MAX_VALUE)]
    Value {
        /// The key of the refused value.
        key: Box<str>,
    },
    /// A key occurs twice.
    #[error("the key {key:?} occurs twice")]
    Duplicate {
        /// The key that occurs twice.
        key: Box<str>,
    },
    /// There are more than [`Labels::MAX_PAIRS`].
    #[error("there are too many pairs: at most {max} are allowed", max = Labels::MAX_PAIRS)]
    TooMany,
    /// Keys and values together have more than [`Labels::MAX_BYTES`].
    #[error("the pairs are too long: keys and values together have at most {max} bytes", max = Labels::MAX_BYTES)]
    TooLong,
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::new(map).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_limited_in_number_and_size() {
        let many = (0..17).map(|i| (format!("k{i}"), String::new()));
        assert_eq!(Labels::new(many), Err(LabelsError::TooMany));
        assert_eq!(
            Labels::new([("a", "x".repeat(200)), ("b", "x".repeat(100))]),
            Err(LabelsError::TooLong)
        );
        assert_eq!(
            Labels::new([("a", "\n")]),
            Err(LabelsError::Value { key: "a".into() })
        );
        assert_eq!(
            Labels::new([("a b", "")]),
            Err(LabelsError::Key { key: "a b".into() })
        );
        assert_eq!(
            Labels::new([("a", "1"), ("a", "2")]),
            Err(LabelsError::Duplicate { key: "a".into() })
        );
        assert_eq!(
            Labels::new([("site", "home")]).unwrap().value("site"),
            Some("home")
        );
    }
}
