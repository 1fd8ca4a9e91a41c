//! The thread that owns the store, and the queue of batches in front of it.
//!
//! [`Writer::submit`] takes batches without blocking, and [`Progress`] reports which of them are
//! durable. A batch must never be reported as durable before it is synced.

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

/// The maximum number of batches that wait: far more than are submitted during one commit, so that
/// the bytes are the real limit.
const MAX_QUEUE_BATCHES: usize = 4096;
/// The maximum number of bytes that wait, the running commit included: the renewal times of a
/// million nodes and some seconds of changes.
const MAX_QUEUE_BYTES: usize = 64 << 20;
/// The maximum number of bytes of one commit: more bytes make a sync no cheaper, and nodes should
/// not wait a second for a commit.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// The pause is doubled with each failed commit, beginning with twice this one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a disk that has space again is used within seconds.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The number of failed commits after which a stop gives up.
const MAX_ATTEMPTS_AT_STOP: u32 = 3;

/// The number of a batch, in the order of submission; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// The progress of the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// This batch and all batches before it are synced.
    pub durable: Ticket,
    /// The number of commits since the start.
    pub commits: u64,
    /// Why the last commit failed; `None` if it succeeded.
    pub failure: Option<Failure>,
}

/// A commit that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error, with its remedy.
    pub reason: String,
    /// The number of failed commits since the last successful one.
    pub attempts: u32,
}

/// The queue is full; the batch is returned.
#[derive(Debug)]
pub struct Full(pub Batch);

struct Job {
    ticket: Ticket,
    bytes: usize,
    batch: Batch,
}

pub struct Writer {
    /// `None` once the writer stops.
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
    /// Opens the embedded store, passes each node to `load`, and starts the thread.
    pub fn open(
        path: &Path,
        server: NodeId,
        load: impl FnMut(StoredNode),
    ) -> Result<(Self, Opened), StoreError> {
        let (store, opened) = Embedded::open(path, server, load)?;
        Ok((Self::start(Box::new(store))?, opened))
    }

    /// Starts the thread with a store that is open.
    pub fn start(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(MAX_QUEUE_BATCHES);
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

    /// Submits a batch without blocking. An empty batch gets the ticket of the batch before.
    ///
    /// When the queue is full, the batch is returned: pass it to
    /// [`crate::registry::Table::put_back`], and refuse changes until there is room.
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

    /// Whether the limit of bytes allows another batch.
    pub fn has_room(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < MAX_QUEUE_BYTES
    }

    /// The ticket of the last submitted batch: once it is durable, all batches are.
    pub fn last_ticket(&self) -> Ticket {
        self.last
    }

    /// Reports each commit.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Commits all waiting batches and closes the store. It blocks as long as this takes.
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
                reason: "its thread panicked, which is a defect of hereabouts".to_owned(),
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
            while bytes < MAX_GROUP_BYTES {
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

    /// Commits a group, with as many attempts as it needs. It fails only while the writer stops.
    fn commit(&mut self, group: &[Job]) -> Result<(), StoreError> {
        let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
        let durable = group.last().map_or(Ticket(0), |job| job.ticket);
        let mut attempts = 0;
        while let Err(error) = self.attempt(attempts > 0, &batches) {
            attempts += 1;
            tracing::warn!(
                attempts,
                "failed to {error}; no change is acknowledged until a commit succeeds"
            );
            let reason = error.to_string();
            self.report
                .send_modify(|progress| progress.failure = Some(Failure { reason, attempts }));
            if attempts >= MAX_ATTEMPTS_AT_STOP && self.shared.stopping.load(Ordering::Acquire) {
                return Err(error);
            }
            self.pause(
                FIRST_PAUSE
                    .saturating_mul(1 << attempts.min(16))
                    .min(MAX_PAUSE),
            );
        }
        if attempts > 0 {
            tracing::info!(attempts, "the registry's store works again");
        }
        tracing::trace!(
            batches = batches.len(),
            ticket = durable.0,
            "a commit is durable"
        );
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
                // After a failed commit the database accepts no other until it is opened again.
                // Rows are written as a whole, so a commit that did reach the disk may be written
                // again.
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

    /// Waits; a stop ends the wait early.
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
