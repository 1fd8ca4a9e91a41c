//! The discovery methods, as the engine, status and counters name them. [`crate::config::Method`]
//! is the setting.

use std::fmt;

/// A way to send queries for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Queries to the IPv4 and IPv6 groups on every used interface.
    Multicast,
    /// Queries to the limited and the directed broadcast address of every used interface.
    Broadcast,
    /// Queries to the addresses of services that were found by multicast DNS (RFC 6762, RFC 6763).
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
