//! Distribution of files: the offers of a server, and the pulls of a node.
//!
//! Offers and pulls run on the thread of the sessions. The node's event loop holds [`Handles`]: it passes notices and
//! commands on, publishes which servers hold this node's record, and receives progress as [`FileEvent`]s. Nothing here
//! reads the configuration or sends a datagram, and no file is accepted from a server that is not the file's own.

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

/// An event of the sessions or of the offers, for the event loop.
pub(crate) enum FileEvent {
    /// A node pulls, and so many bytes were sent to it.
    Sending {
        node: NodeId,
        name: Box<str>,
        generation: u64,
        bytes: u64,
    },
    /// A node that proved its identity reports what it holds.
    Reported { node: NodeId, report: Report },
    /// An offered file has a newer generation.
    Newer {
        name: Box<str>,
        generation: Arc<Generation>,
    },
}

pub(crate) struct Settings {
    /// The offered files by name.
    pub(crate) offers: Vec<(Box<str>, PathBuf)>,
    pub(crate) accepts: Vec<Accepted>,
    /// Over how long the pulls of many nodes spread.
    pub(crate) spread: Duration,
    /// This node's name.
    pub(crate) node: NodeName,
    pub(crate) identity: Identity,
    pub(crate) key_ring: KeyRing,
    /// The channel's name.
    pub(crate) channel: String,
    /// The directory of the ledgers.
    pub(crate) state_dir: PathBuf,
}

/// The event loop's ends of the queues to and from the thread of the sessions.
pub(crate) struct Handles {
    pub(crate) offers: Offers,
    pub(crate) accepts: Accepts,
    pub(crate) events: mpsc::Sender<FileEvent>,
    pub(crate) refreshes: Option<mpsc::Sender<Refresh>>,
    pub(crate) puller: Option<mpsc::Sender<Command>>,
    /// The servers that hold this node's record, which the puller follows.
    pub(crate) servers: watch::Sender<Vec<Peer>>,
}

/// A task for the thread of the sessions.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks for the thread of the sessions, and the events that they send.
pub(crate) struct Tasks {
    pub(crate) tasks: Vec<Task>,
    pub(crate) events: mpsc::Receiver<FileEvent>,
}

/// How many messages wait in a queue between the event loop and the thread of the sessions.
const QUEUE: usize = 1024;

/// Creates the tasks and the queues. Nothing runs yet.
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
        let (refreshes, requests) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(keeper.run(requests)));
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
        let (commands, received) = mpsc::channel(QUEUE);
        tasks.push(Box::pin(puller.run(handles.servers.subscribe(), received)));
        handles.puller = Some(commands);
    }
    (handles, Tasks { tasks, events })
}

/// Publishes the servers, each with its address, id, name and clock, if anything but a name changed.
pub(crate) fn publish_servers<'s>(
    published: &watch::Sender<Vec<Peer>>,
    servers: impl Iterator<Item = (SocketAddr, NodeId, &'s NodeName, i64)> + Clone,
) {
    let is_unchanged = servers
        .clone()
        .map(|(address, id, _, clock_ahead)| (address, id, clock_ahead))
        .eq(published
            .borrow()
            .iter()
            .map(|server| (server.address, server.id, server.clock_ahead)));
    if is_unchanged {
        return;
    }
    let peers: Vec<Peer> = servers
        .map(|(address, id, name, clock_ahead)| Peer {
            address,
            id,
            name: name.clone(),
            clock_ahead,
        })
        .collect();
    tracing::debug!(servers = peers.len(), "the servers of the puller changed");
    published.send_replace(peers);
}

/// Writes a ledger durably, on another thread, as a slow disk must not stop the sessions.
async fn write_ledger(path: &Path, ledger: &Ledger) -> Result<(), String> {
    let path = path.to_owned();
    let text = ledger::text(ledger);
    match tokio::task::spawn_blocking(move || write_durably(&path, text.as_bytes())).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
