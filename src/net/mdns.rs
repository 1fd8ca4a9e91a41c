//! Multicast DNS (RFC 6762, RFC 6763) on one interface: it announces a service, watches a host
//! name, and browses.
//!
//! The `mdns-sd` crate implements the protocol. Each interface has a daemon of the crate, and each
//! daemon has a thread. So each interface announces its own addresses and no others, and the engine
//! never waits for multicast DNS. A [`Link`] follows a [`LinkSettings`] (its settings) and reports each
//! event ([`LinkEvent`]) over a bounded channel. An event that does not fit there is dropped, because
//! the daemon repeats it.
//!
//! The crate has no limits of its own, so this module adds them:
//!
//! - A daemon is restarted when it holds more than `MAX_CACHED` foreign records or `MAX_TIMERS`
//!   timers, or when it reports a host with more than `MAX_ADDRESSES` addresses. If the daemon is
//!   too busy to report, its sockets are silenced.
//! - A port that can't be shared is found before a daemon is started, because the crate would not
//!   report it.
//! - A daemon must never solve a name conflict, because it would rename without a word.
//!   [`AnnouncedService::probe`] is only for names that were found free.

mod conversion;
mod daemon;
mod link;
mod port;
mod sockets;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::model::Scope;

pub use link::Link;
pub use port::{kernel_holds_groups, shareable};

/// The UDP port of multicast DNS.
pub const PORT: u16 = mdns_sd::MDNS_PORT;
/// The maximum number of interfaces with a link: each link has a thread and two sockets.
pub const MAX_LINKS: usize = 16;
/// The maximum number of foreign records that one daemon may hold.
const MAX_CACHED: i64 = 4096;
/// The maximum number of timers that one daemon may hold, of 16 bytes each. The daemon sets two
/// timers for each foreign record whenever that record arrives, and drops them when they would
/// expire.
const MAX_TIMERS: i64 = 1 << 18;
/// The maximum number of addresses of one foreign host.
const MAX_ADDRESSES: usize = 64;
/// The maximum number of events of a daemon that may wait. The crate ends a subscription at 1,000.
const MAX_BACKLOG: usize = 500;

/// A service that is announced on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedService {
    /// The service type, such as `_hereabouts._udp`.
    pub service: Box<str>,
    /// The instance's name, one label.
    pub instance: Box<str>,
    /// The host's name without `.local`.
    pub host: Box<str>,
    pub port: u16,
    /// The addresses of the host.
    pub addresses: Vec<IpAddr>,
    /// The pairs of the TXT record.
    pub text: Vec<(Box<str>, Box<str>)>,
    /// Whether to probe for the names first (RFC 6762 §8.1); this takes about a second.
    pub probe: bool,
}

/// LinkEventKind one link does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkSettings {
    /// The interface's addresses that may be used.
    pub addresses: Vec<IpAddr>,
    /// The service to announce.
    pub shown: Option<AnnouncedService>,
    /// The host name, without `.local`, whose answers are reported.
    pub host: Option<Box<str>>,
    /// The service type to browse for.
    pub browse: Option<Box<str>>,
    /// A new number here makes the link forget all that it received, and restart.
    pub round: u32,
}

impl LinkSettings {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.addresses.is_empty()
            || (self.shown.is_none() && self.host.is_none() && self.browse.is_none())
    }

    /// Whether a daemon that follows `self` must be restarted to follow `other`.
    fn needs_restart_for(&self, other: &Self) -> bool {
        self.addresses != other.addresses
            || self.round != other.round
            || (self.shown != other.shown && self.shown.is_some())
            || (self.host != other.host && self.host.is_some())
            || (self.browse != other.browse && self.browse.is_some() && other.browse.is_some())
    }
}

/// An event of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEvent {
    /// The interface's index.
    pub interface: u32,
    pub what: LinkEventKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEventKind {
    /// The link started or restarted: nothing that it reported before counts any more.
    Started,
    /// A service was found, or its data changed.
    Found(FoundService),
    /// All addresses in the answers for the watched host name; this host's own answers are among
    /// them.
    Host(Vec<IpAddr>),
    /// Addresses that are no longer in the answers for the watched host name.
    Removed(Vec<IpAddr>),
    /// The names are announced.
    Announced,
    /// Another host took a name between the probe and the announcement; the crate continues under
    /// another name.
    Renamed {
        /// The name that was to be announced.
        from: String,
    },
    /// More foreign records arrived than the link keeps, or the daemon ended by itself; the link
    /// restarts after a rest.
    Flooded {
        /// How long the link rests.
        rest: std::time::Duration,
        /// Whether this is the same flood as the last time.
        again: bool,
    },
    /// The link can't work; it tries again later.
    Failed(String),
}

/// A service that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// The instance's full name.
    pub name: String,
    /// The addresses and the port that the service announces, unverified.
    pub addresses: Vec<SocketAddr>,
    /// The pairs of its TXT record.
    pub text: Vec<(String, String)>,
}

/// An address with the zone that it needs (RFC 4007 §6).
fn scoped(ip: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if Scope::of(ip) == Scope::Link => {
            SocketAddrV6::new(v6, port, 0, interface).into()
        }
        _ => SocketAddr::new(ip, port),
    }
}
