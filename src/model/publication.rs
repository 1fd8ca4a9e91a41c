//! Whether the node's own record stands at a target.

use serde::{Deserialize, Serialize};

/// Whether the node's own record stands at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationState {
    /// Its turn has not come, or the target has not confirmed it yet.
    Waiting,
    /// It is asked for first whether somebody else has the name.
    Asking,
    /// It stands there as it is.
    Published,
    /// It was told, and the target says nothing of whether it took it.
    Sent,
    /// Somebody else has the name there.
    Conflict,
    /// The target refused it, or can't be reached.
    Failed,
}
