//! Which sockets of this machine receive what the doctor sends to groups and by broadcast.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::api::view::StatusView;
use crate::net::{Family, FanoutMethod, Sockets};

/// The addresses of sockets that may receive multicast and broadcast.
pub(super) struct Receivers(Vec<SocketAddr>);

impl Receivers {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// The sockets of this program.
    pub(super) fn of_sockets(sockets: &Sockets) -> Self {
        let addresses = sockets.addresses().chain(sockets.group_addresses());
        Self(addresses.collect())
    }

    /// The sockets of a running node.
    pub(super) fn of_node(status: &StatusView) -> Self {
        let purposes = ["datagrams (UDP)", "multicast", "broadcast"];
        let receiving = status
            .sockets
            .iter()
            .filter(|socket| purposes.contains(&socket.purpose.as_str()));
        Self(receiving.map(|socket| socket.address).collect())
    }

    /// Whether a datagram to `port` reaches one of the sockets if nothing stops it. A socket that
    /// is bound to an address of this machine receives neither multicast nor broadcast.
    pub(super) fn receive(&self, method: FanoutMethod, family: Family, port: u16) -> bool {
        self.0.iter().any(|address| {
            let ip = address.ip();
            let group = match method {
                FanoutMethod::Multicast => ip.is_multicast(),
                FanoutMethod::Broadcast => ip == IpAddr::V4(Ipv4Addr::BROADCAST),
            };
            address.port() == port && Family::of(ip) == family && (ip.is_unspecified() || group)
        })
    }
}
