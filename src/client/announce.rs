//! `hereabouts announce` without a running node: registers once and exits.
//!
//! The command runs the engine of a node with a registration that is due at once, and does what the
//! engine wants until every server that answers has acknowledged or refused the record. It sends no
//! announcement, because this node will not stay, and no goodbye, because the lease goes on.

use std::time::Duration;

use tracing::Instrument;

use super::{ClientError, open};
use crate::api::view::AnnouncedView;
use crate::config::Config;
use crate::discovery::{
    Engine, EngineSettings, Event, Output, OwnRecord, OwnSettings, Server, To, explain_refusal,
};
use crate::lookup::{BROWSE_AFTER, KNOWN_ELSEWHERE, Requester};
use crate::model::Now;
use crate::net::{self, RecvBatch, Watch};
use crate::publish::mdns::{Browser, next_candidates};
use crate::settings;
use crate::state_dir::StateDir;
use crate::wire::v1::Message;

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

/// A registration that is under way.
struct Announcement<'a> {
    requester: Requester,
    engine: Engine,
    state: &'a StateDir,
    wants_browser: bool,
    browser: Option<Browser>,
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
            let reacted = |server: &Server| server.held.is_some() || server.refusal.is_some();
            let servers = self.engine.servers();
            if !servers.is_empty() && servers.iter().all(reacted) {
                end = end.min(now.elapsed + KNOWN_ELSEWHERE);
            }
            if now.elapsed >= end {
                break;
            }
            self.engine.advance(now);
            self.drain_outputs().await;
            let mut wake = self.engine.deadline().map_or(end, |at| at.min(end));
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

    /// Waits for datagrams and found services, and passes them to the engine; at most until `wake`.
    async fn receive(&mut self, batch: &mut RecvBatch, wake: Duration) {
        let requester = &mut self.requester;
        tokio::select! {
            received = requester.traffic.sockets.recv(batch) => {
                for place in 0..received.unwrap_or(0) {
                    let opened = requester.traffic.open(batch, place, &mut requester.counters);
                    if let Ok(received) = opened {
                        let now = requester.clock.now();
                        self.engine.handle(now, received.from, received.received_by, &received.message);
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
