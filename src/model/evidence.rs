//! How an address of a node became known.

use serde::{Deserialize, Serialize};

/// How an address of a node became known.
///
/// In JSON: `announced` or `observed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The node announced it.
    Announced,
    /// A server received messages of the node from it.
    Observed,
}

impl Evidence {
    /// The word as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Observed => "observed",
        }
    }
}
