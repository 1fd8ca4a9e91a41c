//! The targets of one message to all nodes. Pure, except that it reads which sockets exist.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use super::{Family, FanoutSettings, Interface, InterfaceAddress, Sockets, Source};
use crate::model::{InterfaceName, Scope};

/// The maximum number of targets of one method: 64 interfaces with two targets each.
const MAX_TARGETS: usize = 128;

/// The ways to reach all nodes of a network at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FanoutMethod {
    /// By the groups of both families.
    Multicast,
    /// By IPv4 broadcast.
    Broadcast,
}

/// The destination and source of one datagram of a message to all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    pub to: SocketAddr,
    /// The interface's own address, and its index.
    pub source: Source,
    pub interface: InterfaceName,
    pub family: Family,
}

/// One target for each interface that supports multicast, and each family that has a socket.
pub(super) fn multicast(
    settings: &FanoutSettings,
    used: &[Interface],
    sockets: &Sockets,
) -> Vec<Target> {
    let mut targets = Vec::new();
    for interface in used.iter().filter(|interface| interface.multicast) {
        for family in [Family::Ipv4, Family::Ipv6] {
            if sockets.family(family).is_none() {
                continue;
            }
            let Some(source) = multicast_source(interface, family) else {
                continue;
            };
            let to = match settings.group(family) {
                IpAddr::V4(group) => (group, settings.port).into(),
                IpAddr::V6(group) => {
                    SocketAddrV6::new(group, settings.port, 0, interface.index).into()
                }
            };
            let source = Source {
                ip: source,
                interface: interface.index,
            };
            targets.push(Target {
                to,
                source,
                interface: interface.name,
                family,
            });
        }
    }
    targets.truncate(MAX_TARGETS);
    targets
}

/// IPv4: the first address, preferably one that is not link-local. IPv6: the link-local address,
/// because the group has that scope; without one, any other address.
fn multicast_source(interface: &Interface, family: Family) -> Option<IpAddr> {
    let mut of_family: Vec<&InterfaceAddress> = interface
        .addresses
        .iter()
        .filter(|address| Family::of(address.ip) == family)
        .collect();
    of_family.sort_by_key(|address| {
        (
            address.deprecated,
            address.link_local() == (family == Family::Ipv4),
        )
    });
    of_family.first().map(|address| address.ip)
}

/// For each IPv4 network of an interface, its broadcast address and 255.255.255.255, from the
/// address in that network.
///
/// Point-to-point links have no broadcast. The loopback interface, if it is used, has only that of
/// 127.0.0.0/8.
pub fn broadcast_targets(port: u16, used: &[Interface], sockets: &Sockets) -> Vec<Target> {
    if sockets.family(Family::Ipv4).is_none() {
        return Vec::new();
    }
    let mut targets = Vec::new();
    let mut networks = HashSet::new();
    for interface in used
        .iter()
        .filter(|interface| interface.broadcast || interface.loopback)
    {
        for address in &interface.addresses {
            if interface.loopback && Scope::of(address.ip) != Scope::Loopback {
                continue;
            }
            let Some(directed) = address.directed_broadcast() else {
                continue;
            };
            if !networks.insert((interface.index, directed)) {
                continue;
            }
            let limited = (!interface.loopback && directed != Ipv4Addr::BROADCAST)
                .then_some(Ipv4Addr::BROADCAST);
            for to in [Some(directed), limited].into_iter().flatten() {
                let source = Source {
                    ip: address.ip,
                    interface: interface.index,
                };
                let to = (to, port).into();
                targets.push(Target {
                    to,
                    source,
                    interface: interface.name,
                    family: Family::Ipv4,
                });
            }
        }
    }
    targets.truncate(MAX_TARGETS);
    targets
}
