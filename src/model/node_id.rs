//! The ids of nodes.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};

use super::text_type;

/// A node's Ed25519 public key (RFC 8032 §5.1.5): the identity of a node, whatever its name or
/// address.
///
/// As text: 52 lower-case base32 characters (RFC 4648 §6, no padding).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The first ten characters: enough to distinguish nodes in a log.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }
}

/// A text is not the id of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node id has 52 base32 characters (a to z, 2 to 7)")]
pub struct NodeIdError;

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        // The length is checked first, so that no text makes the decoder allocate more than a key.
        if text.len() != 52 {
            return Err(NodeIdError);
        }
        let bytes = BASE32_NOPAD_NOCASE
            .decode(text.as_bytes())
            .map_err(|_| NodeIdError)?;
        Ok(Self(bytes.try_into().map_err(|_| NodeIdError)?))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

text_type!(NodeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_parses_as_it_prints() {
        let id = NodeId(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!("short".parse::<NodeId>(), Err(NodeIdError));
    }
}
