//! Distribution of files: what a server offers, and what a node pulls.
//!
//! Offers and pulls live on the thread of the sessions. The node holds [`Handles`]: it passes notices and commands on,
//! says which servers there are, and hears of progress by [`FileEvent`].

mod accepts;
mod fetch;
pub(crate) mod offers;
pub(crate) mod puller;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::files::ledger::{self, Ledger};
use crate::model::{NodeId, NodeName};
use crate::session::Peer;
use crate::state_dir::write_durably;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::session::Report;
pub(crate) use accepts::Accepts;
use offers::{Generation, Keeper, Offers, Refresh};
use puller::{Accepted, Command, Puller};

/// What sessions tell the node of files.
pub(crate) enum FileEvent {
    /// A node pulls: so many bytes are on their way to it.
    Sending {
        node: NodeId,
        name: Box<str>,
        generation: u64,
        bytes: u64,
    },
    /// A node, which introduced itself, says what it holds.
    Reported { node: NodeId, report: Report },
    /// A file has a newer generation.
    Newer {
        name: Box<str>,
        generation: Arc<Generation>,
    },
}

/// What is offered and taken, and by whom.
pub(crate) struct Settings {
    /// The files that are offered, each with its path.
    pub(crate) offers: Vec<(Box<str>, PathBuf)>,
    /// The files that are taken.
    pub(crate) accepts: Vec<Accepted>,
    /// Over how long the pulls of many nodes spread.
    pub(crate) spread: Duration,
    /// Who pulls.
    pub(crate) node: NodeName,
    /// Who pulls and signs.
    pub(crate) identity: Identity,
    /// The keys of the channel.
    pub(crate) key_ring: KeyRing,
    /// The channel's name.
    pub(crate) channel: String,
    /// Where the ledgers are.
    pub(crate) state_dir: PathBuf,
}

/// The node's ends of the queues to and from the thread of the sessions.
pub(crate) struct Handles {
    pub(crate) offers: Offers,
    pub(crate) accepts: Accepts,
    pub(crate) events: mpsc::Sender<FileEvent>,
    pub(crate) refreshes: Option<mpsc::Sender<Refresh>>,
    pub(crate) puller: Option<mpsc::Sender<Command>>,
    /// Where the puller sees the servers that hold this node's record.
    pub(crate) servers: watch::Sender<Vec<Peer>>,
}

/// What runs on the thread of the sessions, and what comes from there.
pub(crate) struct Tasks {
    pub(crate) tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) events: mpsc::Receiver<FileEvent>,
}

/// Messages that wait on their way between the node's loop and the thread of the sessions.
const QUEUE: usize = 1024;

/// Makes what offers and accepted files need; nothing runs yet.
pub(crate) fn start(settings: Settings) -> (Handles, Tasks) {
    let Settings {
        offers,
        accepts,
        spread,
        node,
        identity,
        key_ring,
        channel,
        state_dir,
    } = settings;
    let (sender, events) = mpsc::channel(QUEUE);
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    let offers = Offers::new(offers);
    let mut handles = Handles {
        offers: offers.clone(),
        accepts: Accepts::default(),
        events: sender,
        refreshes: None,
        puller: None,
        servers: watch::Sender::default(),
    };
    if !offers.all().is_empty() {
        let keeper = Keeper::new(
            offers,
            identity.id(),
            state_dir.join("offers.json"),
            handles.events.clone(),
        );
        let (refreshes, asked) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(keeper.run(asked)));
        handles.refreshes = Some(refreshes);
    }
    if !accepts.is_empty() {
        handles.accepts = Accepts::new(
            accepts
                .iter()
                .map(|accepted| (accepted.name.clone(), accepted.path.clone())),
        );
        let puller = Puller {
            key_ring,
            channel,
            identity,
            node,
            accepted: accepts,
            accepts: handles.accepts.clone(),
            spread,
            ledger_path: state_dir.join("accepted.json"),
        };
        let (told, tell) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(puller.run(handles.servers.subscribe(), tell)));
        handles.puller = Some(told);
    }
    (handles, Tasks { tasks, events })
}

/// Shows servers, each with its address, name and clock, if anything of them changed.
pub(crate) fn show<'s>(
    shown: &watch::Sender<Vec<Peer>>,
    servers: impl Iterator<Item = (SocketAddr, NodeId, &'s NodeName, i64)> + Clone,
) {
    let before = |server: &Peer| (server.address, server.id, server.clock_ahead);
    let same = servers
        .clone()
        .map(|(address, id, _, clock)| (address, id, clock))
        .eq(shown.borrow().iter().map(before));
    if !same {
        let found = |(address, id, name, clock_ahead): (_, _, &NodeName, _)| Peer {
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
