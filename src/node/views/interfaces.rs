//! The interfaces, their group memberships, and the sockets of groups.

use std::net::{IpAddr, SocketAddr};

use crate::api::view::{GroupView, InterfaceView, SocketView};
use crate::net::{Decision, Family, FamilyStatus, Fanout, GroupStatus, Interface, Policy, Sockets};

/// Every interface, with the rule that decides whether it is used.
pub(in crate::node) fn interfaces(
    interfaces: &[Interface],
    policy: &Policy,
    fanout: &Fanout,
) -> Vec<InterfaceView> {
    let statuses = fanout.status();
    let views = interfaces.iter().map(|interface| {
        let (used, rule) = match policy.decide(interface) {
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
                (&status.ipv4, fanout.group(Family::Ipv4)),
                (&status.ipv6, fanout.group(Family::Ipv6)),
            ]
            .into_iter()
            .filter_map(|(family, group)| membership(family, group))
            .collect()
        });
        InterfaceView {
            name: interface.name,
            index: interface.index,
            used,
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

fn membership(family: &FamilyStatus, group: IpAddr) -> Option<GroupView> {
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

/// The sockets that receive multicast and broadcast on ports other than the node's own.
pub(in crate::node) fn group_sockets(
    interfaces: &[Interface],
    sockets: &Sockets,
) -> Vec<SocketView> {
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
        };
        SocketView {
            purpose: purpose.to_owned(),
            address,
            interface,
        }
    };
    sockets.group_addresses().into_iter().map(view).collect()
}
