//! Address selection: which of a node's addresses this machine reaches best, and through which of
//! its interfaces it reaches a link-local one.
//!
//! The interfaces of this machine and the addresses of a node go in; an order and zones come out.
//! Pure, except for [`PolicyTable::of_this_machine`], which reads a file. Nothing here asks the
//! kernel for a route.
//!
//! This is destination address selection (RFC 6724 §6), with two deviations. An address on a
//! network of this machine goes before all others, and link-local ones go after those that are
//! routed, because many programs can't use a zone: that reverses rule 8. The node's own order
//! replaces rule 9 (longest common prefix), as §6 allows: the node puts lasting addresses before
//! temporary ones, and no prefix shows which is which.

mod policy;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub use policy::PolicyTable;
use policy::same_prefix;

use super::{Interface, InterfaceAddress};
use crate::model::{InterfaceName, Scope};

/// This machine as it selects among the addresses of others: its interfaces, and its policy.
#[derive(Debug, Clone, Default)]
pub struct AddressSelector {
    interfaces: Vec<Interface>,
    policy: PolicyTable,
}

/// How well an address suits this machine: the lesser, the better. Equal ones keep the node's own
/// order (rule 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Rules 1, 2 and 8.
    reach: Reach,
    /// Rule 3: this machine would use a deprecated source address.
    deprecated: bool,
    /// Rule 5: no source address has the label of the address.
    label_differs: bool,
    /// Rule 6.
    precedence: Reverse<u32>,
    /// An address behind a router that translates goes after one that needs no translation. RFC
    /// 6724 treats private IPv4 as global (§3.2).
    private: bool,
}

/// How an address is reached, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It is on a network of this machine.
    Subnet,
    /// This machine has a source address for it.
    Routed,
    /// It is link-local, on a known link of this machine.
    Link,
    /// This machine has no address of its family.
    NoSource,
    /// It is link-local, on an unknown link.
    UnknownLink,
    /// Only the node itself reaches it.
    Loopback,
}

impl Rank {
    /// How the address is reached.
    pub fn reach(&self) -> Reach {
        self.reach
    }
}

impl AddressSelector {
    /// A selector for a machine with these interfaces. An interface that is down and an address
    /// that is not usable do not count.
    pub fn new(mut interfaces: Vec<Interface>, policy: PolicyTable) -> Self {
        interfaces.retain(|interface| interface.up);
        for interface in &mut interfaces {
            interface.addresses.retain(InterfaceAddress::usable);
        }
        Self { interfaces, policy }
    }

    /// Whether the address is on a network of this machine.
    pub fn shares_subnet(&self, ip: IpAddr) -> bool {
        self.interfaces_on_subnet(ip).next().is_some()
    }

    /// The interfaces of this machine that are on the network of the address.
    ///
    /// The addresses of this machine itself do not count: another node that has the same address is
    /// on another network that looks the same, such as a container bridge. Link-local and loopback
    /// addresses do not count either, because they look the same on every network.
    fn interfaces_on_subnet(&self, ip: IpAddr) -> impl Iterator<Item = InterfaceName> {
        let counts = matches!(Scope::of(ip), Scope::Private | Scope::Global)
            && self.own_addresses().all(|own| own.ip != ip);
        let on_subnet = move |interface: &&Interface| {
            let addresses = &interface.addresses;
            counts
                && addresses
                    .iter()
                    .any(|own| same_prefix(own.ip, ip, own.prefix))
        };
        self.interfaces
            .iter()
            .filter(on_subnet)
            .map(|interface| interface.name)
    }

    fn own_addresses(&self) -> impl Iterator<Item = &InterfaceAddress> + Clone {
        self.interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
    }

    /// The addresses of this machine that can be the source of a datagram to `ip`: those of its
    /// family and of a like scope.
    fn sources(&self, ip: IpAddr) -> impl Iterator<Item = &InterfaceAddress> + Clone {
        let scope = Scope::of(ip);
        let routed = |scope| matches!(scope, Scope::Private | Scope::Global);
        let suits = move |own: IpAddr| {
            let own_scope = Scope::of(own);
            own.is_ipv4() == ip.is_ipv4()
                && (own_scope == scope || (routed(own_scope) && routed(scope)))
        };
        self.own_addresses().filter(move |own| suits(own.ip))
    }

    /// How well an address suits this machine; `zone` is the interface through which a link-local
    /// address is reached, if that is known.
    pub fn rank(&self, ip: IpAddr, zone: Option<InterfaceName>) -> Rank {
        let scope = Scope::of(ip);
        let sources = self.sources(ip);
        let has_source = sources.clone().next().is_some();
        let reach = match scope {
            Scope::Loopback => Reach::Loopback,
            // IPv4 has no zones: its link-local network is reachable if this machine has an address
            // of that network.
            Scope::Link if zone.is_some() || (ip.is_ipv4() && has_source) => Reach::Link,
            Scope::Link => Reach::UnknownLink,
            Scope::Private | Scope::Global if self.shares_subnet(ip) => Reach::Subnet,
            Scope::Private | Scope::Global if has_source => Reach::Routed,
            Scope::Private | Scope::Global => Reach::NoSource,
        };
        // Source address selection (§5), as far as it matters here: first an address that is not
        // deprecated (rule 3), then one with the same label (rule 6).
        let deprecated = has_source && sources.clone().all(|own| own.deprecated);
        let label = self.policy.label(ip);
        let mut chosen = sources.filter(|own| own.deprecated == deprecated);
        let rank = Rank {
            reach,
            deprecated,
            label_differs: !chosen.any(|own| self.policy.label(own.ip) == label),
            precedence: Reverse(self.policy.precedence(ip)),
            private: scope == Scope::Private && reach != Reach::Subnet,
        };
        tracing::trace!(address = %ip, ?zone, ?rank, "address ranked");
        rank
    }

    /// Through which interfaces of this machine the links of a node are reached.
    ///
    /// This is derived from the node's `addresses`, each with the node's interface that holds it,
    /// and from the `source` of its messages.
    pub fn links(
        &self,
        addresses: impl Iterator<Item = (IpAddr, Option<InterfaceName>)> + Clone,
        source: Option<SocketAddr>,
    ) -> Links {
        let seen = source.and_then(|source| self.link_local_source(source));
        let mut by_interface = BTreeMap::new();
        for (ip, interface) in addresses.clone() {
            let Some(interface) = interface else { continue };
            for own in self.interfaces_on_subnet(ip) {
                by_interface
                    .entry(interface)
                    .and_modify(|known: &mut Option<InterfaceName>| {
                        // Two networks look the same, and nothing shows which of them it is.
                        *known = known.filter(|known| *known == own);
                    })
                    .or_insert(Some(own));
            }
        }
        if let Some((seen, own)) = seen {
            let holders = addresses
                .filter(|(ip, _)| *ip == seen)
                .filter_map(|(_, interface)| interface);
            by_interface.extend(holders.map(|interface| (interface, Some(own))));
        }
        Links { seen, by_interface }
    }

    /// The link-local address in `source`, and the interface of this machine that its zone names.
    fn link_local_source(&self, source: SocketAddr) -> Option<(IpAddr, InterfaceName)> {
        let SocketAddr::V6(v6) = source else {
            return None;
        };
        let index = v6.scope_id();
        if index == 0 {
            return None;
        }
        let interface = self
            .interfaces
            .iter()
            .find(|interface| interface.index == index)?;
        Some((IpAddr::V6(*v6.ip()), interface.name))
    }
}

/// Through which interfaces of this machine the links of a node are reached.
#[derive(Debug, Default)]
pub struct Links {
    /// The link-local address that messages came from, and the interface that received them.
    seen: Option<(IpAddr, InterfaceName)>,
    /// For each interface of the node, the one of this machine on the same link; `None` if two
    /// match.
    by_interface: BTreeMap<InterfaceName, Option<InterfaceName>>,
}

impl Links {
    /// The zone that this machine needs for an address (RFC 4007 §6): one of its interfaces, for
    /// link-local IPv6 alone.
    pub fn zone(&self, ip: IpAddr, interface: Option<InterfaceName>) -> Option<InterfaceName> {
        if ip.is_ipv4() || Scope::of(ip) != Scope::Link {
            return None;
        }
        let seen = self
            .seen
            .filter(|(seen, _)| *seen == ip)
            .map(|(_, own)| own);
        seen.or_else(|| self.by_interface.get(&interface?).copied().flatten())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::interface;
