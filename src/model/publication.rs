//! The state of the node's own record at a target of `publish`.

use serde::{Deserialize, Serialize};

/// The state of the node's own record at a target of `publish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationState {
    /// The record was not sent yet, or the target has not confirmed it yet.
    Waiting,
    /// The node probes whether another host has the name (RFC 6762 §8.1).
    Asking,
    /// The target has the current record.
    Published,
    /// The record was sent to a target that never confirms anything.
    Sent,
    /// Another host has the name at this target.
    Conflict,
    /// The target refused the record, or can't be reached.
    Failed,
}
