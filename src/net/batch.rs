//! Datagrams in batches, each with its source, its destination and its interface.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::sys::{self, BATCH, Outgoing};

/// The longest datagram of the protocol, in bytes.
pub const DATAGRAM_MAX: usize = 1200;

/// Bytes kept of a datagram that arrives: more than [`DATAGRAM_MAX`], so that longer datagrams are
/// recognized.
const RECEIVE_MAX: usize = 1500;

/// Datagrams that wait in a [`SendBatch`]: two system calls' worth, about 77 KiB.
const SEND_SLOTS: usize = 2 * BATCH;

/// The addresses of a datagram that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The sender; a link-local IPv6 address carries the interface as its scope.
    pub from: SocketAddr,
    /// The destination in its header: an address of this host, a group or a broadcast address.
    pub to: IpAddr,
    /// This host's address to answer from; `None` where the kernel chooses it (IPv6 groups).
    pub local: Option<IpAddr>,
    /// The index of the interface on which it arrived; 0 if the kernel did not report it.
    pub interface: u32,
    /// Whether it was longer than the buffer.
    pub truncated: bool,
}

impl Arrival {
    /// Whether it was sent to a broadcast address: neither to a group nor to the address that
    /// answers.
    pub fn is_broadcast(&self) -> bool {
        self.to.is_ipv4() && !self.to.is_multicast() && self.local != Some(self.to)
    }

    /// Whether it was sent to a group or to a broadcast address.
    pub fn is_multicast_or_broadcast(&self) -> bool {
        self.to.is_multicast() || self.is_broadcast()
    }

    /// The source of an answer: the address that the request was sent to, and the interface if an
    /// address is valid on one link only.
    ///
    /// For a request to a group or a broadcast address, it is the address of this host that the
    /// kernel chose.
    pub fn reply_source(&self) -> Option<Source> {
        let on_one_link = crate::model::Scope::of(self.from.ip()) == crate::model::Scope::Link;
        match self.local {
            Some(ip) => Some(Source {
                ip,
                interface: if on_one_link { self.interface } else { 0 },
            }),
            None if on_one_link => Some(Source {
                ip: unspecified(self.from),
                interface: self.interface,
            }),
            None => None,
        }
    }
}

fn unspecified(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    }
}

/// The source of a datagram that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// The source address; an unspecified address leaves the choice to the kernel.
    pub ip: IpAddr,
    /// The interface's index; 0 leaves the choice to the routes.
    pub interface: u32,
}

/// Datagrams that arrived together: 48 KiB, allocated once and reused.
pub struct RecvBatch {
    buffers: Box<[[u8; RECEIVE_MAX]]>,
    /// Buffer, length and arrival of each; never longer than the buffers.
    arrived: Vec<(usize, usize, Arrival)>,
    /// Which socket is read first next time, so that a flood on one family can't starve the other.
    pub(super) turn: bool,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvBatch {
    /// The maximum number of datagrams of one receive.
    pub const MAX: usize = BATCH;

    pub fn new() -> Self {
        let buffers = vec![[0; RECEIVE_MAX]; Self::MAX].into_boxed_slice();
        Self {
            buffers,
            arrived: Vec::with_capacity(Self::MAX),
            turn: false,
        }
    }

    /// A datagram of the last receive, by its place; `None` past the last.
    pub fn get_mut(&mut self, place: usize) -> Option<(&mut [u8], Arrival)> {
        let &(buffer, length, arrival) = self.arrived.get(place)?;
        Some((self.buffers.get_mut(buffer)?.get_mut(..length)?, arrival))
    }

    /// Refills the batch from a socket; `Ok(0)` only if every datagram was of an unknown address
    /// family.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.arrived.clear();
        let arrived = &mut self.arrived;
        sys::receive(socket, &mut self.buffers, |place, received| {
            let arrival = Arrival {
                from: received.from,
                to: received.to.unwrap_or_else(|| unspecified(received.from)),
                local: received.local,
                interface: received.interface,
                truncated: received.truncated,
            };
            arrived.push((place, received.length, arrival));
        })?;
        Ok(self.arrived.len())
    }
}

/// Datagrams that wait to be sent together, allocated once and reused.
pub struct SendBatch {
    buffers: Box<[[u8; DATAGRAM_MAX]]>,
    /// The datagram in the buffer of the same place; never longer than the buffers.
    queued: Vec<Queued>,
}

struct Queued {
    to: SocketAddr,
    source: Option<Source>,
    length: usize,
}

/// A send batch is full; flush it and push again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("queue a datagram: {max} datagrams wait already", max = SendBatch::MAX)]
pub struct Full;

/// The counts of a flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Passed to the kernel.
    pub sent: usize,
    /// Refused by the kernel, each reported.
    pub failed: usize,
    /// Dropped, because the kernel's buffer stayed full; each reported as
    /// [`io::ErrorKind::WouldBlock`].
    pub dropped: usize,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// The maximum number of datagrams that wait.
    pub const MAX: usize = SEND_SLOTS;

    pub fn new() -> Self {
        let buffers = vec![[0; DATAGRAM_MAX]; Self::MAX].into_boxed_slice();
        Self {
            buffers,
            queued: Vec::with_capacity(Self::MAX),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether the next push would fail.
    pub fn is_full(&self) -> bool {
        self.queued.len() == Self::MAX
    }

    /// Queues the datagram that `fill` writes; `fill` returns its length, and a length of 0 queues
    /// nothing.
    ///
    /// Returns the datagram's place, by which a flush reports it.
    pub fn push(
        &mut self,
        to: SocketAddr,
        source: Option<Source>,
        fill: impl FnOnce(&mut [u8; DATAGRAM_MAX]) -> usize,
    ) -> Result<usize, Full> {
        let place = self.queued.len();
        let buffer = self.buffers.get_mut(place).ok_or(Full)?;
        let length = fill(buffer).min(DATAGRAM_MAX);
        if length > 0 {
            self.queued.push(Queued { to, source, length });
        }
        Ok(place)
    }

    /// Drops the datagrams that wait.
    pub fn clear(&mut self) {
        self.queued.clear();
    }

    /// Whether a datagram to this family waits.
    pub(super) fn wants(&self, ipv4: bool) -> bool {
        self.queued.iter().any(|queued| queued.to.is_ipv4() == ipv4)
    }

    /// The datagrams of one family from a place on, with their places.
    pub(super) fn outgoing(
        &self,
        ipv4: bool,
        from: usize,
    ) -> impl Iterator<Item = (usize, Outgoing<'_>)> {
        let queued = self.queued.iter().zip(&self.buffers).enumerate().skip(from);
        queued
            .filter(move |(_, (queued, _))| queued.to.is_ipv4() == ipv4)
            .map(|(place, (queued, buffer))| {
                let source = queued.source.map(|source| (source.ip, source.interface));
                (
                    place,
                    Outgoing {
                        to: queued.to,
                        source,
                        bytes: &buffer[..queued.length],
                    },
                )
            })
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
