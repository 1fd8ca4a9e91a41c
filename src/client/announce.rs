//! `hereabouts announce` without a running node: registers once and leaves.

use std::time::Duration;

use super::{ClientError, open};
use crate::api::view::AnnouncedView;
use crate::config::Config;
use crate::discovery::{
    Engine, EngineSettings, Event, Output, OwnRecord, OwnSettings, Server, To, explain_refusal,
};
use crate::lookup::{BROWSE_AFTER, KNOWN_ELSEWHERE, Requester};
use crate::net::{self, RecvBatch, Watch};
use crate::publish::mdns::found as browsed;
use crate::settings;
use crate::state_dir::StateDir;
use crate::wire::v1::Message;

/// Registers once with every server that answers, and leaves without a goodbye: the lease goes on.
pub async fn announce(config: &Config, limit: Duration) -> Result<Vec<AnnouncedView>, ClientError> {
    let mut requester = open(config).await?;
    let state = StateDir::open(&config.node.state_dir)?;
    let _lock = state.lock()?;
    let now = requester.clock.now();
    let new_node = state.is_new();
    let identity = state.identity()?;
    let epoch = state.next_epoch(now.wall, new_node)?;
    let interfaces = Watch::new().next().await;
    let told = settings::announced_once(config, &requester.traffic.policy, &interfaces)
        .ok_or(ClientError::Interfaces)?;
    let settings = OwnSettings {
        role: told.role,
        ..settings::own(config, epoch, told.port)
    };
    let mut own = OwnRecord::new(identity, requester.traffic.key_ring.first().id(), settings);
    own.set_addresses(told.addresses);
    let keys = requester.traffic.key_ring.ids().collect();
    let settings = EngineSettings {
        registers: true,
        fallback_after: Duration::ZERO,
        ..settings::engine(config, keys)
    };
    let browse_at = now.elapsed + limit.mul_f64(BROWSE_AFTER);
    let mut wants_browser = false;
    let mut browser = None;
    let mut engine = Engine::new(now, settings, own);
    let mut batch = RecvBatch::new();
    let deadline = now.elapsed + limit;
    // Once one server has answered, others that are there answer within this.
    let mut quiet = deadline;
    loop {
        let now = requester.clock.now();
        let spoken = |server: &Server| server.held.is_some() || server.refusal.is_some();
        let servers = engine.servers();
        if !servers.is_empty() && servers.iter().all(spoken) {
            quiet = quiet.min(now.elapsed + KNOWN_ELSEWHERE);
        }
        if now.elapsed >= deadline.min(quiet) {
            break;
        }
        engine.advance(now);
        perform(&mut requester, &mut engine, &state, &mut wants_browser).await;
        let mut wake = engine
            .deadline()
            .map_or(deadline, |at| at.min(deadline))
            .min(quiet);
        if wants_browser && browser.is_none() {
            if now.elapsed >= browse_at {
                browser = Some(requester.browser());
            } else {
                wake = wake.min(browse_at);
            }
        }
        tokio::select! {
            received = requester.traffic.sockets.recv(&mut batch) => {
                for place in 0..received.unwrap_or(0) {
                    if let Ok(received) = requester.traffic.open(&mut batch, place, &mut requester.counters) {
                        engine.handle(requester.clock.now(), received.from, received.came_by, &received.message);
                    }
                }
            }
            candidates = browsed(&mut browser) => {
                candidates.into_iter().for_each(|candidate| engine.candidate(requester.clock.now(), candidate));
            }
            () = tokio::time::sleep_until(requester.clock.instant(Some(wake))) => {}
        }
    }
    perform(&mut requester, &mut engine, &state, &mut wants_browser).await;
    let views = engine.servers().iter().map(|server| {
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
    });
    Ok(views.collect())
}

/// Does what the engine of an `announce` wants done.
async fn perform(
    requester: &mut Requester,
    engine: &mut Engine,
    state: &StateDir,
    wants_browser: &mut bool,
) {
    while let Some(output) = engine.output() {
        match output {
            Output::Send {
                to: To::One(address),
                message,
            } => {
                requester
                    .traffic
                    .send(address, &message, &mut requester.counters)
                    .await;
            }
            // The record is the servers' matter: this node does not stay to be found by others.
            Output::Send {
                message: Message::Announcement(_),
                ..
            } => {}
            Output::Send {
                to: To::All(method),
                message,
            } => {
                let sent = requester
                    .traffic
                    .send_to_all(method, &message, &mut requester.counters)
                    .await;
                engine.sent(method, sent.err());
            }
            Output::Resolve { configured } => {
                let server = requester
                    .servers
                    .get(configured)
                    .cloned()
                    .unwrap_or_default();
                let addresses = match net::resolve(&server).await {
                    Ok(addresses) => addresses,
                    Err(error) => {
                        tracing::warn!("failed to {error}");
                        Vec::new()
                    }
                };
                engine.resolved(requester.clock.now(), configured, addresses);
            }
            Output::Browse { on } => *wants_browser = on,
            Output::Event(Event::EpochRaised { epoch }) => {
                if let Err(error) = state.set_epoch(epoch) {
                    tracing::error!("failed to {error}");
                }
            }
            Output::Event(_) => {}
        }
    }
    requester.traffic.flush(&mut requester.counters).await;
}
