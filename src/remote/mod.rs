//! Serves the sessions of a running node: which connections are accepted, and what is answered.
//!
//! In: a TCP listener. Out: answers from the registry and from the offered files, and events for
//! the node. Sessions have a thread of their own, so that sealing a file for fifty nodes delays no
//! query. Answers about the registry come from the node, page by page and over the same queue as
//! the control socket. This module must never send a byte to a peer that does not hold the channel
//! key, and never pass on a request that changes the node.
//!
//! - `admission`: which connections are accepted;
//! - `serve`: from a connection to a session;
//! - `connection`: requests and their answers;
//! - `content`: the content of files.

mod admission;
mod connection;
mod content;
mod counters;
mod serve;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use admission::Admission;
pub(crate) use admission::Limits;
pub(crate) use connection::ALIVE_EVERY;
pub(crate) use counters::SessionCounters;

use crate::api::control::Call;
use crate::transfer::FileEvent;
use crate::transfer::offers::Offers;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::replay::ReplayWindow;

/// How much the clock of a caller may differ, as for queries.
const WINDOW: Duration = Duration::from_secs(20);
/// How long a stop waits for sessions to end.
const STOP: Duration = Duration::from_secs(2);

/// What all sessions of a node share.
pub(crate) struct Shared {
    key_ring: KeyRing,
    channel: String,
    limits: Limits,
    calls: mpsc::Sender<Call>,
    admission: Mutex<Admission>,
    replay: Mutex<ReplayWindow>,
    counters: Arc<SessionCounters>,
    files: Served,
}

/// What sessions need to serve files.
pub(crate) struct Served {
    /// Signs the notices.
    pub(crate) identity: Identity,
    pub(crate) offers: Offers,
    /// Receives the progress of pulls and the reports of nodes.
    pub(crate) events: mpsc::Sender<FileEvent>,
}

impl Shared {
    /// Requests about the registry go to `calls`.
    pub(crate) fn new(
        key_ring: KeyRing,
        channel: String,
        limits: Limits,
        calls: mpsc::Sender<Call>,
        counters: Arc<SessionCounters>,
        files: Served,
    ) -> Self {
        let replay = Mutex::new(ReplayWindow::new(WINDOW, std::hash::RandomState::new()));
        Self {
            key_ring,
            channel,
            limits,
            calls,
            admission: Mutex::new(Admission::new(limits)),
            replay,
            counters,
            files,
        }
    }
}

/// The thread that serves sessions; stopped when dropped.
pub(crate) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    ended: Option<std::sync::mpsc::Receiver<()>>,
}

impl Thread {
    /// Serves the sessions of a listener, if there is one, and runs `tasks` beside it.
    pub(crate) fn start(
        serving: Option<(TcpListener, Shared)>,
        tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ends, ended) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("sessions".into())
            .spawn(move || {
                runtime.block_on(async {
                    tasks.into_iter().for_each(|task| drop(tokio::spawn(task)));
                    if let Some((listener, shared)) = serving {
                        match tokio::net::TcpListener::from_std(listener) {
                            Ok(listener) => {
                                drop(tokio::spawn(serve::serve(listener, Arc::new(shared))))
                            }
                            Err(error) => tracing::error!(%error, "failed to serve sessions"),
                        }
                    }
                    let _ = stopped.await;
                });
                // A file that is being read must not delay the stop.
                runtime.shutdown_timeout(STOP);
                let _ = ends.send(());
            })?;
        Ok(Self {
            stop: Some(stop),
            ended: Some(ended),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is dropped already if the thread ended by itself.
            let _ = stop.send(());
        }
        if let Some(ended) = self.ended.take() {
            let _ = ended.recv_timeout(STOP * 2);
        }
    }
}
