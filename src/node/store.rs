//! The registry's store as the event loop sees it: batches go in, tickets come back when they are durable.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use super::event_loop::Node;
use crate::registry::{Batch, Progress, Writer};

/// The registry's store and its progress.
pub(super) struct Store {
    pub(super) writer: Writer,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) path: PathBuf,
    /// When the oldest batch was submitted that is not durable.
    pub(super) waiting_since: Option<Duration>,
}

impl Node {
    /// Submits a batch to the store; a full store gives it back to the core.
    pub(super) fn submit(&mut self, ticket: u64, batch: Batch) {
        let elapsed = self.clock.now().elapsed;
        let Some(store) = &mut self.store else { return };
        match store.writer.submit(batch) {
            Ok(submitted) => {
                debug_assert_eq!(submitted.0, ticket, "core and store count the same batches");
                store.waiting_since.get_or_insert(elapsed);
            }
            Err(full) => {
                tracing::debug!(ticket, "the store is full: the batch waits");
                self.core.put_back(full.0);
            }
        }
    }

    /// Acknowledges the changes that the store has made durable.
    pub(super) fn on_store_progress(&mut self) {
        let now = self.clock.now();
        let Some(store) = &mut self.store else { return };
        let durable = store.progress.borrow_and_update().durable;
        store.waiting_since = (durable < store.writer.last_ticket()).then_some(now.elapsed);
        self.core.durable(now, durable.0);
        self.answer_changes(durable.0);
    }
}

/// Waits for progress of the store; for ever where there is no store, or none any more.
pub(super) async fn changed(progress: &mut Option<watch::Receiver<Progress>>) {
    match progress {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                *progress = None;
            }
        }
        None => std::future::pending().await,
    }
}
