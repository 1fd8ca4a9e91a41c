//! One pull: from a session to the target, through a thread that hashes and writes.
//!
//! At most a few blocks are in memory, whatever the file's size: the network waits for the disk.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::puller::{Caller, Talk};
use crate::files::BLOCK;
use crate::files::target::{Target, TargetError};
use crate::session::{Session, SessionError};
use crate::wire::session::{Answer, MAX_CONTENT, MAX_MESSAGE, Request, content_frame};
use crate::wire::v1::Notice;

/// After how long without a byte the server counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the server may take for each [`PACE`] bytes of content: whoever drips keeps the node from its other servers.
const PACE_TIME: Duration = Duration::from_secs(60);
const PACE: u64 = MAX_CONTENT as u64;
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
    Stopped {
        held: u64,
        size: u64,
        source: SessionError,
    },
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
        Self {
            buffer: vec![0; content_frame::HEAD + BLOCK + MAX_MESSAGE],
            filled: 0,
        }
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
            Err(_) => Err(late()),
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
/// `progress` is told how many bytes are there. The session is replaced by a fresh one if the server closed it meanwhile.
pub(super) async fn fetch(
    session: &mut Session<TcpStream>,
    caller: Caller<'_>,
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
    let Ok(start) = readied.await else {
        return Err(ended(writer.await));
    };
    let Some(held) = start else {
        // The very content lies there already: a crash came between the replacement and its note.
        return finished(writer.await).map(|()| 0);
    };
    let mut answered = false;
    let mut came = receive(session, notice, held, &mut way, progress, &mut answered).await;
    if !answered && matches!(came, Err(FetchError::Stopped { .. })) {
        // What lies here was hashed, and a server closes a session on which nothing is asked for a while (`sessions.idle`): with a
        // large file and a slow disk that would be so at every try.
        let fresh = caller.session(&mut Talk::new()).await;
        came = match fresh.map_err(|source| FetchError::Stopped {
            held,
            size: notice.size,
            source,
        }) {
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

fn finished(
    writer: Result<Result<(), TargetError>, tokio::task::JoinError>,
) -> Result<(), FetchError> {
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
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    notice: &Notice,
    held: u64,
    way: &mut Writer,
    progress: &mut (dyn FnMut(u64) + Send),
    answered: &mut bool,
) -> Result<u64, FetchError> {
    let size = notice.size;
    let mut there = held;
    let mut came = 0;
    let stopped = |there, source| FetchError::Stopped {
        held: there,
        size,
        source,
    };
    let request = Request::Pull {
        name: notice.name.clone(),
        offset: held,
        digest: Some(notice.digest),
    };
    let asked = timeout(SILENCE, session.ask(&request)).await;
    asked
        .unwrap_or_else(|_| Err(late()))
        .map_err(|source| stopped(there, source))?;
    let mut block = Block::new();
    progress(there);
    let mut paced = (Instant::now(), came);
    loop {
        let mut received = block.receive(session).await;
        *answered |= received.is_ok();
        if paced.0.elapsed() >= PACE_TIME {
            if came - paced.1 < PACE
                && matches!(received, Ok(Received::Content(_) | Received::Other))
            {
                received = Err(late());
            }
            paced = (Instant::now(), came);
        }
        match received {
            Ok(Received::Content(length)) => {
                came += length as u64;
                if block.is_full() {
                    there += block.filled as u64;
                    block = way.write(block).await?;
                    progress(there);
                }
            }
            Ok(Received::File {
                notice: sent,
                offset,
            }) => {
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

/// The server is too slow.
fn late() -> SessionError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
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
    use tokio::io::DuplexStream;

    use super::*;
    use crate::model::Timestamp;
    use crate::session;
    use crate::wire::keyring::{KeyRing, Secret};

    /// Both sides of a session.
    async fn pair() -> (Session<DuplexStream>, Session<DuplexStream>) {
        let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        let (near, far) = tokio::io::duplex(300_000);
        let (caller, server) = tokio::join!(
            session::call(near, key_ring.first(), "home", Timestamp(1)),
            session::accept(far, &key_ring, "home", |_, _| true)
        );
        (caller.unwrap(), server.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_drips_is_left_and_one_that_is_only_slow_is_not() {
        for (bytes, seconds, taken) in [(1, 20, false), (0, 5, false), (MAX_CONTENT, 25, true)] {
            let (mut caller, mut server) = pair().await;
            let answering = async move {
                let mut buffer = vec![0; content_frame::HEAD + MAX_CONTENT];
                for _ in 0..100 {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    server.queue_content(&mut buffer, bytes).unwrap();
                    server.flush().await.unwrap();
                }
                server.queue(&Answer::End).unwrap();
                server.flush().await.unwrap();
                std::future::pending::<()>().await;
            };
            let notice = Notice {
                server: crate::model::NodeId([1; 32]),
                name: "catalogue".into(),
                generation: 1,
                size: (100 * bytes) as u64,
                digest: [0; 32],
                signature: [0; 64],
            };
            let (steps, mut written) = mpsc::channel(1000);
            let (_done, spare) = mpsc::channel(1);
            let (mut way, mut answered) = (Writer { steps, spare }, false);
            let mut progress = |_| ();
            let outcome = tokio::select! {
                outcome = receive(&mut caller, &notice, 0, &mut way, &mut progress, &mut answered) => outcome,
                () = answering => unreachable!(),
            };
            assert_eq!(
                outcome.is_ok(),
                taken,
                "{bytes} bytes every {seconds} s: {outcome:?}"
            );
            assert!(
                matches!(written.recv().await, Some(Step::Write(_))),
                "what came is kept"
            );
        }
    }

    #[tokio::test]
    async fn contents_of_every_length_make_one_run_whatever_comes_between() {
        let (mut caller, mut server) = pair().await;
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
            assert!(
                block.receive(&mut caller).await.is_err(),
                "the stream is at its end"
            );
            (lengths, others)
        };
        let ((), (lengths, others)) = tokio::join!(sending, receiving);
        assert_eq!(lengths, contents.iter().map(Vec::len).collect::<Vec<_>>());
        assert_eq!(others, contents.len());
        assert!(
            block.bytes() == contents.concat(),
            "what came last of a failure covers nothing"
        );
    }
}
