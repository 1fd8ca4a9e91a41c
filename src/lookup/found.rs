//! The content of answers, in the shapes that commands print.

use std::net::{IpAddr, SocketAddr};

use super::exchange::Context;
use crate::api::view::{AddressView, FoundView, HolderView, NodeView};
use crate::model::{Labels, Method, NodeId, NodeName, Protocol, Record, Role, State, Timestamp};
use crate::wire::stand_in::stand_in;
use crate::wire::v1::{Sighting, SignedRecord};

/// A node that was found.
#[derive(Debug, Clone)]
pub(crate) struct FoundNode {
    pub(crate) node: NodeView,
    /// Whether the node itself answered.
    pub(crate) itself: bool,
}

impl FoundNode {
    /// The node as the holder of an address, now or in the past.
    pub(crate) fn holder(&self, address: IpAddr) -> HolderView {
        let announced = self
            .node
            .addresses
            .iter()
            .any(|known| known.address == address);
        let observed = self
            .node
            .source
            .is_some_and(|source| source.ip() == address);
        HolderView {
            address,
            current: self.node.state == State::Present && (announced || observed),
            evidence: None,
            from: None,
            to: None,
            lost_by: None,
            probable: false,
            node: self.node.clone(),
        }
    }
}

pub(super) fn found_view(
    node: NodeId,
    record: Record,
    info: Labels,
    source: SocketAddr,
    seen: SocketAddr,
    context: &Context<'_>,
) -> FoundView {
    // The query goes out by all methods at once, so the method that led to an answer can't be determined more exactly.
    let method = if context.unicast.contains(&source) {
        Method::Unicast
    } else if context.candidates.contains(&source) {
        Method::Mdns
    } else {
        context.methods.first().copied().unwrap_or(Method::Unicast)
    };
    FoundView {
        name: record.name,
        node_id: node,
        role: record.role,
        source,
        addresses: record.addresses.iter().map(AddressView::from).collect(),
        port: record.port,
        labels: record.labels,
        info,
        seen,
        method: method.to_string(),
        after_ms: u64::try_from(context.after.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A name that a server knows by a legacy protocol.
pub(super) fn unverified_node(
    name: &NodeName,
    protocol: Protocol,
    sighting: &Sighting,
) -> FoundNode {
    let node = NodeView {
        name: name.clone(),
        node_id: stand_in(name),
        state: sighting.state,
        role: Role::Client,
        addresses: Vec::new(),
        port: 0,
        source: Some(sighting.source),
        labels: Labels::default(),
        first_seen: None,
        last_seen: sighting.last_seen,
        lease_seconds: 0,
        expires_in_seconds: None,
        protocol,
        key: None,
        epoch: 0,
        cloned: false,
        former_names: Vec::new(),
        files: Vec::new(),
    };
    FoundNode {
        node,
        itself: false,
    }
}

/// A node of the channel: `sighting` is what a server says of it, and absent where the node itself answered.
pub(super) fn found_node(
    signed: &SignedRecord,
    record: Record,
    sighting: Option<&Sighting>,
    from: SocketAddr,
    now: Timestamp,
) -> FoundNode {
    let addresses = record.addresses.iter().map(AddressView::from).collect();
    let node = NodeView {
        name: record.name,
        node_id: signed.node,
        state: sighting.map_or(State::Present, |sighting| sighting.state),
        role: record.role,
        addresses,
        port: record.port,
        source: Some(sighting.map_or(from, |sighting| sighting.source)),
        labels: record.labels,
        first_seen: None,
        last_seen: sighting.map_or(now, |sighting| sighting.last_seen),
        lease_seconds: record.lease.0,
        expires_in_seconds: None,
        protocol: Protocol::Hereabouts,
        key: Some(signed.key.to_string()),
        epoch: record.epoch,
        cloned: false,
        former_names: Vec::new(),
        files: Vec::new(),
    };
    FoundNode {
        node,
        itself: sighting.is_none(),
    }
}
