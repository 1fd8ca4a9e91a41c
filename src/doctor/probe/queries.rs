//! Sends queries and collects what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::super::observations::{DifferingClock, ProbedNetwork, Sent};
use crate::model::{NodeId, Now, Timestamp};
use crate::net::{self, RecvBatch, SendBatch, Source};
use crate::transport::{Clock, Counters, Received, Traffic, random_seed};
use crate::wire::v1::{Answer, Message, Query, Refusal, Refused, Regarding, Subject, Want};

/// When each query is sent, counted from the first time: a datagram may be lost.
const SEND_AT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(400),
    Duration::from_millis(1000),
];
/// The window over which nodes spread their answers.
const WINDOW: Duration = Duration::from_millis(300);
/// How long answers are awaited in all.
const LIMIT: Duration = Duration::from_millis(1800);
/// How many items of each kind are kept of what unknown hosts send.
const MAX_KEPT: usize = 64;
/// How many peers are counted.
const MAX_PEERS: usize = 4096;
/// How many queries are sent again with a corrected clock.
const MAX_CORRECTIONS: usize = 64;

/// A set of queries, the socket that sends them, and what was received.
pub(super) struct Queries {
    traffic: Traffic,
    clock: Clock,
    /// The node of this machine.
    own: Option<NodeId>,
    /// Whether a query that this socket receives itself counts as returned.
    receives_own: bool,
    pub(super) queries: Vec<ProbeQuery>,
    want: Want,
    pub(super) network: ProbedNetwork,
    /// The place of each refusing peer in `network.clocks`.
    clock_of: BTreeMap<SocketAddr, usize>,
    corrections: usize,
}

/// One query to one destination, and its outcome.
pub(super) struct ProbeQuery {
    id: u64,
    pub(super) to: SocketAddr,
    source: Option<Source>,
    pub(super) sent: Sent,
    /// Whether it came back to this machine; `None` where that cannot be observed.
    pub(super) returned: Option<bool>,
    pub(super) answered_by: BTreeSet<NodeId>,
}

impl ProbeQuery {
    pub(super) fn new(to: SocketAddr, source: Option<Source>, returned: Option<bool>) -> Self {
        Self {
            id: random_seed(),
            to,
            source,
            sent: Sent::Yes,
            returned,
            answered_by: BTreeSet::new(),
        }
    }
}

impl Queries {
    pub(super) fn new(
        traffic: Traffic,
        own: Option<NodeId>,
        receives_own: bool,
        queries: Vec<ProbeQuery>,
        want: Want,
    ) -> Self {
        Self {
            traffic,
            clock: Clock::new(),
            own,
            receives_own,
            queries,
            want,
            network: ProbedNetwork::default(),
            clock_of: BTreeMap::new(),
            corrections: 0,
        }
    }

    /// Sends the queries, sends unanswered ones again, and receives until the limit. Queries for
    /// servers end as soon as one is answered.
    pub(super) async fn run(&mut self) {
        let mut batch = RecvBatch::new();
        let mut rounds = SEND_AT.into_iter();
        let mut next = rounds.next();
        loop {
            let now = self.clock.now();
            let answered = self.queries.iter().any(|q| !q.answered_by.is_empty());
            if now.elapsed >= LIMIT || (self.want == Want::Servers && answered) {
                return;
            }
            if next.is_some_and(|at| at <= now.elapsed) {
                next = rounds.next();
                self.send_all().await;
            }
            let wake = self.clock.instant(Some(next.unwrap_or(LIMIT).min(LIMIT)));
            let count = tokio::select! {
                received = self.traffic.sockets.recv(&mut batch) => received.unwrap_or(0),
                () = tokio::time::sleep_until(wake) => 0,
            };
            for place in 0..count {
                self.on_datagram(&mut batch, place).await;
            }
        }
    }

    async fn send_all(&mut self) {
        for place in 0..self.queries.len() {
            let ProbeQuery {
                id,
                to,
                source,
                returned,
                ref answered_by,
                ..
            } = self.queries[place];
            if !answered_by.is_empty() && returned != Some(false) {
                continue;
            }
            let now = self.clock.now();
            let sent = self.send(to, source, &self.query(id, now)).await;
            tracing::trace!(%to, ?sent, "a query was sent");
            self.queries[place].sent = sent;
        }
    }

    fn query(&self, id: u64, now: Now) -> Message {
        Message::Query(Query {
            id,
            want: self.want.clone(),
            clock: now.wall,
            window: WINDOW,
        })
    }

    async fn send(&self, to: SocketAddr, source: Option<Source>, message: &Message) -> Sent {
        let mut nonce = [0; 24];
        if let Err(error) = getrandom::fill(&mut nonce) {
            return Sent::Failed(error.to_string());
        }
        let mut batch = SendBatch::new();
        // A message that cannot be sealed has the length 0, which queues nothing.
        let fill = |buffer: &mut [u8; net::DATAGRAM_MAX]| {
            message
                .seal(self.traffic.key_ring.first(), &nonce, buffer)
                .unwrap_or(0)
        };
        let mut failure = None;
        if batch.push(to, source, fill).is_ok() {
            self.traffic
                .sockets
                .flush(&mut batch, |_, error| failure = Some(error))
                .await;
        }
        match failure {
            None => Sent::Yes,
            // The error of a packet filter that drops outgoing datagrams.
            Some(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Sent::NotPermitted
            }
            Some(error) => Sent::Failed(error.to_string()),
        }
    }

    async fn on_datagram(&mut self, batch: &mut RecvBatch, place: usize) {
        let mut counters = Counters::default();
        let received = match self.traffic.open(batch, place, &mut counters) {
            Ok(received) => received,
            // `Rejected::foreign` excludes short datagrams such as hints, which are the very thing
            // that is wanted here. So the counter decides.
            Err(Some(rejected)) if counters.all().contains_key("dropped.unknown_key") => {
                tracing::debug!(peer = %rejected.from, "no key opens the received datagram");
                if self.network.foreign.len() < MAX_KEPT {
                    self.network.foreign.insert(rejected.from);
                }
                return;
            }
            Err(_) => return,
        };
        match &received.message {
            Message::Query(query) if self.receives_own => {
                if let Some(own) = self.queries.iter_mut().find(|own| own.id == query.id) {
                    own.returned = Some(true);
                }
            }
            Message::Answer(answer) => self.on_answer(&received, answer),
            Message::Refused(Refused {
                regarding: Regarding::Query(id),
                refusal: Refusal::Clock { clock },
            }) => self.on_clock_refusal(received.from, *id, *clock).await,
            Message::Refused(Refused {
                refusal: Refusal::Channel { name },
                ..
            }) => self.on_channel_refusal(received.from, name),
            _ => {}
        }
    }

    fn on_answer(&mut self, received: &Received, answer: &Answer) {
        let Some(query) = self.queries.iter_mut().find(|query| query.id == answer.id) else {
            return;
        };
        let Subject::Own { record: signed, .. } = &answer.subject else {
            return;
        };
        let key_ring = &self.traffic.key_ring;
        let Ok(record) = signed.verify(|key| key_ring.by_id(key).is_some()) else {
            return;
        };
        tracing::debug!(
            peer = %received.from,
            node = %signed.node.short(),
            to = %query.to,
            "an answer was received"
        );
        if self.own == Some(signed.node) {
            query.returned = Some(true);
            return;
        }
        if query.answered_by.len() < MAX_PEERS {
            query.answered_by.insert(signed.node);
        }
        if self.network.peers.len() < MAX_PEERS {
            self.network
                .peers
                .insert((signed.node, record.role.serves()));
        }
        if let Some(place) = self.clock_of.get(&received.from)
            && let Some(clock) = self.network.clocks.get_mut(*place)
        {
            clock.node = Some(signed.node);
        }
    }

    /// Records the difference of the clocks, and sends the query again with the peer's clock.
    async fn on_clock_refusal(&mut self, from: SocketAddr, id: u64, clock: Timestamp) {
        let ours = self.queries.iter().any(|query| query.id == id);
        if !ours || self.corrections == MAX_CORRECTIONS {
            return;
        }
        self.corrections += 1;
        let now = self.clock.now();
        let millis = i64::try_from(clock.0).unwrap_or(i64::MAX)
            - i64::try_from(now.wall.0).unwrap_or(i64::MAX);
        tracing::debug!(peer = %from, millis, "the peer refused our clock");
        if !self.clock_of.contains_key(&from) {
            self.clock_of.insert(from, self.network.clocks.len());
            self.network.clocks.push(DifferingClock {
                from,
                node: None,
                millis,
            });
        }
        let corrected = Now { wall: clock, ..now };
        let message = self.query(id, corrected);
        self.send(from, None, &message).await;
    }

    fn on_channel_refusal(&mut self, from: SocketAddr, name: &str) {
        tracing::debug!(peer = %from, name, "the channel of the peer has another name");
        let known = self.network.channels.iter().any(|(_, known)| known == name);
        if !known && self.network.channels.len() < MAX_KEPT {
            self.network.channels.push((from, name.to_owned()));
        }
    }
}
