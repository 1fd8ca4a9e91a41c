//! The knowledge of the core, in the shapes that the control socket and sessions show.

mod counters;
mod interfaces;
mod publications;

use super::core::Core;
use crate::api::view::{
    AddressView, CloneView, HistoryView, HolderView, MethodState, MethodView, NodeView, ServerView,
};
use crate::discovery::{self, Server, explain_refusal};
use crate::model::{Now, Record, State, Timestamp};
use crate::registry::{Interval, NodeRef};

pub(super) use counters::counters;
pub(super) use interfaces::{group_sockets, interfaces};
pub(super) use publications::publications;

/// A node of the registry.
pub(super) fn node(node: &NodeRef<'_>, now: Now) -> NodeView {
    let record = node.record();
    let present = node.state() == State::Present;
    NodeView {
        name: node.name().clone(),
        node_id: node.id(),
        state: node.state(),
        role: record.role,
        addresses: addresses(&record),
        port: record.port,
        source: Some(node.source()),
        labels: record.labels,
        first_seen: Some(node.first_seen()),
        last_seen: node.last_seen(),
        lease_seconds: node.lease().0,
        expires_in_seconds: present.then(|| node.remaining(now).as_secs()),
        protocol: node.protocol(),
        key: node
            .protocol()
            .is_authenticated()
            .then(|| node.key().to_string()),
        epoch: record.epoch,
        cloned: node.clone_sighting().is_some(),
        former_names: node.former_names().map(|(name, _)| name.clone()).collect(),
        files: Vec::new(),
    }
}

/// The addresses of a record, in its order.
pub(super) fn addresses(record: &Record) -> Vec<AddressView> {
    record.addresses.iter().map(AddressView::from).collect()
}

/// One interval of a node's history.
pub(super) fn history(node: &NodeRef<'_>, interval: &Interval) -> HistoryView {
    HistoryView {
        name: node.name().clone(),
        node_id: node.id(),
        address: interval.ip,
        evidence: interval.evidence,
        from: interval.from,
        to: interval.to,
        lost_by: interval.lost_by,
    }
}

/// The holder of an address, now or at a time of its history.
pub(super) fn holder(
    holder: &NodeRef<'_>,
    interval: &Interval,
    at: Option<Timestamp>,
    now: Now,
) -> HolderView {
    HolderView {
        address: interval.ip,
        current: interval.to.is_none(),
        evidence: Some(interval.evidence),
        from: Some(interval.from),
        to: interval.to,
        lost_by: interval.lost_by,
        probable: at.is_some_and(|at| !interval.covers(at)),
        node: node(holder, now),
    }
}

/// The servers that this node registers with.
pub(super) fn servers(core: &Core) -> Vec<ServerView> {
    core.engine().servers().iter().map(server).collect()
}

fn server(server: &Server) -> ServerView {
    let held = server.held.as_ref();
    ServerView {
        address: server.address,
        node_id: Some(server.id),
        name: Some(server.name.clone()),
        found_by: server.found_by.to_string(),
        lease_seconds: held.map(|held| held.lease.0),
        last_acknowledged: held.map(|held| held.acknowledged),
        seen: held.map(|held| held.seen),
        last_refusal: server.refusal.as_ref().map(explain_refusal),
    }
}

/// Each method in order; the configured servers are the last one.
pub(super) fn methods(
    core: &Core,
    now: Now,
    configured: &[String],
    failures: &[Option<String>],
) -> Vec<MethodView> {
    let mut views: Vec<_> = core.engine().methods(now).into_iter().map(method).collect();
    if !configured.is_empty() {
        let by_unicast = |server: &&Server| {
            server.found_by == discovery::Method::Unicast && server.held.is_some()
        };
        let servers = core.engine().servers().iter().filter(by_unicast).count();
        let failed: Vec<_> = failures.iter().flatten().cloned().collect();
        let (state, reason) = match (servers, failed.is_empty()) {
            (1.., true) => (MethodState::Found, None),
            (1.., false) => (MethodState::Found, Some(failed.join("; "))),
            (0, false) => (MethodState::Failed, Some(failed.join("; "))),
            (0, true) => (
                MethodState::Trying,
                Some(format!("no answer yet from {}", configured.join(", "))),
            ),
        };
        views.push(MethodView {
            method: discovery::Method::Unicast.to_string(),
            state,
            reason,
            servers,
        });
    }
    views
}

fn method(status: discovery::MethodStatus) -> MethodView {
    let discovery::MethodStatus {
        method,
        state,
        asked,
        candidates,
        failure,
    } = status;
    let times = if asked == 1 {
        "once".to_owned()
    } else {
        format!("{asked} times")
    };
    let (state, reason, servers) = match state {
        discovery::MethodState::Found(servers) => (MethodState::Found, failure, servers as usize),
        discovery::MethodState::Waiting => (
            MethodState::NotYet,
            Some("the methods before it still have time, or found a server".to_owned()),
            0,
        ),
        discovery::MethodState::Asking => (
            MethodState::Trying,
            failure.or(Some(format!("asked {times}"))),
            0,
        ),
        discovery::MethodState::Unanswered => {
            let reason = match failure {
                Some(failure) => format!("could not send: {failure}"),
                None if method == discovery::Method::Mdns => match candidates {
                    0 => "browsed, and no server is announced on any interface in use".to_owned(),
                    _ => {
                        format!(
                            "{candidates} addresses are announced; asked {times}, none is a server of this channel"
                        )
                    }
                },
                None => format!("asked {times}, no server of this channel answered"),
            };
            (MethodState::Failed, Some(reason), 0)
        }
    };
    MethodView {
        method: method.to_string(),
        state,
        reason,
        servers,
    }
}

/// Node ids that two machines use.
pub(super) fn clones(core: &Core) -> Vec<CloneView> {
    let Some(table) = core.table() else {
        return Vec::new();
    };
    let views = table.clone_sightings().map(|(node, sighting)| CloneView {
        node_id: node.id(),
        name: node.name().clone(),
        sources: vec![sighting.source, sighting.refused],
        last_time: sighting.since,
    });
    views.collect()
}
