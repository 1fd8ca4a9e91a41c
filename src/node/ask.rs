//! What commands ask of the network, with no running node on this machine.
//!
//! An [`Asker`] sends from a port of its own, by all methods of the configuration at once and to the configured servers:
//! a person waits, so nothing falls back after something else; only browsing by multicast DNS, which takes longer, waits
//! until nothing else brought an answer. A query is sent again while answers may still come; an
//! answer that the wrong clock kept back is asked for again with the answerer's clock.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

pub use super::compat::ask::{announce_dynip, discover_pydiscover};
use super::counters::Counters;
use super::mdns::{Browser, found as browsed};
use super::publishing::told_once;
use super::state_dir::StateDir;
use super::ticker::Ticker;
use super::traffic::{Received, Traffic, random_seed};
use super::{RunError, wiring};
use crate::api::view::{AddressView, AnnouncedView, FoundView, HolderView, NodeView};
use crate::config::Config;
use crate::discovery::{Engine, EngineSettings, Method, Output, OwnRecord, OwnSettings, To};
use crate::model::{Labels, NodeId, NodeName, Now, Record, Role, Scope, State, Timestamp, Wire};
use crate::net::{self, Interface, RecvBatch, SocketSettings, Sockets, Watch};
use crate::wire::stand_in::stand_in;
use crate::wire::v1::{Answer, Message, Query, Refusal, Refused, Regarding, Sighting, SignedRecord, Subject, Want};

/// When a query is sent again, counted from the first.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(800)];
/// After an answer of a server that counts the node as present, how long a newer one may still come.
const NEWER: Duration = Duration::from_millis(10);
/// After a server said that it knows nothing, how long another one may still know more.
const KNOWN_ELSEWHERE: Duration = Duration::from_millis(300);
/// Clock corrections sent for one query.
const CLOCK_RETRIES: usize = 8;
/// The part of the time limit after which multicast DNS is tried, where nothing else brought an answer.
const BROWSE_AFTER: f64 = 0.25;
/// Addresses from multicast DNS that one command asks.
const CANDIDATES: usize = 32;
/// Servers that are tried for a session at most.
const SERVERS: usize = 8;
/// Nodes that one query lists at most; further answers are passed over.
const ANSWERS: usize = 4096;

/// Asks the network from a port of its own.
pub struct Asker {
    traffic: Traffic,
    ticker: Ticker,
    methods: Vec<Method>,
    servers: Vec<String>,
    interfaces: Vec<Interface>,
    counters: Counters,
    config: Config,
    /// Servers whose clock is not ours: theirs less ours, in ms. At most [`CLOCK_RETRIES`].
    clocks: Vec<(SocketAddr, i64)>,
}

/// A server that answered just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// Where it answered from: UDP and TCP.
    pub address: SocketAddr,
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its clock less ours, in ms, where that mattered.
    pub clock_ahead: i64,
}

/// A node that was found.
#[derive(Debug, Clone)]
pub struct FoundNode {
    /// The node.
    pub node: NodeView,
    /// Whether the node itself answered.
    pub itself: bool,
}

impl FoundNode {
    /// The node as the one who has, or had, an address.
    pub fn holder(&self, address: IpAddr) -> HolderView {
        let announced = self.node.addresses.iter().any(|known| known.address == address);
        let observed = self.node.source.is_some_and(|source| source.ip() == address);
        HolderView {
            address,
            current: self.node.state == State::Present && (announced || observed),
            seen: None,
            from: None,
            to: None,
            node: self.node.clone(),
        }
    }
}

impl Asker {
    /// Binds a port of its own and reads keys and interfaces.
    ///
    /// Must be called within a tokio runtime.
    pub async fn open(config: &Config) -> Result<Self, RunError> {
        let (ring, _) = wiring::key_ring(config, None)?;
        let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let ttl = config.discovery.multicast.ttl;
        let sockets = Sockets::bind(&SocketSettings { address, port: 0, ttl })?;
        let mut traffic = Traffic::new(sockets, wiring::fanout(config), wiring::policy(config), ring);
        let interfaces = Watch::new().next().await;
        traffic.reconcile(&interfaces);
        let traffic_policy = traffic.policy.clone();
        Ok(Self {
            traffic,
            ticker: Ticker::new(),
            methods: wiring::methods(config),
            servers: wiring::servers(config),
            interfaces: traffic_policy.taken(&interfaces),
            counters: Counters::default(),
            config: config.clone(),
            clocks: Vec::new(),
        })
    }

    /// Asks for servers: those that answer first, and all that answer at once after them.
    pub async fn servers(mut self, limit: Duration) -> Vec<FoundServer> {
        let mut found: Vec<FoundServer> = Vec::new();
        self.ask(Want::Servers, Duration::ZERO, limit, &[], |received, asked| {
            let Message::Answer(Answer { subject: Subject::Own { record, .. }, .. }) = &received.message else {
                return Heard::Nothing;
            };
            let Some(body) = asked.verified(record).filter(|body| body.role.serves()) else { return Heard::Nothing };
            if found.len() < SERVERS && !found.iter().any(|server| server.id == record.node) {
                let (address, id) = (received.from, record.node);
                found.push(FoundServer { address, id, name: body.name, clock_ahead: 0 });
            }
            Heard::Found
        })
        .await;
        for server in &mut found {
            let clock = self.clocks.iter().find(|(address, _)| *address == server.address);
            server.clock_ahead = clock.map_or(0, |(_, ahead)| *ahead);
        }
        found
    }

    /// Asks for servers, or for all nodes, and hands on each node once, as it answers.
    pub async fn discover(mut self, all: bool, limit: Duration, found: &mut dyn FnMut(FoundView) -> ControlFlow<()>) {
        let want = if all { Want::All } else { Want::Servers };
        // Whoever answers late in the window must still be heard.
        let window = limit.mul_f64(0.7);
        let mut seen = std::collections::HashSet::new();
        self.ask(want, window, limit, &[], |received, asked| {
            let Message::Answer(Answer { seen: own, subject: Subject::Own { record, info }, .. }) = &received.message
            else {
                return Heard::Nothing;
            };
            let Some(body) = asked.verified(record) else { return Heard::Nothing };
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
    pub async fn look_up(mut self, want: Want, known: &[SocketAddr], limit: Duration) -> Option<FoundNode> {
        let mut best: Option<(FoundNode, (u64, u64))> = None;
        self.ask(want, Duration::ZERO, limit, known, |received, asked| {
            let Message::Answer(Answer { subject, .. }) = &received.message else { return Heard::Nothing };
            let (signed, sighting) = match subject {
                Subject::Own { record, .. } => (record, None),
                Subject::Found { record, sighting, .. } => (record, Some(sighting)),
                Subject::Hearsay { name, wire, sighting, .. } => {
                    // Only where nobody who proves anything knows the name, and then the latest.
                    let later = |held: &FoundNode| held.node.last_seen < sighting.last_seen;
                    let takes = |held: &FoundNode| !held.node.wire.is_authenticated() && later(held);
                    if best.as_ref().is_none_or(|(held, _)| takes(held)) {
                        best = Some((heard_node(name, *wire, sighting), (0, 0)));
                    }
                    return Heard::Unknown;
                }
                Subject::Unknown { .. } => return Heard::Unknown,
            };
            let Some(record) = asked.verified(signed) else { return Heard::Nothing };
            let order = record.order();
            let found = found_node(signed, record, sighting, received.from, asked.now.wall);
            let (itself, present) = (found.itself, found.node.state == State::Present);
            // A server can't tell by which of our links such a node is reached; only the node's own answer does.
            let by_link = found.node.addresses.iter().all(|address| address.scope == Scope::Link);
            let rank = |found: &FoundNode, order: (u64, u64)| {
                (found.node.state == State::Present, found.itself, order, found.node.last_seen)
            };
            // Orders compare only between records of one node; of two nodes, the one seen last counts.
            let newer = best.as_ref().is_none_or(|(held, held_order)| {
                if !held.node.wire.is_authenticated() {
                    true
                } else if held.node.node_id == found.node.node_id {
                    rank(&found, order) > rank(held, *held_order)
                } else {
                    (present, found.node.last_seen) > (held.node.state == State::Present, held.node.last_seen)
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

    /// Registers once with every server that answers, and leaves without a goodbye: the lease goes on.
    pub async fn announce(mut self, limit: Duration) -> Result<Vec<AnnouncedView>, RunError> {
        let state = StateDir::open(&self.config.node.state_dir)?;
        let _lock = state.lock()?;
        let now = self.ticker.now();
        let new_node = state.is_new();
        let identity = state.identity()?;
        let epoch = state.next_epoch(now.wall, new_node)?;
        let interfaces = Watch::new().next().await;
        let told = told_once(&self.config, &self.traffic.policy, &interfaces).ok_or(RunError::Interfaces)?;
        let settings = OwnSettings { role: told.role, ..wiring::own(&self.config, epoch, told.port) };
        let mut own = OwnRecord::new(identity, self.traffic.ring.first().id(), settings);
        own.set_addresses(told.addresses);
        let keys = self.traffic.ring.ids().collect();
        let settings =
            EngineSettings { registers: true, fallback_after: Duration::ZERO, ..wiring::engine(&self.config, keys) };
        let browse_at = now.elapsed + limit.mul_f64(BROWSE_AFTER);
        let mut wants_browser = false;
        let mut browser = None;
        let mut engine = Engine::new(now, settings, own);
        let mut batch = RecvBatch::new();
        let deadline = now.elapsed + limit;
        // Once one server has answered, others that are there answer within this.
        let mut quiet = deadline;
        loop {
            let now = self.ticker.now();
            let spoken = |server: &crate::discovery::Server| server.held.is_some() || server.refusal.is_some();
            let servers = engine.servers();
            if !servers.is_empty() && servers.iter().all(spoken) {
                quiet = quiet.min(now.elapsed + KNOWN_ELSEWHERE);
            }
            if now.elapsed >= deadline.min(quiet) {
                break;
            }
            engine.advance(now);
            self.perform(&mut engine, &state, &mut wants_browser).await;
            let mut wake = engine.deadline().map_or(deadline, |at| at.min(deadline)).min(quiet);
            if wants_browser && browser.is_none() {
                if now.elapsed >= browse_at {
                    browser = Some(self.browser());
                } else {
                    wake = wake.min(browse_at);
                }
            }
            tokio::select! {
                received = self.traffic.sockets.recv(&mut batch) => {
                    for place in 0..received.unwrap_or(0) {
                        if let Ok(received) = self.traffic.open(&mut batch, place, &mut self.counters) {
                            engine.handle(self.ticker.now(), received.from, received.came_by, &received.message);
                        }
                    }
                }
                candidates = browsed(&mut browser) => {
                    candidates.into_iter().for_each(|candidate| engine.candidate(self.ticker.now(), candidate));
                }
                () = tokio::time::sleep_until(self.ticker.instant(Some(wake))) => {}
            }
        }
        self.perform(&mut engine, &state, &mut wants_browser).await;
        let views = engine.servers().iter().map(|server| {
            let held = server.held.as_ref();
            let error = match (held, &server.refusal) {
                (_, Some(refusal)) => Some(super::explain::refusal(refusal)),
                (Some(_), None) => None,
                (None, None) => Some(format!("no acknowledgement within {} s", limit.as_secs_f32())),
            };
            AnnouncedView {
                server: server.address,
                name: Some(server.name.clone()),
                node_id: Some(server.id),
                seen: held.map(|held| held.seen),
                lease_seconds: held.map(|held| held.lease.0),
                error,
            }
        });
        Ok(views.collect())
    }

    fn browser(&self) -> Browser {
        Browser::start(&self.config.discovery.mdns.service, &self.interfaces)
    }

    /// Does what the engine of an `announce` wants done.
    async fn perform(&mut self, engine: &mut Engine, state: &StateDir, wants_browser: &mut bool) {
        while let Some(output) = engine.output() {
            match output {
                Output::Send { to: To::One(address), message } => {
                    self.traffic.send(address, &message, &mut self.counters).await;
                }
                // The record is the servers' matter: this node does not stay to be found by others.
                Output::Send { message: Message::Announcement(_), .. } => {}
                Output::Send { to: To::All(method), message } => {
                    let sent = self.traffic.send_to_all(method, &message, &mut self.counters).await;
                    engine.sent(method, sent.err());
                }
                Output::Resolve { configured } => {
                    let server = self.servers.get(configured).cloned().unwrap_or_default();
                    let addresses = match net::resolve(&server).await {
                        Ok(addresses) => addresses,
                        Err(error) => {
                            tracing::warn!("failed to {error}");
                            Vec::new()
                        }
                    };
                    engine.resolved(self.ticker.now(), configured, addresses);
                }
                Output::Browse { on } => *wants_browser = on,
                Output::Event(crate::discovery::Event::EpochRaised { epoch }) => {
                    if let Err(error) = state.set_epoch(epoch) {
                        tracing::error!("failed to {error}");
                    }
                }
                Output::Event(_) => {}
            }
        }
        self.traffic.flush(&mut self.counters).await;
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
        let start = self.ticker.now();
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
        let mut browse_at = if browses { start.elapsed + limit.mul_f64(BROWSE_AFTER) } else { Duration::MAX };
        let mut browser = None;
        let mut candidates: Vec<SocketAddr> = Vec::new();
        let query = |now: Now| Query { id, want: want.clone(), clock: now.wall, window };
        loop {
            let now = self.ticker.now();
            if now.elapsed >= deadline {
                return;
            }
            if now.elapsed >= resend_at {
                resend_at = again.next().map_or(Duration::MAX, |after| start.elapsed + *after);
                let message = Message::Query(query(now));
                for address in &addresses {
                    self.traffic.send(*address, &message, &mut self.counters).await;
                }
                for method in self.methods.clone() {
                    if let Err(error) = self.traffic.send_to_all(method, &message, &mut self.counters).await {
                        tracing::debug!(%method, "failed to ask: {error}");
                    }
                }
                self.traffic.flush(&mut self.counters).await;
            }
            if now.elapsed >= browse_at {
                browse_at = Duration::MAX;
                browser = Some(self.browser());
            }
            let wake = self.ticker.instant(Some(resend_at.min(browse_at).min(deadline)));
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
                    let message = Message::Query(query(self.ticker.now()));
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
                let Ok(received) = self.traffic.open(&mut batch, place, &mut self.counters) else { continue };
                let now = self.ticker.now();
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
                            Heard::Unknown => deadline = deadline.min(now.elapsed + KNOWN_ELSEWHERE),
                        }
                    }
                    Message::Refused(Refused { regarding, refusal: Refusal::Clock { clock } })
                        if *regarding == Regarding::Query(id) && corrected < CLOCK_RETRIES =>
                    {
                        corrected += 1;
                        self.clocks.push((received.from, millis(*clock) - millis(now.wall)));
                        let message = Message::Query(Query { clock: *clock, ..query(now) });
                        self.traffic.send(received.from, &message, &mut self.counters).await;
                        self.traffic.flush(&mut self.counters).await;
                    }
                    Message::Refused(Refused { refusal: Refusal::Channel { name }, .. }) => {
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
struct Asked<'a> {
    traffic: &'a Traffic,
    now: Now,
    after: Duration,
    unicast: &'a [SocketAddr],
    candidates: &'a [SocketAddr],
    methods: &'a [Method],
}

impl Asked<'_> {
    fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        signed.verify(|key| self.traffic.ring.by_id(key).is_some()).ok()
    }
}

fn found_view(
    node: NodeId,
    record: Record,
    info: Labels,
    source: SocketAddr,
    seen: SocketAddr,
    asked: &Asked<'_>,
) -> FoundView {
    // All methods ask at once, so which one an answer is due to can't be told beyond this.
    let method = if asked.unicast.contains(&source) {
        Method::Unicast
    } else if asked.candidates.contains(&source) {
        Method::Mdns
    } else {
        asked.methods.first().copied().unwrap_or(Method::Unicast)
    };
    FoundView {
        name: record.name,
        node_id: node,
        role: record.role,
        source,
        addresses: record.addresses.iter().map(AddressView::from).collect(),
        port: record.port,
        labels: record.labels,
        info,
        seen,
        method: method.to_string(),
        after_ms: u64::try_from(asked.after.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What a server heard of a name by an ancestor's wire.
fn heard_node(name: &NodeName, wire: Wire, sighting: &Sighting) -> FoundNode {
    let node = NodeView {
        name: name.clone(),
        node_id: stand_in(name),
        state: sighting.state,
        role: Role::Client,
        addresses: Vec::new(),
        port: 0,
        source: Some(sighting.source),
        labels: Labels::default(),
        first_seen: None,
        last_seen: sighting.last_seen,
        lease_seconds: 0,
        expires_in_seconds: None,
        wire,
        key_in_use: None,
        epoch: 0,
        cloned: false,
        former_names: Vec::new(),
        files: Vec::new(),
    };
    FoundNode { node, itself: false }
}

fn found_node(
    signed: &SignedRecord,
    record: Record,
    sighting: Option<&Sighting>,
    from: SocketAddr,
    now: Timestamp,
) -> FoundNode {
    let addresses = super::views::addresses(&record);
    let node = NodeView {
        name: record.name,
        node_id: signed.node,
        state: sighting.map_or(State::Present, |sighting| sighting.state),
        role: record.role,
        addresses,
        port: record.port,
        source: Some(sighting.map_or(from, |sighting| sighting.source)),
        labels: record.labels,
        first_seen: None,
        last_seen: sighting.map_or(now, |sighting| sighting.last_seen),
        lease_seconds: record.lease.0,
        expires_in_seconds: None,
        wire: Wire::Hereabouts,
        key_in_use: Some(signed.key.to_string()),
        epoch: record.epoch,
        cloned: false,
        former_names: Vec::new(),
        files: Vec::new(),
    };
    FoundNode { node, itself: sighting.is_none() }
}
