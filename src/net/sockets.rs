//! The bound UDP sockets of a node: one for IPv4, one for IPv6, and those for groups whose port is
//! not its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use super::FanoutSettings;
use super::batch::{Flushed, RecvBatch, SendBatch};
use super::family::Family;
use super::groups::Groups;
use super::socket::{BindError, Socket};

/// How often a port that is free in both families is searched, if any port will do.
const PORT_TRIES: usize = 8;

/// The address, port and TTL of the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketSettings {
    /// The address: `::` stands for both families, `0.0.0.0` for IPv4 alone, any other for itself
    /// alone.
    ///
    /// A socket that is bound to one address receives no group and no broadcast: the kernel does
    /// not deliver them.
    pub address: IpAddr,
    /// The port; 0 chooses a free one.
    pub port: u16,
    /// The maximum number of routers that a multicast datagram passes.
    pub ttl: u8,
}

/// The sockets of a node: one for each family that the host has and the settings ask for, at least
/// one.
#[derive(Debug)]
pub struct Sockets {
    ipv4: Option<Socket>,
    ipv6: Option<Socket>,
    groups: Groups,
}

impl Sockets {
    /// Binds the sockets, all to one port.
    ///
    /// For `::`, a family that the host lacks is skipped; a port that is in use in either family is
    /// an error. Must be called within a tokio runtime.
    pub fn bind(settings: &SocketSettings) -> Result<Self, BindError> {
        let SocketSettings { address, port, ttl } = *settings;
        if address != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            let socket = Socket::bind((address, port).into(), ttl)?;
            let (ipv4, ipv6) = if address.is_ipv4() {
                (Some(socket), None)
            } else {
                (None, Some(socket))
            };
            return Ok(Self {
                ipv4,
                ipv6,
                groups: Groups::default(),
            });
        }
        let mut tries = if port == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::bind_both(port, ttl) {
                Err(BindError::Taken { .. }) if tries > 0 => {}
                other => return other,
            }
        }
    }

    fn bind_both(port: u16, ttl: u8) -> Result<Self, BindError> {
        let optional = |result: Result<Socket, BindError>| match result {
            Err(error) if error.is_missing_family() => Ok(Err(error)),
            Err(error) => Err(error),
            Ok(socket) => Ok(Ok(socket)),
        };
        let ipv6 = optional(Socket::bind((Ipv6Addr::UNSPECIFIED, port).into(), ttl))?;
        let port = ipv6.as_ref().map_or(port, |socket| socket.address().port());
        let ipv4 = optional(Socket::bind((Ipv4Addr::UNSPECIFIED, port).into(), ttl))?;
        match (ipv4, ipv6) {
            (Err(error), Err(_)) => Err(error),
            (ipv4, ipv6) => Ok(Self {
                ipv4: ipv4.ok(),
                ipv6: ipv6.ok(),
                groups: Groups::default(),
            }),
        }
    }

    /// Listens to groups and broadcasts on their ports, if these are not the node's own.
    ///
    /// Must be called before the first join, and within a tokio runtime.
    pub fn bind_group_ports(&mut self, settings: &FanoutSettings) -> Result<(), BindError> {
        let has = |family| self.family(family).is_some_and(Socket::receives_groups);
        self.groups = Groups::bind(settings, self.port(), has)?;
        Ok(())
    }

    /// Joins a group on an interface, by the socket that receives it.
    pub(super) fn join(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        let own = |family| self.family(family).ok_or(io::ErrorKind::Unsupported);
        match group {
            IpAddr::V4(group) => {
                let socket = self.groups.ipv4().map_or_else(|| own(Family::Ipv4), Ok)?;
                let interface = socket2::InterfaceIndexOrAddress::Index(interface);
                socket.options().join_multicast_v4_n(&group, &interface)
            }
            IpAddr::V6(group) => match self.groups.join_ipv6(group, interface) {
                Some(joined) => joined,
                None => own(Family::Ipv6)?
                    .options()
                    .join_multicast_v6(&group, interface),
            },
        }
    }

    /// Leaves a group on an interface.
    pub(super) fn leave(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        let own = |family| self.family(family).ok_or(io::ErrorKind::Unsupported);
        match group {
            IpAddr::V4(group) => {
                let socket = self.groups.ipv4().map_or_else(|| own(Family::Ipv4), Ok)?;
                let interface = socket2::InterfaceIndexOrAddress::Index(interface);
                socket.options().leave_multicast_v4_n(&group, &interface)
            }
            IpAddr::V6(group) => match self.groups.leave_ipv6(interface) {
                Some(left) => left,
                None => own(Family::Ipv6)?
                    .options()
                    .leave_multicast_v6(&group, interface),
            },
        }
    }

    /// The addresses on which groups and broadcasts are received besides the node's own.
    pub fn group_addresses(&self) -> Vec<SocketAddr> {
        self.groups.addresses()
    }

    /// The socket of a family, if there is one.
    pub fn family(&self, family: Family) -> Option<&Socket> {
        match family {
            Family::Ipv4 => self.ipv4.as_ref(),
            Family::Ipv6 => self.ipv6.as_ref(),
        }
    }

    /// The addresses that are bound, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ipv4.iter().chain(&self.ipv6).map(Socket::address)
    }

    /// The port, one for both families.
    pub fn port(&self) -> u16 {
        self.addresses().next().map_or(0, |address| address.port())
    }

    /// Waits for datagrams of either family and fills the batch with them; returns their number, at
    /// least one.
    ///
    /// The families take turns. May be dropped at any time.
    pub async fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        loop {
            match self.try_recv(batch) {
                Ok(0) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.groups.is_needed() {
                self.any_readable().await?;
                continue;
            }
            match (&self.ipv4, &self.ipv6) {
                (Some(ipv4), Some(ipv6)) => tokio::select! {
                    ready = ipv4.io.readable() => ready?,
                    ready = ipv6.io.readable() => ready?,
                },
                (Some(socket), None) | (None, Some(socket)) => socket.io.readable().await?,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// Waits until any of the sockets, including those of the groups, is readable.
    async fn any_readable(&self) -> io::Result<()> {
        std::future::poll_fn(|context| {
            let mut ready = |socket: &Socket| match socket.io.poll_recv_ready(context) {
                Poll::Ready(ready) => Some(ready),
                Poll::Pending => None,
            };
            let own = self.ipv4.iter().chain(&self.ipv6).find_map(&mut ready);
            own.or_else(|| self.groups.find(&mut ready))
                .map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Fills the batch with the datagrams that have arrived on one of the sockets;
    /// [`io::ErrorKind::WouldBlock`] if there are none.
    pub fn try_recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.turn = !batch.turn;
        let turn = batch.turn;
        let mut receive = |socket: &Socket| match socket.try_recv(batch) {
            Ok(0) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            other => Some(other),
        };
        let received = if turn {
            let own = self.ipv4.iter().chain(&self.ipv6).find_map(&mut receive);
            own.or_else(|| {
                self.groups
                    .is_needed()
                    .then(|| self.groups.find(&mut receive))
                    .flatten()
            })
        } else {
            let groups = self
                .groups
                .is_needed()
                .then(|| self.groups.find(&mut receive))
                .flatten();
            groups.or_else(|| self.ipv6.iter().chain(&self.ipv4).find_map(&mut receive))
        };
        received.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Sends all datagrams in the batch and empties it.
    ///
    /// A datagram that the kernel refuses is passed to `report` with its place, and the others are
    /// still sent. When the kernel's buffer is full, the flush waits for at most 20 ms a family,
    /// then drops the rest.
    pub async fn flush(
        &self,
        batch: &mut SendBatch,
        mut report: impl FnMut(usize, io::Error),
    ) -> Flushed {
        let mut all = Flushed::default();
        for family in [Family::Ipv4, Family::Ipv6] {
            let ipv4 = family == Family::Ipv4;
            if !batch.wants(ipv4) {
                continue;
            }
            if let Some(socket) = self.family(family) {
                let flushed = socket.send(batch, &mut report).await;
                all.sent += flushed.sent;
                all.failed += flushed.failed;
                all.dropped += flushed.dropped;
            } else {
                for (place, _) in batch.outgoing(ipv4, 0) {
                    all.failed += 1;
                    report(place, io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
                }
            }
        }
        batch.clear();
        all
    }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
