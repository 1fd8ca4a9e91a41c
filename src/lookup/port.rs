//! The port that queries are sent from, and what they need beside it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Settings;
use crate::model::Method;
use crate::net::{BindError, Interface, SocketSettings, Sockets, Watch};
use crate::publish::mdns::Browser;
use crate::transport::{Clock, Counters, Traffic};

/// Queries the network from a port of its own.
pub(crate) struct Requester {
    pub(crate) traffic: Traffic,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    /// The configured servers as `host:port`.
    pub(crate) servers: Vec<String>,
    pub(super) methods: Vec<Method>,
    interfaces: Vec<Interface>,
    mdns_service: Box<str>,
    /// Servers whose clock differs from ours: theirs minus ours, in ms. The number of clock corrections limits it.
    pub(super) clocks: Vec<(SocketAddr, i64)>,
}

impl Requester {
    /// Binds a port of its own and reads the interfaces.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) async fn open(settings: Settings) -> Result<Self, BindError> {
        let Settings {
            key_ring,
            ttl,
            fanout,
            policy,
            methods,
            servers,
            mdns_service,
        } = settings;
        let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port: 0,
            ttl,
        })?;
        let mut traffic = Traffic::new(sockets, fanout, policy, key_ring);
        let interfaces = Watch::new().next().await;
        traffic.reconcile(&interfaces);
        let interfaces = traffic.policy.used(&interfaces);
        Ok(Self {
            traffic,
            clock: Clock::new(),
            methods,
            servers,
            interfaces,
            counters: Counters::default(),
            mdns_service,
            clocks: Vec::new(),
        })
    }

    /// Begins to browse by multicast DNS on the interfaces in use.
    pub(crate) fn browser(&self) -> Browser {
        Browser::start(&self.mdns_service, &self.interfaces)
    }
}
