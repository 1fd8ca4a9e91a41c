//! A pull of one file, and the action after it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::decide::decide;
use super::{Accepted, Observer, State, action_failed, now};
use crate::api::view::{Progress, PullView};
use crate::files::ledger::Entry;
use crate::files::replacement::Replacement;
use crate::files::target::Target;
use crate::session::{Peer, Session};
use crate::transfer::fetch::{self, Destination, FetchError};
use crate::wire::v1::Notice;

/// Between two views of the progress of one pull.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Why a file was not pulled, and whether another visit soon may succeed.
pub(super) struct PullFailure {
    pub(super) error: String,
    pub(super) retry_soon: bool,
}

fn retry_soon(error: impl ToString) -> PullFailure {
    PullFailure {
        error: error.to_string(),
        retry_soon: true,
    }
}

fn retry_later(error: impl ToString) -> PullFailure {
    PullFailure {
        error: error.to_string(),
        retry_soon: false,
    }
}

impl From<FetchError> for PullFailure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Outdated => {
                retry_soon("the file changed on the server meanwhile; the newer one is pulled next")
            }
            // A directory in the place of the file, or a full disk, is still there in two seconds.
            FetchError::Target(error) => retry_later(error),
            error => retry_soon(error),
        }
    }
}

impl State {
    /// Pulls one file if the offer is newer than the file held, and runs the action after it.
    pub(super) async fn pull(
        &mut self,
        session: &mut Session<TcpStream>,
        server: &Peer,
        accepted: &Accepted,
        notice: &Notice,
        observer: Observer<'_>,
    ) -> Result<(), PullFailure> {
        self.require_ledger().await.map_err(retry_later)?;
        let path = accepted.path.clone();
        let mode = accepted.mode;
        let size = tokio::task::spawn_blocking(move || {
            Target::open(&path, mode).and_then(|target| target.size())
        });
        let size = size.await.map_err(retry_soon)?.map_err(retry_later)?;
        let entry = self.ledger.get(&*accepted.name);
        if !decide(entry, accepted, size, notice).map_err(retry_later)? {
            // A person who pulls by hand has fixed the cause of a failed action, or wants to see it again.
            return self
                .run_action(accepted, observer.is_some())
                .await
                .map_err(retry_later);
        }
        // The existing file is that of the ledger, unless its size differs or the ledger has no entry.
        let content_differs = entry
            .filter(|entry| Some(entry.size) == size)
            .is_some_and(|entry| entry.digest != notice.digest);
        let destination = Destination {
            path: accepted.path.clone(),
            mode: accepted.mode,
            owner: accepted.owner.clone(),
            content_differs,
        };
        self.fetch_and_store(session, server, accepted, notice, destination, observer)
            .await?;
        self.run_action(accepted, false).await.map_err(retry_later)
    }

    /// Replaces the file by the one of a notice, and records that in the ledger.
    async fn fetch_and_store(
        &mut self,
        session: &mut Session<TcpStream>,
        server: &Peer,
        accepted: &Accepted,
        notice: &Notice,
        destination: Destination,
        observer: Observer<'_>,
    ) -> Result<(), PullFailure> {
        let started = Instant::now();
        let mut next_view = started;
        let mut progress = |bytes| {
            let now = Instant::now();
            if now < next_view {
                return;
            }
            next_view = now + PROGRESS_EVERY;
            tracing::trace!(bytes, size = notice.size, "pulling");
            if let Some(observer) = observer {
                // A client that reads too slowly gets fewer views.
                let _ = observer.try_send(progress_view(server, notice, bytes).into());
            }
        };
        let received = fetch::fetch(
            session,
            self.dialer(server),
            notice,
            destination,
            &mut progress,
        )
        .await?;
        tracing::info!(
            file = %accepted.name,
            generation = notice.generation,
            size = notice.size,
            received,
            took = ?started.elapsed(),
            server = %server.name,
            "pulled a file"
        );
        let entry = Entry {
            server: notice.server,
            generation: notice.generation,
            size: notice.size,
            digest: notice.digest,
            unfinished: accepted.after.is_some(),
            failed: None,
            pulled: Some(now()),
            server_name: Some(server.name.clone()),
        };
        self.store(&accepted.name, entry).await.map_err(retry_later)
    }

    /// Runs the action after a replacement, if it did not run yet. An action that failed before counts as failed, and
    /// runs again only if `again` is set.
    async fn run_action(&mut self, accepted: &Accepted, again: bool) -> Result<(), String> {
        let Some(after) = &accepted.after else {
            return Ok(());
        };
        let Some(entry) = self.ledger.get(&*accepted.name).cloned() else {
            return Ok(());
        };
        match &entry.failed {
            Some(error) if !entry.unfinished && !again => return Err(action_failed(error)),
            None if !entry.unfinished => return Ok(()),
            _ => {}
        }
        let replacement = Replacement {
            name: &accepted.name,
            generation: entry.generation,
            size: entry.size,
            digest: entry.digest,
            node: &self.settings.node,
            path: &accepted.path,
            time: entry.pulled.unwrap_or_else(now),
        };
        let failed = after
            .run(&replacement)
            .await
            .err()
            .map(|error| error.to_string());
        // The action counts as run whatever its outcome: a command that fails would otherwise fail every minute.
        self.store(
            &accepted.name,
            Entry {
                unfinished: false,
                failed: failed.clone(),
                ..entry
            },
        )
        .await?;
        failed.map_or(Ok(()), |error| Err(action_failed(&error)))
    }

    /// Runs the actions that a crash prevented.
    pub(super) async fn run_unfinished_actions(&mut self) {
        for accepted in self.settings.accepted.clone() {
            if let Err(error) = self.run_action(&accepted, false).await {
                tracing::warn!(file = %accepted.name, "{error}");
                self.settings
                    .accepts
                    .set_attempt(&accepted.name, now(), Some(error));
            }
        }
    }
}

fn progress_view(server: &Peer, notice: &Notice, bytes: u64) -> PullView {
    PullView {
        name: notice.name.to_string(),
        server: Some(server.name.clone()),
        state: Progress::Pulling,
        generation: notice.generation,
        bytes,
        size: notice.size,
        error: None,
    }
}
