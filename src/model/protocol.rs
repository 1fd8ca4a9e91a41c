//! By which protocol something became known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The protocol by which a registry learnt of a node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Our own: sealed, and signed by the node.
    #[default]
    Hereabouts,
    /// A DynIP client's datagram, or a record of its server's file: nobody proved anything.
    Dynip,
    /// A terminal's answer to its base: nobody proved anything.
    Terminals,
}

impl Protocol {
    /// Whether a name that came by it was proved to belong to its node.
    pub fn is_authenticated(self) -> bool {
        self == Self::Hereabouts
    }

    /// The name as in JSON and in the configuration.
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
