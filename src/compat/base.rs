//! The base of old terminals: it calls them, records the terminals that answer, and serves one offered file.
//!
//! Connections go in; out come unverified claims for the registry, and the bytes of the file. A connection whose file was
//! not sent whole must end in a reset, as a terminal would treat an orderly end as the end of the file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::pause;
use super::socket::Sender;
use super::tally::Tally;
use crate::model::{Lease, Protocol, Rate, RateLimiter, source_network};
use crate::net::Interface;
use crate::registry::UnverifiedClaim;
use crate::transport::Clock;
use crate::wire::compat::terminals::{self, Call, Line, Progress, Request};

/// How often the terminals are called.
const CALL_EVERY: Duration = Duration::from_secs(60);
/// How long a terminal counts as present, in seconds: it may miss two calls.
const LEASE: Lease = Lease(200);
/// How many connections are open at once: all terminals answer one broadcast at the same time, each for a moment.
const MAX_CONNECTIONS: usize = 128;
/// How long a connection may take for its line.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// How long a terminal may accept no byte of the file.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// Connections of one source.
const PER_SOURCE: Rate = Rate {
    per_second: 4,
    burst: 32,
};
/// Connections of all sources together.
const IN_ALL: Rate = Rate {
    per_second: 200,
    burst: 1000,
};
/// How long to wait after a failed accept: the process has no free descriptor, and one must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The offered files, from which a base serves one.
pub(crate) trait OfferSource: Send + Sync + 'static {
    /// Opens the current content of an offer. Fails if there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn AsyncRead + Send + Unpin>>;
}

/// The offer that terminals get, by its name; `None` if they get no file.
pub(crate) type ServedFile = Option<(Box<str>, Arc<dyn OfferSource>)>;

/// The context of every connection.
#[derive(Clone)]
struct Base {
    claims: mpsc::Sender<UnverifiedClaim>,
    file: ServedFile,
    tally: Tally,
}

/// Calls the terminals periodically, and whenever the interfaces change, until the node stops.
pub(super) async fn call(port: u16, mut interfaces: watch::Receiver<Vec<Interface>>, tally: Tally) {
    loop {
        let used = interfaces.borrow_and_update().clone();
        if !used.is_empty() {
            let result = match Sender::open(Ipv4Addr::UNSPECIFIED.into()) {
                Ok(mut sender) => {
                    sender
                        .broadcast(&used, port, Call::ShowYourself.encode())
                        .await
                }
                Err(error) => Err(error.to_string()),
            };
            tally.count("terminals.called");
            let failure = result.as_ref().err().cloned();
            if tally.set_result("terminals", result)
                && let Some(failure) = failure
            {
                tracing::warn!(
                    "the terminals can't be called: {failure}; they are called again in {} s",
                    CALL_EVERY.as_secs()
                );
            }
        }
        pause(CALL_EVERY, &mut interfaces).await;
    }
}

/// Accepts connections until the node stops.
pub(super) async fn serve(
    listener: TcpListener,
    claims: mpsc::Sender<UnverifiedClaim>,
    file: ServedFile,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = RateLimiter::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let base = Base {
        claims,
        file,
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
        if !limit.admits(clock.now().elapsed, source_network(from.ip())) {
            tracing::trace!(peer = %from, "dropped a connection over the rate limit");
            tally.count("terminals.dropped_rate");
            reset(&stream);
            continue;
        }
        match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(connection(base.clone(), stream, from, permit))),
            Err(_) => {
                tally.count("terminals.dropped_busy");
                reset(&stream);
            }
        }
    }
}

/// Makes a connection end in a reset: a terminal would treat an orderly end as the end of its file.
fn reset(stream: &TcpStream) {
    // If this fails, the connection is broken already.
    let _ = stream.set_zero_linger();
}

async fn connection(
    base: Base,
    mut stream: TcpStream,
    from: SocketAddr,
    _permit: OwnedSemaphorePermit,
) {
    // A terminal that connected by IPv4 is known by its IPv4 address.
    let source = SocketAddr::new(from.ip().to_canonical(), from.port());
    if !base.exchange(&mut stream, source).await {
        reset(&stream);
    }
}

impl Base {
    /// Reads a terminal's line and answers it. Returns whether the connection may end orderly.
    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        source: SocketAddr,
    ) -> bool {
        let request = match tokio::time::timeout(LINE_LIMIT, request(&mut stream)).await {
            Err(_) => Err("terminals.dropped_slow"),
            Ok(Err(_)) => Err("terminals.dropped_broken"),
            Ok(Ok(None)) => Err("terminals.dropped_nonsense"),
            Ok(Ok(Some(request))) => Ok(request),
        };
        match request {
            Err(dropped) => {
                tracing::debug!(peer = %source, dropped, "dropped a connection without a request");
                self.tally.count(dropped);
            }
            Ok(Request::Show | Request::IAmHere) => {
                self.record(source);
                // The old terminals wait for the end of the stream.
                let _ = tokio::time::timeout(LINE_LIMIT, stream.shutdown()).await;
            }
            Ok(Request::Get) => match self.send_file(&mut stream).await {
                Ok(()) => self.tally.count("terminals.served"),
                Err(error) => {
                    tracing::debug!(peer = %source, %error, "the file can't be sent to a terminal");
                    self.tally.count("terminals.not_served");
                    return false;
                }
            },
        }
        true
    }

    /// Records a terminal by its address, as these machines send no name.
    fn record(&self, source: SocketAddr) {
        self.tally.count("terminals.showed");
        let claim = UnverifiedClaim {
            name: terminals::name_of(source.ip()),
            protocol: Protocol::Terminals,
            source,
            lease: LEASE,
        };
        if self.claims.try_send(claim).is_err() {
            self.tally.count("terminals.dropped_busy");
        }
    }

    /// Sends the file. The protocol has no length, so a terminal can't distinguish a whole file from a cut one; a reset
    /// connection is the only way to report a failure.
    async fn send_file(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let Some((name, offers)) = &self.file else {
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
                tokio::time::timeout(STALL_LIMIT, stream.shutdown()).await??;
                return await_end(stream, &mut buffer).await;
            }
            tokio::time::timeout(
                STALL_LIMIT,
                stream.write_all(buffer.get(..count).unwrap_or_default()),
            )
            .await??;
        }
    }
}

/// Reads until the terminal closes the connection. Unread bytes would make the kernel reset the connection, and the end of
/// the file would be lost. A reset by the terminal is an error.
async fn await_end(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<()> {
    let ended = async {
        while stream.read(buffer).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(LINE_LIMIT, ended)
        .await
        .unwrap_or(Ok(()))
}

/// The request in the first line; `None` if the line is no request.
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
            Progress::UnknownLine => return Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "base_tests.rs"]
mod tests;
