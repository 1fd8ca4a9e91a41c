//! Sessions of a running node: who may open one, and what is answered on it.
//!
//! Sessions live on a thread of their own, so that sealing a file for fifty nodes holds up no query. What they tell of the
//! registry they ask of the node, page by page and over the same queue as the control socket (`serve`). The asking
//! side, for commands and for the node itself, is [`client`].

mod admission;
mod counters;
mod serve;
#[cfg(test)]
mod tests;
pub(crate) mod views;

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use admission::Admission;
pub(crate) use admission::Limits;
pub(crate) use counters::SessionCounters;
pub(crate) use serve::ALIVE_EVERY;

use crate::api::control::Call;
use crate::transfer::FileEvent;
use crate::transfer::offers::Offers;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::replay::ReplayWindow;

/// How far a caller's clock may be off: as for queries.
const WINDOW: Duration = Duration::from_secs(20);
/// How long a stop waits for sessions to end.
const STOP: Duration = Duration::from_secs(2);

/// What every session of a node shares.
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
    /// Who signs.
    pub(crate) identity: Identity,
    /// What is served.
    pub(crate) offers: Offers,
    /// Where it is told how pulls go.
    pub(crate) events: mpsc::Sender<FileEvent>,
}

impl Shared {
    /// What sessions of this channel share; what is asked on them goes to `calls`.
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
    /// Serves the sessions of a listener, if there is one, and does `tasks` beside it.
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
                            Err(error) => tracing::error!("failed to serve sessions: {error}"),
                        }
                    }
                    let _ = stopped.await;
                });
                // A file that is being read must not hold up the stop.
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
        // Nobody listens any more if the thread ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(ended) = self.ended.take() {
            let _ = ended.recv_timeout(STOP * 2);
        }
    }
}
