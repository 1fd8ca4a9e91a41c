//! Rows for the store, and nodes from the store.

use std::time::Duration;

use tracing::debug;

use super::cold::{Cold, Former, NEVER, Packed};
use super::history::{End, Span};
use super::hot::{Hot, Presence, SeenEntry, SeenImage, Source};
use super::{MAX_FORMER, MAX_SLOTS, Table, millis, now_ms};
use crate::model::{Now, Timestamp};
use crate::registry::row::{self, RowParts, StoredNode};

/// How often renewal times are stored: a crash loses less than a second of them.
pub const SEEN_EVERY: Duration = Duration::from_millis(500);
/// The maximum number of rows of one batch: even with the longest rows a batch has megabytes, not
/// more.
const MAX_BATCH_ROWS: usize = 4096;
/// The maximum number of pages of renewal times in one batch: 12 MiB, the times of a million nodes.
const MAX_BATCH_PAGES: usize = 4096;

/// Rows for the store, to be committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows to write or delete; each slot occurs once.
    pub rows: Vec<Row>,
    /// Renewal times to write.
    pub seen: Vec<SeenPage>,
}

/// A row to write or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub slot: u32,
    /// The row's bytes; `None` deletes the row.
    pub value: Option<Box<[u8]>>,
}

/// Renewal times of consecutive slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPage {
    /// The page's number.
    pub page: u32,
    pub entries: Box<[u8]>,
}

impl SeenPage {
    pub const SLOTS: usize = SeenImage::SLOTS;
    pub const BYTES: usize = SeenImage::PAGE_BYTES;
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.seen.is_empty()
    }

    /// The approximate size in memory.
    pub fn bytes(&self) -> usize {
        let rows = self
            .rows
            .iter()
            .map(|row| size_of::<Row>() + row.value.as_ref().map_or(0, |value| value.len()));
        rows.sum::<usize>()
            + self
                .seen
                .iter()
                .map(|page| size_of::<SeenPage>() + page.entries.len())
                .sum::<usize>()
    }
}

/// Applies the renewal time of a stored page to the node of a stored row.
pub(crate) fn merge_seen(node: &mut StoredNode, page: &[u8]) {
    let Some(entry) = SeenEntry::read(page, node.slot as usize % SeenImage::SLOTS) else {
        return;
    };
    // A page that is older than the row, or of another node that had the slot, does not count.
    if entry.tag == node.tag && entry.last_seen >= node.last_seen {
        node.last_seen = entry.last_seen;
        node.sequence = node
            .sequence
            .max(node.base.saturating_add(u64::from(entry.past_base)));
    }
}

impl Table {
    /// Takes rows that changed and were not taken yet: at most some thousands, so call it until the
    /// batch is empty.
    ///
    /// Return a batch that the store does not accept by [`Self::put_back`].
    pub fn take_dirty(&mut self) -> Batch {
        let mut rows = Vec::with_capacity(self.dirty.len().min(MAX_BATCH_ROWS));
        while rows.len() < MAX_BATCH_ROWS {
            let Some(slot) = self.dirty.pop_front() else {
                break;
            };
            self.hot_mut(slot).dirty = false;
            rows.push(Row {
                slot,
                value: self.cold[slot as usize]
                    .as_ref()
                    .map(|cold| self.row(slot, cold)),
            });
        }
        Batch {
            rows,
            seen: Vec::new(),
        }
    }

    /// Takes renewal times that changed. Call it every [`SEEN_EVERY`], once the last such batch is
    /// durable.
    pub fn take_seen(&mut self) -> Batch {
        let pages = self.seen.take(MAX_BATCH_PAGES);
        Batch {
            rows: Vec::new(),
            seen: pages
                .into_iter()
                .map(|(page, entries)| SeenPage { page, entries })
                .collect(),
        }
    }

    /// Whether there are rows to take.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// How many batches [`Self::take_dirty`] has now.
    pub fn dirty_batches(&self) -> usize {
        self.dirty.len().div_ceil(MAX_BATCH_ROWS)
    }

    /// Whether there are renewal times to take.
    pub fn is_seen_dirty(&self) -> bool {
        self.seen.is_dirty()
    }

    /// Marks the content of a batch again that the store did not accept.
    pub fn put_back(&mut self, batch: Batch) {
        for row in batch.rows {
            if (row.slot as usize) < self.hot.len() {
                self.mark(row.slot);
            }
        }
        for page in batch.seen {
            self.seen.mark(page.page as usize);
        }
    }

    fn row(&self, slot: u32, cold: &Cold) -> Box<[u8]> {
        let hot = self.hot(slot);
        let entry = self.seen.entry(slot);
        let parts = RowParts {
            tag: entry.tag,
            id: &hot.id,
            signed_key: cold.signed.key(),
            body: cold.signed.body(),
            signature: cold.signed.signature(),
            name: &cold.name,
            detail: cold.signed.detail(),
            key: cold.key,
            epoch: hot.epoch,
            base: hot.base,
            sequence: hot.sequence,
            previous_boot: cold.previous_boot,
            lease: hot.lease,
            source: hot.source.address(),
            first_seen: cold.first_seen,
            last_seen: entry.last_seen,
            state: hot.presence.state(),
            ended: if hot.presence == Presence::Present {
                entry.last_seen
            } else {
                cold.ended_at
            },
            bound: cold.bound,
            protocol: cold.protocol,
        };
        let former = cold
            .former
            .iter()
            .map(|former| (&former.name, former.until, former.bound));
        row::encode(
            &parts,
            former,
            cold.history.iter().map(|span| span.interval()),
        )
    }

    /// Loads a node from the store at start; to be called in the order of slots, before anything
    /// else.
    ///
    /// A node that was present when the server stopped gets a fresh lease, so that a short outage
    /// of the server interrupts no history. A row that contradicts rows loaded before is corrected
    /// or skipped, and counted.
    pub fn load(&mut self, now: Now, stored: StoredNode) {
        let known = self.slot_of(&stored.signed.node).is_some();
        let wanted = stored.slot as usize;
        let fits = wanted >= self.hot.len() && wanted < MAX_SLOTS;
        if known || (!fits && self.hot.len() >= MAX_SLOTS) {
            debug!(
                node = ?stored.signed.node,
                name = %stored.record.name,
                slot = stored.slot,
                known,
                "skipped a row of the store: its node is known, or no slot is left"
            );
            self.counters.load_conflicts += 1;
            return;
        }
        let presence = Presence::of(stored.state);
        let ended = elapsed_at(now, stored.ended);
        let hot = stored_hot(now, &stored);
        let cold = stored_cold(&stored, ended);
        let slot = self.occupy(fits.then_some(stored.slot), hot, cold);
        if !stored.protocol.is_authenticated() {
            self.unverified.insert(slot);
        }
        if presence != Presence::Present {
            self.absent.insert((ended, slot));
        }
        let past_base =
            u32::try_from(stored.sequence.saturating_sub(stored.base)).unwrap_or(u32::MAX);
        self.seen.set(
            slot,
            SeenEntry {
                tag: stored.tag,
                last_seen: stored.last_seen,
                past_base,
            },
        );
        self.load_history(now, slot, End::between(stored.last_seen, stored.ended));
        self.load_names(now, slot, &stored);
        if !fits {
            debug!(
                node = ?stored.signed.node,
                name = %stored.record.name,
                slot,
                stored_slot = stored.slot,
                "moved a row of the store to another slot"
            );
            self.counters.load_conflicts += 1;
            self.mark(slot);
            if wanted < self.hot.len() {
                self.mark(stored.slot);
            }
        }
        self.plan(now, slot);
    }

    fn load_history(&mut self, now: Now, slot: u32, end: End) {
        for span in self.cold(slot).history.clone() {
            self.addresses.insert(span.key(slot));
        }
        let open = self.cold(slot).history.iter().any(|span| span.is_open());
        if open && !self.is_present(slot) {
            self.close_all(now, slot, end);
        }
    }

    fn load_names(&mut self, now: Now, slot: u32, stored: &StoredNode) {
        let name = &stored.record.name;
        if stored.bound && !self.names.contains_key(name) {
            self.names.insert(name.clone(), slot);
            self.cold_mut(slot).bound = true;
        } else {
            self.counters.load_conflicts += u64::from(stored.bound);
            self.past_names.insert((name.clone(), slot));
        }
        let skipped = stored.former.len().saturating_sub(MAX_FORMER);
        for former in stored
            .former
            .iter()
            .skip(skipped)
            .filter(|former| former.name != *name)
        {
            let bound = former.bound && !self.names.contains_key(&former.name);
            if bound {
                self.names.insert(former.name.clone(), slot);
            }
            self.past_names.insert((former.name.clone(), slot));
            let ended = elapsed_at(now, former.until);
            self.cold_mut(slot).former.push(Former {
                name: former.name.clone(),
                until: former.until,
                ended,
                bound,
            });
        }
    }
}

/// The hot part of a stored node, with a fresh lease.
fn stored_hot(now: Now, stored: &StoredNode) -> Hot {
    Hot {
        id: stored.signed.node,
        epoch: stored.epoch,
        base: stored.base,
        sequence: stored.sequence,
        expires: now_ms(now).saturating_add(millis(stored.lease.duration())),
        source: Source::of(stored.source),
        lease: stored.lease,
        presence: Presence::of(stored.state),
        ..Hot::free()
    }
}

/// The cold part of a stored node, without its names.
fn stored_cold(stored: &StoredNode, ended: i64) -> Cold {
    Cold {
        name: stored.record.name.clone(),
        signed: Packed::new(&stored.record, &stored.signed),
        key: stored.key,
        bound: false,
        protocol: stored.protocol,
        boot: stored.record.boot,
        previous_boot: stored.previous_boot,
        first_seen: stored.first_seen,
        ended,
        ended_at: stored.ended,
        wake: NEVER,
        history: stored.history.iter().copied().map(Span::of).collect(),
        former: Vec::new(),
        clone_sighting: None,
    }
}

/// Converts a wall-clock time of the past to ms by the monotonic clock; the future counts as now.
fn elapsed_at(now: Now, at: Timestamp) -> i64 {
    now_ms(now).saturating_sub(millis(now.wall.since(at)))
}
