//! The base of old terminals: it calls them, and records who answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::limit::Limit;
use super::pause;
use super::socket::Mouth;
use super::tally::Tally;
use crate::discovery::Rate;
use crate::model::{Lease, Protocol};
use crate::net::Interface;
use crate::registry::UnverifiedClaim;
use crate::transport::Clock;
use crate::wire::compat::terminals::{self, Call, Line, Progress, Request};

/// How often the terminals are called.
const CALL_EVERY: Duration = Duration::from_secs(60);
/// How long a terminal counts as present: it may miss two calls.
const LEASE: Lease = Lease(200);
/// Connections at a time: a hall of terminals answers one broadcast at once, and each for a moment.
const CONNECTIONS: usize = 128;
/// How long a connection may take for its line.
const LINE_WITHIN: Duration = Duration::from_secs(5);
/// How long a terminal may take no byte of the file.
const STALLED: Duration = Duration::from_secs(20);
/// Connections of one source, a second and at once.
const PER_SOURCE: Rate = Rate {
    per_second: 4,
    burst: 32,
};
/// Connections of all sources together.
const IN_ALL: Rate = Rate {
    per_second: 200,
    burst: 1000,
};
/// How long to wait after a failed accept: the process has no descriptor left, and one must become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Opens an offer by its name, for reading from its first byte to its last: the seam to the file offers.
pub(crate) trait Offers: Send + Sync + 'static {
    /// The bytes of an offer as it is now; an error where there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn AsyncRead + Send + Unpin>>;
}

/// Which offer the terminals get.
pub(crate) type Served = Option<(Box<str>, Arc<dyn Offers>)>;

/// What every connection needs.
#[derive(Clone)]
struct Base {
    heard: mpsc::Sender<UnverifiedClaim>,
    served: Served,
    tally: Tally,
}

/// Calls the terminals every so often, and whenever the interfaces change, until the node stops.
pub(super) async fn call(port: u16, mut interfaces: watch::Receiver<Vec<Interface>>, tally: Tally) {
    loop {
        let taken = interfaces.borrow_and_update().clone();
        if !taken.is_empty() {
            let result = match Mouth::open(Ipv4Addr::UNSPECIFIED.into()) {
                Ok(mut mouth) => match mouth
                    .broadcast(&taken, port, Call::ShowYourself.encode())
                    .await
                {
                    (0, Some(error)) => Err(error.to_string()),
                    (0, None) => Err("no interface that the policy takes can broadcast".to_owned()),
                    _ => Ok(()),
                },
                Err(error) => Err(error.to_string()),
            };
            tally.count("terminals.called");
            let failure = result.as_ref().err().cloned();
            if tally.sent("terminals", result)
                && let Some(failure) = failure
            {
                tracing::warn!("failed to call the terminals: {failure}; tried again");
            }
        }
        pause(CALL_EVERY, &mut interfaces).await;
    }
}

/// Takes connections until the node stops.
pub(super) async fn serve(
    listener: TcpListener,
    heard: mpsc::Sender<UnverifiedClaim>,
    served: Served,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = Limit::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let base = Base {
        heard,
        served,
        tally: tally.clone(),
    };
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "failed to accept a terminal");
                tally.count("terminals.accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !limit.admits(clock.now().elapsed, from.ip()) {
            tally.count("terminals.dropped_rate");
            reset(&stream);
            continue;
        }
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(connection(base.clone(), stream, from, permit))),
            Err(_) => {
                tally.count("terminals.dropped_busy");
                reset(&stream);
            }
        }
    }
}

/// Has a connection end by a reset: a terminal would take an orderly end for the end of its file.
fn reset(stream: &TcpStream) {
    // Where that fails, the connection is broken already.
    let _ = stream.set_zero_linger();
}

async fn connection(
    base: Base,
    mut stream: TcpStream,
    from: SocketAddr,
    _permit: OwnedSemaphorePermit,
) {
    // Whoever came by IPv4 is known by its IPv4 address.
    let source = SocketAddr::new(from.ip().to_canonical(), from.port());
    if !base.talk(&mut stream, source).await {
        reset(&stream);
    }
}

impl Base {
    /// Reads a terminal's line and does what it says; whether the connection may come to an orderly end.
    async fn talk(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        source: SocketAddr,
    ) -> bool {
        match tokio::time::timeout(LINE_WITHIN, request(&mut stream)).await {
            Err(_) => self.tally.count("terminals.dropped_slow"),
            Ok(Err(_)) => self.tally.count("terminals.dropped_broken"),
            Ok(Ok(None)) => self.tally.count("terminals.dropped_nonsense"),
            Ok(Ok(Some(Request::Show | Request::IAmHere))) => {
                self.tally.count("terminals.showed");
                let name = terminals::name_of(source.ip());
                let claim = UnverifiedClaim {
                    name,
                    protocol: Protocol::Terminals,
                    source,
                    lease: LEASE,
                };
                if self.heard.try_send(claim).is_err() {
                    self.tally.count("terminals.dropped_busy");
                }
                // The old terminals wait for the end of the stream.
                let _ = tokio::time::timeout(LINE_WITHIN, stream.shutdown()).await;
            }
            Ok(Ok(Some(Request::Get))) => match self.give(&mut stream).await {
                Ok(()) => self.tally.count("terminals.served"),
                Err(error) => {
                    tracing::debug!(%source, %error, "a terminal did not get its file");
                    self.tally.count("terminals.not_served");
                    return false;
                }
            },
        }
        true
    }

    /// Sends the file. The wire has no length, so a terminal can't tell a whole file from one that was cut: where
    /// reading fails, the connection is reset, which is the most that can be said.
    async fn give(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let Some((name, offers)) = &self.served else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "compat.terminals.file names no file",
            ));
        };
        let mut file = offers.open(name)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                tokio::time::timeout(STALLED, stream.shutdown()).await??;
                // What a terminal said after its line would make the kernel reset the connection, and the end of the file be
                // lost: so the end is waited for, and a reset from there is seen.
                let ended = async {
                    while stream.read(&mut buffer).await? > 0 {}
                    io::Result::Ok(())
                };
                return tokio::time::timeout(LINE_WITHIN, ended)
                    .await
                    .unwrap_or(Ok(()));
            }
            tokio::time::timeout(
                STALLED,
                stream.write_all(buffer.get(..count).unwrap_or_default()),
            )
            .await??;
        }
    }
}

/// The request in the first line; `None` if it is nonsense.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Request>> {
    let mut line = Line::default();
    let mut buffer = [0; terminals::MAX_LINE];
    loop {
        let count = stream.read(&mut buffer).await?;
        let progress = match count {
            0 => line.end(),
            _ => line.feed(buffer.get(..count).unwrap_or_default()),
        };
        match progress {
            Progress::More => {}
            Progress::Request(request) => return Ok(Some(request)),
            Progress::Nonsense => return Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
