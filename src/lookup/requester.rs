//! What commands ask of the network, with no running node on this machine.
//!
//! An [`Requester`] sends from a port of its own, by all methods of the configuration at once and to the configured servers:
//! a person waits, so nothing falls back after something else; only browsing by multicast DNS, which takes longer, waits
//! until nothing else brought an answer. A query is sent again while answers may still come; an
//! answer that the wrong clock kept back is asked for again with the answerer's clock.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use super::Settings;
use super::found::{FoundNode, found_node, found_view, heard_node};
use crate::api::view::FoundView;
use crate::model::{Method, Now, Record, Scope, State, Timestamp};
use crate::net::{self, BindError, Interface, RecvBatch, SocketSettings, Sockets, Watch};
use crate::publish::mdns::{Browser, found as browsed};
use crate::session::Peer;
use crate::transport::{Clock, Counters, Received, Traffic, random_seed};
use crate::wire::v1::{
    Answer, Message, Query, Refusal, Refused, Regarding, SignedRecord, Subject, Want,
};

/// When a query is sent again, counted from the first.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(800)];
/// After an answer of a server that counts the node as present, how long a newer one may still come.
const NEWER: Duration = Duration::from_millis(10);
/// After a server said that it knows nothing, how long another one may still know more.
pub(crate) const KNOWN_ELSEWHERE: Duration = Duration::from_millis(300);
/// Clock corrections sent for one query.
const CLOCK_RETRIES: usize = 8;
/// The part of the time limit after which multicast DNS is tried, where nothing else brought an answer.
pub(crate) const BROWSE_AFTER: f64 = 0.25;
/// Addresses from multicast DNS that one command asks.
const CANDIDATES: usize = 32;
/// Servers that are tried for a session at most.
const SERVERS: usize = 8;
/// Nodes that one query lists at most; further answers are passed over.
const ANSWERS: usize = 4096;

/// Asks the network from a port of its own.
pub(crate) struct Requester {
    pub(crate) traffic: Traffic,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    /// The configured servers as `host:port`.
    pub(crate) servers: Vec<String>,
    methods: Vec<Method>,
    interfaces: Vec<Interface>,
    mdns_service: Box<str>,
    /// Servers whose clock is not ours: theirs less ours, in ms. At most [`CLOCK_RETRIES`].
    clocks: Vec<(SocketAddr, i64)>,
}

impl Requester {
    /// Binds a port of its own and reads the interfaces.
    ///
    /// Must be called within a tokio runtime.
    pub(crate) async fn open(settings: Settings) -> Result<Self, BindError> {
        let Settings {
            key_ring,
            ttl,
            fanout,
            policy,
            methods,
            servers,
            mdns_service,
        } = settings;
        let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let sockets = Sockets::bind(&SocketSettings {
            address,
            port: 0,
            ttl,
        })?;
        let mut traffic = Traffic::new(sockets, fanout, policy, key_ring);
        let interfaces = Watch::new().next().await;
        traffic.reconcile(&interfaces);
        let interfaces = traffic.policy.used(&interfaces);
        Ok(Self {
            traffic,
            clock: Clock::new(),
            methods,
            servers,
            interfaces,
            counters: Counters::default(),
            mdns_service,
            clocks: Vec::new(),
        })
    }

    /// Asks for servers: those that answer first, and all that answer at once after them.
    pub(crate) async fn servers(mut self, limit: Duration) -> Vec<Peer> {
        let mut found: Vec<Peer> = Vec::new();
        self.ask(
            Want::Servers,
            Duration::ZERO,
            limit,
            &[],
            |received, asked| {
                let Message::Answer(Answer {
                    subject: Subject::Own { record, .. },
                    ..
                }) = &received.message
                else {
                    return Heard::Nothing;
                };
                let Some(body) = asked.verified(record).filter(|body| body.role.serves()) else {
                    return Heard::Nothing;
                };
                if found.len() < SERVERS && !found.iter().any(|server| server.id == record.node) {
                    let (address, id) = (received.from, record.node);
                    found.push(Peer {
                        address,
                        id,
                        name: body.name,
                        clock_ahead: 0,
                    });
                }
                Heard::Found
            },
        )
        .await;
        for server in &mut found {
            let clock = self
                .clocks
                .iter()
                .find(|(address, _)| *address == server.address);
            server.clock_ahead = clock.map_or(0, |(_, ahead)| *ahead);
        }
        found
    }

    /// Asks for servers, or for all nodes, and hands on each node once, as it answers.
    pub(crate) async fn discover(
        mut self,
        all: bool,
        limit: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) {
        let want = if all { Want::All } else { Want::Servers };
        // Whoever answers late in the window must still be heard.
        let window = limit.mul_f64(0.7);
        let mut seen = HashSet::new();
        self.ask(want, window, limit, &[], |received, asked| {
            let Message::Answer(Answer {
                seen: own,
                subject: Subject::Own { record, info },
                ..
            }) = &received.message
            else {
                return Heard::Nothing;
            };
            let Some(body) = asked.verified(record) else {
                return Heard::Nothing;
            };
            if seen.len() >= ANSWERS || !seen.insert(record.node) {
                return Heard::Nothing;
            }
            let view = found_view(record.node, body, info.clone(), received.from, *own, asked);
            match found(view) {
                ControlFlow::Continue(()) => Heard::Nothing,
                ControlFlow::Break(()) => Heard::Enough,
            }
        })
        .await;
    }

    /// Asks for a node by name, or for the holder of an address; the newest of what is answered.
    ///
    /// `known` are servers that are known to be there, beside the configured ones.
    pub(crate) async fn look_up(
        mut self,
        want: Want,
        known: &[SocketAddr],
        limit: Duration,
    ) -> Option<FoundNode> {
        let mut best: Option<(FoundNode, (u64, u64))> = None;
        self.ask(want, Duration::ZERO, limit, known, |received, asked| {
            let Message::Answer(Answer { subject, .. }) = &received.message else {
                return Heard::Nothing;
            };
            let (signed, sighting) = match subject {
                Subject::Own { record, .. } => (record, None),
                Subject::Found {
                    record, sighting, ..
                } => (record, Some(sighting)),
                Subject::UnverifiedClaim {
                    name,
                    protocol,
                    sighting,
                    ..
                } => {
                    // Only where nobody who proves anything knows the name, and then the latest.
                    let later = |held: &FoundNode| held.node.last_seen < sighting.last_seen;
                    let takes =
                        |held: &FoundNode| !held.node.protocol.is_authenticated() && later(held);
                    if best.as_ref().is_none_or(|(held, _)| takes(held)) {
                        best = Some((heard_node(name, *protocol, sighting), (0, 0)));
                    }
                    return Heard::Unknown;
                }
                Subject::Unknown { .. } => return Heard::Unknown,
            };
            let Some(record) = asked.verified(signed) else {
                return Heard::Nothing;
            };
            let order = record.order();
            let found = found_node(signed, record, sighting, received.from, asked.now.wall);
            let (itself, present) = (found.itself, found.node.state == State::Present);
            // A server can't tell by which of our links such a node is reached; only the node's own answer does.
            let by_link = found
                .node
                .addresses
                .iter()
                .all(|address| address.scope == Scope::Link);
            let rank = |found: &FoundNode, order: (u64, u64)| {
                (
                    found.node.state == State::Present,
                    found.itself,
                    order,
                    found.node.last_seen,
                )
            };
            // Orders compare only between records of one node; of two nodes, the one seen last counts.
            let newer = best.as_ref().is_none_or(|(held, held_order)| {
                if !held.node.protocol.is_authenticated() {
                    true
                } else if held.node.node_id == found.node.node_id {
                    rank(&found, order) > rank(held, *held_order)
                } else {
                    (present, found.node.last_seen)
                        > (held.node.state == State::Present, held.node.last_seen)
                }
            });
            if newer {
                best = Some((found, order));
            }
            if itself {
                Heard::Enough
            } else if present && !by_link {
                Heard::Found
            } else {
                Heard::Unknown
            }
        })
        .await;
        best.map(|(found, _)| found)
    }

    /// Begins to browse by multicast DNS on the interfaces that take part.
    pub(crate) fn browser(&self) -> Browser {
        Browser::start(&self.mdns_service, &self.interfaces)
    }

    /// Sends a query everywhere, again where it may have been lost, and hands on what answers it.
    async fn ask(
        &mut self,
        want: Want,
        window: Duration,
        limit: Duration,
        known: &[SocketAddr],
        mut hear: impl FnMut(&Received, &Asked<'_>) -> Heard,
    ) {
        let id = random_seed();
        let start = self.clock.now();
        let mut deadline = start.elapsed + limit;
        let mut batch = RecvBatch::new();
        let mut addresses: Vec<SocketAddr> = known.to_vec();
        let mut lookups = tokio::task::JoinSet::new();
        for server in self.servers.clone() {
            lookups.spawn(async move { net::resolve(&server).await });
        }
        let mut again = AGAIN.iter();
        let mut resend_at = start.elapsed;
        let mut corrected = 0;
        // Known servers were found already: whoever has them need not look for others.
        let browses = self.methods.contains(&Method::Mdns) && known.is_empty();
        let mut browse_at = if browses {
            start.elapsed + limit.mul_f64(BROWSE_AFTER)
        } else {
            Duration::MAX
        };
        let mut browser = None;
        let mut candidates: Vec<SocketAddr> = Vec::new();
        let query = |now: Now| Query {
            id,
            want: want.clone(),
            clock: now.wall,
            window,
        };
        loop {
            let now = self.clock.now();
            if now.elapsed >= deadline {
                return;
            }
            if now.elapsed >= resend_at {
                resend_at = again
                    .next()
                    .map_or(Duration::MAX, |after| start.elapsed + *after);
                let message = Message::Query(query(now));
                for address in &addresses {
                    self.traffic
                        .send(*address, &message, &mut self.counters)
                        .await;
                }
                for method in self.methods.clone() {
                    if let Err(error) = self
                        .traffic
                        .send_to_all(method, &message, &mut self.counters)
                        .await
                    {
                        tracing::debug!(%method, "failed to ask: {error}");
                    }
                }
                self.traffic.flush(&mut self.counters).await;
            }
            if now.elapsed >= browse_at {
                browse_at = Duration::MAX;
                browser = Some(self.browser());
            }
            let wake = self
                .clock
                .instant(Some(resend_at.min(browse_at).min(deadline)));
            let count = tokio::select! {
                received = self.traffic.sockets.recv(&mut batch) => received.unwrap_or(0),
                Some(resolved) = lookups.join_next() => {
                    match resolved {
                        Ok(Ok(found)) => {
                            let message = Message::Query(query(now));
                            for address in found {
                                self.traffic.send(address, &message, &mut self.counters).await;
                                addresses.push(address);
                            }
                            self.traffic.flush(&mut self.counters).await;
                        }
                        Ok(Err(error)) => tracing::warn!("failed to {error}"),
                        Err(_) => {}
                    }
                    0
                }
                found = browsed(&mut browser) => {
                    let message = Message::Query(query(self.clock.now()));
                    for candidate in found {
                        if candidates.len() < CANDIDATES && !candidates.contains(&candidate) {
                            self.traffic.send(candidate, &message, &mut self.counters).await;
                            candidates.push(candidate);
                        }
                    }
                    self.traffic.flush(&mut self.counters).await;
                    0
                }
                () = tokio::time::sleep_until(wake) => 0,
            };
            for place in 0..count {
                let Ok(received) = self.traffic.open(&mut batch, place, &mut self.counters) else {
                    continue;
                };
                let now = self.clock.now();
                match &received.message {
                    Message::Answer(answer) if answer.id == id => {
                        browse_at = Duration::MAX;
                        let asked = Asked {
                            traffic: &self.traffic,
                            now,
                            after: now.elapsed.saturating_sub(start.elapsed),
                            unicast: &addresses,
                            candidates: &candidates,
                            methods: &self.methods,
                        };
                        match hear(&received, &asked) {
                            Heard::Nothing => {}
                            Heard::Enough => return,
                            Heard::Found => deadline = deadline.min(now.elapsed + NEWER),
                            Heard::Unknown => {
                                deadline = deadline.min(now.elapsed + KNOWN_ELSEWHERE)
                            }
                        }
                    }
                    Message::Refused(Refused {
                        regarding,
                        refusal: Refusal::Clock { clock },
                    }) if *regarding == Regarding::Query(id) && corrected < CLOCK_RETRIES => {
                        corrected += 1;
                        self.clocks
                            .push((received.from, millis(*clock) - millis(now.wall)));
                        let message = Message::Query(Query {
                            clock: *clock,
                            ..query(now)
                        });
                        self.traffic
                            .send(received.from, &message, &mut self.counters)
                            .await;
                        self.traffic.flush(&mut self.counters).await;
                    }
                    Message::Refused(Refused {
                        refusal: Refusal::Channel { name },
                        ..
                    }) => {
                        tracing::warn!(
                            "{} holds our key, but its channel is called {name:?}: set channel.name alike on both",
                            received.from
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Milliseconds since 1970 that can be subtracted.
fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// What an answer was worth.
enum Heard {
    /// Nothing that ends the asking.
    Nothing,
    /// A server counts the node as present.
    Found,
    /// A server knows nothing, or nothing fresh, or not the way.
    Unknown,
    /// Nothing better can come.
    Enough,
}

/// What an answer is judged by.
pub(super) struct Asked<'a> {
    traffic: &'a Traffic,
    now: Now,
    pub(super) after: Duration,
    pub(super) unicast: &'a [SocketAddr],
    pub(super) candidates: &'a [SocketAddr],
    pub(super) methods: &'a [Method],
}

impl Asked<'_> {
    fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        signed
            .verify(|key| self.traffic.key_ring.by_id(key).is_some())
            .ok()
    }
}
