//! The ways to reach nodes whose addresses are not known yet, and the one for those that are.

use std::fmt;

/// A way to find servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Queries to the IPv4 and IPv6 groups on every taken interface.
    Multicast,
    /// Queries to the limited and the directed broadcast address of every taken interface.
    Broadcast,
    /// Queries to the addresses that services of multicast DNS give.
    Mdns,
    /// Queries to the servers that the configuration names.
    Unicast,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Mdns => "mdns",
            Self::Unicast => "unicast",
        })
    }
}
