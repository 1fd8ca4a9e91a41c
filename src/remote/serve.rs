//! The server's side: connections, and their requests one after the other.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::{SessionCounters, Shared, WINDOW, views};
use crate::api::control::{Call, REPLY_CAPACITY};
use crate::api::request::{ErrorKind, Request as Asked, Response};
use crate::files::Digest;
use crate::files::offer::OfferError;
use crate::model::{NodeId, Timestamp};
use crate::session::{self, Session, SessionError};
use crate::transfer::FileEvent;
use crate::transfer::offers::Generation;
use crate::transport::Clock;
use crate::wire::replay::Freshness;
use crate::wire::session::{Answer, MAX_CONTENT, Request, content_frame, verify_introduction};
use crate::wire::v1::Notice;

/// How long the node may take for one page.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// After how long without a change a watcher is told that the session lives; a caller gives up after three times that.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long to wait after a failed accept: the process has no descriptor left, and one must become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves sessions for ever; dropping the future closes every one.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let clock = Clock::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => match Ticket::take(&shared, peer.ip()) {
                Some(ticket) => {
                    connections.spawn(connection(stream, ticket, shared.clone(), clock));
                }
                // Closed without a byte, as whoever holds no key is.
                None => SessionCounters::count(&shared.counters.turned_away),
            },
            Err(error) => {
                tracing::warn!(%error, "a session could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that counts, until it is dropped.
struct Ticket {
    shared: Arc<Shared>,
    source: IpAddr,
    known: bool,
}

impl Ticket {
    fn take(shared: &Arc<Shared>, source: IpAddr) -> Option<Self> {
        let admitted = lock(&shared.admission).admit(source);
        admitted.then(|| Self {
            shared: shared.clone(),
            source,
            known: false,
        })
    }

    fn promote(&mut self) -> bool {
        self.known = lock(&self.shared.admission).promote(self.source);
        self.known
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.shared.admission).release(self.source, self.known);
    }
}

/// What a panic elsewhere left is still whole: each critical section is a few assignments.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("nothing was asked in time")]
    Idle,
    #[error("no part of the answer was taken in time")]
    Slow,
    #[error("the node stops")]
    Stopping,
    #[error("it spoke while it was answered")]
    OutOfTurn,
    #[error(transparent)]
    Session(#[from] SessionError),
}

async fn connection(stream: TcpStream, mut ticket: Ticket, shared: Arc<Shared>, clock: Clock) {
    let source = ticket.source.to_canonical();
    // Without it an answer's last frame waits for an acknowledgement; if it can't be set, that is all.
    let _ = stream.set_nodelay(true);
    let is_fresh = |theirs: Timestamp, nonce: &[u8; 24]| {
        // The clock first: else whoever recorded old hellos could fill the window with them.
        let now = clock.now();
        now.wall.distance(theirs) <= WINDOW
            && lock(&shared.replay).check(now.elapsed, nonce) == Freshness::Fresh
    };
    let session = match session::accept(stream, &shared.key_ring, &shared.channel, is_fresh).await {
        Ok(session) => session,
        Err(error) => {
            SessionCounters::count(&shared.counters.unauthenticated);
            tracing::debug!(%source, "closed a connection without a word: {error}");
            return;
        }
    };
    if !ticket.promote() {
        SessionCounters::count(&shared.counters.turned_away);
        return;
    }
    SessionCounters::count(&shared.counters.opened);
    let mut connection = Connection {
        session,
        shared: &shared,
        introduced: None,
    };
    if let Err(ended) = connection.requests().await {
        let counter = match ended {
            Ended::Idle | Ended::Slow => Some(&shared.counters.idle),
            Ended::OutOfTurn
            | Ended::Session(
                SessionError::Decode(_) | SessionError::Transport(_) | SessionError::TooLong { .. },
            ) => Some(&shared.counters.broken),
            Ended::Stopping | Ended::Session(_) => None,
        };
        if let Some(counter) = counter {
            SessionCounters::count(counter);
        }
        tracing::debug!(%source, "session closed: {ended}");
    }
}

struct Connection<'s> {
    session: Session<TcpStream>,
    shared: &'s Shared,
    /// Who calls, once that is proved.
    introduced: Option<NodeId>,
}

/// Contents that are read at once.
const CONTENTS: usize = 16;
/// The room of one content in a buffer.
const CONTENT: usize = content_frame::HEAD + MAX_CONTENT;

type Read = Result<(Vec<u8>, usize), OfferError>;

/// Reads the next contents, each into its place in the buffer; gives how many bytes that were.
fn read(generation: Arc<Generation>, mut buffer: Vec<u8>, offset: u64) -> JoinHandle<Read> {
    spawn_blocking(move || {
        let mut filled = 0;
        for content in buffer.chunks_exact_mut(CONTENT) {
            let read = generation
                .snapshot
                .read_at(&mut content[content_frame::HEAD..], offset + filled as u64)?;
            filled += read;
            if read < MAX_CONTENT {
                break;
            }
        }
        Ok((buffer, filled))
    })
}

impl Connection<'_> {
    async fn requests(&mut self) -> Result<(), Ended> {
        loop {
            let request = match timeout(self.shared.limits.idle, self.session.request()).await {
                Err(_) => return Err(Ended::Idle),
                Ok(request) => match request? {
                    Some(request) => request,
                    None => return Ok(()),
                },
            };
            SessionCounters::count(&self.shared.counters.requests);
            match views::asked(&request) {
                Some(Asked::Watch) => self.watch().await?,
                Some(asked) => self.registry(asked).await?,
                None => self.other(request).await?,
            }
        }
    }

    /// What is no matter of the registry.
    async fn other(&mut self, request: Request) -> Result<(), Ended> {
        match request {
            Request::Offers => self.offers().await,
            Request::Pull {
                name,
                offset,
                digest,
            } => self.pull(&name, offset, digest).await,
            Request::Introduce { node, signature } => {
                if verify_introduction(&node, &signature, self.session.binding()).is_err() {
                    return self
                        .fail(
                            ErrorKind::BadRequest,
                            "the signature is not that of the node",
                        )
                        .await;
                }
                self.introduced = Some(node);
                self.end().await
            }
            Request::Report(report) => match self.introduced {
                Some(node) => {
                    // A report that does not fit comes again with the node's next visit.
                    let _ = self
                        .shared
                        .files
                        .events
                        .try_send(FileEvent::Reported { node, report });
                    self.end().await
                }
                None => {
                    self.fail(
                        ErrorKind::BadRequest,
                        "whoever reports introduces itself first",
                    )
                    .await
                }
            },
            _ => {
                self.fail(ErrorKind::BadRequest, "this is a bug in the server")
                    .await
            }
        }
    }

    fn notice(&self, name: &str, generation: &Generation) -> Result<Notice, Ended> {
        let snapshot = &generation.snapshot;
        let (identity, key) = (&self.shared.files.identity, self.session.key());
        let notice = Notice::sign(
            identity,
            key,
            name,
            generation.number,
            snapshot.size(),
            *snapshot.digest(),
        );
        Ok(notice.map_err(SessionError::from)?)
    }

    async fn offers(&mut self) -> Result<(), Ended> {
        for (name, offered) in self.shared.files.offers.all() {
            if let Some(current) = &offered.current {
                let notice = self.notice(&name, current)?;
                self.session.queue(&Answer::Offer(notice))?;
            }
        }
        self.end().await
    }

    /// Sends a file: the next blocks are read while the ones before leave.
    async fn pull(&mut self, name: &str, offset: u64, digest: Option<Digest>) -> Result<(), Ended> {
        let Some(generation) = self.shared.files.offers.current(name) else {
            return self
                .fail(
                    ErrorKind::NotFound,
                    "this server offers no such file, or can't read it now",
                )
                .await;
        };
        SessionCounters::count(&self.shared.counters.pulls);
        let size = generation.snapshot.size();
        let goes_on = digest.as_ref() == Some(generation.snapshot.digest()) && offset <= size;
        let mut at = if goes_on { offset } else { 0 };
        let notice = self.notice(name, &generation)?;
        self.session.queue(&Answer::File { notice, offset: at })?;
        self.sending(name, &generation, at);
        // A small file needs no room for a large one: a fleet of pulls at once is many of these.
        let contents = usize::try_from((size - at).div_ceil(MAX_CONTENT as u64))
            .unwrap_or(CONTENTS)
            .clamp(1, CONTENTS);
        let mut next = read(generation.clone(), vec![0; contents * CONTENT], at);
        let mut spare = if contents == CONTENTS {
            vec![0; contents * CONTENT]
        } else {
            Vec::new()
        };
        loop {
            let (mut buffer, filled) = match next.await {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return self.fail(ErrorKind::Failed, &error.to_string()).await,
                Err(error) => return self.fail(ErrorKind::Failed, &error.to_string()).await,
            };
            if filled == 0 {
                break;
            }
            at += filled as u64;
            next = read(generation.clone(), spare, at);
            let mut left = filled;
            for content in buffer.chunks_exact_mut(CONTENT) {
                let length = left.min(MAX_CONTENT);
                if length == 0 {
                    break;
                }
                self.session.queue_content(content, length)?;
                left -= length;
                if self.session.is_full() {
                    self.flush().await?;
                }
            }
            spare = buffer;
            self.shared
                .counters
                .content_bytes
                .fetch_add(filled as u64, std::sync::atomic::Ordering::Relaxed);
            self.sending(name, &generation, at);
        }
        self.end().await
    }

    /// Tells the node how far a pull is; a line of progress less, where it has no time.
    fn sending(&self, name: &str, generation: &Generation, bytes: u64) {
        if let Some(node) = self.introduced {
            let (name, generation) = (name.into(), generation.number);
            let _ = self.shared.files.events.try_send(FileEvent::Sending {
                node,
                name,
                generation,
                bytes,
            });
        }
    }

    async fn end(&mut self) -> Result<(), Ended> {
        self.session.queue(&Answer::End)?;
        self.flush().await
    }

    /// Passes on what the node tells, page after page: at most one page is in memory.
    async fn registry(&mut self, mut asked: Asked) -> Result<(), Ended> {
        loop {
            let mut responses = match self.hand_over(asked.clone()).await? {
                Some(responses) => responses,
                None => {
                    return self
                        .fail(ErrorKind::Busy, "the server is busy: try again")
                        .await;
                }
            };
            let next = loop {
                match timeout(CALL_LIMIT, responses.recv()).await {
                    Err(_) => {
                        return self
                            .fail(
                                ErrorKind::Failed,
                                "the server did not answer itself in time",
                            )
                            .await;
                    }
                    Ok(None) => {
                        return self
                            .fail(ErrorKind::Failed, "the server dropped the request")
                            .await;
                    }
                    Ok(Some(Response::Item { item })) => {
                        if let Some(answer) = views::answer(item) {
                            self.session.queue(&answer)?;
                        }
                        if self.session.is_full() {
                            self.flush().await?;
                        }
                    }
                    Ok(Some(Response::End { next })) => break next,
                    Ok(Some(Response::Error { kind, message })) => {
                        return self.fail(kind, &message).await;
                    }
                }
            };
            match next.and_then(|next| asked.page(next)) {
                Some(page) => asked = page,
                None => {
                    self.session.queue(&Answer::End)?;
                    return self.flush().await;
                }
            }
        }
    }

    /// Passes changes on until the caller leaves.
    async fn watch(&mut self) -> Result<(), Ended> {
        let Some(mut responses) = self.hand_over(Asked::Watch).await? else {
            return self
                .fail(ErrorKind::Busy, "the server is busy: try again")
                .await;
        };
        loop {
            let response = tokio::select! {
                response = responses.recv() => response,
                () = tokio::time::sleep(ALIVE_EVERY) => {
                    self.session.queue(&Answer::Alive)?;
                    self.flush().await?;
                    continue;
                }
                said = self.session.receive() => {
                    return match said? {
                        None => Ok(()),
                        Some(_) => Err(Ended::OutOfTurn),
                    };
                }
            };
            match response {
                None => return Err(Ended::Stopping),
                Some(Response::Item { item }) => {
                    if let Some(answer) = views::answer(item) {
                        self.session.queue(&answer)?;
                        self.flush().await?;
                    }
                }
                Some(Response::End { .. }) => {
                    self.session.queue(&Answer::End)?;
                    return self.flush().await;
                }
                Some(Response::Error { kind, message }) => return self.fail(kind, &message).await,
            }
        }
    }

    /// Hands a request to the node; `None` if it takes none for now.
    async fn hand_over(&self, request: Asked) -> Result<Option<mpsc::Receiver<Response>>, Ended> {
        let (reply, responses) = mpsc::channel(REPLY_CAPACITY);
        match timeout(CALL_LIMIT, self.shared.calls.send(Call { request, reply })).await {
            Ok(Ok(())) => Ok(Some(responses)),
            Ok(Err(_)) => Err(Ended::Stopping),
            Err(_) => Ok(None),
        }
    }

    async fn fail(&mut self, kind: ErrorKind, message: &str) -> Result<(), Ended> {
        self.session.queue(&views::failure(kind, message))?;
        self.flush().await
    }

    /// Writes what waits; each part must be taken within the idle limit.
    async fn flush(&mut self) -> Result<(), Ended> {
        while self.session.waiting() > 0 {
            timeout(self.shared.limits.idle, self.session.write_some())
                .await
                .map_err(|_| Ended::Slow)??;
        }
        Ok(())
    }
}
