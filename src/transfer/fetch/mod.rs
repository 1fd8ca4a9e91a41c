//! One pull: from a session to the target, through a thread that hashes and writes.
//!
//! In go a session and a notice with a valid signature; out comes a replaced target, or an error and a part that the next
//! pull resumes. At most a few blocks are in memory, whatever the file's size: the network waits for the disk.

mod block;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::puller::{Dialer, Exchange};
use crate::files::target::TargetError;
use crate::model::Owner;
use crate::session::{Session, SessionError};
use crate::wire::session::{MAX_CONTENT, Request};
use crate::wire::v1::Notice;
use block::{Block, Message, SILENCE};
use writer::{Step, Writer, write};

/// How long the server may take for each [`PACE`] bytes of content: a server that drips would keep the node from its other
/// servers.
const PACE_TIME: Duration = Duration::from_secs(60);
const PACE: u64 = MAX_CONTENT as u64;
/// How many blocks wait for the disk, besides the one that is being filled and the one that is being written.
const MAX_QUEUED: usize = 2;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The target can't be replaced.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The session ended. The bytes held are kept.
    #[error("the pull stopped at {held} of {size} bytes: {source}; the next pull resumes there")]
    Stopped {
        held: u64,
        size: u64,
        source: SessionError,
    },
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server offers a newer generation by now.
    #[error("the server has another generation by now")]
    Outdated,
    /// A bug.
    #[error("the thread that writes ended")]
    Writer,
}

/// The target of a pull.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) owner: Option<Owner>,
    /// Whether the existing file is known to have another content, so that it need not be read.
    pub(super) content_differs: bool,
}

/// Pulls the file of a notice whose signature is valid. Returns how many bytes were received from the network.
///
/// `progress` gets the number of bytes held. If the server closed the session meanwhile, a new one replaces it.
pub(super) async fn fetch(
    session: &mut Session<TcpStream>,
    dialer: Dialer<'_>,
    notice: &Notice,
    destination: Destination,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, FetchError> {
    let (steps, received) = mpsc::channel(MAX_QUEUED);
    let (written, free) = mpsc::channel(MAX_QUEUED + 2);
    let (ready, start) = oneshot::channel();
    let wanted = notice.clone();
    let thread = spawn_blocking(move || write(&wanted, &destination, ready, received, &written));
    let mut writer = Writer { steps, free };
    let Ok(start) = start.await else {
        return Err(ended_early(thread.await));
    };
    let Some(held) = start else {
        // The target has this content already: a crash came between the replacement and its entry in the ledger.
        tracing::debug!("the target has the offered content already");
        return finished(thread.await).map(|()| 0);
    };
    let mut download = Download::new(notice, &mut writer, progress);
    let received = download.run_or_reconnect(session, dialer, held).await;
    match received {
        Ok(received) => {
            if writer.send(Step::End).await.is_err() {
                return Err(ended_early(thread.await));
            }
            drop(writer);
            finished(thread.await).map(|()| received)
        }
        Err(error) => {
            drop(writer);
            // An error of the writer has precedence, as it made the download stop.
            match thread.await {
                Ok(Err(target)) => Err(target.into()),
                _ => Err(error),
            }
        }
    }
}

fn finished(thread: Result<Result<(), TargetError>, JoinError>) -> Result<(), FetchError> {
    match thread {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(FetchError::Writer),
    }
}

fn ended_early(thread: Result<Result<(), TargetError>, JoinError>) -> FetchError {
    match thread {
        Ok(Err(error)) => error.into(),
        _ => FetchError::Writer,
    }
}

/// The receiving side of a pull.
struct Download<'d> {
    notice: &'d Notice,
    writer: &'d mut Writer,
    progress: &'d mut (dyn FnMut(u64) + Send),
    /// How many bytes of the file were sent to the writer, or held by it before.
    held: u64,
    /// How many bytes of content were received.
    received: u64,
    /// Whether the server answered at all.
    is_answered: bool,
}

impl<'d> Download<'d> {
    fn new(
        notice: &'d Notice,
        writer: &'d mut Writer,
        progress: &'d mut (dyn FnMut(u64) + Send),
    ) -> Self {
        Self {
            notice,
            writer,
            progress,
            held: 0,
            received: 0,
            is_answered: false,
        }
    }

    /// Runs the download, and runs it once more over a new session if the server did not answer on this one.
    ///
    /// A server closes a session without requests (`sessions.idle`), and the part was being hashed meanwhile: with a large
    /// file and a slow disk that would happen at every pull.
    async fn run_or_reconnect(
        &mut self,
        session: &mut Session<TcpStream>,
        dialer: Dialer<'_>,
        held: u64,
    ) -> Result<u64, FetchError> {
        let outcome = self.run(session, held).await;
        match outcome {
            Err(FetchError::Stopped { source, .. }) if !self.is_answered => {
                tracing::debug!(error = %source, "the session broke before an answer; connecting again");
                self.held = held;
                *session = dialer
                    .connect(&mut Exchange::new())
                    .await
                    .map_err(|source| self.stopped(source))?;
                self.run(session, held).await
            }
            outcome => outcome,
        }
    }

    /// Requests the content from offset `held` on and sends it to the writer. Returns how many bytes were received.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        session: &mut Session<S>,
        held: u64,
    ) -> Result<u64, FetchError> {
        self.held = held;
        self.received = 0;
        let request = Request::Pull {
            name: self.notice.name.clone(),
            offset: held,
            digest: Some(self.notice.digest),
        };
        timeout(SILENCE, session.ask(&request))
            .await
            .unwrap_or_else(|_| Err(timed_out()))
            .map_err(|source| self.stopped(source))?;
        let mut block = Block::new();
        (self.progress)(self.held);
        let mut pace = Pace::start();
        loop {
            let mut message = block.receive(session).await;
            self.is_answered |= message.is_ok();
            if pace.is_too_slow(self.received)
                && matches!(message, Ok(Message::Content(_) | Message::Other))
            {
                message = Err(timed_out());
            }
            match message {
                Ok(Message::Content(length)) => {
                    self.received += length as u64;
                    if block.is_full() {
                        self.held += block.filled as u64;
                        block = self.writer.write(block).await?;
                        (self.progress)(self.held);
                    }
                }
                Ok(Message::File { notice, offset }) => self.on_file(&notice, offset).await?,
                Ok(Message::End) => {
                    self.write_last(block).await?;
                    (self.progress)(self.held);
                    return Ok(self.received);
                }
                // The bytes before are valid all the same: the next pull resumes behind them.
                Ok(Message::Failed(reason)) => {
                    self.write_last(block).await?;
                    return Err(FetchError::Refused(reason));
                }
                Err(source) => {
                    self.write_last(block).await?;
                    return Err(self.stopped(source));
                }
                Ok(Message::Other) => {}
            }
        }
    }

    /// Checks that the server sends the wanted content, and from which offset.
    async fn on_file(&mut self, sent: &Notice, offset: u64) -> Result<(), FetchError> {
        if sent.digest != self.notice.digest || sent.size != self.notice.size {
            return Err(FetchError::Outdated);
        }
        if offset != self.held {
            // A server that does not resume at the offset must start from the beginning.
            if offset != 0 {
                return Err(FetchError::Outdated);
            }
            self.held = 0;
            self.writer.send(Step::Restart).await?;
        }
        Ok(())
    }

    async fn write_last(&mut self, block: Block) -> Result<(), FetchError> {
        self.held += block.filled as u64;
        self.writer.send(Step::Write(block)).await
    }

    fn stopped(&self, source: SessionError) -> FetchError {
        FetchError::Stopped {
            held: self.held,
            size: self.notice.size,
            source,
        }
    }
}

/// Measures whether a server delivers [`PACE`] bytes in each [`PACE_TIME`].
struct Pace {
    since: Instant,
    received: u64,
}

impl Pace {
    fn start() -> Self {
        Self {
            since: Instant::now(),
            received: 0,
        }
    }

    fn is_too_slow(&mut self, received: u64) -> bool {
        if self.since.elapsed() < PACE_TIME {
            return false;
        }
        let is_too_slow = received - self.received < PACE;
        self.since = Instant::now();
        self.received = received;
        is_too_slow
    }
}

/// The error of a server that is too slow.
fn timed_out() -> SessionError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
