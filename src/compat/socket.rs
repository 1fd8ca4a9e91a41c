//! The UDP sockets of the legacy protocols: a listener on a protocol's port, and a sender on a free port.
//!
//! Datagrams go in and out here, and nothing else. Multicast and broadcast count only on interfaces that the policy uses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;

use super::tally::Tally;
use crate::net::{
    Arrival, BindError, DATAGRAM_MAX, Family, Fanout, FanoutSettings, Interface, RecvBatch,
    SendBatch, SocketSettings, Sockets, Source, Target, broadcast_targets,
};

/// How long a socket that can't receive waits before it tries again.
const RECEIVE_PAUSE: Duration = Duration::from_millis(200);
/// How many routers a multicast datagram passes.
const TTL: u8 = 1;
/// The error of a broadcast without any target.
pub(super) const NO_BROADCAST: &str = "no interface that the policy uses can broadcast";

/// The sockets of one port, and the last batch of received datagrams.
pub(super) struct Listener {
    sockets: Sockets,
    batch: RecvBatch,
    outgoing: SendBatch,
    /// The index of the next datagram in the batch.
    next: usize,
    interfaces: watch::Receiver<Vec<Interface>>,
    groups: Option<Fanout>,
    counters: Counters,
    tally: Tally,
}

/// The names of a listener's counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    pub(super) too_long: &'static str,
    pub(super) interface: &'static str,
    pub(super) failed: &'static str,
}

impl Listener {
    /// Listens on a port; with `groups`, on the multicast groups of these settings too.
    pub(super) fn open(
        address: IpAddr,
        port: u16,
        groups: Option<FanoutSettings>,
        interfaces: watch::Receiver<Vec<Interface>>,
        counters: Counters,
        tally: Tally,
    ) -> Result<Self, BindError> {
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port,
            ttl: TTL,
        })?;
        Ok(Self {
            sockets,
            batch: RecvBatch::new(),
            outgoing: SendBatch::new(),
            next: 0,
            interfaces,
            groups: groups.map(Fanout::new),
            counters,
            tally,
        })
    }

    /// The addresses that are bound.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.addresses()
    }

    /// Waits for datagrams, which [`Self::next`] returns. Meanwhile the memberships follow the interfaces.
    pub(super) async fn receive(&mut self) {
        self.next = 0;
        loop {
            let Self {
                sockets,
                batch,
                interfaces,
                ..
            } = self;
            tokio::select! {
                received = sockets.recv(batch) => match received {
                    Ok(0) => {}
                    Ok(_) => return,
                    Err(error) => {
                        tracing::debug!(%error, "failed to receive by a legacy protocol");
                        self.tally.count(self.counters.failed);
                        tokio::time::sleep(RECEIVE_PAUSE).await;
                    }
                },
                Ok(()) = interfaces.changed() => self.update_memberships(),
            }
        }
    }

    /// The next received datagram that is whole and arrived on an interface that counts.
    pub(super) fn next(&mut self) -> Option<(&mut [u8], Arrival)> {
        loop {
            let index = self.next;
            self.next += 1;
            let (_, arrival) = self.batch.get_mut(index)?;
            let dropped = if arrival.truncated {
                self.counters.too_long
            } else if !self.counts(&arrival) {
                self.counters.interface
            } else {
                return self.batch.get_mut(index);
            };
            self.tally.count(dropped);
            tracing::trace!(peer = %arrival.from, interface = arrival.interface, dropped, "dropped a datagram");
        }
    }

    /// Whether a datagram counts. Multicast and broadcast count only on interfaces that the policy uses, and unicast
    /// always.
    fn counts(&self, arrival: &Arrival) -> bool {
        let family = Family::of(arrival.to);
        !arrival.is_multicast_or_broadcast()
            || self
                .interfaces
                .borrow()
                .iter()
                .any(|interface| interface.index == arrival.interface && interface.has(family))
    }

    fn update_memberships(&mut self) {
        let used = self.interfaces.borrow_and_update().clone();
        if let Some(groups) = &mut self.groups {
            for report in groups.reconcile(&self.sockets, &used) {
                tracing::debug!(?report, "membership of a legacy protocol");
            }
        }
    }

    /// Answers from the address to which the request was sent.
    pub(super) async fn answer(&mut self, arrival: &Arrival, bytes: &[u8]) -> io::Result<()> {
        send_datagram(
            &self.sockets,
            &mut self.outgoing,
            arrival.from,
            arrival.reply_source(),
            bytes,
        )
        .await
    }
}

/// A socket for requests, on a port that the system chooses.
pub(super) struct Sender {
    sockets: Sockets,
    batch: RecvBatch,
    outgoing: SendBatch,
}

impl Sender {
    /// Opens a socket of the address family of `peer`.
    pub(super) fn open(peer: IpAddr) -> Result<Self, BindError> {
        let address = if peer.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port: 0,
            ttl: TTL,
        })?;
        Ok(Self {
            sockets,
            batch: RecvBatch::new(),
            outgoing: SendBatch::new(),
        })
    }

    pub(super) async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        send_datagram(&self.sockets, &mut self.outgoing, to, None, bytes).await
    }

    /// Broadcasts a datagram to all broadcast addresses of these interfaces. Fails if none could be sent, with the last
    /// error.
    pub(super) async fn broadcast(
        &mut self,
        interfaces: &[Interface],
        port: u16,
        bytes: &[u8],
    ) -> Result<(), String> {
        let mut is_sent = false;
        let mut failure = None;
        for target in broadcast_targets(port, interfaces, &self.sockets) {
            match self.send_to(&target, bytes).await {
                Ok(()) => is_sent = true,
                Err(error) => {
                    tracing::debug!(peer = %target.to, %error, "failed to broadcast by a legacy protocol");
                    failure = Some(error);
                }
            }
        }
        match failure {
            _ if is_sent => Ok(()),
            Some(error) => Err(error.to_string()),
            None => Err(NO_BROADCAST.to_owned()),
        }
    }

    /// Broadcasts a datagram once on each network. Fails if none could be sent, with the last error.
    ///
    /// Only the limited broadcast address is used, as by the old programs: a host that receives the datagram at two
    /// addresses would do twice what it requests.
    pub(super) async fn broadcast_once(
        &mut self,
        interfaces: &[Interface],
        port: u16,
        bytes: &[u8],
    ) -> Result<(), String> {
        let targets = broadcast_targets(port, interfaces, &self.sockets);
        let is_limited = |target: &Target| target.to.ip() == Ipv4Addr::BROADCAST;
        // The loopback interface has only the directed broadcast address.
        let has_limited: Vec<_> = targets
            .iter()
            .filter(|target| is_limited(target))
            .map(|target| target.source)
            .collect();
        let mut outcome = Err(NO_BROADCAST.to_owned());
        for target in targets
            .iter()
            .filter(|target| is_limited(target) || !has_limited.contains(&target.source))
        {
            let sent = self.send_to(target, bytes).await;
            // One datagram that was sent is a success.
            if outcome.is_err() {
                outcome = sent.map_err(|error| error.to_string());
            }
        }
        outcome
    }

    async fn send_to(&mut self, target: &Target, bytes: &[u8]) -> io::Result<()> {
        send_datagram(
            &self.sockets,
            &mut self.outgoing,
            target.to,
            Some(target.source),
            bytes,
        )
        .await
    }

    /// Waits for datagrams. Returns how many there are for [`Self::datagram`].
    pub(super) async fn receive(&mut self) -> io::Result<usize> {
        self.sockets.recv(&mut self.batch).await
    }

    /// A received datagram by its index.
    pub(super) fn datagram(&mut self, index: usize) -> Option<(&mut [u8], Arrival)> {
        self.batch.get_mut(index)
    }
}

async fn send_datagram(
    sockets: &Sockets,
    batch: &mut SendBatch,
    to: SocketAddr,
    source: Option<Source>,
    bytes: &[u8],
) -> io::Result<()> {
    let fill = |buffer: &mut [u8; DATAGRAM_MAX]| {
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        length
    };
    // Every flush empties the batch, so one datagram always fits.
    let _ = batch.push(to, source, fill);
    let mut sent = Ok(());
    sockets.flush(batch, |_, error| sent = Err(error)).await;
    sent
}
