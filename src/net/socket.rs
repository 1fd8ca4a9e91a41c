//! The bound UDP sockets: one for IPv4, one for IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::batch::{Flushed, RecvBatch, SendBatch};
use super::groups::{self, Groups};
use super::holder::{Holder, udp_port_holder};
use super::{FanoutSettings, sys};

/// The receive buffer that is asked for: about 3,000 queries, so that a fleet that wakes at once loses none. The kernel
/// gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long a flush waits in all for room in the kernel's send buffer before it drops the rest.
const SEND_WAIT: Duration = Duration::from_millis(20);

/// How often a free port is looked for that both families have, where any port will do.
const PORT_TRIES: usize = 8;

/// How many errors that belong to earlier datagrams a receive skips before it goes back to waiting.
const STALE_ERRORS: usize = 32;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// How the sockets are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketSettings {
    /// The address: `::` stands for both families, `0.0.0.0` for IPv4 alone, any other for itself alone.
    ///
    /// A socket bound to one address hears no group and no broadcast; that is how the kernel delivers.
    pub address: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// How many routers a multicast datagram passes at most.
    pub ttl: u8,
}

/// Why no socket could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program holds the port.
    #[error(
        "listen on {address}: port {port}/udp is taken{by}: {mend}",
        port = .address.port(),
        by = taken_by(.holder.as_ref()),
        mend = taken_mend(.address.ip())
    )]
    Taken {
        /// The address that was asked for.
        address: SocketAddr,
        /// Who holds the port, where that may be read.
        holder: Option<Holder>,
    },
    /// The port needs a privilege.
    #[error(
        "listen on {address}: ports below {limit} need a privilege: set listen.port to {limit} or more",
        limit = 1024
    )]
    Privileged {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The host has no such address.
    #[error(
        "listen on {address}: no interface of this host has that address: set listen.address, '::' fits every host"
    )]
    NotHere {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("listen on {address}: {source}")]
    Io {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn taken_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| " by another program".to_owned(), |holder| format!(" by {holder}"))
}

/// Groups and broadcasts can be heard beside others on the same port, a node's own port can't be shared.
fn taken_mend(ip: IpAddr) -> &'static str {
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        "stop it, or run it and this one as one user, if it is a hereabouts"
    } else {
        "stop it or set listen.port"
    }
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address, holder: udp_port_holder(address.port()) },
            io::ErrorKind::PermissionDenied => Self::Privileged { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Io { address, source },
        }
    }

    /// Whether the host merely lacks the address family.
    fn is_missing_family(&self) -> bool {
        match self {
            Self::NotHere { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT))
            }
            _ => false,
        }
    }
}

/// One bound UDP socket of one family.
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds a socket. There is no sharing of ports but with sockets of the same user that are bound to a group or to the
    /// broadcast address: a second daemon gets [`BindError::Taken`].
    ///
    /// Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr, ttl: u8) -> Result<Self, BindError> {
        let opened = Self::open(address, ttl, false).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse if address.port() != 0 && groups::only_groups_hold(address) => {
                Self::open(address, ttl, true)
            }
            _ => Err(error),
        });
        let socket = opened.map_err(|source| BindError::new(address, source))?;
        // Only now: set before the bind, it would let a second daemon of this user in. Without it others can't hear the
        // group beside this socket, which is their matter.
        let _ = socket.options().set_reuse_port(true);
        Ok(socket)
    }

    /// Binds a socket that hears a group or broadcasts beside others on the same port.
    pub(super) fn bind_shared(address: SocketAddr) -> Result<Self, BindError> {
        Self::open(address, 1, true).map_err(|source| BindError::new(address, source))
    }

    fn open(address: SocketAddr, ttl: u8, share: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // A smaller buffer than asked for is no reason to stop.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let fd = socket.as_fd();
        if address.is_ipv4() {
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            // Never set "don't fragment": 1200 bytes are to arrive over whatever tunnel there is.
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
            // Only what this socket joined, and only on the interface where it joined.
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_ttl_v4(u32::from(ttl))?;
            // Other nodes on this host are to hear; the own packets are known by the node id.
            socket.set_multicast_loop_v4(true)?;
            socket.set_broadcast(true)?;
        } else {
            socket.set_only_v6(true)?;
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
            // Since Linux 4.20; before it, more arrives, which the keys tell apart.
            let _ = socket.set_multicast_all_v6(false);
            socket.set_multicast_hops_v6(u32::from(ttl))?;
            socket.set_multicast_loop_v6(true)?;
        }
        if share {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let address = io.local_addr()?;
        Ok(Self { io, address })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    /// Whether it hears groups and broadcasts: only a socket that is bound to every address does.
    pub fn hears_groups(&self) -> bool {
        self.address.ip().is_unspecified()
    }

    pub(super) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.io)
    }

    /// Waits for datagrams and fills the batch with them; gives how many, at least one. May be dropped at any time.
    pub async fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        loop {
            self.io.readable().await?;
            match self.try_recv(batch) {
                Ok(0) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Fills the batch with what has arrived; [`io::ErrorKind::WouldBlock`] if nothing has.
    ///
    /// An error that an earlier datagram brought back by ICMP is no error of receiving, and skipped.
    pub fn try_recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        for _ in 0..STALE_ERRORS {
            match self.io.try_io(Interest::READABLE, || batch.fill(self.io.as_fd())) {
                Err(error) if is_stale(&error) => {}
                other => return other,
            }
        }
        Ok(0)
    }

    /// Sends the datagrams of this socket's family that wait in the batch. The batch keeps them.
    async fn send(&self, batch: &SendBatch, report: &mut impl FnMut(usize, io::Error)) -> Flushed {
        let ipv4 = self.address.is_ipv4();
        let mut flushed = Flushed::default();
        let mut next = 0;
        let mut give_up = None;
        while let Some((first, _)) = batch.outgoing(ipv4, next).next() {
            let messages = || batch.outgoing(ipv4, first).map(|(_, outgoing)| outgoing);
            match self.io.try_io(Interest::WRITABLE, || sys::send(self.io.as_fd(), messages())) {
                Ok(sent) => {
                    // At least one is sent where there was no error; counting on it would risk an endless loop.
                    let sent = sent.max(1);
                    flushed.sent += sent;
                    next = batch.outgoing(ipv4, first).nth(sent).map_or(usize::MAX, |(place, _)| place);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    let until = *give_up.get_or_insert_with(|| tokio::time::Instant::now() + SEND_WAIT);
                    if tokio::time::timeout_at(until, self.room(&error)).await.is_err() {
                        for (place, _) in batch.outgoing(ipv4, first) {
                            flushed.dropped += 1;
                            report(place, io::ErrorKind::WouldBlock.into());
                        }
                        break;
                    }
                }
                Err(error) => {
                    flushed.failed += 1;
                    report(first, error);
                    next = first + 1;
                }
            }
        }
        flushed
    }

    /// Waits until another try to send makes sense.
    async fn room(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            // An error of the wait shows again, and for good, in the send that follows.
            let _ = self.io.writable().await;
        } else {
            // ENOBUFS comes from the interface's queue, which no readiness tells of.
            tokio::time::sleep(SEND_WAIT / 10).await;
        }
    }
}

/// An error that tells of an earlier datagram, not of this call.
fn is_stale(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable)
        || error.raw_os_error() == Some(libc::EMSGSIZE)
        || error.raw_os_error() == Some(libc::EPROTO)
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The sockets of a node: one of each family that the host has and the settings ask for, at least one.
#[derive(Debug)]
pub struct Sockets {
    ipv4: Option<Socket>,
    ipv6: Option<Socket>,
    groups: Groups,
}

impl Sockets {
    /// Binds the sockets, all to one port.
    ///
    /// For `::`, a family that the host lacks is left out; a port that is taken in either is an error. Must be called
    /// within a tokio runtime.
    pub fn bind(settings: &SocketSettings) -> Result<Self, BindError> {
        let SocketSettings { address, port, ttl } = *settings;
        if address != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            let socket = Socket::bind((address, port).into(), ttl)?;
            let (ipv4, ipv6) = if address.is_ipv4() { (Some(socket), None) } else { (None, Some(socket)) };
            return Ok(Self { ipv4, ipv6, groups: Groups::default() });
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
        let port = ipv6.as_ref().map_or(port, |socket| socket.address.port());
        let ipv4 = optional(Socket::bind((Ipv4Addr::UNSPECIFIED, port).into(), ttl))?;
        match (ipv4, ipv6) {
            (Err(error), Err(_)) => Err(error),
            (ipv4, ipv6) => Ok(Self { ipv4: ipv4.ok(), ipv6: ipv6.ok(), groups: Groups::default() }),
        }
    }

    /// Hears groups and broadcasts on their ports, where these are not the node's own.
    ///
    /// To be called before the first join. Must be called within a tokio runtime.
    pub fn hear_groups(&mut self, settings: &FanoutSettings) -> Result<(), BindError> {
        let has = |family| self.family(family).is_some_and(Socket::hears_groups);
        self.groups = Groups::bind(settings, self.port(), has)?;
        Ok(())
    }

    /// Joins a group on an interface, by the socket that hears it.
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
                None => own(Family::Ipv6)?.options().join_multicast_v6(&group, interface),
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
                None => own(Family::Ipv6)?.options().leave_multicast_v6(&group, interface),
            },
        }
    }

    /// The addresses on which groups and broadcasts are heard beside the node's own.
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
        self.ipv4.iter().chain(&self.ipv6).map(|socket| socket.address)
    }

    /// The port, one for both families.
    pub fn port(&self) -> u16 {
        self.addresses().next().map_or(0, |address| address.port())
    }

    /// Waits for datagrams of either family and fills the batch with them; gives how many, at least one.
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

    /// Waits until any of the sockets, those of the groups among them, has something.
    async fn any_readable(&self) -> io::Result<()> {
        std::future::poll_fn(|context| {
            let mut ready = |socket: &Socket| match socket.io.poll_recv_ready(context) {
                Poll::Ready(ready) => Some(ready),
                Poll::Pending => None,
            };
            let own = self.ipv4.iter().chain(&self.ipv6).find_map(&mut ready);
            own.or_else(|| self.groups.find(&mut ready)).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Fills the batch with what has arrived on one of the sockets; [`io::ErrorKind::WouldBlock`] if nothing has.
    pub fn try_recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.turn = !batch.turn;
        let turn = batch.turn;
        let mut take = |socket: &Socket| match socket.try_recv(batch) {
            Ok(0) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            other => Some(other),
        };
        let taken = if turn {
            let own = self.ipv4.iter().chain(&self.ipv6).find_map(&mut take);
            own.or_else(|| self.groups.is_needed().then(|| self.groups.find(&mut take)).flatten())
        } else {
            let groups = self.groups.is_needed().then(|| self.groups.find(&mut take)).flatten();
            groups.or_else(|| self.ipv6.iter().chain(&self.ipv4).find_map(&mut take))
        };
        taken.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Sends all that waits in the batch and empties it.
    ///
    /// A datagram that the kernel refuses is given to `report` with its place, and stops none of the others. Where the
    /// kernel's buffer is full, the flush waits for at most 20 ms a family, then drops the rest.
    pub async fn flush(&self, batch: &mut SendBatch, mut report: impl FnMut(usize, io::Error)) -> Flushed {
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
#[path = "socket_tests.rs"]
mod tests;
