//! The protocol by which a registry learnt of a node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The protocol by which a registry learnt of a node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The protocol of hereabouts: sealed, and signed by the node.
    #[default]
    Hereabouts,
    /// The datagram of a DynIP client, or an entry of a DynIP server's file: nothing is verified.
    Dynip,
    /// The answer of a terminal to its base: nothing is verified.
    Terminals,
}

impl Protocol {
    /// Whether the protocol proves that a name belongs to its node.
    pub fn is_authenticated(self) -> bool {
        self == Self::Hereabouts
    }

    /// The name, as JSON and the configuration have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hereabouts => "hereabouts",
            Self::Dynip => "dynip",
            Self::Terminals => "terminals",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
