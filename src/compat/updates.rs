//! `get updates`: as a base, told to old terminals; as a terminal, the pull from an old base.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::socket::Mouth;
use super::tally::Tally;
use crate::files::incoming::{Incoming, IncomingError};
use crate::files::target::Target;
use crate::net::{self, Interface};
use crate::transfer::puller::{Accepted, Command, Received};
use crate::wire::compat::terminals::{Call, Request};

/// How long calls are gathered before a pull: one call comes by several broadcast addresses.
const SETTLE: Duration = Duration::from_millis(500);
/// Between a pull and the next.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the connection to a base may take.
const CONNECT: Duration = Duration::from_secs(5);
/// After how long without a byte the base counts as gone.
const STALLED: Duration = Duration::from_secs(20);
/// How long a pull may take in all: whoever sends a byte now and then must not keep the true base out.
const WITHIN: Duration = Duration::from_secs(3600);
/// How much is received before it is written.
const CHUNK: usize = 256 * 1024;

/// Calls old terminals to get updates.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(super) port: u16,
    pub(super) interfaces: watch::Receiver<Vec<Interface>>,
    pub(super) tally: Tally,
}

impl Caller {
    /// Calls all of them, by broadcast.
    pub(crate) async fn call_all(&self) -> Result<(), String> {
        let taken = self.interfaces.borrow().clone();
        let result = match Mouth::open(Ipv4Addr::UNSPECIFIED.into()) {
            Ok(mut mouth) => {
                mouth
                    .broadcast_once(&taken, self.port, Call::GetUpdates.encode())
                    .await
            }
            Err(error) => Err(error.to_string()),
        };
        self.count(result)
    }

    /// Calls the terminal at an address, whatever the port.
    pub(crate) async fn call(&self, mut terminal: SocketAddr) -> Result<(), String> {
        terminal.set_port(self.port);
        let result = match Mouth::open(terminal.ip()) {
            Ok(mut mouth) => mouth
                .say(terminal, Call::GetUpdates.encode())
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

/// Why a file did not come from a base.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Incoming(#[from] IncomingError),
    #[error("failed to connect: {0}")]
    Connect(io::Error),
    #[error("it was cut after {held} bytes: {source}; the old file is kept")]
    Cut { held: u64, source: io::Error },
    #[error("it did not end within an hour; the old file is kept")]
    Late,
    #[error("the node stops")]
    Stopped,
    #[error("{0}")]
    NotTaken(String),
}

/// Pulls the file when a base calls: one pull at a time, and one every few seconds; of several calls the last counts.
pub(super) async fn take(
    accepted: Accepted,
    puller: mpsc::Sender<Command>,
    mut calls: watch::Receiver<Option<SocketAddr>>,
    tally: Tally,
) {
    let mut said = String::new();
    while calls.changed().await.is_ok() {
        sleep(SETTLE).await;
        let Some(base) = *calls.borrow_and_update() else {
            continue;
        };
        let file = &*accepted.name;
        match pull(base, &accepted, &puller).await {
            Ok((size, true)) => {
                tally.count("terminals.updates_taken");
                tracing::info!(file, size, %base, "took a file of an old base, which proves nothing");
                said.clear();
            }
            Ok((_, false)) => tally.count("terminals.updates_unchanged"),
            Err(error) => {
                tally.count("terminals.updates_refused");
                let error = error.to_string();
                // Whoever calls again and again does not fill the log.
                if said != error {
                    tracing::warn!(file, %base, "not taken from an old base: {error}");
                    said = error;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// One pull; gives the size, and whether the file changed.
async fn pull(
    base: SocketAddr,
    accepted: &Accepted,
    puller: &mpsc::Sender<Command>,
) -> Result<(u64, bool), PullError> {
    let name: Arc<str> = (*accepted.name).into();
    // First whether it would be taken at all: nobody gets our disk filled for nothing.
    replace(&name, None, puller).await?;
    let incoming = timeout(WITHIN, receive(base, accepted))
        .await
        .map_err(|_| PullError::Late)??;
    incoming.check()?;
    let size = incoming.held();
    replace(&name, Some(incoming), puller)
        .await
        .map(|changed| (size, changed))
}

/// Has the puller, who alone replaces files, take what came.
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
        .map_err(PullError::NotTaken)
}

/// Receives until the end of the stream.
async fn receive(base: SocketAddr, accepted: &Accepted) -> Result<Incoming, PullError> {
    let place = accepted.clone();
    let begin = move || {
        let target = Target::open(&place.path, place.mode)?.owned_by(place.owner);
        Incoming::begin(target, place.max_size)
    };
    let mut incoming = on_a_thread(begin).await??;
    let mut stream = net::connect(base, CONNECT)
        .await
        .map_err(PullError::Connect)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let cut = |held, source| PullError::Cut { held, source };
    stream
        .write_all(Request::Get.encode())
        .await
        .map_err(|source| cut(0, source))?;
    loop {
        // A buffer grows when it is full: the reader stops before.
        let mut room = (&mut stream).take((CHUNK - chunk.len()) as u64);
        let read = match timeout(STALLED, room.read_buf(&mut chunk)).await {
            Ok(read) => read,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no byte for {} s", STALLED.as_secs()),
            )),
        };
        let read = read.map_err(|source| cut(incoming.held() + chunk.len() as u64, source))?;
        if chunk.len() == CHUNK || read == 0 {
            let bytes = chunk;
            (incoming, chunk) = on_a_thread(move || {
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

/// Does what may wait for the disk.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    // A thread that does not come back has panicked, or the node stops.
    spawn_blocking(work).await.map_err(|_| PullError::Stopped)
}
