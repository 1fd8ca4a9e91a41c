//! The offers of a server: polled every second, hashed when a file changed and is unchanged since the last poll.
//!
//! In go paths and requests to refresh; out come numbered generations to serve, and events about newer ones. No generation
//! is served before its number is on the disk.
//!
//! A poll is a `stat` of each of at most 64 files. Kernel events are no substitute: they are not delivered for files on NFS
//! or behind a bind mount, and a file of a ConfigMap is a link to a link that changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::FileEvent;
use crate::files::ledger::{self, Entry, Ledger};
use crate::files::offer::{OfferError, Snapshot, Stamp};
use crate::model::{NodeId, Timestamp};

/// How often files are polled. A changed file is read when the next poll finds no further change.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// After how long a refused file that did not change is read again, as the cause may be another file. Where reading it took
/// long, the wait is [`RETRY_FACTOR`] times as long as that, so that a large file is not read all the time.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_FACTOR: u32 = 10;

/// One generation of an offered file.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) snapshot: Snapshot,
}

/// The state of an offered file.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) path: PathBuf,
    /// The generation that is served; `None` until the file could be read once.
    pub(crate) current: Option<Arc<Generation>>,
    /// Why the newest content is not served.
    pub(crate) error: Option<String>,
}

/// All offered files; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers(Arc<RwLock<BTreeMap<Box<str>, Offered>>>);

impl Offers {
    /// The offered files by name, before the first poll.
    pub(crate) fn new(offers: impl IntoIterator<Item = (Box<str>, PathBuf)>) -> Self {
        let offers = offers.into_iter().map(|(name, path)| {
            let offered = Offered {
                path,
                current: None,
                error: None,
            };
            (name, offered)
        });
        Self(Arc::new(RwLock::new(offers.collect())))
    }

    /// The generation that is served under a name.
    pub(crate) fn current(&self, name: &str) -> Option<Arc<Generation>> {
        self.read(|offers| offers.get(name)?.current.clone())
    }

    /// Whether a name is offered, even if its file is unreadable now.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.read(|offers| offers.contains_key(name))
    }

    /// All files by name.
    pub(crate) fn all(&self) -> Vec<(Box<str>, Offered)> {
        self.read(|offers| {
            offers
                .iter()
                .map(|(name, offered)| (name.clone(), offered.clone()))
                .collect()
        })
    }

    fn read<T>(&self, with: impl FnOnce(&BTreeMap<Box<str>, Offered>) -> T) -> T {
        // Each change is one assignment, so a poisoned lock still guards complete values.
        with(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut Offered)) {
        if let Some(offered) = self
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(name)
        {
            change(offered);
        }
    }
}

/// A request to read a file now. The answer is the generation that is served then, or why it is not the newest content.
pub(crate) struct Refresh {
    pub(crate) name: Box<str>,
    pub(crate) done: oneshot::Sender<Result<Arc<Generation>, String>>,
}

/// Keeps the offers up to date.
pub(crate) struct Keeper {
    offers: Offers,
    server: NodeId,
    ledger: Ledger,
    ledger_path: PathBuf,
    /// The queue for newer generations.
    events: mpsc::Sender<FileEvent>,
    /// The stamp of each file at the last poll; `None` if it had none.
    polled: BTreeMap<Box<str>, Option<Stamp>>,
    /// The outcome of the last reading of each file.
    readings: BTreeMap<Box<str>, Reading>,
}

/// When a file was last read, it was served or refused.
struct Reading {
    /// The stamp at that time; `None` if the file had none.
    stamp: Option<Stamp>,
    /// When a refused file is read again though it did not change; `None` for a served one.
    retry: Option<Instant>,
}

impl Reading {
    /// Whether the outcome is still valid for a file with this stamp.
    fn is_valid(&self, stamp: Option<Stamp>) -> bool {
        self.stamp == stamp && self.retry.is_none_or(|retry| Instant::now() < retry)
    }
}

/// Whether a file is read whose stamp is that of the served content.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reread {
    IfChanged,
    /// On request: not every file system changes a stamp with each write.
    Always,
}

/// What a reading found.
enum Found {
    /// The content that is served already.
    Served(Arc<Generation>),
    /// Another content, with the stamp that the file had before it was read.
    Read(Option<Stamp>, Result<Snapshot, OfferError>),
}

impl Keeper {
    pub(crate) fn new(
        offers: Offers,
        server: NodeId,
        ledger_path: PathBuf,
        events: mpsc::Sender<FileEvent>,
    ) -> Self {
        let ledger = ledger::load_or_empty(&ledger_path);
        Self {
            offers,
            server,
            ledger,
            ledger_path,
            events,
            polled: BTreeMap::new(),
            readings: BTreeMap::new(),
        }
    }

    /// Polls every file for ever, and reads a file at once on request.
    pub(crate) async fn run(mut self, mut refreshes: mpsc::Receiver<Refresh>) {
        // At the start every file is read as it is: a file that has existed for long needs no second poll. An error is in
        // the log and in the status.
        for (name, offered) in self.offers.all() {
            let _ = self.read(&name, &offered, Reread::IfChanged).await;
        }
        let mut polls = tokio::time::interval(POLL_EVERY);
        polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = polls.tick() => self.poll().await,
                Some(refresh) = refreshes.recv() => {
                    let offered = self.offers.all().into_iter().find(|(name, _)| *name == refresh.name);
                    let outcome = match offered {
                        None => Err(format!("this server offers no file called '{}'", refresh.name)),
                        Some((name, offered)) => self.read(&name, &offered, Reread::Always).await,
                    };
                    // If the requester has left, no one needs the answer.
                    let _ = refresh.done.send(outcome);
                }
            }
        }
    }

    async fn poll(&mut self) {
        for (name, offered) in self.offers.all() {
            let path = offered.path.clone();
            let stamp = spawn_blocking(move || Stamp::of(&path).ok())
                .await
                .unwrap_or_default();
            let last = self.polled.insert(name.clone(), stamp);
            let is_read = self
                .readings
                .get(&name)
                .is_some_and(|reading| reading.is_valid(stamp));
            // Two polls with the same stamp: no program has written for a second at least.
            if last == Some(stamp) && !is_read {
                // An error is in the log and in the status.
                let _ = self.read(&name, &offered, Reread::IfChanged).await;
            }
        }
    }

    /// Reads a file, and serves its content if that is whole.
    async fn read(
        &mut self,
        name: &str,
        offered: &Offered,
        reread: Reread,
    ) -> Result<Arc<Generation>, String> {
        let path = offered.path.clone();
        let current = offered.current.clone();
        let started = Instant::now();
        let reading = spawn_blocking(move || {
            let stamp = Stamp::of(&path).ok();
            let unchanged = current.filter(|current| {
                reread == Reread::IfChanged && Some(current.snapshot.stamp()) == stamp
            });
            match unchanged {
                Some(current) => Found::Served(current),
                None => Found::Read(stamp, Snapshot::take(&path)),
            }
        });
        let (stamp, snapshot) = match reading.await {
            Ok(Found::Served(current)) => {
                // The served file may have replaced a refused one.
                self.set_read(name, &current);
                self.offers.set(name, |offered| offered.error = None);
                return Ok(current);
            }
            Ok(Found::Read(stamp, snapshot)) => (stamp, snapshot),
            Err(error) => return Err(error.to_string()),
        };
        let numbered = match snapshot {
            Ok(snapshot) => self.number(name, snapshot).await,
            Err(error) => Err(error.to_string()),
        };
        match numbered {
            Ok(generation) => Ok(self.serve(name, offered, generation)),
            Err(error) => {
                let retry = RETRY.max(started.elapsed() * RETRY_FACTOR);
                self.readings.insert(
                    name.into(),
                    Reading {
                        stamp,
                        retry: Instant::now().checked_add(retry),
                    },
                );
                if offered.error.as_ref() != Some(&error) {
                    tracing::warn!(file = name, "the newest content is not offered: {error}");
                }
                self.offers
                    .set(name, |offered| offered.error = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Serves a generation, and sends an event if it is newer than the served one.
    fn serve(&mut self, name: &str, offered: &Offered, generation: Generation) -> Arc<Generation> {
        self.set_read(name, &generation);
        let generation = Arc::new(generation);
        let number = generation.number;
        let is_newer = offered
            .current
            .as_ref()
            .is_none_or(|current| current.number != number);
        self.offers.set(name, |offered| {
            offered.current = Some(generation.clone());
            offered.error = None;
        });
        if is_newer {
            let size = generation.snapshot.size();
            tracing::info!(file = name, generation = number, size, "offering a file");
            // If the queue is full, no notice is sent, and the nodes find the generation at their next visits.
            let _ = self.events.try_send(FileEvent::Newer {
                name: name.into(),
                generation: generation.clone(),
            });
        }
        generation
    }

    fn set_read(&mut self, name: &str, served: &Generation) {
        let stamp = Some(served.snapshot.stamp());
        self.readings
            .insert(name.into(), Reading { stamp, retry: None });
    }

    /// Numbers a content: it keeps its generation, or gets the next one. The number is durable before any node learns it.
    async fn number(&mut self, name: &str, snapshot: Snapshot) -> Result<Generation, String> {
        let known = self
            .ledger
            .get(name)
            .filter(|entry| entry.server == self.server);
        if let Some(entry) = known.filter(|entry| entry.digest == *snapshot.digest()) {
            return Ok(Generation {
                number: entry.generation,
                snapshot,
            });
        }
        // Where the ledger was lost, the clock's seconds are larger than any count of changes: nodes accept no older generation.
        let clock = Timestamp::from_system(std::time::SystemTime::now()).0 / 1000;
        let number = known.map_or(clock, |entry| entry.generation + 1).max(1);
        let entry = Entry {
            server: self.server,
            generation: number,
            size: snapshot.size(),
            digest: *snapshot.digest(),
            unfinished: false,
            failed: None,
            pulled: None,
            server_name: None,
        };
        let mut ledger = self.ledger.clone();
        ledger.insert(name.to_owned(), entry);
        super::write_ledger(&self.ledger_path, &ledger)
            .await
            .map_err(|error| format!("its generation can't be stored: failed to {error}"))?;
        self.ledger = ledger;
        Ok(Generation { number, snapshot })
    }
}
