//! The sockets of an ancestor's wire: what is heard on its port, and what is said.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;

use super::tally::Tally;
use crate::net::{
    Arrival, BindError, DATAGRAM_MAX, Family, Fanout, FanoutSettings, Interface, RecvBatch,
    SendBatch, SocketSettings, Sockets, Source, Target, broadcast_targets,
};

/// How long a socket that can't receive rests before it tries again.
const PAUSE: Duration = Duration::from_millis(200);
/// How many routers a multicast datagram passes.
const TTL: u8 = 1;

/// The sockets of one port and what arrived last.
pub(super) struct Ears {
    sockets: Sockets,
    batch: RecvBatch,
    outgoing: SendBatch,
    next: usize,
    interfaces: watch::Receiver<Vec<Interface>>,
    groups: Option<Fanout>,
    counts: Counts,
    tally: Tally,
}

/// The names of what is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) too_long: &'static str,
    pub(super) interface: &'static str,
    pub(super) failed: &'static str,
}

impl Ears {
    /// Listens on a port; with `groups`, on the multicast groups of these settings too.
    pub(super) fn open(
        address: IpAddr,
        port: u16,
        groups: Option<FanoutSettings>,
        interfaces: watch::Receiver<Vec<Interface>>,
        counts: Counts,
        tally: Tally,
    ) -> Result<Self, BindError> {
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port,
            ttl: TTL,
        })?;
        let groups = groups.map(Fanout::new);
        let (batch, outgoing) = (RecvBatch::new(), SendBatch::new());
        Ok(Self {
            sockets,
            batch,
            outgoing,
            next: 0,
            interfaces,
            groups,
            counts,
            tally,
        })
    }

    /// The addresses that are bound.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.addresses()
    }

    /// Waits for datagrams, which [`Self::next`] gives. Meanwhile follows the interfaces.
    pub(super) async fn hear(&mut self) {
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
                        tracing::debug!(%error, "failed to receive by an ancestor's wire");
                        self.tally.count(self.counts.failed);
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Ok(()) = interfaces.changed() => self.join(),
            }
        }
    }

    /// The next datagram of those that arrived, that is whole and came by a way that the policy takes.
    pub(super) fn next(&mut self) -> Option<(&mut [u8], Arrival)> {
        loop {
            let place = self.next;
            self.next += 1;
            let (_, arrival) = self.batch.get_mut(place)?;
            if arrival.truncated {
                self.tally.count(self.counts.too_long);
            } else if !self.takes(&arrival) {
                self.tally.count(self.counts.interface);
            } else {
                return self.batch.get_mut(place);
            }
        }
    }

    /// What was sent to everybody counts only on interfaces that the policy takes; what was sent to this host, always.
    fn takes(&self, arrival: &Arrival) -> bool {
        let family = Family::of(arrival.to);
        let taken =
            |interface: &Interface| interface.index == arrival.interface && interface.has(family);
        !arrival.is_to_everybody() || self.interfaces.borrow().iter().any(taken)
    }

    fn join(&mut self) {
        let taken = self.interfaces.borrow_and_update().clone();
        if let Some(groups) = &mut self.groups {
            for report in groups.reconcile(&self.sockets, &taken) {
                tracing::debug!(?report, "membership of an ancestor's wire");
            }
        }
    }

    /// Sends an answer from the address that was spoken to.
    pub(super) async fn answer(&mut self, arrival: &Arrival, bytes: &[u8]) -> io::Result<()> {
        send(
            &self.sockets,
            &mut self.outgoing,
            arrival.from,
            arrival.reply_source(),
            bytes,
        )
        .await
    }
}

/// A socket to speak with, on a port that the system chooses.
pub(super) struct Mouth {
    sockets: Sockets,
    batch: RecvBatch,
    outgoing: SendBatch,
}

impl Mouth {
    /// A socket of the family of an address.
    pub(super) fn open(like: IpAddr) -> Result<Self, BindError> {
        let address = if like.is_ipv4() {
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

    /// Sends one datagram.
    pub(super) async fn say(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        send(&self.sockets, &mut self.outgoing, to, None, bytes).await
    }

    /// Broadcasts a datagram on every interface of these; how many times it went out, and why it last did not.
    pub(super) async fn broadcast(
        &mut self,
        interfaces: &[Interface],
        port: u16,
        bytes: &[u8],
    ) -> (usize, Option<io::Error>) {
        let (mut sent, mut failure) = (0, None);
        for target in broadcast_targets(port, interfaces, &self.sockets) {
            match send(
                &self.sockets,
                &mut self.outgoing,
                target.to,
                Some(target.source),
                bytes,
            )
            .await
            {
                Ok(()) => sent += 1,
                Err(error) => failure = Some(error),
            }
        }
        (sent, failure)
    }

    /// Broadcasts a datagram once on each network; why it went out nowhere, if so.
    ///
    /// By the limited broadcast alone, as the old programs did: whoever hears two addresses would do twice what is asked.
    pub(super) async fn broadcast_once(
        &mut self,
        interfaces: &[Interface],
        port: u16,
        bytes: &[u8],
    ) -> Result<(), String> {
        let targets = broadcast_targets(port, interfaces, &self.sockets);
        let is_limited = |target: &Target| target.to.ip() == Ipv4Addr::BROADCAST;
        // The loopback interface has the directed one alone.
        let has_limited: Vec<_> = targets
            .iter()
            .filter(|one| is_limited(one))
            .map(|one| one.source)
            .collect();
        let mut outcome = Err("no interface that the policy takes can broadcast".to_owned());
        for target in targets
            .iter()
            .filter(|target| is_limited(target) || !has_limited.contains(&target.source))
        {
            let sent = send(
                &self.sockets,
                &mut self.outgoing,
                target.to,
                Some(target.source),
                bytes,
            )
            .await;
            // One that left is enough.
            if outcome.is_err() {
                outcome = sent.map_err(|error| error.to_string());
            }
        }
        outcome
    }

    /// Waits for datagrams, and gives how many there are for [`Self::heard`].
    pub(super) async fn hear(&mut self) -> io::Result<usize> {
        self.sockets.recv(&mut self.batch).await
    }

    /// A datagram of those that arrived.
    pub(super) fn heard(&mut self, place: usize) -> Option<(&mut [u8], Arrival)> {
        self.batch.get_mut(place)
    }
}

async fn send(
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
    // Every flush leaves the batch empty, so one always fits.
    let _ = batch.push(to, source, fill);
    let mut sent = Ok(());
    sockets.flush(batch, |_, error| sent = Err(error)).await;
    sent
}
