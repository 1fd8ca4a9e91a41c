//! Look-ups by id, name and address, and listings.

use std::net::IpAddr;
use std::ops::Bound;

use super::history::AddressKey;
use super::hot::packed;
use super::{CloneSighting, NodeRef, Table};
use crate::model::{Evidence, NodeId, NodeName, Timestamp};
use crate::registry::row::Interval;

/// The maximum number of nodes that are compared for the best holder of one address: a million
/// machines behind one router have one source address.
const MAX_HOLDERS_COMPARED: usize = 1024;

/// The nodes that a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    pub present: bool,
    /// Nodes that expired or left.
    pub absent: bool,
}

impl Filter {
    pub const ALL: Self = Self {
        present: true,
        absent: true,
    };

    fn includes(self, present: bool) -> bool {
        if present { self.present } else { self.absent }
    }
}

impl Table {
    pub(super) fn node(&self, slot: u32) -> NodeRef<'_> {
        NodeRef { table: self, slot }
    }

    pub fn by_id(&self, node: &NodeId) -> Option<NodeRef<'_>> {
        Some(self.node(self.slot_of(node)?))
    }

    /// Finds a node by its name: the holder, or else the node that had the name last.
    pub fn by_name(&self, name: &NodeName) -> Option<NodeRef<'_>> {
        match self.names.get(name) {
            Some(slot) => Some(self.node(*slot)),
            None => self
                .formerly_named(name)
                .take(MAX_HOLDERS_COMPARED)
                .max_by_key(NodeRef::last_seen),
        }
    }

    /// Finds the best holder of an address. In this order: a node that has it now, an authenticated
    /// node, a node that announces it rather than one whose datagrams come from it, the one that
    /// had it last, the one seen last. With more than a thousand nodes, the best of the first
    /// thousand.
    pub fn holder(&self, ip: IpAddr) -> Option<NodeRef<'_>> {
        let rank = |(seen, node): &(Evidence, NodeRef<'_>)| {
            let cold = self.cold(node.slot);
            let holds = cold
                .history
                .iter()
                .any(|span| span.is_open() && span.is(packed(ip.to_canonical()), *seen));
            let ended = cold
                .history
                .iter()
                .filter(|span| span.is(packed(ip.to_canonical()), *seen))
                .map(|span| span.to());
            let last = ended.map(|to| to.unwrap_or(Timestamp(u64::MAX))).max();
            (
                holds,
                node.protocol().is_authenticated(),
                *seen == Evidence::Announced,
                last,
                node.last_seen(),
            )
        };
        let announced = self
            .with_address(ip, Evidence::Announced)
            .take(MAX_HOLDERS_COMPARED);
        let observed = self
            .with_address(ip, Evidence::Observed)
            .take(MAX_HOLDERS_COMPARED);
        announced
            .chain(observed)
            .max_by_key(rank)
            .map(|(_, node)| node)
    }

    /// Finds all nodes that have an address, or may have had it at `at`, each with the interval.
    pub fn holders(
        &self,
        ip: IpAddr,
        at: Option<Timestamp>,
    ) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        let wanted = packed(ip.to_canonical());
        self.with_address(ip, Evidence::Announced)
            .chain(self.with_address(ip, Evidence::Observed))
            .flat_map(move |(seen, node)| {
                let spans = self
                    .cold(node.slot)
                    .history
                    .iter()
                    .filter(move |span| span.is(wanted, seen));
                spans
                    .map(|span| span.interval())
                    .filter(move |interval| {
                        at.map_or(interval.to.is_none(), |at| interval.may_cover(at))
                    })
                    .map(move |interval| (node, interval))
            })
    }

    /// Finds the addresses that all nodes that hold or had a name may have had at a time. A node that took another
    /// name since counts until then.
    pub fn at(
        &self,
        name: &NodeName,
        at: Timestamp,
    ) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        self.named(name).flat_map(move |(node, until)| {
            let spans = self.cold(node.slot).history.iter();
            spans
                .map(|span| span.interval())
                .filter(move |interval| {
                    interval.may_cover(at) && until.is_none_or(|until| at <= until)
                })
                .map(move |interval| (node, interval))
        })
    }

    /// Every interval of the nodes that hold, or had, a name, oldest first within a node.
    pub fn history(&self, name: &NodeName) -> impl Iterator<Item = (NodeRef<'_>, Interval)> {
        self.named(name)
            .flat_map(|(node, _)| node.history().map(move |interval| (node, interval)))
    }

    /// Lists nodes in the order of their names, after the name `after`, which is the last one of
    /// the call before.
    ///
    /// A node whose name another node took over is not listed; [`Self::history`] finds it.
    pub fn nodes(
        &self,
        filter: Filter,
        after: Option<&NodeName>,
    ) -> impl Iterator<Item = NodeRef<'_>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.names.range::<NodeName, _>((from, Bound::Unbounded));
        names
            .filter(move |(name, slot)| {
                filter.includes(self.is_present(**slot)) && self.cold(**slot).name == **name
            })
            .map(|(_, slot)| self.node(*slot))
    }

    /// Lists nodes whose id is used by two machines.
    ///
    /// It walks over all nodes, so it is for a person's request and not for a timer.
    pub fn clone_sightings(&self) -> impl Iterator<Item = (NodeRef<'_>, CloneSighting)> {
        self.nodes(Filter::ALL, None)
            .filter_map(|node| Some((node, node.clone_sighting()?)))
    }

    /// Nodes that hold or had a name, with the time at which they took another one.
    fn named(&self, name: &NodeName) -> impl Iterator<Item = (NodeRef<'_>, Option<Timestamp>)> {
        let holder = self.names.get(name).copied();
        let holds = holder.into_iter().map(|slot| self.node(slot));
        let past_names = self
            .formerly_named(name)
            .filter(move |node| Some(node.slot) != holder);
        let wanted = name.clone();
        past_names.chain(holds).map(move |node| {
            let until = node
                .former_names()
                .find(|(former, _)| **former == wanted)
                .map(|(_, until)| until);
            (node, until)
        })
    }

    /// Nodes that had a name before.
    fn formerly_named(&self, name: &NodeName) -> impl Iterator<Item = NodeRef<'_>> {
        let range = (name.clone(), 0)..=(name.clone(), u32::MAX);
        self.past_names
            .range(range)
            .map(|(_, slot)| self.node(*slot))
    }

    /// Nodes that have or had an address.
    fn with_address(
        &self,
        ip: IpAddr,
        seen: Evidence,
    ) -> impl Iterator<Item = (Evidence, NodeRef<'_>)> {
        let ip = packed(ip.to_canonical());
        let range = AddressKey::new(ip, seen, 0)..=AddressKey::new(ip, seen, u32::MAX);
        self.addresses
            .range(range)
            .map(move |key| (seen, self.node(key.slot())))
    }
}
