//! The network asked once, from a port of its own: for servers, for all nodes, for a node or for the holder of an address.
//!
//! A command without a node asks this way, and so does a node on behalf of a command.

mod found;
mod requester;

use crate::model::Method;
use crate::net::{FanoutSettings, Policy};
use crate::wire::keyring::KeyRing;

pub(crate) use requester::{BROWSE_AFTER, KNOWN_ELSEWHERE, Requester};

/// Whom the network is asked as, and by which ways.
pub(crate) struct Settings {
    /// The keys of the channel.
    pub(crate) key_ring: KeyRing,
    /// The TTL of multicast.
    pub(crate) ttl: u8,
    pub(crate) fanout: FanoutSettings,
    pub(crate) policy: Policy,
    pub(crate) methods: Vec<Method>,
    /// The configured servers as `host:port`.
    pub(crate) servers: Vec<String>,
    /// The service type of multicast DNS.
    pub(crate) mdns_service: Box<str>,
}
