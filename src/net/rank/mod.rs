//! Which of a node's addresses suits the asker best, and by which of his interfaces a link-local one is reached. Pure, but
//! for reading [`PolicyTable::of_this_machine`].
//!
//! This is destination address selection (RFC 6724 §6), with two liberties. An address on a network of the asker goes before
//! all others, and link-local ones go after those that have a way, as many programs can't take a zone: that is rule 8 turned
//! round. Rule 9 (longest common prefix) gives way to the node's own order, as §6 allows: the node puts lasting addresses
//! before temporary ones, which no prefix tells.

mod table;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub(super) use table::PolicyTable;
use table::same_prefix;

use crate::model::{InterfaceName, Scope};
use crate::net::{Interface, InterfaceAddress};

/// The asker: its interfaces, and what it prefers.
#[derive(Debug, Clone, Default)]
pub(super) struct Requester {
    interfaces: Vec<Interface>,
    policy: PolicyTable,
}

/// How well an address suits the asker: the lesser, the better. Alike ones keep the node's own order (rule 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit {
    /// Rules 1, 2 and 8.
    reach: Reach,
    /// Rule 3: the asker would use a deprecated address.
    deprecated: bool,
    /// Rule 5: the asker's address belongs to others.
    foreign: bool,
    /// Rule 6.
    precedence: Reverse<u32>,
    /// What a router translates goes after what needs none. RFC 6724 takes private IPv4 for global (§3.2).
    private: bool,
}

/// How an address is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// It is on a network of the asker.
    Subnet,
    /// The asker has an address to reach it from.
    Routed,
    /// It is link-local, on a link of the asker that is known.
    Link,
    /// The asker has no address of its family.
    NoSource,
    /// It is link-local, on who knows which link.
    OtherLink,
    /// It is the node to itself.
    Loopback,
}

impl Merit {
    /// How the address is reached.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }
}

impl Requester {
    /// An asker with these interfaces; what is down, or can't be used, doesn't count.
    pub(super) fn new(mut interfaces: Vec<Interface>, policy: PolicyTable) -> Self {
        interfaces.retain(|interface| interface.up);
        interfaces
            .iter_mut()
            .for_each(|interface| interface.addresses.retain(InterfaceAddress::usable));
        Self { interfaces, policy }
    }

    /// Whether the address is on a network of the asker.
    pub(super) fn shares_subnet(&self, ip: IpAddr) -> bool {
        self.neighbour_by(ip).next().is_some()
    }

    /// The interfaces of the asker that the address is on a network of.
    ///
    /// The asker's own addresses don't count: on another node they are of another network that looks the same, such as a
    /// container bridge. Nor do link-local and loopback ones, which look the same on every network.
    fn neighbour_by(&self, ip: IpAddr) -> impl Iterator<Item = InterfaceName> {
        let counts = matches!(Scope::of(ip), Scope::Private | Scope::Global)
            && self.own().all(|own| own.ip != ip);
        let near = move |interface: &&Interface| {
            let own = &interface.addresses;
            counts && own.iter().any(|own| same_prefix(own.ip, ip, own.prefix))
        };
        self.interfaces
            .iter()
            .filter(near)
            .map(|interface| interface.name)
    }

    fn own(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
    }

    /// How well an address suits; `zone` is the asker's interface that a link-local one is reached by, where that is known.
    pub(super) fn merit(&self, ip: IpAddr, zone: Option<InterfaceName>) -> Merit {
        let scope = Scope::of(ip);
        let routed = |scope| matches!(scope, Scope::Private | Scope::Global);
        let sources = || {
            let alike = move |own: &Scope| {
                if routed(scope) {
                    routed(*own)
                } else {
                    *own == scope
                }
            };
            self.own()
                .filter(move |own| own.ip.is_ipv4() == ip.is_ipv4() && alike(&Scope::of(own.ip)))
        };
        let reach = match scope {
            Scope::Loopback => Reach::Loopback,
            // There are no zones of IPv4: its link-local network is where the asker has an address of it.
            Scope::Link if zone.is_some() || (ip.is_ipv4() && sources().next().is_some()) => {
                Reach::Link
            }
            Scope::Link => Reach::OtherLink,
            Scope::Private | Scope::Global if self.shares_subnet(ip) => Reach::Subnet,
            Scope::Private | Scope::Global if sources().next().is_some() => Reach::Routed,
            Scope::Private | Scope::Global => Reach::NoSource,
        };
        // Source address selection (§5), as far as it matters here: what is not deprecated (rule 3), then what has the label
        // (rule 6).
        let deprecated = sources().next().is_some() && sources().all(|own| own.deprecated);
        let label = self.policy.label(ip);
        let mut chosen = sources().filter(|own| own.deprecated == deprecated);
        Merit {
            reach,
            deprecated,
            foreign: !chosen.any(|own| self.policy.label(own.ip) == label),
            precedence: Reverse(self.policy.precedence(ip)),
            private: scope == Scope::Private && reach != Reach::Subnet,
        }
    }

    /// By which interfaces of the asker a node's links are reached, as far as its addresses, each with the node's interface
    /// that holds it, and the source of its messages tell.
    pub(super) fn links(
        &self,
        addresses: impl Iterator<Item = (IpAddr, Option<InterfaceName>)> + Clone,
        source: Option<SocketAddr>,
    ) -> Links {
        let seen = source.and_then(|source| match source {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                let by = self
                    .interfaces
                    .iter()
                    .find(|interface| interface.index == v6.scope_id())?;
                Some((IpAddr::V6(*v6.ip()), by.name))
            }
            _ => None,
        });
        let mut by_interface = BTreeMap::new();
        for (ip, interface) in addresses.clone() {
            let Some(interface) = interface else { continue };
            for by in self.neighbour_by(ip) {
                // Two networks that look the same: which one it is can't be told.
                let same =
                    |known: &mut Option<InterfaceName>| *known = known.filter(|known| *known == by);
                by_interface
                    .entry(interface)
                    .and_modify(same)
                    .or_insert(Some(by));
            }
        }
        if let Some((seen, by)) = seen {
            let holds = addresses
                .filter(|(ip, _)| *ip == seen)
                .filter_map(|(_, interface)| interface);
            by_interface.extend(holds.map(|interface| (interface, Some(by))));
        }
        Links { seen, by_interface }
    }
}

/// By which of the asker's interfaces a node's links are reached.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The link-local address that messages came from, and the interface they came by.
    seen: Option<(IpAddr, InterfaceName)>,
    /// For interfaces of the node, that of the asker on the same link; none where two fit.
    by_interface: BTreeMap<InterfaceName, Option<InterfaceName>>,
}

impl Links {
    /// The zone that the asker needs for an address (RFC 4007 §6): one of his interfaces, for link-local IPv6 alone.
    pub(super) fn zone(
        &self,
        ip: IpAddr,
        interface: Option<InterfaceName>,
    ) -> Option<InterfaceName> {
        if ip.is_ipv4() || Scope::of(ip) != Scope::Link {
            return None;
        }
        let seen = self.seen.filter(|(seen, _)| *seen == ip).map(|(_, by)| by);
        seen.or_else(|| self.by_interface.get(&interface?).copied().flatten())
    }
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
#[cfg(test)]
pub(super) use tests::interface;
