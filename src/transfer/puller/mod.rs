//! The puller: it visits the servers of this node and pulls the accepted files that are newer there.
//!
//! In go the servers that hold this node's record, and commands; out come replaced files, the action after each, reports
//! to the servers, and progress for a person who waits. The servers are visited at the start, when one is new, after a
//! notice, and once a minute. Only the puller replaces files, so that no two pulls collide.
//!
//! The acknowledgement of a renewal says whether a server's offers changed; a visit finds out how. A visit costs a
//! handshake, and reports to the server what this node holds, so that a restarted server knows it again.

mod decide;
mod exchange;
mod ledger;
mod pull;
mod received;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(super) use exchange::{Dialer, Exchange};
pub(crate) use received::Received;

use super::accepts::Accepts;
use crate::api::request::{ErrorKind, Item, Response};
use crate::api::view::PullView;
use crate::files::after::After;
use crate::files::ledger::Ledger;
use crate::model::{NodeId, NodeName, Owner, Timestamp};
use crate::session::Peer;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::v1::Notice;

/// By how much a server's clock must move, in ms, to count as set: a server accepts a difference of 20 s.
const CLOCK_STEP: u64 = 5_000;

/// A file that this node accepts.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) name: Box<str>,
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) owner: Option<Owner>,
    pub(crate) max_size: u64,
    /// The server that is pinned in the configuration.
    pub(crate) server: Option<NodeId>,
    pub(crate) after: Option<After>,
}

/// A command to the puller.
pub(crate) enum Command {
    /// A server may have a newer generation.
    Notice(Notice),
    /// The acknowledgement of a renewal says that a server's offers changed.
    Changed,
    /// A person waits: pull now.
    Now {
        /// The only file to pull; `None` for all.
        name: Option<Box<str>>,
        reply: mpsc::Sender<Response>,
    },
    /// A file was received from an old base.
    Received(Received),
}

/// The settings of the puller.
pub(crate) struct Puller {
    pub(crate) key_ring: KeyRing,
    pub(crate) channel: String,
    pub(crate) identity: Identity,
    pub(crate) node: NodeName,
    pub(crate) accepted: Vec<Accepted>,
    /// The state of the files, for `status`.
    pub(crate) accepts: Accepts,
    pub(crate) spread: Duration,
    pub(crate) ledger_path: PathBuf,
}

struct State {
    settings: Puller,
    ledger: Ledger,
    /// Why the ledger is not read; `None` once it is.
    unread: Option<String>,
    /// The servers that hold this node's record, with their addresses and clocks at this moment.
    servers: watch::Receiver<Vec<Peer>>,
    /// The servers at the last look.
    known: Vec<Peer>,
    /// When the servers are visited next; `None` while there is none.
    due: Option<Instant>,
    failures: u32,
    /// The last failure that was logged for each file and server, with its generation. Bounded by servers and names.
    logged: HashMap<(Box<str>, NodeId), (Option<u64>, String)>,
}

/// The queue to a person who watches a pull.
type Observer<'o> = Option<&'o mpsc::Sender<Response>>;

impl Puller {
    /// Pulls files for ever.
    pub(crate) async fn run(
        self,
        servers: watch::Receiver<Vec<Peer>>,
        mut commands: mpsc::Receiver<Command>,
    ) {
        let mut state = State::new(self, servers);
        state.read_ledger().await;
        state.update_servers();
        loop {
            let due = state.due;
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Notice(notice)) => state.on_notice(&notice),
                    Some(Command::Changed) => state.on_change(),
                    Some(Command::Now { name, reply }) => state.on_request(name.as_deref(), &reply).await,
                    Some(Command::Received(received)) => state.on_received(received).await,
                },
                Ok(()) = state.servers.changed() => state.update_servers(),
                () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    state.visit_all(None, None).await;
                }
            }
        }
    }
}

impl State {
    fn new(settings: Puller, servers: watch::Receiver<Vec<Peer>>) -> Self {
        Self {
            settings,
            ledger: Ledger::new(),
            unread: Some(String::new()),
            servers,
            known: Vec::new(),
            due: None,
            failures: 0,
            logged: HashMap::new(),
        }
    }

    /// Copies the current servers, and schedules a visit if one is new, has moved, or had its clock set.
    fn update_servers(&mut self) {
        let servers = self.servers.borrow_and_update().clone();
        let is_unchanged = |server: &Peer| {
            self.known.iter().any(|known| {
                known.id == server.id
                    && known.address == server.address
                    && known.clock_ahead.abs_diff(server.clock_ahead) < CLOCK_STEP
            })
        };
        let has_news = !servers.iter().all(is_unchanged);
        self.logged
            .retain(|(_, id), _| servers.iter().any(|server| server.id == *id));
        self.known = servers;
        if self.known.is_empty() {
            self.due = None;
        } else if has_news || self.due.is_none() {
            self.visit_within(self.settings.spread);
        }
    }

    /// A server as it can be reached at this moment.
    fn server(&self, id: &NodeId) -> Option<Peer> {
        self.servers
            .borrow()
            .iter()
            .find(|server| server.id == *id)
            .cloned()
    }

    /// Schedules a visit unless the notice is about an older generation. The sender does not matter, as the visit checks
    /// what the server offers.
    fn on_notice(&mut self, notice: &Notice) {
        let held = self
            .ledger
            .get(&*notice.name)
            .filter(|entry| entry.server == notice.server);
        // A notice about the same generation counts too: a restarted server may not know that this node holds it.
        let is_older = held.is_some_and(|entry| entry.generation > notice.generation);
        if is_older {
            tracing::trace!(file = %notice.name, generation = notice.generation, "ignored a notice about an older generation");
        } else {
            self.on_change();
        }
    }

    fn on_change(&mut self) {
        if !self.known.is_empty() {
            self.visit_within(self.settings.spread);
        }
    }

    /// Brings the next visit forward, to a random moment within a time.
    fn visit_within(&mut self, spread: Duration) {
        let at = Instant::now() + spread.mul_f64(fastrand::f64());
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Pulls for a person who waits.
    async fn on_request(&mut self, name: Option<&str>, reply: &mpsc::Sender<Response>) {
        let is_unknown = |name: &str| {
            !self
                .settings
                .accepted
                .iter()
                .any(|accepted| *accepted.name == *name)
        };
        let end = if name.is_some_and(is_unknown) {
            Response::error(
                ErrorKind::NotFound,
                "files.accept of this node has no such name",
            )
        } else if self.servers.borrow().is_empty() {
            Response::error(
                ErrorKind::Failed,
                "no server has acknowledged this node yet ('hereabouts status' says why)",
            )
        } else {
            self.visit_all(name, Some(reply)).await;
            Response::END
        };
        // If the client has left, no one needs the answer.
        let _ = reply.send(end).await;
    }
}

/// The wall clock, for timestamps that people read.
fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The message for a replaced file whose action failed.
fn action_failed(error: &str) -> String {
    format!("the file is in its place, but the action after it failed: {error}")
}

async fn notify(observer: Observer<'_>, view: &PullView) {
    if let Some(observer) = observer {
        // If the client has left, no one needs the view.
        let _ = observer
            .send(Response::from(Item::Pulled(view.clone())))
            .await;
    }
}
