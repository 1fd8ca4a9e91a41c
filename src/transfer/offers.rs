//! What a server offers: looked at every second, hashed when it changed and is quiet again.
//!
//! Looking is a `stat` of at most 64 files a second. No events of the kernel: they don't come for files on NFS or behind a bind
//! mount, and a ConfigMap's file is a link to a link that changes.

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

/// How often files are looked at. A change is taken when the next look finds it unchanged.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a refused file that lies there unchanged is judged again: what is wrong may be around it. As many times the time that
/// judging it took, where that is longer, so that a large one is not read all the time.
const JUDGE_AGAIN: Duration = Duration::from_secs(30);
const JUDGE_AGAIN_TIMES: u32 = 10;

/// One generation of an offered file, as it is served.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) snapshot: Snapshot,
}

/// An offered file as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) path: PathBuf,
    /// What is served; `None` until the file could be read once.
    pub(crate) current: Option<Arc<Generation>>,
    /// Why the newest content is not served.
    pub(crate) error: Option<String>,
}

/// All offered files, for sessions and for the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers(Arc<RwLock<BTreeMap<Box<str>, Offered>>>);

impl Offers {
    /// Files by name, none of them read yet.
    pub(crate) fn new(offers: impl IntoIterator<Item = (Box<str>, PathBuf)>) -> Self {
        let offered = |(name, path)| {
            (
                name,
                Offered {
                    path,
                    current: None,
                    error: None,
                },
            )
        };
        Self(Arc::new(RwLock::new(
            offers.into_iter().map(offered).collect(),
        )))
    }

    /// What is served under a name.
    pub(crate) fn current(&self, name: &str) -> Option<Arc<Generation>> {
        self.read(|offers| offers.get(name)?.current.clone())
    }

    /// Whether a name is offered at all, be it readable now or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.read(|offers| offers.contains_key(name))
    }

    /// Every file with its name.
    pub(crate) fn all(&self) -> Vec<(Box<str>, Offered)> {
        self.read(|offers| {
            offers
                .iter()
                .map(|(name, offered)| (name.clone(), offered.clone()))
                .collect()
        })
    }

    fn read<T>(&self, with: impl FnOnce(&BTreeMap<Box<str>, Offered>) -> T) -> T {
        // Each change is one assignment, so what a panic left is whole.
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

/// Asks for a file to be looked at now; answered with what is served then, or why it is not the newest content.
pub(crate) struct Refresh {
    pub(crate) name: Box<str>,
    pub(crate) done: oneshot::Sender<Result<Arc<Generation>, String>>,
}

/// Keeps offers up to date.
pub(crate) struct Keeper {
    offers: Offers,
    server: NodeId,
    ledger: Ledger,
    ledger_path: PathBuf,
    /// Where newer generations are told.
    events: mpsc::Sender<FileEvent>,
    /// The last stamp seen, or that nothing could be seen.
    seen: BTreeMap<Box<str>, Option<Stamp>>,
    /// What was judged last.
    judged: BTreeMap<Box<str>, Judged>,
}

/// A file that was judged.
struct Judged {
    /// Its stamp, or that nothing could be seen.
    stamp: Option<Stamp>,
    /// When it is judged again though it is the same; `None` of one that is served.
    again: Option<Instant>,
}

/// What a look at a file brought.
enum Looked {
    /// It is what is served.
    Served(Arc<Generation>),
    /// It is another one, with the stamp that it had before it was read.
    Taken(Option<Stamp>, Result<Snapshot, OfferError>),
}

impl Judged {
    /// Whether that still holds.
    fn holds(&self, stamp: Option<Stamp>) -> bool {
        self.stamp == stamp && self.again.is_none_or(|again| Instant::now() < again)
    }
}

impl Keeper {
    pub(crate) fn new(
        offers: Offers,
        server: NodeId,
        ledger_path: PathBuf,
        events: mpsc::Sender<FileEvent>,
    ) -> Self {
        let ledger = ledger::read(&ledger_path);
        Self {
            offers,
            server,
            ledger,
            ledger_path,
            events,
            seen: BTreeMap::new(),
            judged: BTreeMap::new(),
        }
    }

    /// Looks at every file for ever, and at once at those that are asked for.
    pub(crate) async fn run(mut self, mut refreshes: mpsc::Receiver<Refresh>) {
        // What is there at the start is taken as it is: nobody waits a second for a file that lies there since long. What is
        // wrong with it is in the log and in the status.
        for (name, offered) in self.offers.all() {
            let _ = self.take(&name, &offered).await;
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look().await,
                Some(refresh) = refreshes.recv() => {
                    let offered = self.offers.all().into_iter().find(|(name, _)| *name == refresh.name);
                    let outcome = match offered {
                        None => Err(format!("this server offers no file called '{}'", refresh.name)),
                        Some((name, offered)) => self.take(&name, &offered).await,
                    };
                    // Who asked has left: nothing to do.
                    let _ = refresh.done.send(outcome);
                }
            }
        }
    }

    async fn look(&mut self) {
        for (name, offered) in self.offers.all() {
            let path = offered.path.clone();
            let stamp = spawn_blocking(move || Stamp::of(&path).ok())
                .await
                .unwrap_or_default();
            let last = self.seen.insert(name.clone(), stamp);
            // Two looks with the same result: whoever wrote has paused for a second at least.
            if last == Some(stamp)
                && !self
                    .judged
                    .get(&name)
                    .is_some_and(|judged| judged.holds(stamp))
            {
                // What is wrong is in the log and in the status.
                let _ = self.take(&name, &offered).await;
            }
        }
    }

    /// Reads a file if it changed, and serves it if it is whole.
    async fn take(&mut self, name: &str, offered: &Offered) -> Result<Arc<Generation>, String> {
        let (path, current) = (offered.path.clone(), offered.current.clone());
        let began = Instant::now();
        let looked = spawn_blocking(move || {
            let stamp = Stamp::of(&path).ok();
            match current.filter(|current| Some(current.snapshot.stamp()) == stamp) {
                Some(current) => Looked::Served(current),
                None => Looked::Taken(stamp, Snapshot::take(&path)),
            }
        });
        let (stamp, taken) = match looked.await {
            Ok(Looked::Served(current)) => {
                // It may be back in the place of one that was refused.
                let stamp = Some(current.snapshot.stamp());
                self.judged
                    .insert(name.into(), Judged { stamp, again: None });
                self.offers.set(name, |offered| offered.error = None);
                return Ok(current);
            }
            Ok(Looked::Taken(stamp, taken)) => (stamp, taken),
            Err(error) => return Err(error.to_string()),
        };
        let numbered = match taken {
            Ok(snapshot) => self.number(name, snapshot).await,
            Err(error) => Err(error.to_string()),
        };
        match numbered {
            Ok(generation) => {
                let stamp = Some(generation.snapshot.stamp());
                self.judged
                    .insert(name.into(), Judged { stamp, again: None });
                let generation = Arc::new(generation);
                let (number, size) = (generation.number, generation.snapshot.size());
                let newer = offered
                    .current
                    .as_ref()
                    .is_none_or(|current| current.number != number);
                self.offers.set(name, |offered| {
                    offered.current = Some(generation.clone());
                    offered.error = None;
                });
                if newer {
                    tracing::info!(file = name, generation = number, size, "offering");
                    // A notice that is not sent is made good by the nodes' next visits.
                    let _ = self.events.try_send(FileEvent::Newer {
                        name: name.into(),
                        generation: generation.clone(),
                    });
                }
                Ok(generation)
            }
            Err(error) => {
                let again = JUDGE_AGAIN.max(began.elapsed() * JUDGE_AGAIN_TIMES);
                self.judged.insert(
                    name.into(),
                    Judged {
                        stamp,
                        again: Instant::now().checked_add(again),
                    },
                );
                if offered.error.as_ref() != Some(&error) {
                    tracing::warn!(file = name, "not offered as it is now: {error}");
                }
                self.offers
                    .set(name, |offered| offered.error = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Gives a content its generation: the one it had, or one more. It is durable before anybody sees it.
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
        // Where the count was lost, the clock's seconds are more than any count of changes: nodes don't go back.
        let clock = Timestamp::from_system(std::time::SystemTime::now()).0 / 1000;
        let number = known.map_or(clock, |entry| entry.generation + 1).max(1);
        let entry = Entry {
            server: self.server,
            generation: number,
            size: snapshot.size(),
            digest: *snapshot.digest(),
            unfinished: false,
            failed: None,
            taken: None,
            server_name: None,
        };
        let mut ledger = self.ledger.clone();
        ledger.insert(name.to_owned(), entry);
        super::keep(&self.ledger_path, &ledger)
            .await
            .map_err(|error| format!("its generation can't be kept: failed to {error}"))?;
        self.ledger = ledger;
        Ok(Generation { number, snapshot })
    }
}
