//! Where messages to all nodes go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::family::Family;

/// The groups and ports of messages to all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanoutSettings {
    /// The IPv4 group.
    pub ipv4_group: Ipv4Addr,
    /// The IPv6 group, of link-local scope (RFC 4291 §2.7).
    pub ipv6_group: Ipv6Addr,
    /// The port of both groups.
    pub port: u16,
    /// The port of broadcasts.
    pub broadcast_port: u16,
}

impl FanoutSettings {
    /// The group of a family.
    pub fn group(&self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => self.ipv4_group.into(),
            Family::Ipv6 => self.ipv6_group.into(),
        }
    }
}
