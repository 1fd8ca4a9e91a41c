//! Which interfaces are used, and which addresses are announced. Pure.
//!
//! One policy governs listening, sending and announcing. An interface is not used if it is down, if
//! it is the loopback interface and [`Policy::loopback`] is off, if a name in `exclude` or no
//! pattern in `include` matches, or if a pattern in `exclude` matches, unless `include` names the
//! interface without a wildcard. So `docker0` is not used by default, and used when it is named.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use super::{Interface, InterfaceAddress, Pattern};
use crate::model::{Address, Origin, Record, Scope};

/// Which interfaces and addresses are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The interfaces that are used.
    pub include: Vec<Pattern>,
    /// The exceptions.
    pub exclude: Vec<Pattern>,
    /// Whether IPv4 is used at all.
    pub ipv4: bool,
    /// Whether IPv6 is used at all.
    pub ipv6: bool,
    /// Whether link-local addresses are announced besides others. They are always used for sending.
    pub link_local: bool,
    /// Whether the loopback interface is used.
    pub loopback: bool,
}

/// Whether an interface is used, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It listens, sends and is announced.
    Used { rule: Rule },
    /// It neither listens nor sends, and is not announced.
    Unused { rule: Rule },
}

/// The rule that decided about an interface; as text, the end of "used, because it …" or "not used,
/// because it …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// It is switched off or has no carrier.
    Down,
    /// It is the loopback interface, and the policy has loopback off.
    Loopback,
    /// No pattern of `include` matches.
    NotIncluded,
    /// This pattern of `exclude` matches.
    Excluded(Pattern),
    /// It has no address of a family that is on.
    NoAddress,
    /// This pattern of `include` matches.
    Included(Pattern),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("is down"),
            Self::Loopback => {
                f.write_str("is the loopback interface (interfaces.addresses.loopback is off)")
            }
            Self::NotIncluded => f.write_str("fits nothing in interfaces.include"),
            Self::Excluded(pattern) => write!(f, "fits '{pattern}' in interfaces.exclude"),
            Self::NoAddress => f.write_str("has no usable address"),
            Self::Included(pattern) => write!(f, "fits '{pattern}' in interfaces.include"),
        }
    }
}

impl Policy {
    /// Decides about one interface.
    pub fn decide(&self, interface: &Interface) -> Decision {
        match self.rule(interface) {
            rule @ Rule::Included(_) => Decision::Used { rule },
            rule => Decision::Unused { rule },
        }
    }

    fn rule(&self, interface: &Interface) -> Rule {
        if !interface.up {
            return Rule::Down;
        }
        if interface.loopback && !self.loopback {
            return Rule::Loopback;
        }
        let name = interface.name.as_str();
        let named_out = self
            .exclude
            .iter()
            .find(|pattern| pattern.is_literal() && pattern.matches(name));
        if let Some(pattern) = named_out {
            return Rule::Excluded(pattern.clone());
        }
        let named_in = self
            .include
            .iter()
            .find(|pattern| pattern.is_literal() && pattern.matches(name));
        let Some(included) =
            named_in.or_else(|| self.include.iter().find(|pattern| pattern.matches(name)))
        else {
            return Rule::NotIncluded;
        };
        if named_in.is_none()
            && let Some(pattern) = self.exclude.iter().find(|pattern| pattern.matches(name))
        {
            return Rule::Excluded(pattern.clone());
        }
        if !interface
            .addresses
            .iter()
            .any(|address| address.usable() && self.family(address.ip))
        {
            return Rule::NoAddress;
        }
        Rule::Included(included.clone())
    }

    fn family(&self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }

    /// The interfaces that are used, each with only its usable addresses of the families that are
    /// on.
    ///
    /// Link-local addresses are among them, because sending needs them. [`super::Fanout`] works
    /// with this list.
    pub fn used(&self, interfaces: &[Interface]) -> Vec<Interface> {
        let used = interfaces
            .iter()
            .filter(|interface| matches!(self.decide(interface), Decision::Used { .. }));
        used.map(|interface| {
            let usable = |address: &&InterfaceAddress| address.usable() && self.family(address.ip);
            Interface {
                addresses: interface.addresses.iter().filter(usable).copied().collect(),
                kind: interface.kind.clone(),
                ..*interface
            }
        })
        .collect()
    }

    /// The addresses of one interface that are announced, best first; none if it is not used.
    ///
    /// Deprecated and tentative ones are left out. Best first is: a lasting address before a
    /// temporary one, before a link-local one, before loopback; in each, IPv4 before IPv6, then the
    /// kernel's order.
    pub fn addresses(&self, interface: &Interface) -> Vec<IpAddr> {
        self.ranked(interface, self.link_local)
            .into_iter()
            .map(|(_, ip)| ip)
            .collect()
    }

    /// The addresses of one interface that are announced on its own link, best first; none if it is
    /// not used.
    ///
    /// They are those of [`Policy::addresses`]; without any, the link-local ones, which are as good
    /// on one link.
    pub fn on_link(&self, interface: &Interface) -> Vec<IpAddr> {
        let addresses = self.addresses(interface);
        if !addresses.is_empty() || self.link_local {
            return addresses;
        }
        self.ranked(interface, true)
            .into_iter()
            .map(|(_, ip)| ip)
            .collect()
    }

    fn ranked(&self, interface: &Interface, link_local: bool) -> Vec<(Rank, IpAddr)> {
        if matches!(self.decide(interface), Decision::Unused { .. }) {
            return Vec::new();
        }
        let mut ranked: Vec<_> = interface
            .addresses
            .iter()
            .filter(|address| address.usable() && !address.deprecated && self.family(address.ip))
            .filter(|address| link_local || !address.link_local())
            .filter(|address| self.loopback || Scope::of(address.ip) != Scope::Loopback)
            .map(|address| (Rank::of(address), address.ip))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked
    }

    /// The addresses that the node announces: those of all used interfaces, best first, at most
    /// [`Record::MAX_ADDRESSES`].
    ///
    /// Within one rank each interface's first address comes before any interface's second, so that
    /// one interface with many addresses does not push the others out. With `link_local` off,
    /// link-local addresses are announced all the same if there is no other address: two laptops on
    /// one cable have no other, and a record without an address is useless.
    pub fn announced(&self, interfaces: &[Interface]) -> Vec<Address> {
        let found = self.collect(interfaces, self.link_local);
        if found.is_empty() && !self.link_local {
            self.collect(interfaces, true)
        } else {
            found
        }
    }

    fn collect(&self, interfaces: &[Interface], link_local: bool) -> Vec<Address> {
        let mut all = Vec::new();
        for interface in interfaces {
            let mut last = None;
            let mut turn = 0_usize;
            for (rank, ip) in self.ranked(interface, link_local) {
                turn = if last == Some(rank) { turn + 1 } else { 0 };
                last = Some(rank);
                all.push((rank, turn, ip, interface.name));
            }
        }
        all.sort_by_key(|(rank, turn, ..)| (*rank, *turn));
        // One address on two interfaces is announced once; a link-local one is a different address
        // on each link.
        let mut seen = HashSet::new();
        all.into_iter()
            .filter(|(_, _, ip, name)| {
                seen.insert((*ip, (Scope::of(*ip) == Scope::Link).then_some(*name)))
            })
            .take(Record::MAX_ADDRESSES)
            .map(|(_, _, ip, name)| Address {
                ip,
                interface: Some(name),
                origin: Origin::Interface,
            })
            .collect()
    }
}

/// The order in which addresses are announced: a lesser rank comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    ipv6: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Lasting,
    Temporary,
    Link,
    Loopback,
}

impl Rank {
    fn of(address: &InterfaceAddress) -> Self {
        let class = match Scope::of(address.ip) {
            Scope::Global | Scope::Private if address.temporary => Class::Temporary,
            Scope::Global | Scope::Private => Class::Lasting,
            Scope::Link => Class::Link,
            Scope::Loopback => Class::Loopback,
        };
        Self {
            class,
            ipv6: address.ip.is_ipv6(),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
