//! The core's side of the store: batches under way, and the acknowledgements that leave only after these are durable.

use super::{Core, Output};
use crate::model::{Lease, Now};
use crate::registry::{Batch, SEEN_EVERY, Table};
use crate::transport::ReturnPath;
use crate::wire::v1::{Message, Registered};

/// Batches handed to the store and not yet durable; more stay in the table, where they coalesce.
pub(super) const BATCHES_IN_FLIGHT: u64 = 8;

/// An acknowledgement that waits for a batch.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    pub(super) ticket: u64,
    pub(super) path: ReturnPath,
    pub(super) sequence: u64,
    pub(super) lease: Lease,
}

impl Core {
    /// The ticket of the batch that holds the last change.
    pub fn last_ticket(&self) -> u64 {
        self.submitted + self.table.as_ref().map_or(0, waiting_batches)
    }

    /// Batches handed out and not yet durable.
    pub fn in_flight(&self) -> u64 {
        self.submitted - self.durable
    }

    /// Hands all changes to the store: to be called when a batch of datagrams has been handled.
    pub fn store(&mut self) {
        self.storing = true;
    }

    /// The next batch of changes, once all other output is done. A batch gets its number only when the event loop is about
    /// to submit it, so that a batch that comes back by [`Core::put_back`] is always the last.
    pub(super) fn next_batch(&mut self) -> Option<Output> {
        let table = self
            .table
            .as_mut()
            .filter(|table| self.storing && table.is_dirty());
        let Some(table) = table.filter(|_| self.submitted - self.durable < BATCHES_IN_FLIGHT)
        else {
            self.storing = false;
            return None;
        };
        self.submitted += 1;
        Some(Output::Store {
            ticket: self.submitted,
            batch: table.take_dirty(),
        })
    }

    /// Whether renewal times may be stored when they are due. Rows go first: acknowledgements wait for the numbers of the
    /// batches that will hold the rows, and renewal times must not use up such a number.
    pub(super) fn may_store_seen(&self, table: &Table) -> bool {
        table.is_seen_dirty() && !table.is_dirty() && self.seen_ticket <= self.durable
    }

    pub(super) fn store_seen(&mut self, now: Now) {
        if now.elapsed < self.seen_at
            || !self
                .table
                .as_ref()
                .is_some_and(|table| self.may_store_seen(table))
        {
            return;
        }
        let Some(table) = &mut self.table else { return };
        self.seen_at = now.elapsed + SEEN_EVERY;
        self.submitted += 1;
        self.seen_ticket = self.submitted;
        self.output.push_back(Output::Store {
            ticket: self.submitted,
            batch: table.take_seen(),
        });
    }

    /// Takes the last batch back, as the store had no room for it: its content is handed out again later.
    pub fn put_back(&mut self, batch: Batch) {
        let Some(table) = &mut self.table else { return };
        table.put_back(batch);
        // The next call of [`Core::store`] tries again: there is no room now.
        self.storing = false;
        let refused = self.submitted;
        self.submitted -= 1;
        self.seen_ticket = self.seen_ticket.min(self.submitted);
        // The changes of this batch may now be behind others.
        let last = self.submitted + waiting_batches(table);
        for waiting in self
            .acknowledgements
            .iter_mut()
            .filter(|waiting| waiting.ticket >= refused)
        {
            waiting.ticket = last;
        }
        for ticket in self
            .moving
            .values_mut()
            .filter(|ticket| **ticket >= refused)
        {
            *ticket = last;
        }
    }

    /// Notes that all batches up to this ticket are durable, and acknowledges the changes that waited for them.
    pub fn durable(&mut self, now: Now, ticket: u64) {
        self.durable = self.durable.max(ticket.min(self.submitted));
        self.moving.retain(|_, ticket| *ticket > self.durable);
        while let Some(next) = self.acknowledgements.front()
            && next.ticket <= self.durable
        {
            if let Some(waiting) = self.acknowledgements.pop_front() {
                self.acknowledge(now, waiting.path, waiting.sequence, waiting.lease);
            }
        }
        self.store();
    }

    pub(super) fn acknowledge(&mut self, now: Now, path: ReturnPath, sequence: u64, lease: Lease) {
        let message = Message::Registered(Registered {
            sequence,
            seen: path.to,
            lease,
            clock: now.wall,
            offers: self.offers,
        });
        self.output.push_back(Output::Reply { path, message });
    }
}

/// In how many batches from now the last change that waits in the table will be.
///
/// A batch holds some thousands of rows. Where more wait, an acknowledgement waits for the last batch.
pub(super) fn waiting_batches(table: &Table) -> u64 {
    table.dirty_batches() as u64
}
