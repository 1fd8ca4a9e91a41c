//! Look-ups.

use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::time::Duration;

use super::history::AddressKey;
use super::hot::packed;
use super::{Table, now_ms};
use crate::model::{Lease, NodeId, NodeName, Now, Protocol, Record, State, Timestamp};
use crate::registry::row::{self, Interval, Seen};
use crate::wire::KeyId;
use crate::wire::v1::{Sighting, SignedRecord};

/// Nodes looked at for the best holder of one address: a million machines behind one router have one source address.
const HOLDERS_EXAMINED: usize = 1024;

/// Which nodes a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Nodes that are present.
    pub present: bool,
    /// Nodes that expired or left.
    pub absent: bool,
}

impl Filter {
    /// Every node.
    pub const ALL: Self = Self {
        present: true,
        absent: true,
    };
    /// Nodes that are present.
    pub const PRESENT: Self = Self {
        present: true,
        absent: false,
    };

    fn takes(self, present: bool) -> bool {
        if present { self.present } else { self.absent }
    }
}

/// Another machine that uses a node's id, as far as it was heard of lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneSighting {
    /// The source address of the machine whose records are taken.
    pub source: SocketAddr,
    /// The source address of the one that is refused.
    pub refused: SocketAddr,
    /// Since when.
    pub since: Timestamp,
}

/// A node in the table.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    table: &'a Table,
    slot: u32,
}

impl<'a> NodeRef<'a> {
    /// Its place in the table.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.table.hot(self.slot).id
    }

    /// The name it goes by.
    pub fn name(&self) -> &'a NodeName {
        &self.table.cold(self.slot).name
    }

    /// Whether the name is bound to it; if not, another node took it over.
    pub fn is_bound(&self) -> bool {
        self.table.cold(self.slot).bound
    }

    /// Names it had before, oldest first, with the time it took another.
    pub fn former_names(&self) -> impl ExactSizeIterator<Item = (&'a NodeName, Timestamp)> {
        self.table
            .cold(self.slot)
            .former
            .iter()
            .map(|former| (&former.name, former.until))
    }

    /// By which protocol it is known. By any but our own, its id is a stand-in and its record is empty.
    pub fn protocol(&self) -> Protocol {
        self.table.cold(self.slot).protocol
    }

    /// Whether it is present, expired or left.
    pub fn state(&self) -> State {
        self.table.hot(self.slot).presence.state()
    }

    /// Where its last message came from.
    pub fn source(&self) -> SocketAddr {
        self.table.hot(self.slot).source.address()
    }

    /// When its last message came.
    pub fn last_seen(&self) -> Timestamp {
        self.table.seen.entry(self.slot).last_seen
    }

    /// When its first record came.
    pub fn first_seen(&self) -> Timestamp {
        self.table.cold(self.slot).first_seen
    }

    /// When it expired or left; `None` while it is present.
    pub fn ended(&self) -> Option<Timestamp> {
        (!self.table.is_present(self.slot)).then(|| self.table.cold(self.slot).ended_at)
    }

    /// The lease granted.
    pub fn lease(&self) -> Lease {
        self.table.hot(self.slot).lease
    }

    /// How long the lease still runs; zero if it does not.
    pub fn remaining(&self, now: Now) -> Duration {
        let left = self
            .table
            .hot(self.slot)
            .expires
            .saturating_sub(now_ms(now));
        Duration::from_millis(if self.table.is_present(self.slot) {
            u64::try_from(left).unwrap_or(0)
        } else {
            0
        })
    }

    /// The channel key that sealed its last register.
    pub fn key(&self) -> KeyId {
        self.table.cold(self.slot).key
    }

    /// The epoch and sequence number of its last message.
    pub fn order(&self) -> (u64, u64) {
        let hot = self.table.hot(self.slot);
        (hot.epoch, hot.sequence)
    }

    /// Its newest full record. Decoded at each call.
    #[expect(clippy::expect_used, reason = "the table encoded these bytes itself")]
    pub fn record(&self) -> Record {
        let cold = self.table.cold(self.slot);
        row::decode_detail(cold.signed.detail(), cold.name.clone())
            .expect("a record that the table encoded decodes")
    }

    /// The same as its node signed it.
    pub fn signed(&self) -> SignedRecord {
        self.table.cold(self.slot).signed.signed(self.id())
    }

    /// What the server saw of it.
    pub fn sighting(&self) -> Sighting {
        Sighting {
            source: self.source(),
            last_seen: self.last_seen(),
            state: self.state(),
        }
    }

    /// The other machine, if two use this node id.
    pub fn clone_sighting(&self) -> Option<CloneSighting> {
        let clone_sighting = self.table.cold(self.slot).clone_sighting.as_ref()?;
        Some(CloneSighting {
            source: self.source(),
            refused: clone_sighting.source,
            since: clone_sighting.since,
        })
    }

    /// Its addresses over time, oldest first.
    pub fn history(&self) -> impl ExactSizeIterator<Item = Interval> + use<'a> {
        self.table
            .cold(self.slot)
            .history
            .iter()
            .map(|span| span.interval())
    }
}

impl std::fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRef")
            .field("name", self.name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn node(&self, slot: u32) -> NodeRef<'_> {
        NodeRef { table: self, slot }
    }

    /// A node by its id.
    pub fn by_id(&self, node: &NodeId) -> Option<NodeRef<'_>> {
        Some(self.node(self.slot_of(node)?))
    }

    /// A node by its name: who holds it, else who had it last.
    pub fn by_name(&self, name: &NodeName) -> Option<NodeRef<'_>> {
        match self.names.get(name) {
            Some(slot) => Some(self.node(*slot)),
            None => self
                .had_by(name)
                .take(HOLDERS_EXAMINED)
                .max_by_key(NodeRef::last_seen),
        }
    }

    /// The best holder of an address: who proves who it is before hearsay; of those that announce it, else of those seen with
    /// it, who is present, else who was seen last. Among more than a thousand, the best of the first thousand.
    pub fn holder(&self, ip: IpAddr) -> Option<NodeRef<'_>> {
        let rank = |(seen, node): &(Seen, NodeRef<'_>)| {
            let cold = self.cold(node.slot);
            let holds = cold
                .history
                .iter()
                .any(|span| span.is_open() && span.is(packed(ip.to_canonical()), *seen));
            let ended = cold
                .history
                .iter()
                .filter(|span| span.is(packed(ip.to_canonical()), *seen))
                .map(|s| s.to());
            let last = ended.map(|to| to.unwrap_or(Timestamp(u64::MAX))).max();
            (
                holds,
                node.protocol().is_authenticated(),
                *seen == Seen::Announced,
                last,
                node.last_seen(),
            )
        };
        let announced = self.listed(ip, Seen::Announced).take(HOLDERS_EXAMINED);
        let observed = self.listed(ip, Seen::Observed).take(HOLDERS_EXAMINED);
        announced
            .chain(observed)
            .max_by_key(rank)
            .map(|(_, node)| node)
    }

    /// Everybody who has, or at `at` had, an address, with the interval that says so.
    pub fn holders(
        &self,
        ip: IpAddr,
        at: Option<Timestamp>,
    ) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        let wanted = packed(ip.to_canonical());
        self.listed(ip, Seen::Announced)
            .chain(self.listed(ip, Seen::Observed))
            .flat_map(move |(seen, node)| {
                let spans = self
                    .cold(node.slot)
                    .history
                    .iter()
                    .filter(move |span| span.is(wanted, seen));
                spans
                    .filter(move |span| at.map_or(span.is_open(), |at| span.covers(at)))
                    .map(move |span| (node, span.interval()))
            })
    }

    /// Where the nodes that hold, or had, a name were at a time; who had the name counts until it took another.
    pub fn at(
        &self,
        name: &NodeName,
        at: Timestamp,
    ) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        self.named(name).flat_map(move |(node, until)| {
            let spans = self.cold(node.slot).history.iter();
            spans
                .filter(move |span| span.covers(at) && until.is_none_or(|until| at <= until))
                .map(move |span| (node, span.interval()))
        })
    }

    /// Every interval of the nodes that hold, or had, a name, oldest first within a node.
    pub fn history(&self, name: &NodeName) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        self.named(name)
            .flat_map(|(node, _)| node.history().map(move |interval| (node, interval)))
    }

    /// Nodes in the order of their names, after a name: give the last name of one call to the next.
    ///
    /// A node whose name another took over is not listed; [`Self::history`] finds it.
    pub fn nodes(
        &self,
        filter: Filter,
        after: Option<&NodeName>,
    ) -> impl Iterator<Item = NodeRef<'_>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.names.range::<NodeName, _>((from, Bound::Unbounded));
        names
            .filter(move |(name, slot)| {
                filter.takes(self.is_present(**slot)) && self.cold(**slot).name == **name
            })
            .map(|(_, slot)| self.node(*slot))
    }

    /// Nodes whose id is used by two machines.
    ///
    /// Walks over all nodes: for a person who asks, not for a timer.
    pub fn clone_sightings(&self) -> impl Iterator<Item = (NodeRef<'_>, CloneSighting)> {
        self.nodes(Filter::ALL, None)
            .filter_map(|node| Some((node, node.clone_sighting()?)))
    }

    /// Nodes that hold or had a name, with the time they took another.
    fn named(&self, name: &NodeName) -> impl Iterator<Item = (NodeRef<'_>, Option<Timestamp>)> {
        let holder = self.names.get(name).copied();
        let holds = holder.into_iter().map(|slot| self.node(slot));
        let had = self
            .had_by(name)
            .filter(move |node| Some(node.slot) != holder);
        let wanted = name.clone();
        had.chain(holds).map(move |node| {
            let until = node
                .former_names()
                .find(|(former, _)| **former == wanted)
                .map(|(_, until)| until);
            (node, until)
        })
    }

    fn had_by(&self, name: &NodeName) -> impl Iterator<Item = NodeRef<'_>> {
        let range = (name.clone(), 0)..=(name.clone(), u32::MAX);
        self.had.range(range).map(|(_, slot)| self.node(*slot))
    }

    fn listed(&self, ip: IpAddr, seen: Seen) -> impl Iterator<Item = (Seen, NodeRef<'_>)> {
        let ip = packed(ip.to_canonical());
        let range = AddressKey::new(ip, seen, 0)..=AddressKey::new(ip, seen, u32::MAX);
        self.addresses
            .range(range)
            .map(move |key| (seen, self.node(key.slot())))
    }
}
