//! The store: what survives.
//!
//! [`Writer`] owns a [`Store`] on a thread of its own. Batches wait in a bounded queue; each commit takes all that waits,
//! up to a limit, and syncs it; then [`Progress`] tells the highest ticket that is durable. Who answers a node waits for
//! the ticket of the batch with its row.
//!
//! A commit that fails is tried again, with pauses that grow, after the file was opened anew. Until it works nothing is
//! acknowledged, the queue fills, and [`Writer::submit`] gives batches back: memory stays bounded.

mod embedded;
mod error;
mod writer;

#[cfg(test)]
mod tests;

pub(super) use embedded::directory_of;
pub use embedded::{Embedded, Opened};
pub use error::StoreError;
pub use writer::{Failure, Full, Progress, Ticket, Writer};

use super::Batch;

/// Keeps rows. It blocks, and runs on a thread of its own.
pub trait Store: Send {
    /// Writes batches in order, all or nothing, and returns once they are synced.
    fn commit(&mut self, batches: &[&Batch]) -> Result<(), StoreError>;

    /// Recovers after a failed commit.
    fn reopen(&mut self) -> Result<(), StoreError>;
}
