//! One pull: from a session to the target, through a thread that hashes and writes.
//!
//! At most a few blocks are in memory, whatever the file's size: the network waits for the disk.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::files::BLOCK;
use crate::files::target::{Target, TargetError};
use crate::session::{Session, SessionError};
use crate::wire::session::{Answer, MAX_MESSAGE, Request, content_frame};
use crate::wire::v1::Notice;

/// After how long without a byte the server counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Blocks on their way to the disk, besides the one that is being filled and the one that is being written.
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

enum Step {
    Restart,
    Write(Block),
    End,
}

/// Bytes on their way from the network to the disk.
///
/// They are opened where they stay: a message goes over the last bytes before its place, which its head covers and which are put
/// back. So a block is one run of the file, which hashes faster than pieces do, and no byte is copied on its way.
struct Block {
    /// [`content_frame::HEAD`] bytes, the content, and room for one more message.
    buffer: Vec<u8>,
    filled: usize,
}

impl Block {
    fn new() -> Self {
        Self { buffer: vec![0; content_frame::HEAD + BLOCK + MAX_MESSAGE], filled: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[content_frame::HEAD..content_frame::HEAD + self.filled]
    }

    fn is_full(&self) -> bool {
        self.filled >= BLOCK
    }

    /// Waits for the next message; a content is added, anything else is given.
    async fn receive<S>(&mut self, session: &mut Session<S>) -> Result<Received, SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let place = &mut self.buffer[self.filled..];
        let mut covered = [0; content_frame::HEAD];
        covered.copy_from_slice(&place[..content_frame::HEAD]);
        let outcome = match timeout(SILENCE, session.receive_to(place)).await {
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) => Err(SessionError::Closed),
            Ok(Ok(Some(length))) if content_frame::is_long(&place[..length]) => {
                Ok(Received::Content(length - content_frame::HEAD))
            }
            Ok(Ok(Some(length))) => match Answer::decode(&place[..length]) {
                Err(error) => Err(error.into()),
                Ok(Answer::Content(bytes)) => {
                    // Short, and the last one as a rule.
                    let (start, short) = (length - bytes.len(), bytes.len());
                    place.copy_within(start..length, content_frame::HEAD);
                    Ok(Received::Content(short))
                }
                Ok(Answer::File { notice, offset }) => Ok(Received::File { notice, offset }),
                Ok(Answer::End) => Ok(Received::End),
                Ok(Answer::Failed { message, .. }) => Ok(Received::Failed(message.into())),
                Ok(_) => Ok(Received::Other),
            },
        };
        place[..content_frame::HEAD].copy_from_slice(&covered);
        if let Ok(Received::Content(length)) = outcome {
            self.filled += length;
        }
        outcome
    }
}

#[derive(Debug)]
enum Received {
    Content(usize),
    File { notice: Notice, offset: u64 },
    End,
    Failed(String),
    Other,
}

/// The way to the thread that writes, and the way back of blocks that it is done with.
struct Writer {
    steps: mpsc::Sender<Step>,
    spare: mpsc::Receiver<Block>,
}

impl Writer {
    async fn send(&self, step: Step) -> Result<(), FetchError> {
        self.steps.send(step).await.map_err(|_| FetchError::Writer)
    }

    /// Hands a block on, and gives an empty one.
    async fn write(&mut self, block: Block) -> Result<Block, FetchError> {
        self.send(Step::Write(block)).await?;
        Ok(match self.spare.try_recv() {
            Ok(spare) => Block { filled: 0, ..spare },
            Err(_) => Block::new(),
        })
    }
}

/// Where the file goes.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: std::path::PathBuf,
    pub(super) mode: u32,
    pub(super) owner: Option<crate::model::Owner>,
    /// Whether what lies there is known to be another content, so that it need not be read to find out.
    pub(super) is_other: bool,
}

/// Pulls the file of a notice whose signature holds; gives how many bytes came over the network.
///
/// `progress` is told how many bytes are there. The session is replaced by the one that `reopen` opens, if the server closed it
/// meanwhile.
pub(super) async fn fetch(
    session: &mut Session<TcpStream>,
    reopen: impl Future<Output = Result<Session<TcpStream>, SessionError>> + Send,
    notice: &Notice,
    place: Place,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, FetchError> {
    let (steps, incoming) = mpsc::channel(BLOCKS);
    let (done, spare) = mpsc::channel(BLOCKS + 2);
    let (ready, readied) = oneshot::channel();
    let wanted = notice.clone();
    let writer = spawn_blocking(move || write(&wanted, &place, ready, incoming, &done));
    let mut way = Writer { steps, spare };
    let Ok(start) = readied.await else { return Err(ended(writer.await)) };
    let Some(held) = start else {
        // The very content lies there already: a crash came between the replacement and its note.
        return finished(writer.await).map(|()| 0);
    };
    let mut answered = false;
    let mut came = receive(session, notice, held, &mut way, progress, &mut answered).await;
    if !answered && matches!(came, Err(FetchError::Stopped { .. })) {
        // What lies here was hashed, and a server closes a session on which nothing is asked for a while (`sessions.idle`): with a
        // large file and a slow disk that would be so at every try.
        came = match reopen.await.map_err(|source| FetchError::Stopped { held, size: notice.size, source }) {
            Ok(fresh) => {
                *session = fresh;
                receive(session, notice, held, &mut way, progress, &mut answered).await
            }
            Err(error) => Err(error),
        };
    }
    match came {
        Ok(came) => {
            if way.send(Step::End).await.is_err() {
                return Err(ended(writer.await));
            }
            drop(way);
            finished(writer.await).map(|()| came)
        }
        // What the writer says goes first: the session was given up because of it.
        Err(error) => {
            drop(way);
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

/// Asks for the content and hands it on; gives how many bytes came. `answered` is set as soon as anything came.
async fn receive(
    session: &mut Session<TcpStream>,
    notice: &Notice,
    held: u64,
    way: &mut Writer,
    progress: &mut (dyn FnMut(u64) + Send),
    answered: &mut bool,
) -> Result<u64, FetchError> {
    let size = notice.size;
    let mut there = held;
    let mut came = 0;
    let stopped = |there, source| FetchError::Stopped { held: there, size, source };
    let request = Request::Pull { name: notice.name.clone(), offset: held, digest: Some(notice.digest) };
    session.ask(&request).await.map_err(|source| stopped(there, source))?;
    let mut block = Block::new();
    progress(there);
    loop {
        let received = block.receive(session).await;
        *answered |= received.is_ok();
        match received {
            Ok(Received::Content(length)) => {
                came += length as u64;
                if block.is_full() {
                    there += block.filled as u64;
                    block = way.write(block).await?;
                    progress(there);
                }
            }
            Ok(Received::File { notice: sent, offset }) => {
                if sent.digest != notice.digest || sent.size != notice.size {
                    return Err(FetchError::Outdated);
                }
                if offset != there {
                    // It does not go on where we are: only from the start is there another way.
                    if offset != 0 {
                        return Err(FetchError::Outdated);
                    }
                    there = 0;
                    way.send(Step::Restart).await?;
                }
            }
            Ok(Received::End) => {
                there += block.filled as u64;
                way.send(Step::Write(block)).await?;
                progress(there);
                return Ok(came);
            }
            // What came before is good all the same: the next pull goes on behind it.
            Ok(Received::Failed(message)) => {
                way.send(Step::Write(block)).await?;
                return Err(FetchError::Refused(message));
            }
            Err(source) => {
                there += block.filled as u64;
                way.send(Step::Write(block)).await?;
                return Err(stopped(there, source));
            }
            Ok(Received::Other) => {}
        }
    }
}

/// The thread that hashes and writes. It tells how much is there already, or that all is.
fn write(
    notice: &Notice,
    place: &Place,
    ready: oneshot::Sender<Option<u64>>,
    mut steps: mpsc::Receiver<Step>,
    done: &mpsc::Sender<Block>,
) -> Result<(), TargetError> {
    let target = Target::open(&place.path, place.mode)?.owned_by(place.owner.clone());
    if !place.is_other && target.keep(notice.size, &notice.digest)? {
        target.remove_parts(None);
        // Nobody waits any more if the pull was given up.
        let _ = ready.send(None);
        return Ok(());
    }
    let mut part = target.part(notice.size, &notice.digest)?;
    let _ = ready.send(Some(part.held()));
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Restart => part.restart()?,
            Step::Write(block) => {
                part.write(block.bytes())?;
                // One that is not wanted any more is dropped.
                let _ = done.try_send(block);
            }
            Step::End => return part.commit(),
        }
    }
    // Given up: the part stays for the next pull.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::session;
    use crate::wire::keyring::{KeyRing, Secret};
    use crate::wire::session::MAX_CONTENT;

    #[tokio::test]
    async fn contents_of_every_length_make_one_run_whatever_comes_between() {
        let ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        let (near, far) = tokio::io::duplex(300_000);
        let (caller, server) = tokio::join!(
            session::call(near, ring.first(), "home", Timestamp(1)),
            session::accept(far, &ring, "home", |_, _| true)
        );
        let (mut caller, mut server) = (caller.unwrap(), server.unwrap());
        let contents: Vec<Vec<u8>> = [MAX_CONTENT, 3, 256, 0, 23, 24, 255, MAX_CONTENT - 1, 1]
            .iter()
            .enumerate()
            .map(|(index, length)| (0..*length).map(|at| (at * 7 + index) as u8).collect())
            .collect();
        let sending = async {
            for content in &contents {
                let mut buffer = [&[0; content_frame::HEAD], content.as_slice()].concat();
                server.queue_content(&mut buffer, content.len()).unwrap();
                server.queue(&Answer::Alive).unwrap();
            }
            server.queue(&Answer::End).unwrap();
            server.flush().await.unwrap();
            drop(server);
        };
        let mut block = Block::new();
        let receiving = async {
            let (mut lengths, mut others) = (Vec::new(), 0);
            loop {
                match block.receive(&mut caller).await.unwrap() {
                    Received::Content(length) => lengths.push(length),
                    Received::Other => others += 1,
                    Received::End => break,
                    received => panic!("{received:?}"),
                }
            }
            assert!(block.receive(&mut caller).await.is_err(), "the stream is at its end");
            (lengths, others)
        };
        let ((), (lengths, others)) = tokio::join!(sending, receiving);
        assert_eq!(lengths, contents.iter().map(Vec::len).collect::<Vec<_>>());
        assert_eq!(others, contents.len());
        assert!(block.bytes() == contents.concat(), "what came last of a failure covers nothing");
    }
}
