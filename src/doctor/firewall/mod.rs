//! Evaluates a rule set of nftables for the datagrams of discovery. Pure.
//!
//! In go the JSON of `nft -j list ruleset` and one made-up datagram of each kind ([`Flow`]); out
//! come the rules and policies that drop one of them ([`Verdict`]), or may drop it. The rules are
//! evaluated in the order of the kernel. Whether a rule matches is either certain or unknown,
//! because a named set, a rate or an interface does not show in the rule itself. What is unknown
//! makes the verdict uncertain, and never certain.
//!
//! - [`chains`] follows chains, jumps and verdicts.
//! - [`expressions`] decides whether an expression of a rule matches a datagram.

mod chains;
mod expressions;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use chains::RuleSet;
use expressions::{has_part, text};

/// A kind of datagram that discovery needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    /// The destination; `None` for any address of a machine.
    pub(super) to: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) ipv6: bool,
}

/// How a datagram is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Multicast,
    Broadcast,
    Unicast,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unicast => "unicast",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

impl Direction {
    fn hooks(self) -> [&'static str; 3] {
        match self {
            Self::In => ["ingress", "prerouting", "input"],
            Self::Out => ["output", "postrouting", "egress"],
        }
    }
}

/// A rule or policy that drops a datagram, or may drop it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) flow: Flow,
    /// Whether the rule set decides it beyond doubt.
    pub(super) certain: bool,
    /// What the deciding rules match on.
    pub(super) criteria: Criteria,
    /// Family, table and chain, as `nft` takes them: `inet filter input`.
    pub(super) chain: String,
    /// The rule's handle; `None` where the chain's policy drops.
    pub(super) handle: Option<u64>,
}

/// What rules match on beside the kind and port of a datagram: restrictions that a remedy has to
/// keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Criteria {
    pub(super) source: bool,
    /// The incoming interface.
    pub(super) interface: bool,
}

impl Criteria {
    fn or(self, other: Self) -> Self {
        Self {
            source: self.source || other.source,
            interface: self.interface || other.interface,
        }
    }

    /// Adds what an expression matches on.
    fn and(self, expression: Option<&Value>) -> Self {
        let Some(expression) = expression else {
            return self;
        };
        let source = has_part(expression, &|kind, content| {
            kind == "payload" && text(content, "field") == "saddr"
        });
        let interface = has_part(expression, &|kind, content| {
            kind == "meta" && text(content, "key").starts_with("iif")
        });
        self.or(Self { source, interface })
    }
}

/// A program that manages the rules, so that a rule added with `nft` would not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    /// Its chains are called `ufw-…`.
    Ufw,
    /// Its table is called `firewalld`.
    Firewalld,
}

/// Every kind of datagram for these groups and ports.
pub(super) fn flows(
    groups: [IpAddr; 2],
    multicast_port: u16,
    broadcast_port: u16,
    port: u16,
) -> Vec<Flow> {
    let mut flows = Vec::new();
    for direction in [Direction::In, Direction::Out] {
        for group in groups {
            flows.push(Flow {
                kind: Kind::Multicast,
                direction,
                to: Some(group),
                port: multicast_port,
                ipv6: group.is_ipv6(),
            });
        }
        flows.push(Flow {
            kind: Kind::Broadcast,
            direction,
            to: Some(Ipv4Addr::BROADCAST.into()),
            port: broadcast_port,
            ipv6: false,
        });
        for ipv6 in [false, true] {
            flows.push(Flow {
                kind: Kind::Unicast,
                direction,
                to: None,
                port,
                ipv6,
            });
        }
    }
    flows
}

/// What drops, or may drop, each of the flows, and which program manages the rules; `None` if the
/// text is no rule set.
pub(super) fn evaluate(ruleset: &str, flows: &[Flow]) -> Option<(Vec<Verdict>, Option<Manager>)> {
    let parsed: Value = serde_json::from_str(ruleset).ok()?;
    let objects = parsed.get("nftables")?.as_array()?;
    let rules = RuleSet::new(objects);
    // Every chain of a hook is evaluated: one that drops is enough.
    let verdicts = flows.iter().flat_map(|flow| rules.verdicts(flow)).collect();
    Some((verdicts, rules.manager()))
}

/// The network of an address: its first address, and the prefix length.
pub(super) fn network_of(ip: IpAddr, prefix: u8) -> (IpAddr, u8) {
    let first: IpAddr = match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            (ip & Ipv4Addr::from_bits(mask)).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            (ip & Ipv6Addr::from_bits(mask)).into()
        }
    };
    (first, prefix)
}

#[cfg(test)]
mod tests;
