//! The thread that owns the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::embedded::{Embedded, Opened};
use super::{Store, StoreError};
use crate::model::NodeId;
use crate::registry::{Batch, StoredNode};

/// Batches that may wait: far above what one commit leaves time for, so that it is the bytes that bound.
const QUEUE_BATCHES: usize = 4096;
/// Bytes that may wait, the commit in work included: the times of a million nodes and some seconds of changes.
const QUEUE_BYTES: usize = 64 << 20;
/// Bytes of one commit: more of them make a sync no cheaper, and a commit should not hold those who wait for a second.
const GROUP_BYTES: usize = 8 << 20;
/// The first pause after a failed commit; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a disk that has room again is used within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Commits tried before a stop gives up.
const LAST_ATTEMPTS: u32 = 3;

/// Numbers batches in the order in which they were taken; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// How far the store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// This batch, and every one before it, is synced.
    pub durable: Ticket,
    /// Commits done since the start.
    pub commits: u64,
    /// Why the last commit failed; `None` when it worked.
    pub failure: Option<Failure>,
}

/// A commit that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong and how to mend it.
    pub reason: String,
    /// Commits that failed since the last one that worked.
    pub attempts: u32,
}

/// The queue is full: the batch comes back.
#[derive(Debug)]
pub struct Full(pub Batch);

struct Job {
    ticket: Ticket,
    bytes: usize,
    batch: Batch,
}

/// Takes batches for the store.
pub struct Writer {
    /// `None` once stopping.
    sender: Option<SyncSender<Job>>,
    progress: watch::Receiver<Progress>,
    last: Ticket,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

#[derive(Default)]
struct Shared {
    queued: AtomicUsize,
    stopping: AtomicBool,
}

impl Writer {
    /// Opens the embedded store, hands every node to `load`, and starts the thread.
    pub fn open(
        path: &Path,
        server: NodeId,
        load: impl FnMut(StoredNode),
    ) -> Result<(Self, Opened), StoreError> {
        let (store, opened) = Embedded::open(path, server, load)?;
        Ok((Self::start(Box::new(store))?, opened))
    }

    /// Starts the thread over a store that is open.
    pub fn start(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(QUEUE_BATCHES);
        let (report, progress) = watch::channel(Progress::default());
        let shared = Arc::new(Shared::default());
        let actor = Actor {
            store,
            receiver,
            report,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("registry store".to_owned())
            .spawn(move || actor.run());
        let thread = thread.map_err(|error| StoreError::Thread {
            reason: error.to_string(),
        })?;
        Ok(Self {
            sender: Some(sender),
            progress,
            last: Ticket(0),
            shared,
            thread: Some(thread),
        })
    }

    /// Takes a batch, without waiting; an empty one has the ticket of the one before.
    ///
    /// When the queue is full the batch comes back: [`crate::registry::Table::put_back`] it, and refuse changes until
    /// there is room.
    pub fn submit(&mut self, batch: Batch) -> Result<Ticket, Full> {
        if batch.is_empty() {
            return Ok(self.last);
        }
        let Some(sender) = &self.sender else {
            return Err(Full(batch));
        };
        let bytes = batch.bytes();
        if !self.has_room() {
            return Err(Full(batch));
        }
        let ticket = Ticket(self.last.0 + 1);
        self.shared.queued.fetch_add(bytes, Ordering::Relaxed);
        match sender.try_send(Job {
            ticket,
            bytes,
            batch,
        }) {
            Ok(()) => {
                self.last = ticket;
                Ok(ticket)
            }
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.shared.queued.fetch_sub(bytes, Ordering::Relaxed);
                Err(Full(job.batch))
            }
        }
    }

    /// Whether the next batch would be taken, as far as bytes go.
    pub fn has_room(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < QUEUE_BYTES
    }

    /// The ticket of the last batch taken: once it is durable, all is.
    pub fn last_ticket(&self) -> Ticket {
        self.last
    }

    /// Tells of each commit.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Commits what waits and closes the store. It blocks for as long as that takes.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), StoreError> {
        self.shared.stopping.store(true, Ordering::Release);
        self.sender = None;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.thread().unpark();
        thread.join().unwrap_or_else(|_| {
            Err(StoreError::Thread {
                reason: "its thread ended by a defect".to_owned(),
            })
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!("failed to {error}");
        }
    }
}

struct Actor {
    store: Box<dyn Store>,
    receiver: Receiver<Job>,
    report: watch::Sender<Progress>,
    shared: Arc<Shared>,
}

impl Actor {
    fn run(mut self) -> Result<(), StoreError> {
        while let Ok(first) = self.receiver.recv() {
            let mut bytes = first.bytes;
            let mut group = vec![first];
            while bytes < GROUP_BYTES {
                let Ok(job) = self.receiver.try_recv() else {
                    break;
                };
                bytes += job.bytes;
                group.push(job);
            }
            self.commit(&group)?;
            self.shared.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Commits a group, however often it takes; fails only when stopping.
    fn commit(&mut self, group: &[Job]) -> Result<(), StoreError> {
        let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
        let durable = group.last().map_or(Ticket(0), |job| job.ticket);
        let mut attempts = 0;
        loop {
            let attempt = self.attempt(attempts > 0, &batches);
            let error = match attempt {
                Ok(()) => break,
                Err(error) => error,
            };
            attempts += 1;
            tracing::warn!(
                attempts,
                "failed to {error}; nothing is acknowledged until it works"
            );
            let reason = error.to_string();
            self.report
                .send_modify(|progress| progress.failure = Some(Failure { reason, attempts }));
            if attempts >= LAST_ATTEMPTS && self.shared.stopping.load(Ordering::Acquire) {
                return Err(error);
            }
            self.pause(
                FIRST_PAUSE
                    .saturating_mul(1 << attempts.min(16))
                    .min(LONGEST_PAUSE),
            );
        }
        if attempts > 0 {
            tracing::info!(attempts, "the store works again");
        }
        self.report.send_modify(|progress| {
            progress.durable = durable;
            progress.commits += 1;
            progress.failure = None;
        });
        Ok(())
    }

    fn attempt(&mut self, again: bool, batches: &[&Batch]) -> Result<(), StoreError> {
        let store = &mut self.store;
        let run = || {
            if again {
                // After a failed commit the database takes no other until it is opened anew. Rows are written as a
                // whole, so a commit that did reach the disk may be written again.
                store.reopen()?;
            }
            store.commit(batches)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            Err(StoreError::Thread {
                reason: "the database panicked".to_owned(),
            })
        })
    }

    /// Waits; a stop ends the wait.
    fn pause(&self, length: Duration) {
        let end = Instant::now() + length;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shared.stopping.load(Ordering::Acquire) {
                break;
            }
            std::thread::park_timeout(left);
        }
    }
}
