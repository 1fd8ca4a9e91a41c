//! The table: all nodes that a server knows, in memory. Pure.
//!
//! Registers, renewals, goodbyes and unverified claims go in. Outcomes, look-ups, and rows for the
//! store come out. The table must never block, read a clock, or walk over all nodes to process one
//! message.
//!
//! # Rules
//!
//! - A node is identified by its id, whatever its name or address. Its messages are ordered by
//!   `(epoch, sequence)`. A message that is not newer is refused, except that a repetition of the
//!   register that is held is acknowledged again.
//! - A name is bound to the first node id that registers it. It is free once its holder's lease has
//!   been over for `release_after` (at once if that is zero), or after [`Table::forget`]. A node
//!   has one current name. When it takes another, the old one stays bound to it for
//!   `release_after`. A node keeps four such names or fewer, so that it can't hoard names. History
//!   belongs to the node id; look-ups by an old name still find it.
//! - A lease runs by the monotonic clock. The wall clock is only shown, so its jumps expire no
//!   node.
//! - A claim by a legacy protocol proves nothing ([`unverified`]). Its row is identified by its
//!   name. It never takes a name from an authenticated node, and yields its name to such a node at
//!   once. Such rows have a limit of their own.
//! - A node is present, expired or left. It is removed once neither its name nor any history is to
//!   be kept. A full table removes nodes earlier: those whose name is free, the longest absent
//!   first. A present node is never evicted.
//!
//! # Memory layout
//!
//! A node has a dense *slot*. The fields that a renewal changes are in [`hot::Hot`] (two cache
//! lines) and in the page image for the store; all others are in [`cold::Cold`]. Each slot has at
//! most one entry in the time index, its next *wake*. A renewal does not change it; a wake that
//! comes too early is planned again.

mod admit;
mod cold;
mod counters;
mod history;
mod hot;
mod lookup;
mod names;
mod node_ref;
mod outcome;
mod stored;
mod time;
mod unverified;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hashbrown::HashTable;
use zeroize::Zeroize;

pub use counters::Counters;
pub use lookup::Filter;
pub use node_ref::{CloneSighting, NodeRef};
pub use outcome::{Change, Forgotten, Outcome, Registration, RenewOutcome};
pub(crate) use stored::merge_seen;
pub use stored::{Batch, Row, SEEN_EVERY, SeenPage};
pub use unverified::{ClaimOutcome, Imported, UnverifiedClaim};

use crate::model::{Lease, NodeId, NodeName, Now};
use cold::Cold;
use history::AddressKey;
use hot::{Hot, Presence, SeenImage};

/// The maximum number of names that a node keeps beside its current one; the oldest is dropped
/// first.
pub(super) const MAX_FORMER: usize = 4;
/// The maximum number of slots of any table: it limits the memory that a damaged store or a setting
/// can make the table allocate.
pub(super) const MAX_SLOTS: usize = 1 << 24;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest lease that is granted.
    pub max_lease: Lease,
    /// How long a closed interval is kept; zero keeps none.
    pub history: Duration,
    /// How long a name stays reserved for its holder after the end of the holder's lease.
    pub release_after: Duration,
    /// The maximum number of nodes, present and absent together.
    pub max_nodes: usize,
    /// The maximum number of history intervals of one node; the oldest closed one is dropped first.
    pub max_intervals_per_node: usize,
    /// The maximum number of nodes that are known by a legacy protocol only, present and absent
    /// together.
    pub max_unverified: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_lease: Lease(90),
            history: Duration::from_secs(90 * 86_400),
            release_after: Duration::from_secs(30 * 86_400),
            max_nodes: 1 << 20,
            max_intervals_per_node: 512,
            // A household or an office has hundreds. A peer that invents names fills this many rows
            // and no more.
            max_unverified: 4096,
        }
    }
}

pub struct Table {
    settings: Settings,
    /// Slots by node id.
    ids: HashTable<u32>,
    hot: Vec<Hot>,
    /// One per slot; `None` if the slot is free.
    cold: Vec<Option<Cold>>,
    free: Vec<u32>,
    /// The holder of each name, as its current name or as a former one that is still reserved for
    /// it.
    names: BTreeMap<NodeName, u32>,
    /// Nodes that had a name before: former names of renamed nodes, and names that another node
    /// took over.
    past_names: BTreeSet<(NodeName, u32)>,
    /// One entry for each address, kind and slot that has an interval in the history.
    addresses: BTreeSet<AddressKey>,
    /// When each slot has something due, in ms by the monotonic clock.
    wakes: BTreeSet<(i64, u32)>,
    /// Nodes that are not present, by the end of their lease.
    absent: BTreeSet<(i64, u32)>,
    /// Slots of nodes that are known by a legacy protocol only.
    unverified: BTreeSet<u32>,
    /// The renewal times in the form of the store, always up to date.
    seen: SeenImage,
    /// Slots whose row is to be stored or deleted.
    dirty: VecDeque<u32>,
    counters: Counters,
}

impl Table {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ids: HashTable::new(),
            hot: Vec::new(),
            cold: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            past_names: BTreeSet::new(),
            addresses: BTreeSet::new(),
            wakes: BTreeSet::new(),
            absent: BTreeSet::new(),
            unverified: BTreeSet::new(),
            seen: SeenImage::default(),
            dirty: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The number of known nodes, present and absent.
    #[allow(
        clippy::len_without_is_empty,
        reason = "no caller asks whether a registry is empty"
    )]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The maximum number of nodes that the table accepts.
    pub fn capacity(&self) -> usize {
        self.settings.max_nodes.min(MAX_SLOTS)
    }

    /// The number of present nodes.
    pub fn present(&self) -> usize {
        self.ids.len() - self.absent.len()
    }

    /// The key that proves a node's renewals, if it was set since the start and the node is known.
    pub fn renewal_key(&self, node: &NodeId) -> Option<&[u8; 32]> {
        let hot = &self.hot[self.slot_of(node)? as usize];
        hot.has_key.then_some(&hot.renewal_key)
    }

    /// Keeps the key that proves a node's renewals. Returns false if the node is not known.
    pub fn set_renewal_key(&mut self, node: &NodeId, key: [u8; 32]) -> bool {
        let Some(slot) = self.slot_of(node) else {
            return false;
        };
        let hot = &mut self.hot[slot as usize];
        hot.renewal_key = key;
        hot.has_key = true;
        true
    }

    fn slot_of(&self, node: &NodeId) -> Option<u32> {
        self.ids
            .find(hash_of(node), |slot| self.hot[*slot as usize].id == *node)
            .copied()
    }

    fn hot(&self, slot: u32) -> &Hot {
        &self.hot[slot as usize]
    }

    fn hot_mut(&mut self, slot: u32) -> &mut Hot {
        &mut self.hot[slot as usize]
    }

    #[expect(
        clippy::expect_used,
        reason = "only slots of nodes that are known are passed around"
    )]
    fn cold(&self, slot: u32) -> &Cold {
        self.cold[slot as usize]
            .as_ref()
            .expect("a slot in an index is in use")
    }

    #[expect(
        clippy::expect_used,
        reason = "only slots of nodes that are known are passed around"
    )]
    fn cold_mut(&mut self, slot: u32) -> &mut Cold {
        self.cold[slot as usize]
            .as_mut()
            .expect("a slot in an index is in use")
    }

    /// Puts a new node into the slot `wanted`, which must be free, or into any free slot.
    fn occupy(&mut self, wanted: Option<u32>, hot: Hot, cold: Cold) -> u32 {
        let slot = match wanted {
            Some(slot) => {
                while self.hot.len() <= slot as usize {
                    let next = self.hot.len() as u32;
                    self.grow();
                    if next != slot {
                        self.free.push(next);
                    }
                }
                slot
            }
            None => self.free.pop().unwrap_or_else(|| {
                self.grow();
                (self.hot.len() - 1) as u32
            }),
        };
        let dirty = self.hot(slot).dirty;
        let id = hot.id;
        *self.hot_mut(slot) = Hot { dirty, ..hot };
        self.cold[slot as usize] = Some(cold);
        let hots = &self.hot;
        self.ids
            .insert_unique(hash_of(&id), slot, |slot| hash_of(&hots[*slot as usize].id));
        slot
    }

    fn grow(&mut self) {
        self.hot.push(Hot::free());
        self.cold.push(None);
        self.seen.grow(self.hot.len());
    }

    /// Removes a node with its names and history.
    fn remove(&mut self, slot: u32) {
        self.release_all(slot);
        let id = self.hot(slot).id;
        if let Ok(entry) = self.ids.find_entry(hash_of(&id), |other| *other == slot) {
            entry.remove();
        }
        let Some(cold) = self.cold[slot as usize].take() else {
            return;
        };
        self.wakes.remove(&(cold.wake, slot));
        self.absent.remove(&(cold.ended, slot));
        self.unverified.remove(&slot);
        for span in &cold.history {
            self.addresses.remove(&span.key(slot));
        }
        let dirty = self.hot(slot).dirty;
        self.hot_mut(slot).renewal_key.zeroize();
        *self.hot_mut(slot) = Hot {
            dirty,
            ..Hot::free()
        };
        self.free.push(slot);
        self.mark(slot);
    }

    /// Marks a slot's row as to be stored or deleted.
    fn mark(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.hot_mut(slot).dirty, true) {
            self.dirty.push_back(slot);
        }
    }

    fn is_present(&self, slot: u32) -> bool {
        self.hot(slot).presence == Presence::Present
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for hot in &mut self.hot {
            hot.renewal_key.zeroize();
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("nodes", &self.len())
            .field("present", &self.present())
            .finish_non_exhaustive()
    }
}

/// Hashes a node id. It is a curve point, as good as random, so a fast hash without a secret
/// suffices. The hash multiplies, so that the bits that [`HashTable`] uses differ as well.
fn hash_of(node: &NodeId) -> u64 {
    use std::hash::BuildHasher;
    rustc_hash::FxBuildHasher.hash_one(node.0)
}

/// A duration in ms, small enough that sums of a few do not overflow.
fn millis(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_millis())
        .unwrap_or(i64::MAX / 4)
        .min(i64::MAX / 4)
}

fn now_ms(now: Now) -> i64 {
    millis(now.elapsed)
}
