//! Links and addresses as the kernel reports them over netlink (RFC 3549, rtnetlink(7)).
//!
//! Only the needed attributes are read. An attribute that does not parse is skipped, and its
//! interface is kept: newer kernels send more than any decoder knows.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NlaBuffer, NlasIterator};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tokio::io::unix::AsyncFd;
use tracing::{debug, trace};

use super::{Interface, InterfaceAddress, sys};
use crate::model::InterfaceName;

/// The kernel writes at most 32 KiB into one message of a dump.
const BUFFER: usize = 64 << 10;
/// How long a dump may take: it takes microseconds.
const DUMP_LIMIT: Duration = Duration::from_secs(2);
/// How often a dump that a change interrupted is restarted before it is used as it is: the event of
/// that change causes the next dump.
const DUMP_TRIES: usize = 4;
/// The maximum number of messages that are read from the event socket in one go.
const EVENT_BURST: usize = 1024;

const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// An event of the event socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A link or an address changed.
    Changed,
    /// Events were lost.
    Overrun,
}

/// The kernel's events about links and addresses.
pub(super) struct Events {
    socket: AsyncFd<Socket>,
    buffer: Box<[u8]>,
}

impl Events {
    /// Subscribes to links, IPv4 addresses and IPv6 addresses. Must be called within a tokio
    /// runtime.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
        ] {
            socket.add_membership(group)?;
        }
        Ok(Self {
            socket: sys::ready(socket)?,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Waits for an event. May be dropped at any time.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut guard = self.socket.readable().await?;
            let mut event = None;
            for _ in 0..EVENT_BURST {
                match self
                    .socket
                    .get_ref()
                    .recv_from(&mut &mut self.buffer[..], 0)
                {
                    // Only the kernel (port 0) is trusted.
                    Ok((_, sender)) => {
                        if sender.port_number() == 0 && event.is_none() {
                            event = Some(Event::Changed);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        guard.clear_ready();
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        event = Some(Event::Overrun)
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(event) = event {
                trace!(?event, "the kernel reported a change of links or addresses");
                return Ok(event);
            }
        }
    }
}

/// Reads all links and addresses on demand.
pub(super) struct Reader {
    socket: AsyncFd<Socket>,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Reader {
    /// Must be called within a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Self::socket()?,
            sequence: 0,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    fn socket() -> io::Result<AsyncFd<Socket>> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        sys::ready(socket)
    }

    /// All interfaces, by index. May be dropped at any time: the remains of a dropped dump are
    /// recognized by their sequence number.
    pub(super) async fn interfaces(&mut self) -> io::Result<Vec<Interface>> {
        let mut table = Table::default();
        for tries_left in (0..DUMP_TRIES).rev() {
            table = Table::default();
            let read = async {
                let links = self.dump(libc::RTM_GETLINK, &mut table).await?;
                Ok::<_, io::Error>(self.dump(libc::RTM_GETADDR, &mut table).await? && links)
            };
            match tokio::time::timeout(DUMP_LIMIT, read)
                .await
                .map_err(|_| io::ErrorKind::TimedOut)?
            {
                Ok(true) => break,
                Ok(false) => trace!(
                    tries_left,
                    "a change interrupted the dump of the interfaces"
                ),
                // A dump that was dropped half-way is still open in the kernel; it ends with its
                // socket.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && tries_left > 0 => {
                    debug!(%error, "an older dump is still open: its socket is replaced");
                    self.socket = Self::socket()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(table.interfaces.into_values().collect())
    }

    /// Reads one dump; false if a change interrupted it.
    async fn dump(&mut self, request: u16, table: &mut Table) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = dump_request(request, self.sequence);
        self.socket
            .async_io(tokio::io::Interest::WRITABLE, |socket| {
                socket.send_to(&request, &SocketAddr::new(0, 0), 0)
            })
            .await?;
        let mut is_complete = true;
        loop {
            let buffer = &mut self.buffer;
            let (length, sender) = self
                .socket
                .async_io(tokio::io::Interest::READABLE, |socket| {
                    socket.recv_from(&mut &mut buffer[..], 0)
                })
                .await?;
            if sender.port_number() != 0 {
                continue;
            }
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((message, after)) = Message::split(rest) {
                rest = after;
                if message.sequence != self.sequence {
                    continue;
                }
                is_complete &= i32::from(message.flags) & libc::NLM_F_DUMP_INTR == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(is_complete),
                    libc::NLMSG_ERROR => return Err(message.error()),
                    _ => table.insert(&message),
                }
            }
        }
    }
}

/// A request for all entries of one kind; the body is a link header of zeros, long enough for
/// either kind.
fn dump_request(kind: u16, sequence: u32) -> [u8; HEADER + LINK_HEADER] {
    let mut request = [0; HEADER + LINK_HEADER];
    request[0..4].copy_from_slice(&((HEADER + LINK_HEADER) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of a buffer and the rest; `None` at the end or if the length is wrong.
    fn split(buffer: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = u32_at(buffer, 0)? as usize;
        let body = buffer.get(HEADER..length)?;
        let message = Self {
            kind: u16_at(buffer, 4)?,
            flags: u16_at(buffer, 6)?,
            sequence: u32_at(buffer, 8)?,
            body,
        };
        let next = length.next_multiple_of(4);
        Some((message, buffer.get(next..).unwrap_or_default()))
    }

    fn error(&self) -> io::Error {
        let code = u32_at(self.body, 0).map_or(0, |code| code as i32);
        io::Error::from_raw_os_error(
            code.checked_neg()
                .filter(|code| *code > 0)
                .unwrap_or(libc::EPROTO),
        )
    }

    /// The attributes after a header, up to the first one that is cut short.
    fn attributes(&self, header: usize) -> impl Iterator<Item = (u16, &'a [u8])> {
        attributes(self.body.get(header..).unwrap_or_default())
    }
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|attribute: NlaBuffer<&[u8]>| {
            let length = usize::from(attribute.length());
            (
                attribute.kind(),
                attribute.into_inner().get(4..length).unwrap_or_default(),
            )
        })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The interfaces of a dump, while it is read.
#[derive(Default)]
struct Table {
    interfaces: BTreeMap<u32, Interface>,
}

impl Table {
    fn insert(&mut self, message: &Message<'_>) {
        // A message that does not parse is skipped: an interface without a printable name can be
        // neither configured nor shown.
        let inserted = match message.kind {
            libc::RTM_NEWLINK => self.link(message),
            libc::RTM_NEWADDR => self.address(message),
            _ => None,
        };
        if inserted.is_none() {
            trace!(kind = message.kind, "a netlink message is skipped");
        }
    }

    fn link(&mut self, message: &Message<'_>) -> Option<()> {
        let index = u32_at(message.body, 4)?;
        let flags = u32_at(message.body, 8)?;
        let on = |flag: i32| flags & flag as u32 != 0;
        let mut name = None;
        let mut kind = None;
        for (attribute, value) in message.attributes(LINK_HEADER) {
            match attribute {
                libc::IFLA_IFNAME => {
                    name = text(value).and_then(|name| InterfaceName::parse(name).ok())
                }
                libc::IFLA_LINKINFO => kind = link_kind(value),
                _ => {}
            }
        }
        if self.interfaces.len() < Interface::MAX {
            let interface = Interface {
                index,
                name: name?,
                up: on(libc::IFF_UP) && on(libc::IFF_RUNNING),
                loopback: on(libc::IFF_LOOPBACK),
                multicast: on(libc::IFF_MULTICAST),
                broadcast: on(libc::IFF_BROADCAST),
                point_to_point: on(libc::IFF_POINTOPOINT),
                kind,
                addresses: Vec::new(),
            };
            self.interfaces.insert(index, interface);
        }
        Some(())
    }

    fn address(&mut self, message: &Message<'_>) -> Option<()> {
        let &[_, prefix, short_flags, ..] = message.body else {
            return None;
        };
        let interface = self.interfaces.get_mut(&u32_at(message.body, 4)?)?;
        let mut address = None;
        let mut local = None;
        let mut broadcast = None;
        let mut flags = u32::from(short_flags);
        for (attribute, value) in message.attributes(ADDRESS_HEADER) {
            match attribute {
                libc::IFA_ADDRESS => address = ip(value),
                libc::IFA_LOCAL => local = ip(value),
                libc::IFA_BROADCAST => {
                    broadcast = value
                        .first_chunk()
                        .map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
                }
                libc::IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
                _ => {}
            }
        }
        // On a point-to-point link `IFA_ADDRESS` is the peer's address.
        let ip = local.or(address)?;
        let on = |flag: u32| flags & flag != 0;
        let is_unchecked = on(libc::IFA_F_TENTATIVE) && !on(libc::IFA_F_OPTIMISTIC);
        if interface.addresses.len() < Interface::MAX_ADDRESSES {
            interface.addresses.push(InterfaceAddress {
                ip,
                prefix,
                broadcast: broadcast.filter(|_| ip.is_ipv4()),
                // The same bit means "secondary" for IPv4, which does not matter.
                temporary: ip.is_ipv6() && on(libc::IFA_F_TEMPORARY),
                deprecated: on(libc::IFA_F_DEPRECATED),
                tentative: is_unchecked || on(libc::IFA_F_DADFAILED),
            });
        }
        Some(())
    }
}

fn link_kind(nested: &[u8]) -> Option<Box<str>> {
    let (_, value) =
        attributes(nested).find(|(attribute, _)| *attribute == libc::IFLA_INFO_KIND)?;
    text(value)
        .filter(|kind| {
            kind.len() <= InterfaceName::MAX && kind.bytes().all(|b| b.is_ascii_graphic())
        })
        .map(Into::into)
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

#[cfg(test)]
#[path = "netlink_tests.rs"]
mod tests;
