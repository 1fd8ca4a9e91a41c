//! One-time queries of the network, from a port of their own: for servers, for all nodes, for a node, or for the holder of
//! an address.
//!
//! A command without a running node uses them, and so does a node on behalf of a command. They register nothing.

mod exchange;
mod found;
mod port;
mod requester;

use crate::model::Method;
use crate::net::{FanoutSettings, Policy};
use crate::wire::keyring::KeyRing;

pub(crate) use exchange::{BROWSE_AFTER, KNOWN_ELSEWHERE};
pub(crate) use port::Requester;

/// The channel, the interfaces and the methods of a query.
pub(crate) struct Settings {
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
