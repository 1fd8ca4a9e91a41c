//! Messages in and out: opened and sealed, in batches.

use std::io;
use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use super::Counters;
use crate::model::Method;
use crate::net::{
    self, Arrival, DATAGRAM_MAX, Family, Fanout, FanoutMethod, FanoutSettings, Interface, Policy,
    RecvBatch, Report, SendBatch, Sockets, Source,
};
use crate::wire::KeyId;
use crate::wire::keyring::KeyRing;
use crate::wire::seal::{self, Dropped, Nonce};
use crate::wire::v1::{Message, QUERY_DATAGRAM, Refusal, Refused};

/// Why a datagram to everybody is dropped that came in by an interface that the policy does not take.
const NOT_TAKEN: &str = "interface";

/// Where a datagram came from, and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via {
    /// The address of this node that was spoken to, if it was one of its own: the answer leaves from it.
    pub local: Option<IpAddr>,
    /// The interface it came in by.
    pub interface: u32,
}

/// Sockets, key ring and buffers of a node or of one command that asks.
pub(crate) struct Traffic {
    pub(crate) sockets: Sockets,
    pub(crate) fanout: Fanout,
    pub(crate) policy: Policy,
    pub(crate) key_ring: KeyRing,
    outgoing: SendBatch,
    nonces: Nonces,
    /// Where queued datagrams that go to everybody belong, by their place in the batch.
    targets: Vec<(usize, net::Target)>,
}

/// A datagram that opened, and where it came from.
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) came_by: Method,
    pub(crate) via: Via,
    pub(crate) key: KeyId,
    pub(crate) nonce: Nonce,
    pub(crate) length: usize,
    pub(crate) message: Message,
}

/// A datagram that did not open.
pub(crate) struct Rejected {
    pub(crate) from: SocketAddr,
    pub(crate) via: Via,
    pub(crate) length: usize,
    /// Whether the channel key is not one of ours, and it is as long as a query: what answers it is shorter, so that two
    /// servers that don't know each other's keys don't answer each other's answers for ever.
    pub(crate) foreign: bool,
}

impl Traffic {
    pub(crate) fn new(
        sockets: Sockets,
        settings: FanoutSettings,
        policy: Policy,
        key_ring: KeyRing,
    ) -> Self {
        let (outgoing, nonces) = (SendBatch::new(), Nonces::default());
        Self {
            sockets,
            fanout: Fanout::new(settings),
            policy,
            key_ring,
            outgoing,
            nonces,
            targets: Vec::new(),
        }
    }

    /// Follows the interfaces as they are now.
    pub(crate) fn reconcile(&mut self, interfaces: &[Interface]) -> Vec<Report> {
        let taken = self.policy.used(interfaces);
        self.fanout.reconcile(&self.sockets, &taken)
    }

    /// Opens one datagram of a batch; what does not open is counted by its reason.
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
        if !self.takes(&arrival) {
            counters.dropped(NOT_TAKEN);
            return Err(None);
        }
        let Arrival {
            from, truncated, ..
        } = arrival;
        let length = bytes.len();
        let via = way_back(&arrival);
        if truncated {
            counters.dropped(Dropped::TooLong.as_str());
            return Err(None);
        }
        let opened = match seal::open(&self.key_ring, bytes) {
            Err(Dropped::UnknownKey) => {
                // The lookup ended at an unknown key id, so the bytes are untouched and can be tried as a hint.
                seal::open_hint(&self.key_ring, bytes).map_err(|_| {
                    counters.dropped(Dropped::UnknownKey.as_str());
                    Some(Rejected {
                        from,
                        via,
                        length,
                        foreign: length >= QUERY_DATAGRAM,
                    })
                })?
            }
            Err(reason) => {
                counters.dropped(reason.as_str());
                return Err(Some(Rejected {
                    from,
                    via,
                    length,
                    foreign: false,
                }));
            }
            Ok(opened) => opened,
        };
        let Ok(message) = Message::decode(opened.payload) else {
            counters.undecodable += 1;
            return Err(Some(Rejected {
                from,
                via,
                length,
                foreign: false,
            }));
        };
        let hint = self.key_ring.by_id(opened.key).is_none();
        if hint
            && !matches!(
                message,
                Message::Refused(Refused {
                    refusal: Refusal::Channel { .. },
                    ..
                })
            )
        {
            counters.undecodable += 1;
            return Err(None);
        }
        Ok(Received {
            from,
            came_by: came_by(&arrival),
            via,
            key: opened.key,
            nonce: opened.nonce,
            length,
            message,
        })
    }

    /// What was sent to everybody counts only on interfaces that the policy takes; what was sent to this host, always: it
    /// may come by whatever way its address is reached (loopback, NAT, a pod's or a tunnel's interface).
    fn takes(&self, arrival: &Arrival) -> bool {
        // A kernel that does not name the interface does not tell a broadcast from what was sent to this host either.
        !arrival.is_to_everybody()
            || arrival.interface == 0
            || self.fanout.takes(arrival.interface, Family::of(arrival.to))
    }

    /// Queues an answer of at most `most` bytes; false if it would be longer.
    pub(crate) async fn reply(
        &mut self,
        to: SocketAddr,
        via: Via,
        message: &Message,
        most: usize,
        counters: &mut Counters,
    ) -> bool {
        let source = (via.local.is_some() || via.interface != 0).then(|| Source {
            ip: via.local.unwrap_or_else(|| unspecified(to)),
            interface: via.interface,
        });
        self.queue(to, source, message, false, most, counters)
            .await
            .is_some()
    }

    /// Queues a refusal for somebody who holds the same key under another channel name.
    pub(crate) async fn hint(
        &mut self,
        to: SocketAddr,
        via: Via,
        message: &Message,
        most: usize,
        counters: &mut Counters,
    ) {
        let source = via.local.map(|ip| Source {
            ip,
            interface: via.interface,
        });
        self.queue(to, source, message, true, most, counters).await;
    }

    /// Queues a message for one address.
    pub(crate) async fn send(
        &mut self,
        to: SocketAddr,
        message: &Message,
        counters: &mut Counters,
    ) {
        self.queue(to, None, message, false, DATAGRAM_MAX, counters)
            .await;
    }

    /// Sends one message to everybody by a method; why it reached nobody, if so.
    pub(crate) async fn send_to_all(
        &mut self,
        method: Method,
        message: &Message,
        counters: &mut Counters,
    ) -> Result<(), String> {
        let fanout = match method {
            Method::Multicast => FanoutMethod::Multicast,
            Method::Broadcast => FanoutMethod::Broadcast,
            // These go to one address each.
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
            return Err("no interface that the policy takes can carry it".to_owned());
        }
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

    /// Sends what is queued.
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
            self.fanout.note_send(
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

    /// Queues a datagram; `None` if it was longer than allowed, or could not be sealed.
    async fn queue(
        &mut self,
        to: SocketAddr,
        source: Option<Source>,
        message: &Message,
        hint: bool,
        most: usize,
        counters: &mut Counters,
    ) -> Option<()> {
        if self.outgoing.is_full() {
            self.flush(counters).await;
        }
        let Self {
            key_ring,
            nonces,
            outgoing,
            ..
        } = self;
        let key = if hint {
            key_ring.hint_keys().first()?
        } else {
            key_ring.first()
        };
        let nonce = nonces.next();
        let mut queued = None;
        let fill = |buffer: &mut [u8; DATAGRAM_MAX]| match message.seal(key, &nonce, buffer) {
            Ok(length) if length <= most => {
                queued = Some(());
                length
            }
            Ok(_) => {
                counters.too_long_replies += 1;
                0
            }
            Err(error) => {
                tracing::error!(%error, kind = message.kind(), "failed to encode a message: this is a bug");
                0
            }
        };
        // Full is impossible after the flush above; were it not, the datagram would be lost like any other.
        let _ = outgoing.push(to, source, fill);
        queued
    }
}

fn came_by(arrival: &Arrival) -> Method {
    if arrival.to.is_multicast() {
        Method::Multicast
    } else if arrival.is_broadcast() {
        Method::Broadcast
    } else {
        Method::Unicast
    }
}

fn way_back(arrival: &Arrival) -> Via {
    match arrival.reply_source() {
        Some(Source { ip, interface }) => Via {
            local: (!ip.is_unspecified()).then_some(ip),
            interface,
        },
        None => Via {
            local: None,
            interface: 0,
        },
    }
}

fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    if like.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    }
}

/// Nonces from the system's randomness, drawn for many datagrams at a time: a system call for each would be dear.
#[derive(Default)]
struct Nonces {
    drawn: Vec<Nonce>,
}

impl Nonces {
    const AT_A_TIME: usize = 128;
    const LENGTH: usize = size_of::<Nonce>();

    fn next(&mut self) -> Nonce {
        if let Some(nonce) = self.drawn.pop() {
            return nonce;
        }
        let mut bytes = [0; Self::AT_A_TIME * Self::LENGTH];
        #[expect(
            clippy::expect_used,
            reason = "a system without randomness can't keep a secret: nothing may be sent"
        )]
        getrandom::fill(&mut bytes).expect("the system gives randomness");
        let (last, others) = bytes
            .as_chunks::<{ Self::LENGTH }>()
            .0
            .split_last()
            .unwrap_or((&[0; Self::LENGTH], &[]));
        self.drawn.extend(others);
        *last
    }
}

/// A random number for jitter and query ids.
pub(crate) fn random_seed() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|_| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use super::*;
    use crate::model::Timestamp;
    use crate::net::SocketSettings;
    use crate::wire::keyring::{ChannelKey, Secret};
    use crate::wire::v1::{Query, Regarding, Want};

    fn key_ring(channel: &str, key: u8) -> KeyRing {
        KeyRing::new(channel, &[Secret::key([key; 32])]).unwrap()
    }

    fn sealed(key: &ChannelKey, message: &Message) -> Vec<u8> {
        let mut out = vec![0; seal::MAX_DATAGRAM];
        let length = message.seal(key, &[7; 24], &mut out).unwrap();
        out.truncate(length);
        out
    }

    fn query() -> Message {
        let (clock, window) = (Timestamp(1), Duration::ZERO);
        Message::Query(Query {
            id: 1,
            want: Want::Servers,
            clock,
            window,
        })
    }

    fn refused(refusal: Refusal) -> Message {
        Message::Refused(Refused {
            regarding: Regarding::Query(0),
            refusal,
        })
    }

    /// What a node of channel `home` with key 1 makes of a datagram.
    async fn opened(bytes: &[u8]) -> Result<Received, Option<Rejected>> {
        let address = Ipv4Addr::LOCALHOST.into();
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port: 0,
            ttl: 1,
        })
        .unwrap();
        let settings = FanoutSettings {
            ipv4_group: Ipv4Addr::new(239, 255, 43, 73),
            ipv6_group: "ff12::4373".parse().unwrap(),
            port: 1,
            broadcast_port: 1,
        };
        let policy = Policy {
            include: Vec::new(),
            exclude: Vec::new(),
            ipv4: true,
            ipv6: true,
            link_local: false,
            loopback: true,
        };
        let traffic = Traffic::new(sockets, settings, policy, key_ring("home", 1));
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender
            .send_to(bytes, (Ipv4Addr::LOCALHOST, traffic.sockets.port()))
            .unwrap();
        let mut batch = RecvBatch::new();
        let received =
            tokio::time::timeout(Duration::from_secs(10), traffic.sockets.recv(&mut batch));
        assert_eq!(received.await.expect("it arrives").unwrap(), 1);
        traffic.open(&mut batch, 0, &mut Counters::default())
    }

    fn is_answered_by_a_hint(outcome: Result<Received, Option<Rejected>>) -> bool {
        matches!(outcome, Err(Some(Rejected { foreign: true, .. })))
    }

    #[tokio::test]
    async fn a_hint_answers_what_is_as_long_as_a_query_and_so_no_hint() {
        let stranger = key_ring("work", 2);
        assert!(is_answered_by_a_hint(
            opened(&sealed(stranger.first(), &query())).await
        ));
        // What a server of another channel and key would send back, at its longest.
        let hint = refused(Refusal::Channel {
            name: "x".repeat(KeyRing::MAX_CHANNEL).into(),
        });
        assert!(!is_answered_by_a_hint(
            opened(&sealed(&stranger.hint_keys()[0], &hint)).await
        ));
    }

    #[tokio::test]
    async fn a_hint_key_says_nothing_but_the_channels_name() {
        let relative = key_ring("work", 1);
        let hint = &relative.hint_keys()[0];
        let channel = refused(Refusal::Channel {
            name: "work".into(),
        });
        assert!(
            opened(&sealed(hint, &channel))
                .await
                .is_ok_and(|received| received.message == channel)
        );
        for message in [query(), refused(Refusal::Cloned)] {
            assert!(
                opened(&sealed(hint, &message)).await.is_err(),
                "{message:?}"
            );
        }
    }
}
