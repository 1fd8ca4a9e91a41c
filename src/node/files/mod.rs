//! Files of a running node: what it offers, what it takes, and what it knows that others hold.
//!
//! Offers and pulls live on the thread of the sessions; the node's own loop sends notices and keeps what nodes report.

mod accepts;
mod fetch;
mod held;
pub(super) mod offers;
pub(super) mod puller;
mod push;
mod terminals;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub(super) use held::Held;
pub(super) use push::{Pushes, Refreshed};

use super::RunError;
use super::ask::FoundServer;
use super::shell::Node;
use super::state_dir::{StateDir, write_durably};
use super::wiring;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Request, Response};
use crate::api::view::{AcceptView, OfferView};
use crate::config::Config;
use crate::files::ledger::{self, Ledger};
use crate::model::{NodeId, NodeName};
use crate::registry;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::session::Report;
use crate::wire::v1::Notice;
use accepts::Accepts;
use offers::{Generation, Keeper, Offers, Refresh};
use puller::{Accepted, Puller, Told};

/// What sessions tell the node of files.
pub(super) enum FileEvent {
    /// A node pulls: so many bytes are on their way to it.
    Sending { node: NodeId, name: Box<str>, generation: u64, bytes: u64 },
    /// A node, which introduced itself, says what it holds.
    Reported { node: NodeId, report: Report },
    /// A file has a newer generation.
    Newer { name: Box<str>, generation: Arc<Generation> },
    /// A file that is to be pushed was looked at.
    Refreshed(Refreshed),
    /// Old terminals were called.
    Called(terminals::Called),
}

/// The node's ends of the queues to and from the thread of the sessions.
pub(super) struct Files {
    pub(super) offers: Offers,
    pub(super) accepts: Accepts,
    pub(super) held: Held,
    pub(super) pushes: Pushes,
    pub(super) events: mpsc::Sender<FileEvent>,
    pub(super) refreshes: Option<mpsc::Sender<Refresh>>,
    pub(super) puller: Option<mpsc::Sender<Told>>,
    /// Where the puller sees the servers that hold this node's record.
    pub(super) servers: watch::Sender<Vec<FoundServer>>,
}

/// What runs on the thread of the sessions, and what comes from there.
pub(super) struct Tasks {
    pub(super) tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) events: mpsc::Receiver<FileEvent>,
}

/// Messages that wait on their way between the node's loop and the thread of the sessions.
const QUEUE: usize = 1024;

/// Makes what the configuration's offers and accepted files need; nothing runs yet.
pub(super) fn start(
    config: &Config,
    state: &StateDir,
    identity: &Identity,
    ring: &KeyRing,
) -> Result<(Files, Tasks), RunError> {
    let (sender, events) = mpsc::channel(QUEUE);
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    let offered = config.files.offer.iter().filter(|_| config.role.serves());
    let offers = Offers::new(offered.map(|offer| (offer.name.as_str().into(), offer.path.clone())));
    let mut files = Files {
        offers: offers.clone(),
        accepts: Accepts::default(),
        held: Held::default(),
        pushes: Pushes::default(),
        events: sender,
        refreshes: None,
        puller: None,
        servers: watch::Sender::default(),
    };
    if !offers.all().is_empty() {
        let keeper = Keeper::new(offers, identity.id(), state.path().join("offers.json"), files.events.clone());
        let (refreshes, asked) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(keeper.run(asked)));
        files.refreshes = Some(refreshes);
    }
    if !config.files.accept.is_empty() {
        let accepted = config.files.accept.iter();
        let accepted =
            accepted.map(|accept| Ok(Accepted { after: wiring::after(accept)?, ..wiring::accepted(accept) }));
        let accepted = accepted.collect::<Result<Vec<_>, RunError>>()?;
        files.accepts = Accepts::new(accepted.iter().map(|accepted| (accepted.name.clone(), accepted.path.clone())));
        let puller = Puller {
            ring: ring.clone(),
            channel: config.channel.name.as_str().to_owned(),
            identity: identity.clone(),
            node: config.node.name.clone(),
            accepted,
            accepts: files.accepts.clone(),
            spread: config.files.spread.0,
            ledger_path: state.path().join("accepted.json"),
        };
        let (told, tell) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(puller.run(files.servers.subscribe(), tell)));
        files.puller = Some(told);
    }
    Ok((files, Tasks { tasks, events }))
}

impl Node {
    /// Passes a notice on; one that does not fit is made good by the next visit.
    pub(super) fn noticed(&mut self, notice: Notice, from: SocketAddr) {
        tracing::debug!(file = %notice.name, generation = notice.generation, %from, "a notice came");
        if let Some(puller) = &self.files.puller {
            let _ = puller.try_send(Told::Notice(notice));
        }
    }

    /// Has the puller ask its servers, as one of them offers other files than before.
    pub(super) fn files_changed(&self) {
        if let Some(puller) = &self.files.puller {
            // One that does not fit is made good by the next visit.
            let _ = puller.try_send(Told::Changed);
        }
    }

    /// Has the puller pull now.
    pub(super) fn pull(&mut self, call: Call) {
        let refused = match (&call.request, &self.files.puller) {
            (Request::Pull { name }, Some(puller)) => {
                let now = Told::Now { name: name.as_deref().map(Into::into), reply: call.reply.clone() };
                puller.try_send(now).err().map(|_| (ErrorKind::Busy, "the node is busy: try again"))
            }
            _ => Some((ErrorKind::NotFound, "this node takes no files (files.accept is empty)")),
        };
        if let Some((kind, message)) = refused {
            // Nobody waits for the answer any more: nothing to do.
            let _ = call.reply.try_send(Response::error(kind, message));
        }
    }

    /// Takes what sessions tell of files.
    pub(super) fn file_event(&mut self, event: FileEvent) {
        match event {
            FileEvent::Sending { node, name, generation, bytes } => {
                // Whoever pulls takes the file, though it has not said what it holds yet.
                let known = self.core.table().filter(|table| table.by_id(&node).is_some()).map(registry::Table::len);
                if let Some(nodes) = known.filter(|_| self.files.held.generation(&node, &name).is_none()) {
                    let report =
                        Report { name: name.clone(), generation: 0, error: None, attempted: None, again: false };
                    self.files.held.take(node, &report, self.ticker.now().wall, nodes);
                }
                self.files.pushes.sending(&node, &name, generation, bytes);
            }
            FileEvent::Reported { node, report } => self.reported(node, report),
            FileEvent::Newer { name, generation } => {
                self.core.offers_changed(self.ticker.now());
                self.tell_newer(&name, &generation);
            }
            FileEvent::Refreshed(refreshed) => self.start_push(refreshed),
            FileEvent::Called(called) => self.files.pushes.called(called),
        }
    }

    fn reported(&mut self, node: NodeId, report: Report) {
        let now = self.ticker.now();
        // Only of nodes that are known, and of files that are offered: so it is bounded.
        let Some(table) = self.core.table() else { return };
        let Some(known) = table.by_id(&node) else { return };
        if !self.files.offers.has(&report.name) {
            return;
        }
        let mut view = super::views::node(&known, now);
        let nodes = table.len();
        let news = self.files.held.take(node, &report, now.wall, nodes);
        self.files.pushes.reported(&node, &report);
        if news && !self.watchers.is_empty() {
            self.files.held.fill(&mut view);
            let (name, source) = (view.name.clone(), view.source);
            self.tell(crate::api::view::ChangeKind::Reported, name, source, Some(view));
        }
    }

    /// Shows the puller which servers hold this node's record, where they are and what their clocks say.
    ///
    /// After every turn, as neither a move nor an acknowledgement is an event of its own.
    pub(super) fn show_servers(&self) {
        if self.files.puller.is_some() {
            let own = self.core.engine().own().id();
            let servers = self.core.engine().servers().iter().filter(|server| server.id != own);
            show(
                &self.files.servers,
                servers.filter_map(|server| {
                    Some((server.address, server.id, &server.name, server.held.as_ref()?.clock_offset))
                }),
            );
        }
    }

    /// The files that this node offers, for `status`.
    pub(super) fn offer_views(&self) -> Vec<OfferView> {
        let view = |(name, offered): (Box<str>, offers::Offered)| {
            let current = offered.current.as_ref();
            OfferView {
                name: name.into(),
                path: offered.path.display().to_string(),
                generation: current.map(|current| current.number),
                size: current.map(|current| current.snapshot.size()),
                digest: current.map(|current| data_encoding::HEXLOWER.encode(current.snapshot.digest())),
                error: offered.error,
            }
        };
        self.files.offers.all().into_iter().map(view).collect()
    }

    /// The files that this node takes, for `status`.
    pub(super) fn accept_views(&self) -> Vec<AcceptView> {
        self.files.accepts.views()
    }
}

/// Shows servers, each with its address, name and clock, if anything of them changed.
fn show<'s>(
    shown: &watch::Sender<Vec<FoundServer>>,
    servers: impl Iterator<Item = (SocketAddr, NodeId, &'s NodeName, i64)> + Clone,
) {
    let before = |server: &FoundServer| (server.address, server.id, server.clock_ahead);
    let same =
        servers.clone().map(|(address, id, _, clock)| (address, id, clock)).eq(shown.borrow().iter().map(before));
    if !same {
        let found = |(address, id, name, clock_ahead): (_, _, &NodeName, _)| FoundServer {
            address,
            id,
            name: name.clone(),
            clock_ahead,
        };
        shown.send_replace(servers.map(found).collect());
    }
}

/// Brings a ledger to the disk, which may be slow: sessions go on meanwhile.
async fn keep(path: &Path, ledger: &Ledger) -> Result<(), String> {
    let (path, text) = (path.to_owned(), ledger::text(ledger));
    match tokio::task::spawn_blocking(move || write_durably(&path, text.as_bytes())).await {
        Ok(kept) => kept.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
