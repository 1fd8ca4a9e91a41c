//! To the store and back.

use std::time::Duration;

use super::cold::{Cold, Former, NEVER, Packed};
use super::history::Span;
use super::hot::{Hot, Presence, SeenEntry, SeenImage, Source};
use super::{MAX_FORMER, MAX_SLOTS, Table, millis, now_ms};
use crate::model::{Now, Timestamp};
use crate::registry::row::{self, RowParts, StoredNode};

/// How often renewal times go to the store: what a crash can lose of them stays under a second.
pub const SEEN_EVERY: Duration = Duration::from_millis(500);
/// Rows of one batch: with the longest rows a batch stays in the megabytes.
const BATCH_ROWS: usize = 4096;
/// Pages of renewal times in one batch: 12 MiB, the times of a million nodes.
const BATCH_PAGES: usize = 4096;

/// Rows for the store, to be committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows to write or delete, each slot once.
    pub rows: Vec<Row>,
    /// Renewal times to write.
    pub seen: Vec<SeenPage>,
}

/// A row to write or delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The slot.
    pub slot: u32,
    /// The row's bytes; `None` deletes it.
    pub value: Option<Box<[u8]>>,
}

/// Renewal times of consecutive slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPage {
    /// The page's number.
    pub page: u32,
    /// Its bytes.
    pub entries: Box<[u8]>,
}

impl SeenPage {
    /// Slots of a page.
    pub const SLOTS: usize = SeenImage::SLOTS;
    /// Bytes of a page.
    pub const BYTES: usize = SeenImage::PAGE_BYTES;
}

impl Batch {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.seen.is_empty()
    }

    /// Its size in memory, about.
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

/// Renewal times that the store holds of one slot.
pub(crate) fn merge_seen(node: &mut StoredNode, page: &[u8]) {
    let Some(entry) = SeenEntry::read(page, node.slot as usize % SeenImage::SLOTS) else {
        return;
    };
    // A page older than the row, or of another node that had the slot, says nothing.
    if entry.tag == node.tag && entry.last_seen >= node.last_seen {
        node.last_seen = entry.last_seen;
        node.sequence = node
            .sequence
            .max(node.base.saturating_add(u64::from(entry.past_base)));
    }
}

impl Table {
    /// Takes rows that changed and are not in the store yet: at most some thousands, so call it until it is empty.
    ///
    /// A batch that the store does not take goes back by [`Self::put_back`].
    pub fn take_dirty(&mut self) -> Batch {
        let mut rows = Vec::with_capacity(self.dirty.len().min(BATCH_ROWS));
        while rows.len() < BATCH_ROWS {
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

    /// Takes renewal times that changed; to be called every [`SEEN_EVERY`], when the last such batch is durable.
    pub fn take_seen(&mut self) -> Batch {
        let pages = self.seen.take(BATCH_PAGES);
        Batch {
            rows: Vec::new(),
            seen: pages
                .into_iter()
                .map(|(page, entries)| SeenPage { page, entries })
                .collect(),
        }
    }

    /// Whether rows wait to be taken.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// How many times [`Self::take_dirty`] gives something now.
    pub fn dirty_batches(&self) -> usize {
        self.dirty.len().div_ceil(BATCH_ROWS)
    }

    /// Whether renewal times wait to be taken.
    pub fn is_seen_dirty(&self) -> bool {
        self.seen.is_dirty()
    }

    /// Notes again what the store did not take.
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

    /// Takes a node from the store at start; to be called in the order of slots, before anything else.
    ///
    /// Who was present when the server stopped gets a fresh lease, so that a short outage of the server cuts nobody's
    /// history. What does not fit what was loaded before is mended and counted.
    pub fn load(&mut self, now: Now, stored: StoredNode) {
        let known = self.slot_of(&stored.signed.node).is_some();
        let wanted = stored.slot as usize;
        let fits = wanted >= self.hot.len() && wanted < MAX_SLOTS;
        if known || (!fits && self.hot.len() >= MAX_SLOTS) {
            self.counters.load_conflicts += 1;
            return;
        }
        let presence = Presence::of(stored.state);
        let mut hot = Hot {
            id: stored.signed.node,
            presence,
            lease: stored.lease,
            ..Hot::free()
        };
        (hot.epoch, hot.base, hot.sequence) = (stored.epoch, stored.base, stored.sequence);
        hot.source = Source::of(stored.source);
        hot.expires = now_ms(now).saturating_add(millis(stored.lease.duration()));
        let ended = elapsed_at(now, stored.ended);
        let cold = Cold {
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
        };
        let slot = self.occupy(fits.then_some(stored.slot), hot, cold);
        if !stored.protocol.is_authenticated() {
            self.unverified.insert(slot);
        }
        if presence != Presence::Present {
            self.gone.insert((ended, slot));
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
        for span in self.cold(slot).history.clone() {
            self.addresses.insert(span.key(slot));
        }
        if presence != Presence::Present
            && self.cold(slot).history.iter().any(|span| span.is_open())
        {
            self.close_all(now, slot, stored.last_seen);
        }
        self.load_names(now, slot, &stored);
        if !fits {
            self.counters.load_conflicts += 1;
            self.mark(slot);
            if wanted < self.hot.len() {
                self.mark(stored.slot);
            }
        }
        self.plan(now, slot);
    }

    fn load_names(&mut self, now: Now, slot: u32, stored: &StoredNode) {
        let name = &stored.record.name;
        if stored.bound && !self.names.contains_key(name) {
            self.names.insert(name.clone(), slot);
            self.cold_mut(slot).bound = true;
        } else {
            self.counters.load_conflicts += u64::from(stored.bound);
            self.had.insert((name.clone(), slot));
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
            self.had.insert((former.name.clone(), slot));
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

/// A wall-clock time of the past in ms by the monotonic clock; the future counts as now.
fn elapsed_at(now: Now, at: Timestamp) -> i64 {
    now_ms(now).saturating_sub(millis(now.wall.since(at)))
}
