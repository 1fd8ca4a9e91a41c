//! The store: it makes rows of the table durable.
//!
//! [`Writer`] owns a [`Store`] on a thread of its own. Batches wait in a bounded queue. Each commit
//! takes all waiting batches, up to a limit, and syncs them; then [`Progress`] reports the highest
//! ticket that is durable. A node gets its acknowledgement only when the batch with its row is
//! durable.
//!
//! After a failed commit the file is opened again, and the commit is repeated with growing pauses.
//! Until it succeeds no change is acknowledged, the queue fills, and [`Writer::submit`] returns
//! batches: memory stays bounded.

mod embedded;
mod error;
mod format;
mod writer;

#[cfg(test)]
mod tests;

pub use embedded::{Embedded, Opened};
pub use error::StoreError;
pub use writer::{Failure, Full, Progress, Ticket, Writer};

use super::Batch;

/// Keeps rows. Its methods block, so it runs on a thread of its own.
pub trait Store: Send {
    /// Writes all batches in order, or none of them, and returns once they are synced.
    fn commit(&mut self, batches: &[&Batch]) -> Result<(), StoreError>;

    /// Recovers after a failed commit.
    fn reopen(&mut self) -> Result<(), StoreError>;
}
