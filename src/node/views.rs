//! What the core knows, in the shapes that the control socket tells.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::core::Core;
use super::publishing::at_server;
use crate::api::view::{
    AddressView, CloneView, Counters, GroupView, HistoryView, HolderView, InterfaceView,
    MethodState, MethodView, NodeView, PublicationState, PublicationView, Seen, ServerView,
    SocketView,
};
use crate::compat::Compat;
use crate::discovery::{self, Server, explain_refusal};
use crate::model::{Now, Record, State};
use crate::net::{Decision, FamilyStatus, Fanout, GroupStatus, Interface, Policy, Sockets};
use crate::publish::mdns::Mdns;
use crate::publish::{Publication, Target, Wanted, plan};
use crate::registry::{self, Interval, NodeRef};
use crate::remote::SessionCounters;

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
        seen: seen(interval.seen),
        from: interval.from,
        to: interval.to,
    }
}

/// Who has or had an address.
pub(super) fn holder(holder: &NodeRef<'_>, interval: &Interval, now: Now) -> HolderView {
    HolderView {
        address: interval.ip,
        current: interval.to.is_none(),
        seen: Some(seen(interval.seen)),
        from: Some(interval.from),
        to: interval.to,
        node: node(holder, now),
    }
}

fn seen(seen: registry::Seen) -> Seen {
    match seen {
        registry::Seen::Announced => Seen::Announced,
        registry::Seen::Observed => Seen::Observed,
    }
}

/// The servers that a node registers with.
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

/// Each method in order, the configured servers as the last one.
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
                    0 => "browsed, and no server is announced on any taken interface".to_owned(),
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

/// Where the own record is made known, and whether it stands there.
pub(super) fn publications(
    core: &Core,
    registers: bool,
    mdns: &Mdns,
    compat: &Compat,
) -> Vec<PublicationView> {
    let own = core.engine().own();
    let wanted = Publication::from(own.record());
    let view = |server: &Server| {
        let changes = plan(
            &BTreeMap::from([(Target::Servers, at_server(server, own))]),
            &BTreeMap::from([(Target::Servers, Wanted::This(wanted.clone()))]),
        );
        let reason = server.refusal.as_ref().map(explain_refusal);
        let state = match (changes.is_empty(), &reason) {
            (_, Some(_)) => PublicationState::Failed,
            (true, None) => PublicationState::Published,
            (false, None) => PublicationState::Waiting,
        };
        let addresses = if state == PublicationState::Published {
            wanted.ips().collect()
        } else {
            Vec::new()
        };
        let (target, name) = (Target::Servers.to_string(), server.name.to_string());
        PublicationView {
            target,
            name,
            interface: None,
            state,
            addresses,
            reason,
        }
    };
    let mut views: Vec<_> = core
        .engine()
        .servers()
        .iter()
        .filter(|_| registers)
        .map(view)
        .collect();
    views.extend(mdns.publications().into_iter().map(|link| PublicationView {
        target: link.target.to_string(),
        name: link.name,
        interface: Some(link.interface),
        state: link.state,
        addresses: link.addresses,
        reason: link.reason,
    }));
    views.extend(compat.publications());
    views
}

/// Every interface with the rule that decided.
pub(super) fn interfaces(
    interfaces: &[Interface],
    policy: &Policy,
    fanout: &Fanout,
) -> Vec<InterfaceView> {
    let statuses = fanout.status();
    let views = interfaces.iter().map(|interface| {
        let (taken, rule) = match policy.decide(interface) {
            Decision::Used { rule } => (true, rule),
            Decision::Unused { rule } => (false, rule),
        };
        let status = statuses
            .iter()
            .find(|status| status.index == interface.index);
        let families = status
            .into_iter()
            .flat_map(|status| [&status.ipv4, &status.ipv6]);
        let groups = status.map_or_else(Vec::new, |status| {
            [
                (&status.ipv4, fanout.group(crate::net::Family::Ipv4)),
                (&status.ipv6, fanout.group(crate::net::Family::Ipv6)),
            ]
            .into_iter()
            .filter_map(|(family, group)| membership(family, group))
            .collect()
        });
        InterfaceView {
            name: interface.name,
            index: interface.index,
            taken,
            rule: rule.to_string(),
            addresses: interface
                .addresses
                .iter()
                .map(|address| address.ip)
                .collect(),
            groups,
            error: families
                .filter_map(|family| family.last_error.clone())
                .next(),
        }
    });
    views.collect()
}

fn membership(family: &FamilyStatus, group: std::net::IpAddr) -> Option<GroupView> {
    match &family.group {
        GroupStatus::None => None,
        GroupStatus::Joined => Some(GroupView {
            group,
            joined: true,
            error: None,
        }),
        GroupStatus::Failed(error) => Some(GroupView {
            group,
            joined: false,
            error: Some(error.clone()),
        }),
    }
}

/// The sockets that hear groups and broadcasts on ports that are not the node's own.
pub(super) fn group_sockets(interfaces: &[Interface], sockets: &Sockets) -> Vec<SocketView> {
    let view = |address: SocketAddr| {
        let scope = match address {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let interface = interfaces
            .iter()
            .find(|interface| interface.index == scope)
            .map(|interface| interface.name);
        let purpose = if address.ip().is_multicast() {
            "multicast"
        } else {
            "broadcast"
        }
        .to_owned();
        SocketView {
            purpose,
            address,
            interface,
        }
    };
    sockets.group_addresses().into_iter().map(view).collect()
}

/// Node ids that two machines use.
pub(super) fn clones(core: &Core) -> Vec<CloneView> {
    let Some(table) = core.table() else {
        return Vec::new();
    };
    let views = table
        .clone_sightings()
        .map(|(node, clone_sighting)| CloneView {
            node_id: node.id(),
            name: node.name().clone(),
            sources: vec![clone_sighting.source, clone_sighting.refused],
            last_time: clone_sighting.since,
        });
    views.collect()
}

/// All counters, in groups.
pub(super) fn counters(core: &Core, mdns: &Mdns, sessions: &SessionCounters) -> Counters {
    let mut groups = Counters::new();
    for (name, count) in sessions.all() {
        groups
            .entry("sessions".to_owned())
            .or_default()
            .insert(name.to_owned(), count);
    }
    for (name, count) in core.counters().all() {
        let (group, name) = name.split_once('.').unwrap_or(("datagrams", name.as_str()));
        groups
            .entry(group.to_owned())
            .or_default()
            .insert(name.to_owned(), count);
    }
    if mdns.floods() > 0 {
        groups
            .entry("mdns".to_owned())
            .or_default()
            .insert("floods".to_owned(), mdns.floods());
    }
    if let Some(table) = core.table() {
        let registry::Counters {
            name_conflicts,
            clones,
            outdated,
            full,
            evicted,
            intervals_dropped,
            names_dropped,
            expired,
            registered,
            renewed,
            load_conflicts,
            unverified_taken,
            unverified_owned,
            unverified_full,
        } = table.counters();
        let counts = [
            ("name_conflicts", name_conflicts),
            ("clones", clones),
            ("outdated", outdated),
            ("full", full),
            ("evicted", evicted),
            ("intervals_dropped", intervals_dropped),
            ("names_dropped", names_dropped),
            ("expired", expired),
            ("registered", registered),
            ("renewed", renewed),
            ("load_conflicts", load_conflicts),
            ("unverified_taken", unverified_taken),
            ("unverified_owned", unverified_owned),
            ("unverified_full", unverified_full),
        ];
        let counts: BTreeMap<_, _> = counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        if !counts.is_empty() {
            groups.insert("registry".to_owned(), counts);
        }
    }
    groups
}
