//! One bound UDP socket: its options, receiving in batches, and sending in batches.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::{debug, trace};

use super::batch::{Flushed, RecvBatch, SendBatch};
use super::holder::{Holder, udp_port_holder};
use super::sys;

/// The requested receive buffer: about 3,000 queries, so that no query is lost when a whole fleet
/// wakes at once. The kernel grants at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long a flush waits in all for room in the kernel's send buffer before it drops the rest.
const SEND_LIMIT: Duration = Duration::from_millis(20);

/// How many errors of earlier datagrams a receive skips before it waits again.
const MAX_STALE_ERRORS: usize = 32;

/// Why no socket could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program holds the port.
    #[error(
        "listen on {address}: port {port}/udp is taken{by}: {remedy}",
        port = .address.port(),
        by = holder_phrase(.holder.as_ref()),
        remedy = port_remedy(.address.ip())
    )]
    Taken {
        address: SocketAddr,
        /// The program that holds the port, where that may be read.
        holder: Option<Holder>,
    },
    /// The port needs a privilege.
    #[error(
        "listen on {address}: ports below {limit} need a privilege: set listen.port to {limit} or more",
        limit = 1024
    )]
    Privileged { address: SocketAddr },
    /// The host has no such address.
    #[error(
        "listen on {address}: no interface of this host has that address: set listen.address, '::' fits every host"
    )]
    NotHere { address: SocketAddr },
    /// Any other error.
    #[error("listen on {address}: {source}")]
    Io {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

fn holder_phrase(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || " by another program".to_owned(),
        |holder| format!(" by {holder}"),
    )
}

/// Sockets for groups and broadcasts can share their port with others; a node's own port can't be
/// shared.
fn port_remedy(ip: IpAddr) -> &'static str {
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        "stop it, or run it and this one as one user, if it is a hereabouts"
    } else {
        "stop it or set listen.port"
    }
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken {
                address,
                holder: udp_port_holder(address.port()),
            },
            io::ErrorKind::PermissionDenied => Self::Privileged { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Io { address, source },
        }
    }

    /// Whether the host lacks the address family.
    pub(super) fn is_missing_family(&self) -> bool {
        match self {
            Self::NotHere { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT)
                )
            }
            _ => false,
        }
    }
}

/// One bound UDP socket of one family.
#[derive(Debug)]
pub struct Socket {
    pub(super) io: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds a socket. It shares its port only with sockets of the same user that are bound to a
    /// group or to the broadcast address: a second daemon gets [`BindError::Taken`].
    ///
    /// Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr, ttl: u8) -> Result<Self, BindError> {
        let opened = Self::open(address, ttl, false).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse if address.port() != 0 && only_groups_hold(address) => {
                Self::open(address, ttl, true)
            }
            _ => Err(error),
        });
        let socket = opened.map_err(|source| BindError::new(address, source))?;
        // Only after the bind: before it, a second daemon of this user could bind the port. If it
        // fails, other programs can't receive the group on this port, which does not affect this
        // node.
        if let Err(error) = socket.options().set_reuse_port(true) {
            debug!(%address, %error, "the port is not shared with sockets of groups");
        }
        Ok(socket)
    }

    /// Binds a socket that receives a group or broadcasts and shares the port with others.
    pub(super) fn bind_shared(address: SocketAddr) -> Result<Self, BindError> {
        Self::open(address, 1, true).map_err(|source| BindError::new(address, source))
    }

    fn open(address: SocketAddr, ttl: u8, share: bool) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        // A smaller buffer than requested is acceptable.
        if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
            debug!(%address, %error, "the receive buffer keeps its default size");
        }
        let fd = socket.as_fd();
        if address.is_ipv4() {
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            // Never set "don't fragment": 1200 bytes must arrive through any tunnel.
            sys::set_option(
                fd,
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_DONT,
            )?;
            // Receive only the groups that this socket joined, and only on the interface where it
            // joined them.
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_ttl_v4(u32::from(ttl))?;
            // Other nodes on this host must receive the packets; this node recognizes its own
            // packets by the node id.
            socket.set_multicast_loop_v4(true)?;
            socket.set_broadcast(true)?;
        } else {
            socket.set_only_v6(true)?;
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(
                fd,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DONT,
            )?;
            // Since Linux 4.20. An older kernel delivers more packets; those of other channels are
            // dropped by their keys.
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

    /// Whether it receives groups and broadcasts: only a socket that is bound to every address
    /// does.
    pub fn receives_groups(&self) -> bool {
        self.address.ip().is_unspecified()
    }

    pub(super) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.io)
    }

    /// Fills the batch with the datagrams that have arrived; [`io::ErrorKind::WouldBlock`] if there
    /// are none.
    ///
    /// An ICMP error that an earlier datagram caused is not an error of receiving: it is skipped.
    pub fn try_recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        for _ in 0..MAX_STALE_ERRORS {
            match self
                .io
                .try_io(Interest::READABLE, || batch.fill(self.io.as_fd()))
            {
                Err(error) if is_stale(&error) => {
                    trace!(address = %self.address, %error, "an earlier datagram was not delivered");
                }
                other => return other,
            }
        }
        Ok(0)
    }

    /// Sends the datagrams of this socket's family that wait in the batch. The batch keeps them.
    pub(super) async fn send(
        &self,
        batch: &SendBatch,
        report: &mut impl FnMut(usize, io::Error),
    ) -> Flushed {
        let ipv4 = self.address.is_ipv4();
        let mut flushed = Flushed::default();
        let mut next = 0;
        let mut give_up = None;
        while let Some((first, _)) = batch.outgoing(ipv4, next).next() {
            let messages = || batch.outgoing(ipv4, first).map(|(_, outgoing)| outgoing);
            match self.io.try_io(Interest::WRITABLE, || {
                sys::send(self.io.as_fd(), messages())
            }) {
                Ok(sent) => {
                    // The kernel sends at least one datagram when it reports no error. Relying on
                    // that would risk an endless loop.
                    let sent = sent.max(1);
                    flushed.sent += sent;
                    next = batch
                        .outgoing(ipv4, first)
                        .nth(sent)
                        .map_or(usize::MAX, |(place, _)| place);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_full(&error) => {
                    let until =
                        *give_up.get_or_insert_with(|| tokio::time::Instant::now() + SEND_LIMIT);
                    if tokio::time::timeout_at(until, self.room(&error))
                        .await
                        .is_err()
                    {
                        for (place, _) in batch.outgoing(ipv4, first) {
                            flushed.dropped += 1;
                            report(place, io::ErrorKind::WouldBlock.into());
                        }
                        debug!(address = %self.address, dropped = flushed.dropped, %error, "the send buffer stayed full: datagrams are dropped");
                        break;
                    }
                }
                Err(error) => {
                    flushed.failed += 1;
                    trace!(address = %self.address, %error, "the kernel refused a datagram");
                    report(first, error);
                    next = first + 1;
                }
            }
        }
        flushed
    }

    /// Waits until sending may succeed again.
    async fn room(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            // An error of this wait is returned again by the next send.
            let _ = self.io.writable().await;
        } else {
            // ENOBUFS comes from the interface's queue, whose state is not part of the socket's
            // readiness.
            tokio::time::sleep(SEND_LIMIT / 10).await;
        }
    }
}

/// Whether an error belongs to an earlier datagram, not to this call.
fn is_stale(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    ) || error.raw_os_error() == Some(libc::EMSGSIZE)
        || error.raw_os_error() == Some(libc::EPROTO)
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Whether only sockets of groups keep a port from being bound: no socket holds it for this
/// host's own addresses.
fn only_groups_hold(wanted: SocketAddr) -> bool {
    // A socket that does not share conflicts with one that is bound to every address, and with no
    // group.
    let loopback: IpAddr = if wanted.is_ipv4() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    };
    std::net::UdpSocket::bind((loopback, wanted.port())).is_ok()
}
