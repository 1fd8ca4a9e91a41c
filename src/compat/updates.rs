//! `get updates`: as a base, the call to old terminals; as a terminal, the pull from an old base.
//!
//! A pulled file goes to the puller, which alone replaces files and refuses a file that a server of the channel has
//! proved to be its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::socket::Sender;
use super::tally::Tally;
use crate::files::incoming::{Incoming, IncomingError};
use crate::files::target::Target;
use crate::net::{self, Interface};
use crate::transfer::puller::{Accepted, Command, Received};
use crate::wire::compat::terminals::{Call, Request};

/// How long calls are collected before a pull, as one call arrives at several broadcast addresses.
const COLLECT_TIME: Duration = Duration::from_millis(500);
/// Between a pull and the next.
const PAUSE: Duration = Duration::from_secs(5);
/// How long connecting to a base may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// After how long without a byte the base counts as absent.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// How long a pull may take in all: a host that sends a byte now and then must not keep the true base out.
const PULL_LIMIT: Duration = Duration::from_secs(3600);
/// How many bytes are received before they are written.
const CHUNK: usize = 256 * 1024;

/// Calls old terminals to get updates. "Call" is the word of their protocol.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(super) port: u16,
    pub(super) interfaces: watch::Receiver<Vec<Interface>>,
    pub(super) tally: Tally,
}

impl Caller {
    /// Calls all terminals, by broadcast.
    pub(crate) async fn call_all(&self) -> Result<(), String> {
        let used = self.interfaces.borrow().clone();
        let result = match Sender::open(Ipv4Addr::UNSPECIFIED.into()) {
            Ok(mut sender) => {
                sender
                    .broadcast_once(&used, self.port, Call::GetUpdates.encode())
                    .await
            }
            Err(error) => Err(error.to_string()),
        };
        self.count(result)
    }

    /// Calls the terminal at an address; the port of the address is ignored.
    pub(crate) async fn call(&self, mut terminal: SocketAddr) -> Result<(), String> {
        terminal.set_port(self.port);
        let result = match Sender::open(terminal.ip()) {
            Ok(mut sender) => sender
                .send(terminal, Call::GetUpdates.encode())
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.count(result)
    }

    fn count(&self, result: Result<(), String>) -> Result<(), String> {
        self.tally.count(if result.is_ok() {
            "terminals.updates_called"
        } else {
            "terminals.updates_call_failed"
        });
        result
    }
}

/// Why a file of a base was not pulled.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Incoming(#[from] IncomingError),
    #[error("failed to connect: {0}")]
    Connect(io::Error),
    #[error("the transfer was cut after {held} bytes: {source}; the old file is kept")]
    Cut { held: u64, source: io::Error },
    #[error("the transfer did not end within an hour; the old file is kept")]
    Late,
    #[error("the node stops")]
    Stopped,
    /// The puller refused the file.
    #[error("{0}")]
    Refused(String),
}

/// Pulls the file when a base calls: one pull at a time, with a pause between two. Of several calls the last counts.
pub(super) async fn pull_when_called(
    accepted: Accepted,
    puller: mpsc::Sender<Command>,
    mut calls: watch::Receiver<Option<SocketAddr>>,
    tally: Tally,
) {
    let mut logged = String::new();
    while calls.changed().await.is_ok() {
        sleep(COLLECT_TIME).await;
        let Some(base) = *calls.borrow_and_update() else {
            continue;
        };
        let file = &*accepted.name;
        match pull(base, &accepted, &puller).await {
            Ok((size, true)) => {
                tally.count("terminals.updates_pulled");
                tracing::info!(file, size, peer = %base, "pulled a file from an old base, unverified");
                logged.clear();
            }
            Ok((_, false)) => tally.count("terminals.updates_unchanged"),
            Err(error) => {
                tally.count("terminals.updates_refused");
                let error = error.to_string();
                // Repeated calls must not fill the log.
                if logged != error {
                    tracing::warn!(file, peer = %base, "the file was not pulled from an old base: {error}");
                    logged = error;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Pulls once. Returns the size, and whether the file changed.
async fn pull(
    base: SocketAddr,
    accepted: &Accepted,
    puller: &mpsc::Sender<Command>,
) -> Result<(u64, bool), PullError> {
    let name: Arc<str> = (*accepted.name).into();
    // A file that would be refused is not received, so that no host can fill this disk with it.
    replace(&name, None, puller).await?;
    let incoming = timeout(PULL_LIMIT, receive(base, accepted))
        .await
        .map_err(|_| PullError::Late)??;
    incoming.check()?;
    let size = incoming.held();
    replace(&name, Some(incoming), puller)
        .await
        .map(|changed| (size, changed))
}

/// Passes a received file to the puller; without a file, checks whether one would be accepted.
async fn replace(
    name: &Arc<str>,
    file: Option<Incoming>,
    puller: &mpsc::Sender<Command>,
) -> Result<bool, PullError> {
    let (reply, outcome) = oneshot::channel();
    let received = Command::Received(Received {
        name: name.clone(),
        file,
        reply,
    });
    puller
        .send(received)
        .await
        .map_err(|_| PullError::Stopped)?;
    outcome
        .await
        .map_err(|_| PullError::Stopped)?
        .map_err(PullError::Refused)
}

/// Receives until the end of the stream.
async fn receive(base: SocketAddr, accepted: &Accepted) -> Result<Incoming, PullError> {
    let accepted = accepted.clone();
    let mut incoming = blocking(move || {
        let target = Target::open(&accepted.path, accepted.mode)?.owned_by(accepted.owner);
        Incoming::begin(target, accepted.max_size)
    })
    .await??;
    let mut stream = net::connect(base, CONNECT_LIMIT)
        .await
        .map_err(PullError::Connect)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let cut = |held, source| PullError::Cut { held, source };
    stream
        .write_all(Request::Get.encode())
        .await
        .map_err(|source| cut(0, source))?;
    loop {
        // The read stops where the buffer is full, as the buffer would grow.
        let mut limited = (&mut stream).take((CHUNK - chunk.len()) as u64);
        let read = match timeout(STALL_LIMIT, limited.read_buf(&mut chunk)).await {
            Ok(read) => read,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no byte for {} s", STALL_LIMIT.as_secs()),
            )),
        };
        let read = read.map_err(|source| cut(incoming.held() + chunk.len() as u64, source))?;
        if chunk.len() == CHUNK || read == 0 {
            let bytes = chunk;
            (incoming, chunk) = blocking(move || {
                let written = incoming.write(&bytes);
                written.map(|()| (incoming, bytes))
            })
            .await??;
            chunk.clear();
        }
        if read == 0 {
            return Ok(incoming);
        }
    }
}

/// Runs work that may wait for the disk on another thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    // If the thread does not return, it has panicked or the node stops.
    spawn_blocking(work).await.map_err(|_| PullError::Stopped)
}
