//! Accepts connections, and leads each to an established session or closes it without a byte.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::connection::{Connection, Ended};
use super::{SessionCounters, Shared, WINDOW};
use crate::model::Timestamp;
use crate::session::{self, SessionError};
use crate::transport::Clock;
use crate::wire::replay::Freshness;

/// How long to wait after a failed accept: the process has no file descriptor left, and one must
/// become free.
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
                    let span = tracing::debug_span!("session", %peer);
                    let serving = connection(stream, ticket, shared.clone(), clock);
                    connections.spawn(serving.instrument(span));
                }
                // Closed without a byte, like the connection of a peer that holds no key.
                None => {
                    SessionCounters::count(&shared.counters.turned_away);
                    tracing::debug!(%peer, "connection closed: too many sessions");
                }
            },
            Err(error) => {
                tracing::warn!(%error, "session: failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that counts, until it is dropped.
struct Ticket {
    shared: Arc<Shared>,
    source: IpAddr,
    authenticated: bool,
}

impl Ticket {
    fn take(shared: &Arc<Shared>, source: IpAddr) -> Option<Self> {
        let admitted = lock(&shared.admission).admit(source);
        admitted.then(|| Self {
            shared: shared.clone(),
            source,
            authenticated: false,
        })
    }

    fn promote(&mut self) -> bool {
        self.authenticated = lock(&self.shared.admission).promote(self.source);
        self.authenticated
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.shared.admission).release(self.source, self.authenticated);
    }
}

/// A panic elsewhere leaves the value whole, because each critical section is a few assignments.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(stream: TcpStream, mut ticket: Ticket, shared: Arc<Shared>, clock: Clock) {
    // Without this option the last frame of an answer waits for an acknowledgement. A failure to
    // set it costs no more than that.
    let _ = stream.set_nodelay(true);
    let is_fresh = |theirs: Timestamp, nonce: &[u8; 24]| {
        // The clock comes first: otherwise a peer that recorded old hellos could fill the window
        // with them.
        let now = clock.now();
        now.wall.distance(theirs) <= WINDOW
            && lock(&shared.replay).check(now.elapsed, nonce) == Freshness::Fresh
    };
    let session = match session::accept(stream, &shared.key_ring, &shared.channel, is_fresh).await {
        Ok(session) => session,
        Err(error) => {
            SessionCounters::count(&shared.counters.unauthenticated);
            tracing::debug!(%error, "connection closed without a byte");
            return;
        }
    };
    if !ticket.promote() {
        SessionCounters::count(&shared.counters.turned_away);
        tracing::debug!("connection closed: too many sessions");
        return;
    }
    SessionCounters::count(&shared.counters.opened);
    tracing::debug!(key = %session.key(), "session opened");
    let mut connection = Connection::new(session, &shared);
    if let Err(ended) = connection.serve().await {
        let counter = match ended {
            Ended::Idle | Ended::Slow => Some(&shared.counters.idle),
            Ended::OutOfTurn
            | Ended::Session(
                SessionError::Decode(_) | SessionError::Transport(_) | SessionError::TooLong { .. },
            ) => Some(&shared.counters.broken),
            Ended::Stopping | Ended::Session(_) | Ended::Item(_) => None,
        };
        if let Some(counter) = counter {
            SessionCounters::count(counter);
        }
        tracing::debug!(error = %ended, "session closed");
    }
}
