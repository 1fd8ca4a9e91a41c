//! Batches to the registry's store, and what becomes durable.

use super::parts::Node;
use crate::registry::Batch;

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
