//! Where a node is, or was: its addresses in the order in which this machine reaches them best.
//! Pure.
//!
//! A node's record or its intervals go in, with an [`AddressSelector`] for this machine; a
//! [`Location`] comes out, which is also the JSON shape of `where`.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::api::view::{AddressView, Evidence, HistoryView, NodeView};
use crate::model::{InterfaceName, NodeId, NodeName, Origin, Protocol, Scope, State, Timestamp};
use crate::net::rank::{AddressSelector, Links, Reach};

/// Where a node is, or was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Location {
    pub(super) name: NodeName,
    pub(super) node_id: NodeId,
    /// By which protocol it is known; null for a time in the past.
    pub(super) protocol: Option<Protocol>,
    /// Null for a time in the past.
    pub(super) state: Option<State>,
    /// The time in question; null for now.
    pub(super) at: Option<Timestamp>,
    /// Null for a time in the past.
    pub(super) last_seen: Option<Timestamp>,
    /// Best first.
    pub(super) addresses: Vec<Place>,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    /// The interface of this machine through which a link-local IPv6 address is reached; null for
    /// others, and if it is unknown.
    pub(super) zone: Option<InterfaceName>,
    /// The node's interface that holds it.
    pub(super) interface: Option<InterfaceName>,
    pub(super) scope: Scope,
    pub(super) origin: Option<Origin>,
    /// Whether the node announces it.
    pub(super) announced: bool,
    /// Whether a server received the node's messages from it.
    pub(super) seen: bool,
    /// Whether it is on a network of this machine.
    pub(super) same_subnet: bool,
    /// Whether the node only probably had it at the time in question; false for now.
    pub(super) probable: bool,
}

/// The address as programs accept it, with its zone (RFC 4007 §11).
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Where a node is now.
pub(super) fn now(node: &NodeView, selector: &AddressSelector) -> Location {
    let source = node.source.map(|source| source.ip().to_canonical());
    let held = node
        .addresses
        .iter()
        .map(|address| (address.address, address.interface));
    let links = selector.links(held, node.source);
    let mut addresses = Vec::new();
    for AddressView {
        address,
        interface,
        scope,
        origin,
    } in &node.addresses
    {
        addresses.push(Place {
            address: *address,
            zone: links.zone(*address, *interface),
            interface: *interface,
            scope: *scope,
            origin: Some(*origin),
            announced: true,
            seen: source == Some(*address),
            same_subnet: selector.shares_subnet(*address),
            probable: false,
        });
    }
    if let Some(source) = source
        && addresses.iter().all(|place| place.address != source)
    {
        addresses.push(observed(source, selector, &links));
    }
    Location {
        name: node.name.clone(),
        node_id: node.node_id,
        protocol: Some(node.protocol),
        state: Some(node.state),
        at: None,
        last_seen: Some(node.last_seen),
        addresses: best_first(addresses, selector),
    }
}

/// Where a node was: the intervals of one time. An announced and an observed interval of one
/// address become one place.
pub(super) fn at(
    intervals: &[HistoryView],
    at: Timestamp,
    selector: &AddressSelector,
) -> Option<Location> {
    let first = intervals.first()?;
    let mut addresses: Vec<Place> = Vec::new();
    for interval in intervals {
        let index = addresses
            .iter()
            .position(|place| place.address == interval.address)
            .unwrap_or_else(|| {
                addresses.push(Place {
                    seen: false,
                    probable: true,
                    ..observed(interval.address, selector, &Links::default())
                });
                addresses.len() - 1
            });
        addresses[index].probable &= interval.is_probable(at);
        match interval.evidence {
            Evidence::Announced => addresses[index].announced = true,
            Evidence::Observed => addresses[index].seen = true,
        }
    }
    Some(Location {
        name: first.name.clone(),
        node_id: first.node_id,
        protocol: None,
        state: None,
        at: Some(at),
        last_seen: None,
        addresses: best_first(addresses, selector),
    })
}

fn observed(address: IpAddr, selector: &AddressSelector, links: &Links) -> Place {
    Place {
        address,
        zone: links.zone(address, None),
        interface: None,
        scope: Scope::of(address),
        origin: None,
        announced: false,
        seen: true,
        same_subnet: selector.shares_subnet(address),
        probable: false,
    }
}

/// An address that the node announces goes before one that a server observed, which may be of a
/// router in between. An address that this machine can't use as it is printed goes after all
/// others.
fn best_first(mut addresses: Vec<Place>, selector: &AddressSelector) -> Vec<Place> {
    addresses.sort_by_key(|place| {
        let rank = selector.rank(place.address, place.zone);
        (rank.reach() >= Reach::UnknownLink, !place.announced, rank)
    });
    addresses
}

#[cfg(test)]
mod tests;
