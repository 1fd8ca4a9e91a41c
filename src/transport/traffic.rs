//! Messages in and out: opened from datagrams, and sealed into them, in batches.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zeroize::Zeroizing;

use super::nonces::Nonces;
use super::{Counters, ReturnPath};
use crate::model::Method;
use crate::net::{
    self, Arrival, DATAGRAM_MAX, Family, Fanout, FanoutMethod, FanoutSettings, Interface, Policy,
    RecvBatch, Report, SendBatch, Sockets, Source,
};
use crate::wire::KeyId;
use crate::wire::keyring::KeyRing;
use crate::wire::seal::{self, Dropped, Nonce};
use crate::wire::v1::{Message, QUERY_DATAGRAM, Refusal, Refused};

/// The reason for which a multicast or broadcast datagram is dropped that came in by an interface the policy does not use.
const UNUSED_INTERFACE: &str = "interface";

/// Sockets, key ring and buffers of a node, or of one command that queries the network.
pub(crate) struct Traffic {
    pub(crate) sockets: Sockets,
    pub(crate) fanout: Fanout,
    pub(crate) policy: Policy,
    pub(crate) key_ring: KeyRing,
    outgoing: SendBatch,
    nonces: Nonces,
    /// The targets of queued multicast and broadcast datagrams, by their place in the batch.
    targets: Vec<(usize, net::Target)>,
}

/// A datagram that opened, and where it came from.
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) received_by: Method,
    pub(crate) return_path: ReturnPath,
    pub(crate) key: KeyId,
    pub(crate) nonce: Nonce,
    pub(crate) message: Message,
}

/// A datagram that did not open.
pub(crate) struct Rejected {
    pub(crate) from: SocketAddr,
    pub(crate) return_path: ReturnPath,
    /// Whether its key is of another channel, and it is as long as a query. A hint that answers it is shorter than a query:
    /// two servers that don't know each other's keys must not answer each other's hints for ever.
    pub(crate) foreign: bool,
}

/// The key that seals a message.
enum SealedWith {
    /// The channel's first key.
    ChannelKey,
    /// The key that any channel derives from the same secret, whatever the channel's name is.
    HintKey,
}

impl Traffic {
    pub(crate) fn new(
        sockets: Sockets,
        settings: FanoutSettings,
        policy: Policy,
        key_ring: KeyRing,
    ) -> Self {
        Self {
            sockets,
            fanout: Fanout::new(settings),
            policy,
            key_ring,
            outgoing: SendBatch::new(),
            nonces: Nonces::default(),
            targets: Vec::new(),
        }
    }

    /// Joins and leaves groups so that they fit the interfaces as they are now.
    pub(crate) fn reconcile(&mut self, interfaces: &[Interface]) -> Vec<Report> {
        let used = self.policy.used(interfaces);
        self.fanout.reconcile(&self.sockets, &used)
    }

    /// Opens one datagram of a batch. A datagram that does not open is counted by its reason; `Err(None)` is one that
    /// nothing may answer.
    pub(crate) fn open(
        &self,
        batch: &mut RecvBatch,
        place: usize,
        counters: &mut Counters,
    ) -> Result<Received, Option<Rejected>> {
        let Some((bytes, arrival)) = batch.get_mut(place) else {
            return Err(None);
        };
        counters.received += 1;
        if let Some(reason) = self.refuses(&arrival) {
            counters.dropped(reason);
            return Err(None);
        }
        let from = arrival.from;
        let length = bytes.len();
        let return_path = ReturnPath::of(&arrival, length);
        let rejected = |reason, foreign| {
            tracing::trace!(peer = %from, length, reason, "datagram dropped");
            Err(Some(Rejected {
                from,
                return_path,
                foreign,
            }))
        };
        let opened = match seal::open(&self.key_ring, bytes) {
            // The lookup ended at an unknown key id, so the bytes are untouched and can be tried as a hint.
            Err(Dropped::UnknownKey) => {
                seal::open_hint(&self.key_ring, bytes).map_err(|_| Dropped::UnknownKey)
            }
            opened => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                counters.dropped(reason.as_str());
                let foreign = matches!(reason, Dropped::UnknownKey) && length >= QUERY_DATAGRAM;
                return rejected(reason.as_str(), foreign);
            }
        };
        let Ok(message) = Message::decode(opened.payload) else {
            counters.undecodable += 1;
            return rejected("undecodable", false);
        };
        let is_hint = self.key_ring.by_id(opened.key).is_none();
        if is_hint && !names_channel(&message) {
            counters.undecodable += 1;
            return Err(None);
        }
        tracing::trace!(peer = %from, kind = message.kind(), "message received");
        Ok(Received {
            from,
            received_by: method_of(&arrival),
            return_path,
            key: opened.key,
            nonce: opened.nonce,
            message,
        })
    }

    /// The reason for which a datagram is dropped whatever its content is.
    fn refuses(&self, arrival: &Arrival) -> Option<&'static str> {
        if !self.uses(arrival) {
            Some(UNUSED_INTERFACE)
        } else if arrival.truncated {
            Some(Dropped::TooLong.as_str())
        } else {
            None
        }
    }

    /// Whether a datagram counts by the interface that it came in by. Multicast and broadcast count only on interfaces
    /// that the policy uses. Unicast to this host always counts: it may take any route that reaches the address
    /// (loopback, NAT, the interface of a pod or of a tunnel).
    fn uses(&self, arrival: &Arrival) -> bool {
        // A kernel that does not name the interface does not distinguish a broadcast from unicast either.
        !arrival.is_multicast_or_broadcast()
            || arrival.interface == 0
            || self.fanout.uses(arrival.interface, Family::of(arrival.to))
    }

    /// Queues an answer. An answer that is longer than its return path allows is counted and not sent.
    pub(crate) async fn reply(
        &mut self,
        path: ReturnPath,
        message: &Message,
        counters: &mut Counters,
    ) {
        let via = path.via;
        let source = (via.local.is_some() || via.interface != 0).then(|| Source {
            ip: via.local.unwrap_or_else(|| unspecified(path.to)),
            interface: via.interface,
        });
        let key = SealedWith::ChannelKey;
        self.queue(path.to, source, message, key, path.limit(), counters)
            .await;
    }

    /// Queues a refusal for a peer that holds the same key under another channel name.
    pub(crate) async fn hint(
        &mut self,
        path: ReturnPath,
        message: &Message,
        counters: &mut Counters,
    ) {
        let source = path.via.local.map(|ip| Source {
            ip,
            interface: path.via.interface,
        });
        let key = SealedWith::HintKey;
        self.queue(path.to, source, message, key, path.limit(), counters)
            .await;
    }

    /// Queues a message for one address, on the node's own account.
    pub(crate) async fn send(
        &mut self,
        to: SocketAddr,
        message: &Message,
        counters: &mut Counters,
    ) {
        let key = SealedWith::ChannelKey;
        self.queue(to, None, message, key, DATAGRAM_MAX, counters)
            .await;
    }

    /// Sends one message by multicast or broadcast on every interface in use. An error means that it left on none.
    pub(crate) async fn send_to_all(
        &mut self,
        method: Method,
        message: &Message,
        counters: &mut Counters,
    ) -> Result<(), String> {
        let fanout = match method {
            Method::Multicast => FanoutMethod::Multicast,
            Method::Broadcast => FanoutMethod::Broadcast,
            // Messages of these methods go to one address each.
            Method::Mdns | Method::Unicast => return Ok(()),
        };
        let mut sealed = Zeroizing::new([0; DATAGRAM_MAX]);
        let nonce = self.nonces.next();
        let Ok(length) = message.seal(self.key_ring.first(), &nonce, &mut *sealed) else {
            counters.undecodable += 1;
            return Ok(());
        };
        self.flush(counters).await;
        let targets: Vec<_> = self.fanout.targets(fanout).to_vec();
        if targets.is_empty() {
            return Err("no interface in use can carry it".to_owned());
        }
        tracing::trace!(%method, kind = message.kind(), targets = targets.len(), "message sent to all");
        let mut last_error = None;
        let count = targets.len();
        let mut failures = 0;
        for target in targets {
            if self.outgoing.is_full() {
                failures += self.flush_targets(&mut last_error, counters).await;
            }
            let fill = |buffer: &mut [u8; DATAGRAM_MAX]| {
                buffer[..length].copy_from_slice(&sealed[..length]);
                length
            };
            if let Ok(place) = self.outgoing.push(target.to, Some(target.source), fill) {
                self.targets.push((place, target));
            }
        }
        failures += self.flush_targets(&mut last_error, counters).await;
        match last_error {
            Some(error) if failures == count => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Sends all queued datagrams.
    pub(crate) async fn flush(&mut self, counters: &mut Counters) {
        if self.outgoing.is_empty() {
            return;
        }
        let flushed = self
            .sockets
            .flush(
                &mut self.outgoing,
                |_, error| tracing::debug!(%error, "failed to send"),
            )
            .await;
        counters.sent += flushed.sent as u64;
        counters.send_errors += (flushed.failed + flushed.dropped) as u64;
    }

    /// Sends all queued multicast and broadcast datagrams, and notes for each interface whether it can send.
    async fn flush_targets(
        &mut self,
        last: &mut Option<io::Error>,
        counters: &mut Counters,
    ) -> usize {
        let mut errors = Vec::new();
        let flushed = self
            .sockets
            .flush(&mut self.outgoing, |place, error| {
                errors.push((place, error))
            })
            .await;
        counters.sent += flushed.sent as u64;
        counters.send_errors += (flushed.failed + flushed.dropped) as u64;
        for (place, target) in self.targets.drain(..) {
            let error = errors
                .iter()
                .find(|(failed, _)| *failed == place)
                .map(|(_, error)| error);
            if let Some(error) = error {
                tracing::debug!(interface = target.source.interface, peer = %target.to, %error, "failed to send to all");
            }
            self.fanout.count_send(
                target.source.interface,
                target.family,
                error.map_or(Ok(()), Err),
            );
        }
        let failures = errors.len();
        if let Some((_, error)) = errors.pop() {
            *last = Some(error);
        }
        failures
    }

    /// Queues a datagram of at most `limit` bytes; a longer one is counted and not sent.
    async fn queue(
        &mut self,
        to: SocketAddr,
        source: Option<Source>,
        message: &Message,
        key: SealedWith,
        limit: usize,
        counters: &mut Counters,
    ) {
        if self.outgoing.is_full() {
            self.flush(counters).await;
        }
        let key = match key {
            SealedWith::ChannelKey => self.key_ring.first(),
            SealedWith::HintKey => match self.key_ring.hint_keys().first() {
                Some(key) => key,
                None => return,
            },
        };
        let nonce = self.nonces.next();
        let fill = |buffer: &mut [u8; DATAGRAM_MAX]| match message.seal(key, &nonce, buffer) {
            Ok(length) if length <= limit => {
                tracing::trace!(peer = %to, kind = message.kind(), length, "message queued");
                length
            }
            Ok(length) => {
                tracing::debug!(peer = %to, kind = message.kind(), length, limit, "answer held back: it is too long for its request");
                counters.too_long_replies += 1;
                0
            }
            Err(error) => {
                tracing::error!(%error, kind = message.kind(), "failed to encode a message: this is a bug");
                0
            }
        };
        // The batch can't be full after the flush above; if it were, the datagram would be lost like any other.
        let _ = self.outgoing.push(to, source, fill);
    }
}

/// Whether a message is the refusal that names the sender's channel: a hint key may seal no other message.
fn names_channel(message: &Message) -> bool {
    matches!(
        message,
        Message::Refused(Refused {
            refusal: Refusal::Channel { .. },
            ..
        })
    )
}

fn method_of(arrival: &Arrival) -> Method {
    if arrival.to.is_multicast() {
        Method::Multicast
    } else if arrival.is_broadcast() {
        Method::Broadcast
    } else {
        Method::Unicast
    }
}

fn unspecified(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

#[cfg(test)]
mod tests;
