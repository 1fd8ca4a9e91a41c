//! Visits: what a server offers, a pull of each newer file, and a report of each.

use std::collections::HashMap;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::Instrument;

use super::pull::PullFailure;
use super::{Accepted, Dialer, Exchange, Observer, State, notify, now};
use crate::api::view::{Progress, PullView};
use crate::model::NodeId;
use crate::session::{Peer, Session, SessionError};
use crate::wire::session::{Report, Request};
use crate::wire::v1::Notice;

/// Between two visits of all servers, give or take a tenth.
const VISIT_EVERY: Duration = Duration::from_secs(60);
/// After how long a failed visit is repeated: doubled each time, up to [`VISIT_EVERY`].
const RETRY: Duration = Duration::from_secs(2);
/// The error of a file that no server offers.
const NO_OFFER: &str = "no server offers it";

/// The outcome of one round of visits.
#[derive(Default)]
struct Round {
    /// By file that a server offered, why no server's was pulled; `None` if one was.
    outcomes: HashMap<Box<str>, Option<String>>,
    /// The servers without a session, each with the error.
    unreachable: Vec<(Peer, String)>,
    /// Whether another round soon may succeed where this one failed.
    retry_soon: bool,
}

impl Round {
    /// Stores a failure unless the file has an outcome already.
    fn set_failed(&mut self, name: &str, error: &str) {
        self.outcomes
            .entry(name.into())
            .or_insert_with(|| Some(error.to_owned()));
    }
}

impl State {
    /// Visits every server, and schedules the next round. `only` names the only file to pull.
    pub(super) async fn visit_all(&mut self, only: Option<&str>, observer: Observer<'_>) {
        self.read_ledger().await;
        self.update_servers();
        let mut round = Round::default();
        let ids: Vec<NodeId> = self.known.iter().map(|server| server.id).collect();
        for id in ids {
            // The server may have moved or disappeared while another one was visited.
            let Some(server) = self.server(&id) else {
                continue;
            };
            let span = tracing::debug_span!("visit", server = %server.name, peer = %server.address);
            if let Err(error) = self
                .visit(&server, only, observer, &mut round)
                .instrument(span)
                .await
            {
                tracing::warn!(server = %server.name, peer = %server.address, "the server can't be asked for files: {error}");
                let error = format!(
                    "no session with {} ({}): {error}",
                    server.name, server.address
                );
                round.retry_soon = true;
                round.unreachable.push((server, error));
            }
        }
        self.store_attempts(only, observer, &round).await;
        self.schedule_next(round.retry_soon);
    }

    /// Stores the outcome of each file, and notifies the observer of files that no reachable server offered.
    async fn store_attempts(&self, only: Option<&str>, observer: Observer<'_>, round: &Round) {
        let now = now();
        for accepted in self
            .settings
            .accepted
            .iter()
            .filter(|accepted| is_selected(accepted, only))
        {
            let error = match round.outcomes.get(&accepted.name) {
                Some(error) => error.clone(),
                // The observer is notified only now, as another server could have had the file.
                None => Some(self.not_offered(&accepted.name, observer, round).await),
            };
            self.settings
                .accepts
                .set_attempt(&accepted.name, now, error);
        }
    }

    /// Notifies the observer of a file that no reachable server offered. Returns the error.
    async fn not_offered(&self, name: &str, observer: Observer<'_>, round: &Round) -> String {
        for (server, error) in &round.unreachable {
            let view = self.view(name, Some(server), Progress::Failed, Some(error.clone()));
            notify(observer, &view).await;
        }
        let last = round.unreachable.last().map(|(_, error)| error.clone());
        let error = self
            .unread
            .clone()
            .or(last)
            .unwrap_or_else(|| NO_OFFER.to_owned());
        if round.unreachable.is_empty() {
            let view = self.view(name, None, Progress::Failed, Some(error.clone()));
            notify(observer, &view).await;
        }
        error
    }

    fn schedule_next(&mut self, retry_soon: bool) {
        self.failures = if retry_soon {
            self.failures.saturating_add(1)
        } else {
            0
        };
        let wait = match self.failures {
            0 => VISIT_EVERY,
            failures => RETRY
                .saturating_mul(1 << (failures - 1).min(8))
                .min(VISIT_EVERY),
        };
        self.due = (!self.known.is_empty())
            .then(|| Instant::now() + wait.mul_f64(0.9 + 0.2 * fastrand::f64()));
    }

    /// Requests the offers of one server, pulls what is newer, and reports.
    async fn visit(
        &mut self,
        server: &Peer,
        only: Option<&str>,
        observer: Observer<'_>,
        round: &mut Round,
    ) -> Result<(), SessionError> {
        let mut exchange = Exchange::new();
        let mut session = self.dialer(server).connect(&mut exchange).await?;
        let (offers, refused) = exchange.offers(&mut session).await?;
        tracing::debug!(
            offers = offers.len(),
            refused = refused.len(),
            "received the offers"
        );
        for accepted in self.settings.accepted.clone() {
            if !is_selected(&accepted, only) {
                continue;
            }
            let Some(notice) = offers.iter().find(|notice| notice.name == accepted.name) else {
                let error = refused.get(&accepted.name);
                let report = self
                    .on_missing_offer(server, &accepted, error, observer, round)
                    .await;
                exchange
                    .request(&mut session, &Request::Report(report))
                    .await?;
                continue;
            };
            let report = self
                .on_offer(&mut session, server, &accepted, notice, observer, round)
                .await;
            let report = Request::Report(report);
            if let Err(error) = exchange.request(&mut session, &report).await {
                // The pull broke the session: the report goes over a new one, if the server is still there.
                tracing::debug!(%error, "the session broke; connecting again to report");
                let server = self.server(&server.id).unwrap_or_else(|| server.clone());
                session = self.dialer(&server).connect(&mut exchange).await?;
                exchange.request(&mut session, &report).await?;
            }
        }
        Ok(())
    }

    /// Returns the report for a file without a valid offer. With it the server learns that this node accepts the file, so
    /// that a push waits for this node.
    async fn on_missing_offer(
        &mut self,
        server: &Peer,
        accepted: &Accepted,
        error: Option<&String>,
        observer: Observer<'_>,
        round: &mut Round,
    ) -> Report {
        if let Some(error) = error {
            round.set_failed(&accepted.name, error);
            self.log(&accepted.name, server, None, error);
            let view = self.view(
                &accepted.name,
                Some(server),
                Progress::Failed,
                Some(error.clone()),
            );
            notify(observer, &view).await;
        }
        Report {
            name: accepted.name.clone(),
            generation: self.generation_held(&accepted.name, &server.id),
            error: error.map(|error| truncated(error)),
            attempted: None,
            again: false,
        }
    }

    /// Pulls a file if the offer is newer. Returns the report.
    async fn on_offer(
        &mut self,
        session: &mut Session<TcpStream>,
        server: &Peer,
        accepted: &Accepted,
        notice: &Notice,
        observer: Observer<'_>,
        round: &mut Round,
    ) -> Report {
        let span =
            tracing::debug_span!("pull", file = %notice.name, generation = notice.generation);
        let outcome = self
            .pull(session, server, accepted, notice, observer)
            .instrument(span)
            .await;
        let (state, error, retry_soon) = match outcome {
            Ok(()) => {
                // A success outweighs the failures of other servers.
                round.outcomes.insert(accepted.name.clone(), None);
                self.logged.remove(&(accepted.name.clone(), server.id));
                (Progress::Done, None, false)
            }
            Err(PullFailure { error, retry_soon }) => {
                round.retry_soon |= retry_soon;
                self.log(&accepted.name, server, Some(notice.generation), &error);
                round.set_failed(&accepted.name, &error);
                (Progress::Failed, Some(error), retry_soon)
            }
        };
        let view = self.view(&accepted.name, Some(server), state, error.clone());
        notify(observer, &view).await;
        Report {
            name: accepted.name.clone(),
            generation: self.generation_held(&accepted.name, &notice.server),
            error: error.as_deref().map(truncated),
            attempted: Some(notice.generation),
            again: retry_soon,
        }
    }

    pub(super) fn dialer<'d>(&'d self, server: &'d Peer) -> Dialer<'d> {
        Dialer {
            server,
            key_ring: &self.settings.key_ring,
            channel: &self.settings.channel,
            identity: &self.settings.identity,
        }
    }

    /// The generation held of a server's file; 0 if none is.
    fn generation_held(&self, name: &str, server: &NodeId) -> u64 {
        self.ledger
            .get(name)
            .filter(|entry| entry.server == *server)
            .map_or(0, |entry| entry.generation)
    }

    /// Logs a failure once for each generation: the same failure a minute later is no news.
    fn log(&mut self, name: &str, server: &Peer, generation: Option<u64>, error: &str) {
        let failure = (generation, error.to_owned());
        if self.logged.get(&(name.into(), server.id)) != Some(&failure) {
            tracing::warn!(file = name, server = %server.name, "the file was not pulled: {error}");
            self.logged.insert((name.into(), server.id), failure);
        }
    }

    fn view(
        &self,
        name: &str,
        server: Option<&Peer>,
        state: Progress,
        error: Option<String>,
    ) -> PullView {
        let held = self.ledger.get(name);
        let (generation, size) = held.map_or((0, 0), |entry| (entry.generation, entry.size));
        PullView {
            name: name.to_owned(),
            server: server.map(|server| server.name.clone()),
            state,
            generation,
            bytes: size,
            size,
            error,
        }
    }
}

fn is_selected(accepted: &Accepted, only: Option<&str>) -> bool {
    only.is_none_or(|only| *accepted.name == *only)
}

/// An error, cut to the limit of a report.
fn truncated(error: &str) -> Box<str> {
    error[..error.floor_char_boundary(Report::MAX_ERROR)].into()
}
