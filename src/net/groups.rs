//! Receiving sockets for groups and broadcasts whose port is not the node's own.
//!
//! `listen.port` may differ from the ports of groups and broadcasts; without these sockets the node
//! would not listen there. They are bound to the group, or to 255.255.255.255, and not to every
//! address. So the kernel delivers no unicast to them, and a node that has the port as its own
//! receives all its unicast. Several nodes of one user share the port this way, and each receives
//! every datagram (`SO_REUSEPORT`; Linux delivers groups and broadcasts to all).
//!
//! A node that broadcasts sends to the directed address and to 255.255.255.255, so listening on the
//! latter is enough.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BindError, Family, FanoutSettings, Socket};

/// The sockets of a node besides its own two.
#[derive(Debug, Default)]
pub(super) struct Groups {
    ipv4: Option<Socket>,
    broadcast: Option<Socket>,
    /// The port of the IPv6 group, if it is not the node's own.
    ipv6_port: Option<u16>,
    /// One for each interface: the kernel binds to a group of one link only with the link (RFC 4007
    /// §6). Sockets are added and removed while others only read, hence the lock; it is never held
    /// across an await.
    ipv6: Mutex<BTreeMap<u32, Socket>>,
}

impl Groups {
    /// Binds the sockets that are needed besides a node's own port. `has` says whether the node has
    /// a socket of a family that receives groups.
    pub(super) fn bind(
        settings: &FanoutSettings,
        own: u16,
        has: impl Fn(Family) -> bool,
    ) -> Result<Self, BindError> {
        let bind = |ip: Ipv4Addr, port: u16| {
            let wanted = has(Family::Ipv4) && port != own;
            wanted
                .then(|| Socket::bind_shared((ip, port).into()))
                .transpose()
        };
        Ok(Self {
            ipv4: bind(settings.ipv4_group, settings.port)?,
            broadcast: bind(Ipv4Addr::BROADCAST, settings.broadcast_port)?,
            ipv6_port: (has(Family::Ipv6) && settings.port != own).then_some(settings.port),
            ipv6: Mutex::default(),
        })
    }

    /// Whether the node needs any socket besides its own.
    pub(super) fn is_needed(&self) -> bool {
        self.ipv4.is_some() || self.broadcast.is_some() || self.ipv6_port.is_some()
    }

    /// The socket that joins IPv4 groups; `None` if the node's own socket does.
    pub(super) fn ipv4(&self) -> Option<&Socket> {
        self.ipv4.as_ref()
    }

    /// Joins an IPv6 group by a socket for this interface; `None` if the node's own socket does it.
    pub(super) fn join_ipv6(&self, group: Ipv6Addr, interface: u32) -> Option<io::Result<()>> {
        let port = self.ipv6_port?;
        Some(self.bind_ipv6(group, port, interface))
    }

    fn bind_ipv6(&self, group: Ipv6Addr, port: u16, interface: u32) -> io::Result<()> {
        let mut sockets = self.ipv6();
        if sockets.contains_key(&interface) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let address = SocketAddr::V6(SocketAddrV6::new(group, port, 0, interface));
        let socket = Socket::bind_shared(address).map_err(|error| match error {
            BindError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        socket.options().join_multicast_v6(&group, interface)?;
        sockets.insert(interface, socket);
        Ok(())
    }

    /// Leaves an IPv6 group; `None` if the node's own socket does it.
    pub(super) fn leave_ipv6(&self, interface: u32) -> Option<io::Result<()>> {
        self.ipv6_port?;
        self.ipv6().remove(&interface);
        Some(Ok(()))
    }

    /// The first result of `visit` over all sockets.
    pub(super) fn find<T>(&self, mut visit: impl FnMut(&Socket) -> Option<T>) -> Option<T> {
        let fixed = self.ipv4.iter().chain(&self.broadcast).find_map(&mut visit);
        fixed.or_else(|| self.ipv6().values().find_map(&mut visit))
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        self.find(|socket| {
            addresses.push(socket.address());
            None::<()>
        });
        addresses
    }

    fn ipv6(&self) -> MutexGuard<'_, BTreeMap<u32, Socket>> {
        // A panic between two changes leaves a consistent map.
        self.ipv6.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
