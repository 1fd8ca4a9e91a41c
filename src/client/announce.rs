//! `hereabouts announce` without a running node: registers once and exits.
//!
//! The command runs the engine of a node with a registration that is due at once, and does what the
//! engine wants until every server that answers has acknowledged or refused the record. It sends no
//! announcement, because this node will not stay, and no goodbye, because the lease goes on.
//!
//! A server that answers from a link-local IPv6 address is registered with there only if it has not
//! answered from another address within a short time: what it would see of this machine could be
//! used on its own link alone, and would differ from run to run with the order of the answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::Instrument;

use super::{ClientError, open};
use crate::api::view::AnnouncedView;
use crate::config::Config;
use crate::discovery::{
    Engine, EngineSettings, Event, Output, OwnRecord, OwnSettings, Server, To, explain_refusal,
};
use crate::lookup::{BROWSE_AFTER, KNOWN_ELSEWHERE, Requester};
use crate::model::{Method, Now};
use crate::net::{self, RecvBatch, Watch};
use crate::publish::mdns::{Browser, next_candidates};
use crate::settings;
use crate::state_dir::StateDir;
use crate::wire::v1::Message;

/// How long answers from other addresses have precedence over those from link-local IPv6 ones; at
/// most this part of the limit. The first repetition of the query is at 0.25 s.
const LINK_LOCAL_AFTER: Duration = Duration::from_millis(500);
const LINK_LOCAL_PART: f64 = 0.25;
/// The limit of answers from link-local addresses that wait for that.
const MAX_WAITING: usize = 64;

/// Registers once with every server that answers within `limit`.
///
/// Must be called within a tokio runtime.
pub async fn announce(config: &Config, limit: Duration) -> Result<Vec<AnnouncedView>, ClientError> {
    let requester = open(config).await?;
    let state = StateDir::open(&config.node.state_dir)?;
    let _lock = state.lock()?;
    let now = requester.clock.now();
    let own = own_record(config, now, &requester, &state).await?;
    let settings = EngineSettings {
        registers: true,
        fallback_after: Duration::ZERO,
        ..settings::engine(config, requester.traffic.key_ring.ids().collect())
    };
    let engine = Engine::new(now, settings, own);
    let mut announcement = Announcement {
        requester,
        engine,
        state: &state,
        wants_browser: false,
        browser: None,
        link_local: Vec::new(),
        link_local_at: now.elapsed + LINK_LOCAL_AFTER.min(limit.mul_f64(LINK_LOCAL_PART)),
    };
    let span = tracing::debug_span!("announce", node = %config.node.name);
    announcement.run(now.elapsed, limit).instrument(span).await;
    let servers = announcement.engine.servers().iter();
    Ok(servers.map(|server| view(server, limit)).collect())
}

/// The record of this node, under a new epoch.
async fn own_record(
    config: &Config,
    now: Now,
    requester: &Requester,
    state: &StateDir,
) -> Result<OwnRecord, ClientError> {
    let new_node = state.is_new();
    let identity = state.identity()?;
    let epoch = state.next_epoch(now.wall, new_node)?;
    let interfaces = Watch::new().next().await;
    let announced = settings::single_announcement(config, &requester.traffic.policy, &interfaces)
        .ok_or(ClientError::Interfaces)?;
    let settings = OwnSettings {
        role: announced.role,
        ..settings::own(config, epoch, announced.port)
    };
    let key = requester.traffic.key_ring.first().id();
    let mut own = OwnRecord::new(identity, key, settings);
    own.set_addresses(announced.addresses);
    Ok(own)
}

fn view(server: &Server, limit: Duration) -> AnnouncedView {
    let held = server.held.as_ref();
    let error = match (held, &server.refusal) {
        (_, Some(refusal)) => Some(explain_refusal(refusal)),
        (Some(_), None) => None,
        (None, None) => Some(format!(
            "no acknowledgement within {} s",
            limit.as_secs_f32()
        )),
    };
    AnnouncedView {
        server: server.address,
        name: Some(server.name.clone()),
        node_id: Some(server.id),
        seen: held.map(|held| held.seen),
        lease_seconds: held.map(|held| held.lease.0),
        error,
    }
}

/// Whether the engine would begin to register with a link-local IPv6 address by this message.
fn finds_a_link_local_server(from: SocketAddr, message: &Message) -> bool {
    let is_link_local =
        matches!(from.ip().to_canonical(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    is_link_local && matches!(message, Message::Answer(_) | Message::Announcement(_))
}

/// A registration that is under way.
struct Announcement<'a> {
    requester: Requester,
    engine: Engine,
    state: &'a StateDir,
    wants_browser: bool,
    browser: Option<Browser>,
    /// Answers from link-local IPv6 addresses that wait.
    link_local: Vec<(SocketAddr, Method, Message)>,
    /// Until when they wait.
    link_local_at: Duration,
}

impl Announcement<'_> {
    /// Drives the engine until `limit` after `start`, or until every server has reacted and no
    /// further one is likely to.
    async fn run(&mut self, start: Duration, limit: Duration) {
        let browse_at = start + limit.mul_f64(BROWSE_AFTER);
        let deadline = start + limit;
        // Once one server has answered, the other servers that are present answer within
        // KNOWN_ELSEWHERE.
        let mut end = deadline;
        let mut batch = RecvBatch::new();
        loop {
            let now = self.requester.clock.now();
            if now.elapsed >= self.link_local_at || self.have_all_reacted() {
                for (from, received_by, message) in std::mem::take(&mut self.link_local) {
                    self.engine.handle(now, from, received_by, &message);
                }
            }
            if self.have_all_reacted() {
                end = end.min(now.elapsed + KNOWN_ELSEWHERE);
            }
            if now.elapsed >= end {
                break;
            }
            self.engine.advance(now);
            self.drain_outputs().await;
            let mut wake = self.engine.deadline().map_or(end, |at| at.min(end));
            if !self.link_local.is_empty() {
                wake = wake.min(self.link_local_at);
            }
            if self.wants_browser && self.browser.is_none() {
                if now.elapsed >= browse_at {
                    self.browser = Some(self.requester.browser());
                } else {
                    wake = wake.min(browse_at);
                }
            }
            self.receive(&mut batch, wake).await;
        }
        self.drain_outputs().await;
    }

    /// Whether there are servers, and each has acknowledged or refused the record.
    fn have_all_reacted(&self) -> bool {
        let servers = self.engine.servers();
        let reacted = |server: &Server| server.held.is_some() || server.refusal.is_some();
        !servers.is_empty() && servers.iter().all(reacted)
    }

    /// Waits for datagrams and found services, and passes them to the engine; at most until `wake`.
    async fn receive(&mut self, batch: &mut RecvBatch, wake: Duration) {
        let requester = &mut self.requester;
        tokio::select! {
            received = requester.traffic.sockets.recv(batch) => {
                for place in 0..received.unwrap_or(0) {
                    let opened = requester.traffic.open(batch, place, &mut requester.counters);
                    let Ok(received) = opened else { continue };
                    let now = requester.clock.now();
                    let (from, by) = (received.from, received.received_by);
                    if now.elapsed < self.link_local_at && finds_a_link_local_server(from, &received.message) {
                        if self.link_local.len() < MAX_WAITING {
                            self.link_local.push((from, by, received.message));
                        }
                    } else {
                        self.engine.handle(now, from, by, &received.message);
                    }
                }
            }
            candidates = next_candidates(&mut self.browser) => {
                for candidate in candidates {
                    self.engine.candidate(requester.clock.now(), candidate);
                }
            }
            () = tokio::time::sleep_until(requester.clock.instant(Some(wake))) => {}
        }
    }

    /// Does what the engine wants.
    async fn drain_outputs(&mut self) {
        while let Some(output) = self.engine.output() {
            match output {
                Output::Send {
                    to: To::One(address),
                    message,
                } => {
                    tracing::trace!(server = %address, "a message is sent to one server");
                    let counters = &mut self.requester.counters;
                    self.requester
                        .traffic
                        .send(address, &message, counters)
                        .await;
                }
                // Only the servers get the record: this node does not stay to be found by others.
                Output::Send {
                    message: Message::Announcement(_),
                    ..
                } => {}
                Output::Send {
                    to: To::All(method),
                    message,
                } => {
                    let counters = &mut self.requester.counters;
                    let sent = self
                        .requester
                        .traffic
                        .send_to_all(method, &message, counters)
                        .await;
                    tracing::debug!(
                        ?method,
                        error = sent.as_ref().err(),
                        "a query is sent to all nodes"
                    );
                    self.engine.sent(method, sent.err());
                }
                Output::Resolve { configured } => self.resolve(configured).await,
                Output::Browse { on } => self.wants_browser = on,
                Output::Event(Event::EpochRaised { epoch }) => {
                    if let Err(error) = self.state.set_epoch(epoch) {
                        tracing::error!("failed to {error}");
                    }
                }
                Output::Event(_) => {}
            }
        }
        let counters = &mut self.requester.counters;
        self.requester.traffic.flush(counters).await;
    }

    async fn resolve(&mut self, configured: usize) {
        let servers = &self.requester.servers;
        let server = servers.get(configured).cloned().unwrap_or_default();
        let addresses = match net::resolve(&server).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::warn!(%server, "failed to {error}");
                Vec::new()
            }
        };
        tracing::debug!(%server, ?addresses, "the server was resolved");
        let now = self.requester.clock.now();
        self.engine.resolved(now, configured, addresses);
    }
}
