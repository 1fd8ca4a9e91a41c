//! Calls that wait in the node until they can be answered.

use std::time::Duration;

use crate::api::control::Call;
use crate::api::request::Item;
use crate::model::Timestamp;

/// A call that is answered when its change is durable.
pub(super) struct Change {
    pub(super) ticket: u64,
    pub(super) item: Item,
    pub(super) call: Call,
}

/// An `announce` that waits for the servers.
pub(super) struct Reannounce {
    pub(super) deadline: Duration,
    pub(super) since: Timestamp,
    pub(super) call: Call,
}
