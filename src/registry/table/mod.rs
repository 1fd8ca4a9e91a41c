//! The table: every node that a server knows, in memory. Pure.
//!
//! # Rules
//!
//! - A node is its id, whatever its name or address. Its messages are ordered by `(epoch, sequence)`; what is not newer
//!   is refused, except that the very register that is held is acknowledged again.
//! - A name is bound to the first node id that registers it. It is free when its holder's lease has been over for
//!   `release_after` (at once where that is zero), or by [`Table::forget`]. A node has one current name. When it takes
//!   another, the old one stays bound to it for `release_after`, at most four of them, so that nobody hoards
//!   names. History stays under the node id; look-ups by an old name still find it.
//! - A lease runs by the monotonic clock. The wall clock is only shown, so that its jumps expire nobody.
//! - What came by an ancestor's wire proves nothing ([`unverified`]): such a row is its name, it never takes a name from a node
//!   that proves who it is, and gives way to one at once. Such rows have a limit of their own.
//! - A node is present, expired or left. It goes for good when neither its name nor any history is to be kept, or, when
//!   the table is full, once its name is free, the longest gone first. Who is present is never evicted.
//!
//! # Shape
//!
//! A node has a dense *slot*. What a renewal touches stands in [`hot::Hot`] (two cache lines) and in the page image that
//! the store takes; the rest in [`cold::Cold`]. Every slot has at most one entry in the time index, its next *wake*: a
//! renewal leaves it, and a wake that comes too early is set again. So nothing ever walks over all records.

mod admit;
mod cold;
mod history;
mod hot;
mod look;
mod names;
mod stored;
mod time;
mod unverified;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hashbrown::HashTable;
use zeroize::Zeroize;

pub use look::{CloneSighting, Filter, NodeRef};
pub(crate) use stored::merge_seen;
pub use stored::{Batch, Row, SEEN_EVERY, SeenPage};
pub use unverified::{ClaimOutcome, Imported, UnverifiedClaim};

use crate::model::{Lease, NodeId, NodeName, Now, Record};
use crate::wire::KeyId;
use crate::wire::v1::{Refusal, SignedRecord};
use cold::Cold;
use history::AddressKey;
use hot::{Hot, Presence, SeenImage};

/// Names that a node keeps beside its current one; the oldest goes first.
pub(super) const MAX_FORMER: usize = 4;
/// Slots that a table can have at all: bounds what a damaged store or a setting can make it allocate.
pub(super) const MAX_SLOTS: usize = 1 << 24;

/// What a table goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest lease granted.
    pub max_lease: Lease,
    /// How long a closed interval is kept; zero keeps none.
    pub history: Duration,
    /// How long after the end of its holder's lease a name is kept for it.
    pub release_after: Duration,
    /// The most nodes, present and gone together.
    pub max_nodes: usize,
    /// The most history intervals of one node; the oldest closed one goes first.
    pub max_intervals_per_node: usize,
    /// The most nodes that are known by an unauthenticated wire alone, present and gone together.
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
            // A household or an office has hundreds; whoever makes names up fills this much and no more.
            max_unverified: 4096,
        }
    }
}

/// A verified record on its way into the table.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The record.
    pub record: Record,
    /// The same as it was signed; its signature and node id are verified already.
    pub signed: SignedRecord,
    /// Where the datagram came from.
    pub source: SocketAddr,
    /// The channel key that sealed the datagram.
    pub key: KeyId,
}

/// What became of a register or a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken. To be acknowledged once it is durable.
    Accepted {
        /// The node's slot.
        slot: u32,
        /// The lease granted.
        lease: Lease,
        /// Whether there is something new to store. If not, it is a retransmission: to be acknowledged once all that
        /// was submitted before is durable, since the first copy may still be on its way to the disk.
        changed: bool,
        /// What it means for those who watch.
        change: Change,
    },
    /// Not taken.
    Refused(Refusal),
}

/// What a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Same,
    /// The node is new.
    Joined,
    /// The node was gone and is back.
    Returned,
    /// Its name, an address, or the source address is another.
    Moved,
    /// Its record is newer, with the same name and addresses.
    Updated,
    /// It said goodbye.
    Left,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewOutcome {
    /// The lease runs anew.
    Renewed {
        /// The lease granted.
        lease: Lease,
        /// Whether a row must be stored: the source address is another, or the node was expired.
        changed: bool,
    },
    /// The record it builds on is not held.
    Unknown,
    /// A newer message was taken.
    Outdated {
        /// The epoch held.
        epoch: u64,
        /// The sequence number held.
        sequence: u64,
    },
}

/// What [`Table::forget`] dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The node that held the name.
    pub node: NodeId,
    /// Whether its record and history are gone too; otherwise only the name was taken from it, since it goes by another.
    pub record: bool,
}

/// What happened so far, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Registers refused since another node id holds the name.
    pub name_conflicts: u64,
    /// Registers refused since two machines use the node id.
    pub clones: u64,
    /// Registers, renewals and goodbyes refused since a newer one was taken.
    pub outdated: u64,
    /// Registers refused since the table is full of nodes that can't be evicted.
    pub full: u64,
    /// Nodes gone long enough that were dropped to make room.
    pub evicted: u64,
    /// History intervals dropped since a node had too many.
    pub intervals_dropped: u64,
    /// Former names dropped since a node had too many.
    pub names_dropped: u64,
    /// Leases that ran out.
    pub expired: u64,
    /// Registers taken.
    pub registered: u64,
    /// Renewals taken.
    pub renewed: u64,
    /// Rows of the store that did not fit the rest of it, and were mended or left out.
    pub load_conflicts: u64,
    /// Unauthenticated claims of names taken.
    pub unverified_taken: u64,
    /// Unauthenticated claims refused since a node that proves who it is holds the name.
    pub unverified_owned: u64,
    /// Unauthenticated claims refused since there are too many such names, in all or from one address.
    pub unverified_full: u64,
}

/// All nodes a server knows.
pub struct Table {
    settings: Settings,
    /// Slots by node id.
    ids: HashTable<u32>,
    hot: Vec<Hot>,
    /// One per slot; `None` where the slot is free.
    cold: Vec<Option<Cold>>,
    free: Vec<u32>,
    /// Who holds a name, as its current one or as a former one that is still kept for it.
    names: BTreeMap<NodeName, u32>,
    /// Who had a name: former names of renamed nodes, and names taken over by another node.
    had: BTreeSet<(NodeName, u32)>,
    /// One entry per address, kind and slot with any interval in history.
    addresses: BTreeSet<AddressKey>,
    /// When to look at a slot again, in ms by the monotonic clock.
    wakes: BTreeSet<(i64, u32)>,
    /// Nodes that are not present, by the end of their lease.
    gone: BTreeSet<(i64, u32)>,
    /// Slots of nodes that are known by an unauthenticated wire alone.
    unverified: BTreeSet<u32>,
    /// What the store holds of renewal times, always up to date.
    seen: SeenImage,
    /// Slots whose row is to be stored or deleted.
    dirty: VecDeque<u32>,
    counters: Counters,
}

impl Table {
    /// An empty table.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ids: HashTable::new(),
            hot: Vec::new(),
            cold: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            had: BTreeSet::new(),
            addresses: BTreeSet::new(),
            wakes: BTreeSet::new(),
            gone: BTreeSet::new(),
            unverified: BTreeSet::new(),
            seen: SeenImage::default(),
            dirty: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes other settings; they count for what comes from now on, and for names and history already held.
    pub fn apply(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many nodes are known, present and gone.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The most nodes that are taken.
    pub fn capacity(&self) -> usize {
        self.settings.max_nodes.min(MAX_SLOTS)
    }

    /// Whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many nodes are present.
    pub fn present(&self) -> usize {
        self.ids.len() - self.gone.len()
    }

    /// The key that proves a node's renewals, if it was set since the start and the node is known.
    pub fn renewal_key(&self, node: &NodeId) -> Option<&[u8; 32]> {
        let hot = &self.hot[self.slot_of(node)? as usize];
        hot.has_key.then_some(&hot.renewal_key)
    }

    /// Keeps the key that proves a node's renewals; false if the node is not known.
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

    /// Puts a new node into a slot: `wanted`, if it is free, or any.
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

    /// Drops a node and all that is known of it.
    fn remove(&mut self, slot: u32) {
        self.unlist_all(slot);
        let id = self.hot(slot).id;
        if let Ok(entry) = self.ids.find_entry(hash_of(&id), |other| *other == slot) {
            entry.remove();
        }
        let Some(cold) = self.cold[slot as usize].take() else {
            return;
        };
        self.wakes.remove(&(cold.wake, slot));
        self.gone.remove(&(cold.ended, slot));
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

    /// Notes that a slot's row is to be stored or deleted.
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

/// A node id is a curve point, as good as random: any eight bytes of it are a hash, multiplied so that the bits that
/// [`HashTable`] looks at differ as well.
fn hash_of(node: &NodeId) -> u64 {
    use std::hash::BuildHasher;
    rustc_hash::FxBuildHasher.hash_one(node.0)
}

/// A monotonic time in ms.
fn millis(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_millis())
        .unwrap_or(i64::MAX / 4)
        .min(i64::MAX / 4)
}

fn now_ms(now: Now) -> i64 {
    millis(now.elapsed)
}
