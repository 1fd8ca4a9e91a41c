//! One query and its answers, until the time limit or until no better answer can come.
//!
//! The query goes out by all methods of the configuration at once, and to the configured servers: a person waits for the
//! answer, so no method waits for another one to fail. Only browsing by multicast DNS, which takes longer, begins when
//! nothing else has brought an answer. The query is sent again while answers may still come. A server that refuses it for its
//! clock gets it once more with the server's own clock.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::port::Requester;
use crate::model::{Method, Now, Record, Timestamp};
use crate::net::{self, RecvBatch};
use crate::publish::mdns::next_candidates;
use crate::transport::{Received, Traffic, random_seed};
use crate::wire::v1::{Message, Query, Refusal, Refused, Regarding, SignedRecord, Want};

/// When a query is sent again, counted from the first time.
const REPEATS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(800)];
/// After a server's answer that the node is present, how long a newer answer may still come.
const NEWER: Duration = Duration::from_millis(10);
/// After a server's answer that it does not know the node, how long another server may still answer.
pub(crate) const KNOWN_ELSEWHERE: Duration = Duration::from_millis(300);
/// The limit of clock corrections for one query.
const CLOCK_RETRIES: usize = 8;
/// The part of the time limit after which browsing by multicast DNS begins, where nothing else has brought an answer.
pub(crate) const BROWSE_AFTER: f64 = 0.25;
/// The limit of addresses from multicast DNS that one query goes to.
const MAX_CANDIDATES: usize = 32;

/// What an answer means for the rest of the exchange.
pub(super) enum Outcome {
    /// Other answers are waited for as before.
    Continue,
    /// A server counts the node as present.
    Present,
    /// A server does not know the node, or knows nothing current, or not how to reach it.
    Unknown,
    /// No better answer can come.
    Complete,
}

/// The circumstances of an answer.
pub(super) struct Context<'a> {
    traffic: &'a Traffic,
    pub(super) now: Now,
    /// The time since the first query.
    pub(super) after: Duration,
    /// The addresses that the query went to by unicast.
    pub(super) unicast: &'a [SocketAddr],
    /// The addresses that multicast DNS found.
    pub(super) candidates: &'a [SocketAddr],
    pub(super) methods: &'a [Method],
}

impl Context<'_> {
    /// The record, if it was signed under a key of the channel.
    pub(super) fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        signed
            .verify(|key| self.traffic.key_ring.by_id(key).is_some())
            .ok()
    }
}

/// The state of one query.
struct Exchange {
    id: u64,
    want: Want,
    window: Duration,
    start: Duration,
    deadline: Duration,
    resend_at: Duration,
    repeats: std::array::IntoIter<Duration, { REPEATS.len() }>,
    browse_at: Duration,
    addresses: Vec<SocketAddr>,
    candidates: Vec<SocketAddr>,
    corrected: usize,
}

impl Exchange {
    fn new(
        start: Duration,
        limit: Duration,
        want: Want,
        window: Duration,
        known: &[SocketAddr],
        browses: bool,
    ) -> Self {
        Self {
            id: random_seed(),
            want,
            window,
            start,
            deadline: start + limit,
            resend_at: start,
            repeats: REPEATS.into_iter(),
            browse_at: if browses {
                start + limit.mul_f64(BROWSE_AFTER)
            } else {
                Duration::MAX
            },
            addresses: known.to_vec(),
            candidates: Vec::new(),
            corrected: 0,
        }
    }

    /// When something is due though nothing arrives.
    fn wake_at(&self) -> Duration {
        self.resend_at.min(self.browse_at).min(self.deadline)
    }

    fn query(&self, now: Now) -> Query {
        Query {
            id: self.id,
            want: self.want.clone(),
            clock: now.wall,
            window: self.window,
        }
    }
}

impl Requester {
    /// Sends a query everywhere, again where it may have been lost, and hands each answer to `on_answer`.
    ///
    /// `known` are servers that are known already: with any of them, no others are searched by multicast DNS.
    pub(super) async fn query(
        &mut self,
        want: Want,
        window: Duration,
        limit: Duration,
        known: &[SocketAddr],
        mut on_answer: impl FnMut(&Received, &Context<'_>) -> Outcome,
    ) {
        let start = self.clock.now().elapsed;
        let browses = self.methods.contains(&Method::Mdns) && known.is_empty();
        let mut exchange = Exchange::new(start, limit, want, window, known, browses);
        let mut batch = RecvBatch::new();
        let mut lookups = JoinSet::new();
        for server in self.servers.clone() {
            lookups.spawn(async move { net::resolve(&server).await });
        }
        let mut browser = None;
        loop {
            let now = self.clock.now();
            if now.elapsed >= exchange.deadline {
                tracing::debug!("the time limit of the query is over");
                return;
            }
            if now.elapsed >= exchange.resend_at {
                let next = exchange.repeats.next();
                exchange.resend_at = next.map_or(Duration::MAX, |after| start + after);
                self.send_everywhere(&exchange, now).await;
            }
            if now.elapsed >= exchange.browse_at {
                tracing::debug!("no answer yet: browsing by multicast DNS");
                exchange.browse_at = Duration::MAX;
                browser = Some(self.browser());
            }
            let wake = self.clock.instant(Some(exchange.wake_at()));
            let count = tokio::select! {
                received = self.traffic.sockets.recv(&mut batch) => received.unwrap_or(0),
                Some(resolved) = lookups.join_next() => {
                    self.on_resolved(&mut exchange, now, resolved).await;
                    0
                }
                found = next_candidates(&mut browser) => {
                    self.on_candidates(&mut exchange, found).await;
                    0
                }
                () = tokio::time::sleep_until(wake) => 0,
            };
            for place in 0..count {
                let Ok(received) = self.traffic.open(&mut batch, place, &mut self.counters) else {
                    continue;
                };
                let flow = self
                    .on_message(&mut exchange, &received, &mut on_answer)
                    .await;
                if flow.is_break() {
                    return;
                }
            }
        }
    }

    async fn send_everywhere(&mut self, exchange: &Exchange, now: Now) {
        let message = Message::Query(exchange.query(now));
        for address in &exchange.addresses {
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
                tracing::debug!(%method, error, "failed to send a query");
            }
        }
        self.traffic.flush(&mut self.counters).await;
    }

    /// Sends the query to a configured server that was looked up.
    async fn on_resolved<E: std::fmt::Display>(
        &mut self,
        exchange: &mut Exchange,
        now: Now,
        resolved: Result<Result<Vec<SocketAddr>, E>, JoinError>,
    ) {
        match resolved {
            Ok(Ok(found)) => {
                tracing::debug!(addresses = ?found, "looked up a configured server");
                let message = Message::Query(exchange.query(now));
                for address in found {
                    self.traffic
                        .send(address, &message, &mut self.counters)
                        .await;
                    exchange.addresses.push(address);
                }
                self.traffic.flush(&mut self.counters).await;
            }
            Ok(Err(error)) => tracing::warn!("failed to {error}"),
            Err(_) => {}
        }
    }

    /// Sends the query to servers that multicast DNS found.
    async fn on_candidates(
        &mut self,
        exchange: &mut Exchange,
        found: impl IntoIterator<Item = SocketAddr>,
    ) {
        let message = Message::Query(exchange.query(self.clock.now()));
        for candidate in found {
            let known = exchange.candidates.contains(&candidate);
            if !known && exchange.candidates.len() < MAX_CANDIDATES {
                tracing::debug!(server = %candidate, "multicast DNS shows a server");
                self.traffic
                    .send(candidate, &message, &mut self.counters)
                    .await;
                exchange.candidates.push(candidate);
            }
        }
        self.traffic.flush(&mut self.counters).await;
    }

    /// Handles a message: an answer to the query, or a refusal. Breaks when the exchange is complete.
    async fn on_message(
        &mut self,
        exchange: &mut Exchange,
        received: &Received,
        on_answer: &mut impl FnMut(&Received, &Context<'_>) -> Outcome,
    ) -> ControlFlow<()> {
        let now = self.clock.now();
        match &received.message {
            Message::Answer(answer) if answer.id == exchange.id => {
                exchange.browse_at = Duration::MAX;
                let context = Context {
                    traffic: &self.traffic,
                    now,
                    after: now.elapsed.saturating_sub(exchange.start),
                    unicast: &exchange.addresses,
                    candidates: &exchange.candidates,
                    methods: &self.methods,
                };
                tracing::debug!(peer = %received.from, after = ?context.after, "answer received");
                let wait = match on_answer(received, &context) {
                    Outcome::Continue => return ControlFlow::Continue(()),
                    Outcome::Complete => return ControlFlow::Break(()),
                    Outcome::Present => NEWER,
                    Outcome::Unknown => KNOWN_ELSEWHERE,
                };
                exchange.deadline = exchange.deadline.min(now.elapsed + wait);
            }
            Message::Refused(Refused {
                regarding,
                refusal: Refusal::Clock { clock },
            }) if *regarding == Regarding::Query(exchange.id)
                && exchange.corrected < CLOCK_RETRIES =>
            {
                exchange.corrected += 1;
                let ahead = millis(*clock) - millis(now.wall);
                tracing::debug!(server = %received.from, ahead_ms = ahead, "the server's clock differs: querying it by its own clock");
                self.clocks.push((received.from, ahead));
                let message = Message::Query(Query {
                    clock: *clock,
                    ..exchange.query(now)
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
                    "{} holds our key, but its channel is called {name:?}: set the same channel.name on both",
                    received.from
                );
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Milliseconds since 1970 that can be subtracted.
fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
