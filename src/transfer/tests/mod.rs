//! Tests of a puller and a server over loopback, with the real threads and sockets, without datagrams.

mod ledger;
mod offers;
mod pulls;
mod reports;
mod trust;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::offers::{Keeper, Offers, Refresh};
use super::puller::{Accepted, Command, Puller};
use super::*;
use crate::api::request::{Item, Response};
use crate::api::view::{AcceptView, Progress, PullView};
use crate::files::after::After;
use crate::files::target::Target;
use crate::files::webhook::Webhook;
use crate::model::Secret;
use crate::remote::{Limits, Served, SessionCounters, Shared, Thread};
use crate::session;
use crate::wire::session::{Answer, MAX_CONTENT};
use crate::wire::v1::Notice;

const SOON: Duration = Duration::from_secs(60);

fn key_ring() -> KeyRing {
    KeyRing::new("home", &[Secret::key([1; 32])]).unwrap()
}

/// A server that offers one file, `catalogue`.
struct Server {
    address: SocketAddr,
    identity: Identity,
    counters: Arc<SessionCounters>,
    events: mpsc::Receiver<FileEvent>,
    refreshes: mpsc::Sender<Refresh>,
    _thread: Thread,
}

impl Server {
    fn start(seed: u8, path: &Path, state: &Path) -> Self {
        Self::with_idle(seed, path, state, SOON)
    }

    /// Starts a server that closes a session without a request after this time.
    fn with_idle(seed: u8, path: &Path, state: &Path, idle: Duration) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let listener = crate::net::bind_tcp("127.0.0.1".parse().unwrap(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let offers = Offers::new([("catalogue".into(), path.to_owned())]);
        let (events, received) = mpsc::channel(10_000);
        let counters = Arc::<SessionCounters>::default();
        let files = Served {
            identity: identity.clone(),
            offers: offers.clone(),
            events: events.clone(),
        };
        let limits = Limits {
            sessions: 64,
            per_source: 64,
            idle,
        };
        let (calls, _) = mpsc::channel(1);
        let shared = Shared::new(
            key_ring(),
            "home".into(),
            limits,
            calls,
            counters.clone(),
            files,
        );
        let (refreshes, requests) = mpsc::channel(8);
        let keeper = Keeper::new(offers, identity.id(), state.join("offers.json"), events);
        let thread = Thread::start(
            Some((listener, shared)),
            vec![Box::pin(keeper.run(requests))],
        )
        .unwrap();
        Self {
            address,
            identity,
            counters,
            events: received,
            refreshes,
            _thread: thread,
        }
    }

    /// Waits until the newest content is served, and gives its generation.
    async fn refresh(&self) -> Result<u64, String> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.refreshes
            .send(Refresh {
                name: "catalogue".into(),
                done,
            })
            .await
            .unwrap();
        timeout(SOON, outcome)
            .await
            .unwrap()
            .unwrap()
            .map(|generation| generation.number)
    }

    fn found(&self) -> Peer {
        found(self.address, &self.identity)
    }

    /// Waits for the next report of a node.
    async fn report(&mut self) -> Report {
        loop {
            if let FileEvent::Reported { report, .. } =
                timeout(SOON, self.events.recv()).await.unwrap().unwrap()
            {
                return report;
            }
        }
    }

    /// Waits for the event of a generation later than this one.
    async fn newer(&mut self, than: u64) {
        loop {
            if let FileEvent::Newer { generation, .. } =
                timeout(SOON, self.events.recv()).await.unwrap().unwrap()
                && generation.number > than
            {
                return;
            }
        }
    }

    /// Waits for the event of a newer generation.
    async fn newer_generation(&mut self) -> Arc<Generation> {
        loop {
            if let FileEvent::Newer { generation, .. } =
                timeout(SOON, self.events.recv()).await.unwrap().unwrap()
            {
                return generation;
            }
        }
    }

    fn content_bytes(&self) -> u64 {
        self.counter("content_bytes")
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters
            .all()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, count)| count)
    }
}

fn found(address: SocketAddr, identity: &Identity) -> Peer {
    Peer {
        address,
        id: identity.id(),
        name: "hub".parse().unwrap(),
        clock_ahead: 0,
    }
}

/// A node that accepts `catalogue`.
struct Node {
    path: PathBuf,
    commands: mpsc::Sender<Command>,
    published: watch::Sender<Vec<Peer>>,
    accepts: Accepts,
    directory: TempDir,
}

impl Node {
    fn start(change: impl FnOnce(&mut Accepted)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change)
    }

    /// Starts a node in the directory of an earlier one.
    fn start_in(directory: TempDir, change: impl FnOnce(&mut Accepted)) -> Self {
        let path = directory.path().join("catalogue.db");
        let mut accepted = Accepted {
            name: "catalogue".into(),
            path: path.clone(),
            mode: 0o644,
            owner: None,
            max_size: 1 << 30,
            server: None,
            after: None,
        };
        change(&mut accepted);
        let accepts = Accepts::new([(accepted.name.clone(), path.clone())]);
        let puller = Puller {
            key_ring: key_ring(),
            channel: "home".into(),
            identity: Identity::from_seed(&[77; 32]),
            node: "kiosk".parse().unwrap(),
            accepts: accepts.clone(),
            accepted: vec![accepted],
            spread: Duration::ZERO,
            ledger_path: directory.path().join("accepted.json"),
        };
        let (commands, received) = mpsc::channel(8);
        let (published, servers) = watch::channel(Vec::new());
        tokio::spawn(puller.run(servers, received));
        Self {
            path,
            commands,
            published,
            accepts,
            directory,
        }
    }

    fn servers(&self, servers: &[Peer]) {
        self.published.send_replace(servers.to_vec());
    }

    /// Pulls now, and returns the last view.
    async fn pull(&self) -> PullView {
        self.pull_views().await.pop().unwrap()
    }

    /// Pulls now, and returns all views of the pull.
    async fn pull_views(&self) -> Vec<PullView> {
        let (reply, mut responses) = mpsc::channel(1000);
        self.commands
            .send(Command::Now { name: None, reply })
            .await
            .unwrap();
        let mut views = Vec::new();
        loop {
            match timeout(SOON, responses.recv()).await.unwrap() {
                Some(Response::Item {
                    item: Item::Pulled(view),
                }) => views.push(view),
                Some(Response::End { .. }) | None => return views,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The view of the file in `status`, as soon as it meets a condition.
    async fn accept_view(&self, is_so: impl Fn(&AcceptView) -> bool) -> AcceptView {
        let seen = async {
            loop {
                let view = self.accepts.views().remove(0);
                if is_so(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, seen).await.unwrap()
    }

    fn content(&self) -> Option<Vec<u8>> {
        fs::read(&self.path).ok()
    }
}

/// The report of a node that holds the newest generation.
fn report(generation: u64) -> Report {
    Report {
        name: "catalogue".into(),
        generation,
        error: None,
        attempted: Some(generation),
        again: false,
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

/// A proxy before a server. Its first connection carries this many bytes of the answers, and then waits for a decision.
struct Proxy {
    address: SocketAddr,
    /// The decision: whether the first connection continues or breaks.
    decision: tokio::sync::oneshot::Sender<bool>,
    /// Resolves when those bytes have passed.
    held: tokio::sync::oneshot::Receiver<()>,
}

impl Proxy {
    async fn to(behind: SocketAddr, bytes: u64) -> Self {
        use tokio::io::{AsyncReadExt, copy};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (decision, decided) = tokio::sync::oneshot::channel();
        let (holds, held) = tokio::sync::oneshot::channel();
        let mut first = Some((holds, decided));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = tokio::net::TcpStream::connect(behind).await.unwrap();
                let (mut near_read, mut near_write) = near.into_split();
                let (mut far_read, mut far_write) = far.into_split();
                let up = tokio::spawn(async move { copy(&mut near_read, &mut far_write).await });
                let first = first.take();
                tokio::spawn(async move {
                    if let Some((holds, decided)) = first {
                        copy(&mut (&mut far_read).take(bytes), &mut near_write)
                            .await
                            .unwrap();
                        let _ = holds.send(());
                        if !decided.await.unwrap_or(false) {
                            up.abort();
                            return;
                        }
                    }
                    let _ = copy(&mut far_read, &mut near_write).await;
                });
            }
        });
        Self {
            address,
            decision,
            held,
        }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let seen = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, seen).await.unwrap();
}
