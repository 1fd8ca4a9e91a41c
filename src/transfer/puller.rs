//! What a node takes: servers are visited at the start, when one is new, after a notice, and once a minute.
//!
//! A renewal's acknowledgement says whether anything is other than before; what that is, a visit asks. It costs a handshake, and
//! tells the server what this node holds, so that a server that restarted knows it again.

mod pins;
mod received;
mod talk;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use received::Received;
pub(super) use talk::{Caller, Talk};

use super::accepts::Accepts;
use super::fetch::{self, FetchError, Place};
use crate::api::request::{ErrorKind, Item, Response};
use crate::api::view::{Progress, PullView};
use crate::files::after::{After, Taken};
use crate::files::ledger::{Entry, Ledger};
use crate::files::target::Target;
use crate::model::{NodeId, NodeName, Owner, Timestamp};
use crate::session::Peer;
use crate::session::{Session, SessionError};
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::session::{Report, Request};
use crate::wire::v1::Notice;

/// Between two visits of all servers, give or take a tenth.
const VISIT_EVERY: Duration = Duration::from_secs(60);
/// Until a visit that failed is tried again: doubled each time, up to [`VISIT_EVERY`].
const RETRY: Duration = Duration::from_secs(2);
/// A difference of a server's clock that is a step, in ms: what a server takes is 20 s.
const CLOCK_STEP: u64 = 5_000;
/// Between two lines of progress of one pull.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// A file that this node takes.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) name: Box<str>,
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) owner: Option<Owner>,
    pub(crate) max_size: u64,
    pub(crate) server: Option<NodeId>,
    pub(crate) after: Option<After>,
}

/// What the puller is told.
pub(crate) enum Command {
    /// A server has something newer.
    Notice(Notice),
    /// A renewal's answer says that a server offers other files than before.
    Changed,
    /// Somebody waits: pull now.
    Now {
        name: Option<Box<str>>,
        reply: mpsc::Sender<Response>,
    },
    /// A file came from an old base.
    Received(Received),
}

/// Takes files.
pub(crate) struct Puller {
    pub(crate) key_ring: KeyRing,
    pub(crate) channel: String,
    pub(crate) identity: Identity,
    pub(crate) node: NodeName,
    pub(crate) accepted: Vec<Accepted>,
    /// Where `status` sees how it goes.
    pub(crate) accepts: Accepts,
    pub(crate) spread: Duration,
    pub(crate) ledger_path: PathBuf,
}

struct State {
    settings: Puller,
    ledger: Ledger,
    /// Why the ledger is not read; `None` once it is.
    unread: Option<String>,
    /// The servers that hold this node's record: where they are and what their clocks say, as of this moment.
    servers: watch::Receiver<Vec<Peer>>,
    /// The servers as they were when they were looked at last.
    known: Vec<Peer>,
    /// When servers are visited next; `None` while there is none.
    due: Option<Instant>,
    failures: u32,
    /// What was said last of each file and server, and of which generation; as many as servers and names.
    said: HashMap<(Box<str>, NodeId), (Option<u64>, String)>,
}

/// Why a file was not taken, and whether it is worth another try soon.
struct NotTaken {
    error: String,
    again: bool,
}

fn again(error: impl ToString) -> NotTaken {
    NotTaken {
        error: error.to_string(),
        again: true,
    }
}

fn later(error: impl ToString) -> NotTaken {
    NotTaken {
        error: error.to_string(),
        again: false,
    }
}

/// What became of each offered file in one round of visits: why no server's was taken.
type Offered = HashMap<Box<str>, Option<String>>;

/// What is said of a file that nobody has.
const NO_OFFER: &str = "no server offers it";

/// Who is told how a pull goes, besides the log.
type Listener<'l> = Option<&'l mpsc::Sender<Response>>;

impl Puller {
    /// Takes files for ever.
    pub(crate) async fn run(
        self,
        servers: watch::Receiver<Vec<Peer>>,
        mut told: mpsc::Receiver<Command>,
    ) {
        let mut state = State::new(self, servers);
        state.read_ledger().await;
        state.look_at_servers();
        loop {
            let due = state.due;
            tokio::select! {
                message = told.recv() => match message {
                    None => return,
                    Some(Command::Notice(notice)) => state.noticed(&notice),
                    Some(Command::Changed) => state.changed(),
                    Some(Command::Now { name, reply }) => state.now(name.as_deref(), &reply).await,
                    Some(Command::Received(received)) => state.received(received).await,
                },
                Ok(()) = state.servers.changed() => state.look_at_servers(),
                () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    state.visit_all(None, None).await;
                }
            }
        }
    }
}

impl State {
    fn new(settings: Puller, servers: watch::Receiver<Vec<Peer>>) -> Self {
        let (ledger, unread) = (Ledger::new(), Some(String::new()));
        Self {
            settings,
            ledger,
            unread,
            servers,
            known: Vec::new(),
            due: None,
            failures: 0,
            said: HashMap::new(),
        }
    }

    /// Looks at which servers there are, and visits them if one is new, elsewhere, or goes by another clock.
    fn look_at_servers(&mut self) {
        let servers = self.servers.borrow_and_update().clone();
        let is_as_before = |server: &Peer| {
            self.known.iter().any(|known| {
                known.id == server.id
                    && known.address == server.address
                    && known.clock_ahead.abs_diff(server.clock_ahead) < CLOCK_STEP
            })
        };
        let new = !servers.iter().all(is_as_before);
        self.said
            .retain(|(_, id), _| servers.iter().any(|server| server.id == *id));
        self.known = servers;
        if self.known.is_empty() {
            self.due = None;
        } else if new || self.due.is_none() {
            self.visit_within(self.settings.spread);
        }
    }

    /// A server as it can be reached at this moment.
    fn server(&self, id: &NodeId) -> Option<Peer> {
        self.servers
            .borrow()
            .iter()
            .find(|server| server.id == *id)
            .cloned()
    }

    /// A notice counts unless it tells of something older, whoever sent it: the visit judges for itself.
    fn noticed(&mut self, notice: &Notice) {
        let held = self
            .ledger
            .get(&*notice.name)
            .filter(|entry| entry.server == notice.server);
        // With the same generation too: a server that was restarted may not know that it is here.
        if held.is_none_or(|entry| entry.generation <= notice.generation) && !self.known.is_empty()
        {
            self.visit_within(self.settings.spread);
        }
    }

    fn changed(&mut self) {
        if !self.known.is_empty() {
            self.visit_within(self.settings.spread);
        }
    }

    /// Brings the next visit forward to a random moment within a time.
    fn visit_within(&mut self, spread: Duration) {
        let at = Instant::now() + spread.mul_f64(fastrand::f64());
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    async fn now(&mut self, name: Option<&str>, reply: &mpsc::Sender<Response>) {
        let end = if name.is_some_and(|name| {
            !self
                .settings
                .accepted
                .iter()
                .any(|accepted| *accepted.name == *name)
        }) {
            Response::error(
                ErrorKind::NotFound,
                "files.accept of this node has no such name",
            )
        } else if self.servers.borrow().is_empty() {
            Response::error(
                ErrorKind::Failed,
                "no server has acknowledged this node yet ('hereabouts status' says why)",
            )
        } else {
            self.visit_all(name, Some(reply)).await;
            Response::END
        };
        // Nobody waits any more: nothing to do.
        let _ = reply.send(end).await;
    }

    /// Visits every server, and says when to do so next.
    async fn visit_all(&mut self, only: Option<&str>, listener: Listener<'_>) {
        self.read_ledger().await;
        self.look_at_servers();
        let mut failed = false;
        let mut offered = Offered::new();
        let mut unreachable: Vec<(Peer, String)> = Vec::new();
        for id in self
            .known
            .iter()
            .map(|server| server.id)
            .collect::<Vec<_>>()
        {
            // It may have moved or gone while another one was visited.
            let Some(server) = self.server(&id) else {
                continue;
            };
            if let Err(error) = self
                .visit(&server, only, listener, &mut offered, &mut failed)
                .await
            {
                failed = true;
                tracing::warn!(server = %server.name, address = %server.address, "files could not be asked for: {error}");
                let error = format!(
                    "no session with {} ({}): {error}",
                    server.name, server.address
                );
                unreachable.push((server, error));
            }
        }
        let now = now();
        for accepted in self
            .settings
            .accepted
            .iter()
            .filter(|one| only.is_none_or(|only| *one.name == *only))
        {
            let error = match offered.get(&accepted.name) {
                Some(error) => error.clone(),
                // Only now: another server may have had it.
                None => {
                    for (server, error) in &unreachable {
                        let view = self.view(
                            &accepted.name,
                            Some(server),
                            Progress::Failed,
                            Some(error.clone()),
                        );
                        tell(listener, &view).await;
                    }
                    let last = || unreachable.last().map(|(_, error)| error.clone());
                    let error = self
                        .unread
                        .clone()
                        .or_else(last)
                        .unwrap_or_else(|| NO_OFFER.to_owned());
                    if unreachable.is_empty() {
                        let view =
                            self.view(&accepted.name, None, Progress::Failed, Some(error.clone()));
                        tell(listener, &view).await;
                    }
                    Some(error)
                }
            };
            self.settings.accepts.tried(&accepted.name, now, error);
        }
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        let wait = match self.failures {
            0 => VISIT_EVERY,
            failures => RETRY
                .saturating_mul(1 << (failures - 1).min(8))
                .min(VISIT_EVERY),
        };
        self.due = (!self.known.is_empty())
            .then(|| Instant::now() + wait.mul_f64(0.9 + 0.2 * fastrand::f64()));
    }

    /// Asks one server what it offers, takes what is newer, and reports.
    async fn visit(
        &mut self,
        server: &Peer,
        only: Option<&str>,
        listener: Listener<'_>,
        offered: &mut Offered,
        failed: &mut bool,
    ) -> Result<(), SessionError> {
        let mut talk = Talk::new();
        let mut session = self.caller(server).session(&mut talk).await?;
        let (offers, refused) = talk.offers(&mut session).await?;
        for accepted in self.settings.accepted.clone() {
            if only.is_some_and(|only| *accepted.name != *only) {
                continue;
            }
            let Some(notice) = offers.iter().find(|notice| notice.name == accepted.name) else {
                // Not offered, or not readable yet: the server learns that it would be taken, and a push waits for it.
                let held = self
                    .ledger
                    .get(&*accepted.name)
                    .filter(|entry| entry.server == server.id);
                let generation = held.map_or(0, |entry| entry.generation);
                let error = refused.get(&accepted.name);
                if let Some(error) = error {
                    offered
                        .entry(accepted.name.clone())
                        .or_insert_with(|| Some(error.clone()));
                    self.log(&accepted.name, server, None, error);
                    let view = self.view(
                        &accepted.name,
                        Some(server),
                        Progress::Failed,
                        Some(error.clone()),
                    );
                    tell(listener, &view).await;
                }
                let error = error.map(|error| reported(error));
                let report = Report {
                    name: accepted.name.clone(),
                    generation,
                    error,
                    attempted: None,
                    again: false,
                };
                talk.done(&mut session, &Request::Report(report)).await?;
                continue;
            };
            let outcome = self
                .take(&mut session, server, &accepted, notice, listener)
                .await;
            let (error, again) = match outcome {
                Ok(()) => {
                    // Whatever another server offered under this name.
                    offered.insert(accepted.name.clone(), None);
                    self.said.remove(&(accepted.name.clone(), server.id));
                    (None, false)
                }
                Err(NotTaken { error, again }) => {
                    *failed |= again;
                    self.log(&accepted.name, server, Some(notice.generation), &error);
                    offered
                        .entry(accepted.name.clone())
                        .or_insert_with(|| Some(error.clone()));
                    (Some(error), again)
                }
            };
            let state = if error.is_some() {
                Progress::Failed
            } else {
                Progress::Done
            };
            tell(
                listener,
                &self.view(&accepted.name, Some(server), state, error.clone()),
            )
            .await;
            let generation = self
                .ledger
                .get(&*accepted.name)
                .filter(|entry| entry.server == notice.server);
            let generation = generation.map_or(0, |entry| entry.generation);
            let error = error.as_deref().map(reported);
            let (name, attempted) = (accepted.name.clone(), Some(notice.generation));
            let report = Request::Report(Report {
                name,
                generation,
                error,
                attempted,
                again,
            });
            if let Err(broken) = talk.done(&mut session, &report).await {
                // The pull broke the session: the report goes over a new one, if the server is still there.
                let server = self.server(&server.id).unwrap_or_else(|| server.clone());
                session = self.caller(&server).session(&mut talk).await?;
                talk.done(&mut session, &report).await?;
                tracing::debug!("the session broke and was opened again: {broken}");
            }
        }
        Ok(())
    }

    fn caller<'c>(&'c self, server: &'c Peer) -> Caller<'c> {
        let Puller {
            key_ring,
            channel,
            identity,
            ..
        } = &self.settings;
        Caller {
            server,
            key_ring,
            channel,
            identity,
        }
    }

    /// Takes one file if it is newer than what is held, and does what follows.
    async fn take(
        &mut self,
        session: &mut Session<TcpStream>,
        server: &Peer,
        accepted: &Accepted,
        notice: &Notice,
        listener: Listener<'_>,
    ) -> Result<(), NotTaken> {
        self.know_whose().await.map_err(later)?;
        let (path, mode) = (accepted.path.clone(), accepted.mode);
        let size = tokio::task::spawn_blocking(move || {
            Target::open(&path, mode).and_then(|target| target.size())
        });
        let size = size.await.map_err(again)?.map_err(later)?;
        if !decide(self.ledger.get(&*accepted.name), accepted, size, notice).map_err(later)? {
            // Somebody who pulls by hand has mended what was wrong, or wants to see it.
            return self
                .follow(accepted, listener.is_some())
                .await
                .map_err(later);
        }
        let started = Instant::now();
        let mut next = started;
        let mut progress = |bytes| {
            let now = Instant::now();
            if now >= next {
                next = now + PROGRESS_EVERY;
                let view = PullView {
                    name: notice.name.to_string(),
                    server: Some(server.name.clone()),
                    state: Progress::Pulling,
                    generation: notice.generation,
                    bytes,
                    size: notice.size,
                    error: None,
                };
                // Whoever reads too slowly sees fewer lines.
                if let Some(listener) = listener {
                    let _ = listener.try_send(view.into());
                }
            }
        };
        // What was noted is what lies there, unless its size says otherwise or nothing was noted.
        let noted = self
            .ledger
            .get(&*accepted.name)
            .filter(|entry| Some(entry.size) == size);
        let is_other = noted.is_some_and(|entry| entry.digest != notice.digest);
        let (path, mode, owner) = (accepted.path.clone(), accepted.mode, accepted.owner.clone());
        let place = Place {
            path,
            mode,
            owner,
            is_other,
        };
        let came = fetch::fetch(session, self.caller(server), notice, place, &mut progress)
            .await
            .map_err(|error| match error {
                FetchError::Outdated => {
                    again("the file changed on the server meanwhile; the newer one is taken next")
                }
                // A directory in the way, or a full disk, is there in two seconds too.
                FetchError::Target(error) => later(error),
                error => again(error),
            })?;
        let took = started.elapsed();
        let (file, generation) = (&accepted.name, notice.generation);
        tracing::info!(%file, generation, size = notice.size, came, ?took, server = %server.name, "took a file");
        let entry = Entry {
            server: notice.server,
            generation,
            size: notice.size,
            digest: notice.digest,
            unfinished: accepted.after.is_some(),
            failed: None,
            taken: Some(now()),
            server_name: Some(server.name.clone()),
        };
        self.note(&accepted.name, entry).await.map_err(later)?;
        self.follow(accepted, false).await.map_err(later)
    }

    /// Says once what is wrong with a generation: the same again every minute is no news.
    fn log(&mut self, name: &str, server: &Peer, generation: Option<u64>, error: &str) {
        let now = (generation, error.to_owned());
        if self.said.get(&(name.into(), server.id)) != Some(&now) {
            tracing::warn!(file = name, server = %server.name, "not taken: {error}");
            self.said.insert((name.into(), server.id), now);
        }
    }

    /// Does what follows a replacement, if it is not done yet. What failed before still counts as failed, and is tried anew
    /// only if `anew` says so.
    async fn follow(&mut self, accepted: &Accepted, anew: bool) -> Result<(), String> {
        let Some(after) = &accepted.after else {
            return Ok(());
        };
        let Some(entry) = self.ledger.get(&*accepted.name).cloned() else {
            return Ok(());
        };
        match &entry.failed {
            Some(error) if !entry.unfinished && !anew => return Err(follows_failed(error)),
            None if !entry.unfinished => return Ok(()),
            _ => {}
        }
        let taken = Taken {
            name: &accepted.name,
            generation: entry.generation,
            size: entry.size,
            digest: entry.digest,
            node: &self.settings.node,
            path: &accepted.path,
            time: entry.taken.unwrap_or_else(now),
        };
        let failed = after.run(&taken).await.err().map(|error| error.to_string());
        // Done once, whatever came of it: a command that fails would fail every minute.
        self.note(
            &accepted.name,
            Entry {
                unfinished: false,
                failed: failed.clone(),
                ..entry
            },
        )
        .await?;
        failed.map_or(Ok(()), |error| Err(follows_failed(&error)))
    }

    /// What a crash left undone.
    async fn finish(&mut self) {
        for accepted in self.settings.accepted.clone() {
            if let Err(error) = self.follow(&accepted, false).await {
                tracing::warn!(file = %accepted.name, "{error}");
                self.settings
                    .accepts
                    .tried(&accepted.name, now(), Some(error));
            }
        }
    }

    async fn note(&mut self, name: &str, entry: Entry) -> Result<(), String> {
        self.settings.accepts.holds(name, &entry);
        self.ledger.insert(name.to_owned(), entry);
        super::keep(&self.settings.ledger_path, &self.ledger)
            .await
            .map_err(|error| format!("what is held can't be kept: failed to {error}"))
    }

    fn view(
        &self,
        name: &str,
        server: Option<&Peer>,
        state: Progress,
        error: Option<String>,
    ) -> PullView {
        let held = self.ledger.get(name);
        let (generation, size) = held.map_or((0, 0), |entry| (entry.generation, entry.size));
        let server = server.map(|server| server.name.clone());
        PullView {
            name: name.to_owned(),
            server,
            state,
            generation,
            bytes: size,
            size,
            error,
        }
    }
}

/// Whether an offer is to be pulled; why it must not be.
fn decide(
    held: Option<&Entry>,
    accepted: &Accepted,
    there: Option<u64>,
    notice: &Notice,
) -> Result<bool, String> {
    let trusted = accepted.server.or(held.map(|entry| entry.server));
    if let Some(trusted) = trusted.filter(|trusted| *trusted != notice.server) {
        return Err(format!(
            "it is the file of the server {}, and this node takes that of {trusted}: to change it, set files.accept[…].server",
            notice.server
        ));
    }
    if notice.size > accepted.max_size {
        return Err(format!(
            "it has {} bytes, and files.accept takes {} (max_size)",
            notice.size, accepted.max_size
        ));
    }
    let Some(held) = held.filter(|entry| entry.server == notice.server) else {
        return Ok(true);
    };
    if notice.generation < held.generation {
        return Err(format!(
            "the server offers generation {}, older than generation {} which is here: it is kept",
            notice.generation, held.generation
        ));
    }
    if notice.generation == held.generation && notice.digest != held.digest {
        return Err(format!(
            "the server offers two contents as generation {}: the one here is kept",
            held.generation
        ));
    }
    // What somebody removed or replaced here is put back.
    Ok(notice.generation > held.generation || there != Some(held.size))
}

fn follows_failed(error: &str) -> String {
    format!("the file is in its place, but what follows failed: {error}")
}

/// This moment, for people to read.
fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// An error as it fits into a report.
fn reported(error: &str) -> Box<str> {
    error[..error.floor_char_boundary(Report::MAX_ERROR)].into()
}

async fn tell(listener: Listener<'_>, view: &PullView) {
    if let Some(listener) = listener {
        // Nobody reads any more: nothing to do.
        let _ = listener
            .send(Response::from(Item::Pulled(view.clone())))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Accepted {
        Accepted {
            name: "a".into(),
            path: "/a".into(),
            mode: 0o644,
            owner: None,
            max_size: 100,
            server: None,
            after: None,
        }
    }

    fn notice(server: u8, generation: u64, digest: u8) -> Notice {
        Notice {
            server: NodeId([server; 32]),
            name: "a".into(),
            generation,
            size: 10,
            digest: [digest; 32],
            signature: [0; 64],
        }
    }

    fn held(generation: u64) -> Entry {
        Entry {
            server: NodeId([1; 32]),
            generation,
            size: 10,
            digest: [5; 32],
            unfinished: false,
            failed: None,
            taken: None,
            server_name: None,
        }
    }

    #[test]
    fn only_what_is_newer_is_pulled() {
        let accepted = accepted();
        assert_eq!(decide(None, &accepted, None, &notice(1, 1, 5)), Ok(true));
        assert_eq!(
            decide(Some(&held(2)), &accepted, Some(10), &notice(1, 3, 6)),
            Ok(true)
        );
        assert_eq!(
            decide(Some(&held(2)), &accepted, Some(10), &notice(1, 2, 5)),
            Ok(false)
        );
        assert_eq!(
            decide(Some(&held(2)), &accepted, None, &notice(1, 2, 5)),
            Ok(true),
            "somebody removed it"
        );
        let older = decide(Some(&held(2)), &accepted, Some(10), &notice(1, 1, 6)).unwrap_err();
        assert!(
            older.contains("generation 1, older than generation 2"),
            "{older}"
        );
        assert!(
            decide(Some(&held(2)), &accepted, Some(10), &notice(1, 2, 6))
                .unwrap_err()
                .contains("two contents")
        );
    }

    #[test]
    fn the_first_server_stays_the_only_one_unless_the_config_names_another() {
        let other = decide(Some(&held(2)), &accepted(), Some(10), &notice(2, 9, 6)).unwrap_err();
        assert!(
            other.contains("files.accept") && other.contains(&NodeId([1; 32]).to_string()),
            "{other}"
        );
        let named = Accepted {
            server: Some(NodeId([2; 32])),
            ..accepted()
        };
        assert_eq!(
            decide(Some(&held(2)), &named, Some(10), &notice(2, 1, 6)),
            Ok(true)
        );
        assert!(decide(Some(&held(2)), &named, Some(10), &notice(1, 9, 6)).is_err());
        assert!(decide(None, &named, None, &notice(1, 9, 6)).is_err());
    }

    #[test]
    fn files_over_the_limit_are_not_pulled() {
        let small = Accepted {
            max_size: 9,
            ..accepted()
        };
        assert!(
            decide(None, &small, None, &notice(1, 1, 5))
                .unwrap_err()
                .contains("max_size")
        );
    }

    fn state(spread: Duration) -> State {
        let settings = Puller {
            key_ring: key_ring(),
            channel: "home".into(),
            identity: Identity::from_seed(&[77; 32]),
            node: "kiosk".parse().unwrap(),
            accepted: vec![accepted()],
            accepts: Accepts::default(),
            spread,
            ledger_path: PathBuf::new(),
        };
        State::new(settings, watch::channel(Vec::new()).1)
    }

    fn key_ring() -> KeyRing {
        KeyRing::new("home", &[crate::wire::keyring::Secret::key([1; 32])]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn visits_after_a_notice_are_spread_over_the_time_that_the_config_names_and_no_longer() {
        let spread = Duration::from_secs(10);
        let waits: Vec<_> = std::iter::repeat_with(|| {
            let mut state = state(spread);
            state.visit_within(spread);
            state.due.unwrap() - Instant::now()
        })
        .take(200)
        .collect();
        assert!(waits.iter().all(|wait| *wait <= spread), "{waits:?}");
        // Of 200 random moments, none is in one of the halves once in 2^199 times.
        let early = waits.iter().filter(|wait| **wait < spread / 2).count();
        assert!((1..200).contains(&early), "{waits:?}");
        // A later notice brings the visit forward and never puts it off.
        let mut state = state(spread);
        state.visit_within(Duration::ZERO);
        state.visit_within(spread);
        assert_eq!(state.due.unwrap(), Instant::now());
    }
}
