//! One pull: from a session to the target, through a thread that hashes and writes.
//!
//! At most a few blocks are in memory, whatever the file's size: the network waits for the disk.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files::BLOCK;
use crate::files::target::{Target, TargetError};
use crate::session::{Session, SessionError};
use crate::wire::session::{Answer, Request};
use crate::wire::v1::Notice;

/// After how long without a byte the server counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Blocks on their way to the disk.
const BLOCKS: usize = 2;

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The target can't take it.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The session ended: what came is kept, and the next pull goes on there.
    #[error("the pull stopped at {held} of {size} bytes: {source}; it goes on there")]
    Stopped { held: u64, size: u64, source: SessionError },
    /// The server says why.
    #[error("the server says: {0}")]
    Refused(String),
    /// The server has a newer generation by now.
    #[error("the server has another generation by now")]
    Outdated,
    /// The thread that writes ended: a bug.
    #[error("the thread that writes ended")]
    Writer,
}

enum Block {
    Restart,
    Bytes(Vec<u8>),
    End,
}

/// Where the file goes.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: std::path::PathBuf,
    pub(super) mode: u32,
    /// Whether what lies there is known to be another content, so that it need not be read to find out.
    pub(super) is_other: bool,
}

/// Pulls the file of a notice whose signature holds; gives how many bytes came over the network.
///
/// `progress` is told how many bytes are there.
pub(super) async fn fetch(
    session: &mut Session<TcpStream>,
    notice: &Notice,
    place: Place,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, FetchError> {
    let (blocks, incoming) = mpsc::channel(BLOCKS);
    let (ready, readied) = oneshot::channel();
    let wanted = notice.clone();
    let writer = spawn_blocking(move || write(&wanted, &place, ready, incoming));
    let Ok(start) = readied.await else { return Err(ended(writer.await)) };
    let Some(held) = start else {
        // The very content lies there already: a crash came between the replacement and its note.
        return finished(writer.await).map(|()| 0);
    };
    let came = receive(session, notice, held, &blocks, progress).await;
    match came {
        Ok(came) => {
            if blocks.send(Block::End).await.is_err() {
                return Err(ended(writer.await));
            }
            drop(blocks);
            finished(writer.await).map(|()| came)
        }
        // What the writer says goes first: the session was given up because of it.
        Err(error) => {
            drop(blocks);
            match writer.await {
                Ok(Err(target)) => Err(target.into()),
                _ => Err(error),
            }
        }
    }
}

fn finished(writer: Result<Result<(), TargetError>, tokio::task::JoinError>) -> Result<(), FetchError> {
    match writer {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(FetchError::Writer),
    }
}

fn ended(writer: Result<Result<(), TargetError>, tokio::task::JoinError>) -> FetchError {
    match writer {
        Ok(Err(error)) => error.into(),
        _ => FetchError::Writer,
    }
}

/// Asks for the content and hands it on; gives how many bytes came.
async fn receive(
    session: &mut Session<TcpStream>,
    notice: &Notice,
    held: u64,
    blocks: &mpsc::Sender<Block>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, FetchError> {
    let size = notice.size;
    let mut there = held;
    let mut came = 0;
    let stopped = |there, source| FetchError::Stopped { held: there, size, source };
    let request = Request::Pull { name: notice.name.clone(), offset: held, digest: Some(notice.digest) };
    session.ask(&request).await.map_err(|source| stopped(there, source))?;
    let mut block = Vec::with_capacity(BLOCK);
    progress(there);
    loop {
        let answer = match timeout(SILENCE, session.answer()).await {
            Ok(answer) => answer.map_err(|source| stopped(there, source))?,
            Err(_) => return Err(stopped(there, std::io::Error::from(std::io::ErrorKind::TimedOut).into())),
        };
        match answer {
            Answer::Content(bytes) => {
                came += bytes.len() as u64;
                block.extend_from_slice(bytes);
                if block.len() + bytes.len() > BLOCK {
                    there += block.len() as u64;
                    let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK));
                    blocks.send(Block::Bytes(full)).await.map_err(|_| FetchError::Writer)?;
                    progress(there);
                }
            }
            Answer::File { notice: sent, offset } => {
                if sent.digest != notice.digest || sent.size != notice.size {
                    return Err(FetchError::Outdated);
                }
                if offset != there {
                    // It does not go on where we are: only from the start is there another way.
                    if offset != 0 {
                        return Err(FetchError::Outdated);
                    }
                    there = 0;
                    blocks.send(Block::Restart).await.map_err(|_| FetchError::Writer)?;
                }
            }
            Answer::End => {
                there += block.len() as u64;
                blocks.send(Block::Bytes(block)).await.map_err(|_| FetchError::Writer)?;
                progress(there);
                return Ok(came);
            }
            Answer::Failed { message, .. } => {
                // What came before is good all the same.
                let _ = blocks.send(Block::Bytes(block)).await;
                return Err(FetchError::Refused(message.into()));
            }
            _ => {}
        }
    }
}

/// The thread that hashes and writes. It tells how much is there already, or that all is.
fn write(
    notice: &Notice,
    place: &Place,
    ready: oneshot::Sender<Option<u64>>,
    mut blocks: mpsc::Receiver<Block>,
) -> Result<(), TargetError> {
    let target = Target::open(&place.path, place.mode)?;
    if !place.is_other && target.digest(notice.size)? == Some(notice.digest) {
        target.remove_parts(None);
        // Nobody waits any more if the pull was given up.
        let _ = ready.send(None);
        return Ok(());
    }
    let mut part = target.part(notice.size, &notice.digest)?;
    let _ = ready.send(Some(part.held()));
    while let Some(block) = blocks.blocking_recv() {
        match block {
            Block::Restart => part.restart()?,
            Block::Bytes(bytes) => part.write(&bytes)?,
            Block::End => return part.commit(),
        }
    }
    // Given up: the part stays for the next pull.
    Ok(())
}
