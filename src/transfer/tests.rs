//! A puller and a server over loopback: the real threads and sockets, without datagrams.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
use crate::remote::{Limits, Served, SessionCounters, Shared, Thread};
use crate::session;
use crate::wire::keyring::Secret;
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

    /// Starts a server that closes a session on which nothing is asked for so long.
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
        let (refreshes, asked) = mpsc::channel(8);
        let keeper = Keeper::new(offers, identity.id(), state.join("offers.json"), events);
        let thread =
            Thread::start(Some((listener, shared)), vec![Box::pin(keeper.run(asked))]).unwrap();
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

    /// Waits until a generation later than this one is told.
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

    /// Waits until a newer generation is offered that nobody asked for.
    async fn refreshed_by_itself(&mut self) -> Arc<Generation> {
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

/// A node that takes `catalogue`.
struct Node {
    path: PathBuf,
    told: mpsc::Sender<Command>,
    shown: watch::Sender<Vec<Peer>>,
    accepts: Accepts,
    directory: TempDir,
}

impl Node {
    fn start(change: impl FnOnce(&mut Accepted)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change)
    }

    /// Starts a node with what an earlier one left.
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
        let (told, tell) = mpsc::channel(8);
        let (shown, servers) = watch::channel(Vec::new());
        tokio::spawn(puller.run(servers, tell));
        Self {
            path,
            told,
            shown,
            accepts,
            directory,
        }
    }

    fn servers(&self, servers: &[Peer]) {
        self.shown.send_replace(servers.to_vec());
    }

    /// Pulls now, and gives how that ended.
    async fn pull(&self) -> PullView {
        self.pull_told().await.pop().unwrap()
    }

    /// Pulls now, and gives all that was told of it.
    async fn pull_told(&self) -> Vec<PullView> {
        let (reply, mut responses) = mpsc::channel(1000);
        self.told
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

    /// What `status` shows of the file, as soon as it is so.
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

/// What a node says that holds the newest generation.
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

#[tokio::test]
async fn a_node_takes_each_generation_and_tells_the_server() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(2_500_000)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(server.report().await, report(first));
    assert_eq!(node.content().unwrap(), noise(2_500_000));

    // A new content is a new generation, a touch is none.
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    let view = node.pull().await;
    assert_eq!(
        (view.state, view.generation),
        (Progress::Done, first + 1),
        "{view:?}"
    );
    assert_eq!(node.content().unwrap(), b"small");

    // A restart of the server keeps the count.
    drop(server);
    let server = Server::start(1, &path, directory.path());
    assert_eq!(server.refresh().await.unwrap(), first + 1);
}

#[tokio::test]
async fn a_change_is_offered_without_being_asked_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    fs::write(directory.path().join("new"), b"another").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    server.newer(first).await;
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().as_deref(), Some(&b"another"[..]));
}

#[tokio::test]
async fn a_pull_goes_on_where_the_server_was_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let content = noise(8_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    // In between stands somebody who cuts the line after 3 MB.
    let cut = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (cut.local_addr().unwrap(), server.address);
    tokio::spawn(async move {
        let (near, _) = cut.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(behind).await.unwrap();
        let ((mut near_read, mut near_write), (far_read, mut far_write)) =
            (near.into_split(), far.into_split());
        let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
        tokio::io::copy(
            &mut tokio::io::AsyncReadExt::take(far_read, 3_000_000),
            &mut near_write,
        )
        .await
        .unwrap();
        up.abort();
    });
    let node = Node::start(|_| ());
    node.servers(&[found(address, &server.identity)]);
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert_eq!(node.content(), None);
    // The server is back at its own address.
    node.servers(&[server.found()]);
    let before = server.content_bytes();
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Done, "{view:?}");
    assert_eq!(node.content().unwrap(), content);
    let again = server.content_bytes() - before;
    assert!(
        again <= 8_000_000 - 2_000_000,
        "{again} bytes were sent again: those held are not"
    );
}

#[tokio::test]
async fn a_pull_goes_on_though_the_server_closed_the_session_while_the_part_was_hashed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let content = noise(3_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::with_idle(1, &path, directory.path(), Duration::from_secs(2));
    let generation = server.refresh().await.unwrap();
    let digest = blake3::hash(&content).into();
    let target = directory.path().join("target");
    Target::open(&target, 0o644)
        .unwrap()
        .part(3_000_000, &digest)
        .unwrap()
        .write(&content[..1_000_000])
        .unwrap();
    let (found, key_ring, identity) = (server.found(), key_ring(), Identity::from_seed(&[77; 32]));
    let mut session = found.connect(&key_ring, "home").await.unwrap();
    let notice = Notice::sign(
        &server.identity,
        session.key(),
        "catalogue",
        generation,
        3_000_000,
        digest,
    )
    .unwrap();
    // As if hashing had taken that long.
    let closed = async {
        while server.counter("idle") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, closed).await.unwrap();
    let caller = super::puller::Caller {
        server: &found,
        key_ring: &key_ring,
        channel: "home",
        identity: &identity,
    };
    let place = fetch::Place {
        path: target.clone(),
        mode: 0o644,
        owner: None,
        is_other: false,
    };
    let came = fetch::fetch(&mut session, caller, &notice, place, &mut |_| ())
        .await
        .unwrap();
    assert_eq!(
        (came, fs::read(&target).unwrap() == content),
        (2_000_000, true)
    );
}

#[tokio::test]
async fn another_servers_file_is_refused_once_one_is_known() {
    let directory = TempDir::new().unwrap();
    let (genuine, forged) = (
        directory.path().join("genuine"),
        directory.path().join("forged"),
    );
    fs::write(&genuine, b"genuine").unwrap();
    fs::write(&forged, b"forged").unwrap();
    let server = Server::start(1, &genuine, directory.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &forged, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    node.servers(&[member.found()]);
    let view = node.pull().await;
    assert!(
        view.error.unwrap().contains("files.accept"),
        "{:?}",
        view.state
    );
    assert_eq!(node.content().unwrap(), b"genuine");
}

/// A member of the channel that serves other bytes than it signed, or signs in another's name.
async fn liar(identity: Identity, signer: Identity, content: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut session) = session::accept(stream, &key_ring(), "home", |_, _| true).await
            else {
                continue;
            };
            let digest = blake3::hash(b"what was promised").into();
            let mut notice =
                Notice::sign(&signer, session.key(), "catalogue", 9, 17, digest).unwrap();
            notice.server = identity.id();
            while let Ok(Some(request)) = session.request().await {
                match request {
                    crate::wire::session::Request::Offers => {
                        session.queue(&Answer::Offer(notice.clone())).unwrap()
                    }
                    crate::wire::session::Request::Pull { .. } => {
                        session
                            .queue(&Answer::File {
                                notice: notice.clone(),
                                offset: 0,
                            })
                            .unwrap();
                        content
                            .chunks(MAX_CONTENT)
                            .for_each(|part| session.queue(&Answer::Content(part)).unwrap());
                    }
                    _ => {}
                }
                session.queue(&Answer::End).unwrap();
                if session.flush().await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn bytes_that_were_not_signed_never_take_the_files_place() {
    let identity = Identity::from_seed(&[1; 32]);
    for (content, says) in [
        (&b"what was PROMISED"[..], "digest"),
        (b"too short", "too soon"),
        (b"what was promised and more of it", "longer"),
    ] {
        let address = liar(identity.clone(), identity.clone(), content).await;
        let node = Node::start(|_| ());
        fs::write(&node.path, "old").unwrap();
        node.servers(&[found(address, &identity)]);
        let view = node.pull().await;
        assert!(
            view.error
                .as_deref()
                .is_some_and(|error| error.contains(says)),
            "{says}: {view:?}"
        );
        assert_eq!(node.content().unwrap(), b"old");
    }
}

#[tokio::test]
async fn an_offer_with_a_forged_signature_is_refused_and_said_to_be() {
    let (victim, member) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let address = liar(victim.clone(), member, b"what was promised").await;
    let node = Node::start(|_| ());
    node.servers(&[found(address, &victim)]);
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert!(view.error.is_some_and(
        |error| error.contains(&victim.id().to_string()) && error.contains("signature")
    ));
    assert_eq!(node.content(), None);
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_here_and_to_the_server() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let outside = directory.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    let answers = answering("HTTP/1.1 507 Full\r\n\r\nthe shelf is full\nand more").await;
    let nodes = [
        (
            Node::start(|accepted| accepted.path.push("none/file")),
            "must exist",
        ),
        (Node::start(|accepted| accepted.max_size = 99), "max_size"),
        (
            Node::start(|accepted| fs::create_dir(&accepted.path).unwrap()),
            "is a directory",
        ),
        (
            Node::start(|accepted| std::os::unix::fs::symlink(&outside, &accepted.path).unwrap()),
            "is a symbolic link",
        ),
        (
            Node::start(|accepted| {
                accepted.after = Some(After::Webhook(Webhook {
                    url: format!("http://{}/s3cret", answers).parse().unwrap(),
                    headers: Vec::new(),
                    token: Some(zeroize::Zeroizing::new("s3cret".into())),
                    client: crate::net::HttpClient::new(None).unwrap(),
                    limit: SOON,
                }));
            }),
            "answered 507: the shelf is full",
        ),
        (
            Node::start(|accepted| {
                let command = vec!["sh".into(), "-c".into(), "exit 7".into()];
                accepted.after = Some(After::Exec {
                    command,
                    limit: SOON,
                });
            }),
            "exit status: 7",
        ),
    ];
    for (node, says) in &nodes {
        node.servers(&[server.found()]);
        let report = server.report().await;
        let error = report.error.as_deref().unwrap_or_default();
        assert!(
            error.contains(says) && !error.contains("s3cret"),
            "{says}: {report:?}"
        );
        let view = node.accept_view(|view| view.last_attempt.is_some()).await;
        assert_eq!(
            view.error
                .map(|error| error[..error.floor_char_boundary(Report::MAX_ERROR)].to_owned())
                .as_deref(),
            Some(error)
        );
    }
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    for (node, _) in &nodes[4..] {
        assert_eq!(
            node.content().unwrap(),
            noise(100),
            "the file is in its place, whatever followed"
        );
    }
}

#[tokio::test]
async fn what_followed_and_failed_is_told_until_somebody_who_mended_it_pulls() {
    let directory = TempDir::new().unwrap();
    let [path, ran, mended] = ["offered", "ran", "mended"].map(|name| directory.path().join(name));
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let command = format!("echo >> {}; test -e {}", ran.display(), mended.display());
    let after = After::Exec {
        command: ["sh", "-c", &command].map(str::to_owned).to_vec(),
        limit: SOON,
    };
    let runs = || fs::read(&ran).unwrap().len();
    let failed = |report: &Report| {
        report
            .error
            .as_ref()
            .is_some_and(|error| error.contains("what follows failed"))
    };
    let node = Node::start(|accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]);
    assert!(failed(&server.report().await));
    // Neither a further visit nor a restart forgets it, or does it again.
    node.told.send(Command::Changed).await.unwrap();
    assert!(failed(&server.report().await));
    let Node {
        told,
        directory: left,
        ..
    } = node;
    drop(told);
    let node = Node::start_in(left, |accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]);
    assert!(failed(&server.report().await));
    node.accept_view(|view| view.error.is_some()).await;
    assert_eq!(runs(), 1);
    fs::write(&mended, "").unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(server.report().await.error, None);
    node.accept_view(|view| view.error.is_none()).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(runs(), 2, "what is done is not done again");
}

/// A server that gives everybody the same answer.
async fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn status_knows_what_is_held_since_when_from_whom_and_what_failed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, directory.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    let untried = node.accept_view(|_| true).await;
    assert_eq!(
        (
            untried.generation,
            untried.server,
            untried.pulled,
            untried.last_attempt
        ),
        (None, None, None, None)
    );
    node.servers(&[server.found()]);
    let view = node.accept_view(|view| view.last_attempt.is_some()).await;
    assert_eq!(
        (view.generation, view.size, view.error.as_deref()),
        (Some(generation), Some(100), None)
    );
    assert_eq!(
        view.digest.unwrap(),
        blake3::hash(&noise(100)).to_hex().as_str()
    );
    assert_eq!(
        (view.server, view.server_name.unwrap().as_str()),
        (Some(server.identity.id()), "hub")
    );
    assert!(view.pulled.unwrap() <= view.last_attempt.unwrap());
    // What is held stays to be seen when the server is gone, with why nothing newer comes.
    let gone = server.found();
    drop(server);
    node.servers(&[gone]);
    assert_eq!(node.pull().await.state, Progress::Failed);
    let after = node.accept_view(|view| view.error.is_some()).await;
    assert!(after.error.unwrap().contains("no session with hub"));
    assert_eq!(
        (after.generation, after.pulled),
        (Some(generation), view.pulled)
    );
}

#[tokio::test]
async fn a_node_whose_ledger_is_damaged_takes_nothing_and_overwrites_nothing_until_it_is_mended() {
    let directory = TempDir::new().unwrap();
    let (genuine, other) = (
        directory.path().join("genuine"),
        directory.path().join("other"),
    );
    fs::write(&genuine, "genuine").unwrap();
    fs::write(&other, "forged").unwrap();
    let server = Server::start(1, &genuine, directory.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &other, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node {
        told,
        directory: left,
        ..
    } = node;
    drop(told);
    let ledger = left.path().join("accepted.json");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, &whole[..50]).unwrap();

    let node = Node::start_in(left, |_| ());
    let says =
        |error: Option<&str>| error.is_some_and(|error| error.contains("accepted.json is damaged"));
    node.accept_view(|view| says(view.error.as_deref())).await;
    node.servers(&[member.found()]);
    let view = node.pull().await;
    assert!(
        view.state == Progress::Failed && says(view.error.as_deref()),
        "{view:?}"
    );
    let (reply, outcome) = tokio::sync::oneshot::channel();
    let asked = puller::Received {
        name: "catalogue".into(),
        file: None,
        reply,
    };
    node.told.send(Command::Received(asked)).await.unwrap();
    assert!(
        says(
            timeout(SOON, outcome)
                .await
                .unwrap()
                .unwrap()
                .err()
                .as_deref()
        ),
        "an old base's is not taken either"
    );
    assert_eq!(node.content().unwrap(), b"genuine");
    assert!(says(
        node.accept_view(|view| view.last_attempt.is_some())
            .await
            .error
            .as_deref()
    ));
    assert_eq!(
        fs::read(&ledger).unwrap(),
        whole[..50],
        "what is left of it is not overwritten"
    );

    // Once it is restored it says again whose the file is, and without it the first one's is taken.
    fs::write(&ledger, &whole).unwrap();
    let view = node.pull().await;
    assert!(
        view.error
            .as_ref()
            .is_some_and(|error| error.contains("files.accept")),
        "{view:?}"
    );
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node {
        told,
        directory: left,
        ..
    } = node;
    drop(told);
    fs::remove_file(&ledger).unwrap();
    let node = Node::start_in(left, |_| ());
    node.servers(&[member.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().unwrap(), b"forged");
}

#[tokio::test]
async fn a_file_that_lies_there_already_is_not_pulled_and_gets_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, directory.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|accepted| {
        fs::write(&accepted.path, noise(100)).unwrap();
        fs::set_permissions(&accepted.path, fs::Permissions::from_mode(0o600)).unwrap();
    });
    node.servers(&[server.found()]);
    node.accept_view(|view| view.generation == Some(generation))
        .await;
    assert_eq!(
        fs::metadata(&node.path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    assert_eq!(server.content_bytes(), 0, "it was there");
}

#[tokio::test]
async fn reports_need_an_introduction() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, "x").unwrap();
    let server = Server::start(1, &path, directory.path());
    let mut session = server.found().connect(&key_ring(), "home").await.unwrap();
    session
        .ask(&crate::wire::session::Request::Report(report(5)))
        .await
        .unwrap();
    assert!(matches!(
        session.answer().await.unwrap(),
        Answer::Failed { .. }
    ));
    // An introduction of another session proves nothing here.
    let introduction =
        crate::wire::session::Request::introduce(&Identity::from_seed(&[5; 32]), &[0; 32]);
    session.ask(&introduction).await.unwrap();
    assert!(matches!(
        session.answer().await.unwrap(),
        Answer::Failed { .. }
    ));
}

// --- where servers are ---

#[test]
fn a_server_that_moved_or_whose_clock_was_set_is_shown_as_it_is_now() {
    let (shown, mut servers) = watch::channel(Vec::new());
    let (id, name) = (NodeId([1; 32]), "hub".parse().unwrap());
    let mut now = |address: &str, clock: i64| {
        show(
            &shown,
            std::iter::once((address.parse().unwrap(), id, &name, clock)),
        );
        let changed = servers.has_changed().unwrap();
        let server = servers.borrow_and_update()[0].clone();
        assert_eq!(
            (server.address.to_string().as_str(), server.clock_ahead),
            (address, clock)
        );
        changed
    };
    assert!(now("10.0.0.1:24373", 5));
    assert!(!now("10.0.0.1:24373", 5), "the same is no news");
    assert!(now("10.0.0.9:24373", 5));
    assert!(now("10.0.0.9:24373", 3_600_005));
    show(&shown, std::iter::empty());
    assert!(servers.borrow().is_empty());
}

#[tokio::test]
async fn a_server_that_moves_while_another_is_visited_is_visited_where_it_is_and_failures_of_the_other_are_not_told()
 {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    // The other one takes the call, and hangs up when it is told to.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other_found = found(other.local_addr().unwrap(), &Identity::from_seed(&[2; 32]));
    // Where the server was, nobody is.
    let old = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let node = Node::start(|_| ());
    node.servers(&[other_found.clone(), found(old, &server.identity)]);
    let moves = async {
        let called = other.accept().await.unwrap();
        node.servers(&[other_found.clone(), server.found()]);
        drop(called);
        drop(other);
    };
    let (told, ()) = tokio::join!(node.pull_told(), moves);
    let states: Vec<_> = told
        .iter()
        .map(|view| view.state)
        .filter(|state| *state != Progress::Pulling)
        .collect();
    assert_eq!(states, [Progress::Done], "{told:?}");
    assert_eq!(node.content().as_deref(), Some(&b"one"[..]));
    let view = node.accept_view(|view| view.last_attempt.is_some()).await;
    assert_eq!(view.error, None);
}

#[tokio::test]
async fn a_clock_that_was_set_is_heeded_at_once_however_often_visits_failed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[Peer {
        clock_ahead: 3_600_000,
        ..server.found()
    }]);
    // The next try by itself is a minute away after these.
    for _ in 0..7 {
        assert_eq!(node.pull().await.state, Progress::Failed);
    }
    node.servers(&[server.found()]);
    assert_eq!(
        timeout(SOON / 2, server.report()).await.unwrap(),
        report(first)
    );
}

// --- lines that break ---

/// Stands before a server: the first connection carries so many bytes of its answers, and no more until it is told how to go on.
struct Line {
    address: SocketAddr,
    /// Whether the first connection goes on, once those bytes have passed.
    goes_on: tokio::sync::oneshot::Sender<bool>,
    /// Told when those bytes have passed.
    held: tokio::sync::oneshot::Receiver<()>,
}

impl Line {
    async fn to(behind: SocketAddr, bytes: u64) -> Self {
        use tokio::io::{AsyncReadExt, copy};
        let line = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = line.local_addr().unwrap();
        let (goes_on, go_on) = tokio::sync::oneshot::channel();
        let (holds, held) = tokio::sync::oneshot::channel();
        let mut first = Some((holds, go_on));
        tokio::spawn(async move {
            while let Ok((near, _)) = line.accept().await {
                let far = tokio::net::TcpStream::connect(behind).await.unwrap();
                let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
                    (near.into_split(), far.into_split());
                let up = tokio::spawn(async move { copy(&mut near_read, &mut far_write).await });
                let first = first.take();
                tokio::spawn(async move {
                    if let Some((holds, go_on)) = first {
                        copy(&mut (&mut far_read).take(bytes), &mut near_write)
                            .await
                            .unwrap();
                        let _ = holds.send(());
                        if !go_on.await.unwrap_or(false) {
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
            goes_on,
            held,
        }
    }
}

#[tokio::test]
async fn a_node_whose_line_broke_says_that_it_tries_again_and_of_which_generation() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(8_000_000)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let line = Line::to(server.address, 3_000_000).await;
    let node = Node::start(|_| ());
    node.servers(&[found(line.address, &server.identity)]);
    timeout(SOON, line.held).await.unwrap().unwrap();
    line.goes_on.send(false).unwrap();
    let broken = server.report().await;
    assert!(
        broken
            .error
            .as_ref()
            .is_some_and(|error| error.contains("goes on there")),
        "{broken:?}"
    );
    assert_eq!(
        (broken.generation, broken.attempted, broken.again),
        (0, Some(first), true)
    );
    assert_eq!(server.report().await, report(first), "and then it has it");
    assert!(node.content().unwrap() == noise(8_000_000));
}

// --- offers that change ---

/// Longer than what fits into the buffers of a line.
const LONG: usize = 32_000_000;

/// What a node's target holds while what is offered changes under a pull: every content that was seen, in their order.
///
/// `change` makes the second content of the first; the reports are those that came until the node held the second one.
async fn changed_under_a_pull(change: impl FnOnce(&Path, &[u8])) -> (Vec<u8>, Vec<Report>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let contents = [noise(LONG), noise(LONG + 1)[1..].to_vec()];
    fs::write(&path, &contents[0]).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let line = Line::to(server.address, 3_000_000).await;
    let node = Node::start(|_| ());
    node.servers(&[found(line.address, &server.identity)]);
    timeout(SOON, line.held).await.unwrap().unwrap();
    change(&path, &contents[1]);
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let looks = std::thread::spawn({
        let target = node.path.clone();
        move || {
            let mut seen: Vec<u8> = Vec::new();
            loop {
                // The last look is one after the end.
                let last = stopped.recv_timeout(Duration::from_millis(20)).is_ok();
                if let Ok(there) = fs::read(&target) {
                    let which = contents
                        .iter()
                        .position(|content| *content == there)
                        .expect("no mix is ever there");
                    let which = u8::try_from(which).unwrap() + 1;
                    if seen.last() != Some(&which) {
                        seen.push(which);
                    }
                }
                if last {
                    return seen;
                }
            }
        }
    });
    line.goes_on.send(true).unwrap();
    let mut reports = vec![server.report().await];
    node.told.send(Command::Changed).await.unwrap();
    while reports.last().unwrap().generation <= first {
        reports.push(server.report().await);
    }
    stop.send(()).unwrap();
    assert_eq!(*reports.last().unwrap(), report(first + 1));
    (looks.join().unwrap(), reports)
}

#[tokio::test]
async fn a_rename_over_what_is_being_pulled_changes_nothing_for_that_pull_and_the_next_takes_the_new_one()
 {
    let (seen, reports) = changed_under_a_pull(|path, content| {
        fs::write(path.with_extension("new"), content).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    })
    .await;
    assert_eq!(reports[0].error, None, "{reports:?}");
    // Whoever looks seldom may miss the first.
    assert!(seen == [1, 2] || seen == [2], "{seen:?}");
}

#[tokio::test]
async fn a_write_into_what_is_being_pulled_ends_that_pull_and_the_next_takes_the_new_one() {
    let (seen, reports) =
        changed_under_a_pull(|path, content| fs::write(path, content).unwrap()).await;
    assert!(
        reports[0]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("was written")),
        "{reports:?}"
    );
    assert!(reports[0].again, "{reports:?}");
    assert_eq!(seen, [2]);
}

#[tokio::test]
async fn a_file_that_is_written_for_a_while_is_offered_once_when_it_is_quiet() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    while server.events.try_recv().is_ok() {}
    // It grows and is written over. A machine that is so busy that the writer stood still says nothing about a quiet file.
    let mut generation = first;
    let settled = loop {
        let (path, from) = (path.clone(), generation);
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = fs::File::options().write(true).open(path).unwrap();
            let (started, mut last, mut longest) = (
                std::time::Instant::now(),
                std::time::Instant::now(),
                Duration::ZERO,
            );
            while started.elapsed() < Duration::from_secs(3) {
                std::io::Write::write_all(&mut file, &from.to_le_bytes()).unwrap();
                longest = longest.max(last.elapsed());
                last = std::time::Instant::now();
                std::thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        let longest = timeout(SOON, writer).await.unwrap().unwrap();
        let mut before = 0;
        while let Ok(event) = server.events.try_recv() {
            before += usize::from(matches!(event, FileEvent::Newer { .. }));
        }
        if longest < Duration::from_millis(300) {
            assert_eq!(before, 0, "nothing is offered while it is written");
            break true;
        }
        generation += 1;
        if generation > first + 10 {
            break false;
        }
    };
    assert!(settled, "this machine never let a writer write for 3 s");
    let current = server.refreshed_by_itself().await;
    assert_eq!(
        current.snapshot.digest(),
        blake3::hash(&fs::read(&path).unwrap()).as_bytes()
    );
    assert!(current.number > first);
    // Two looks more bring nothing further.
    let more = timeout(Duration::from_secs(3), server.refreshed_by_itself()).await;
    assert!(more.is_err(), "{:?}", more.map(|more| more.number));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_what_lay_around_it_is_offered_when_that_is_gone() {
    let directory = TempDir::new().unwrap();
    let (path, log) = (
        directory.path().join("offered.db"),
        directory.path().join("offered.db-wal"),
    );
    fs::write(&path, b"SQLite format 3\0 and its pages").unwrap();
    fs::write(&log, b"pages").unwrap();
    let offers = Offers::new([("catalogue".into(), path.clone())]);
    let (events, mut told) = mpsc::channel(16);
    let (refreshes, asked) = mpsc::channel(8);
    let keeper = Keeper::new(
        offers.clone(),
        NodeId([1; 32]),
        directory.path().join("offers.json"),
        events,
    );
    tokio::spawn(keeper.run(asked));
    let (done, outcome) = tokio::sync::oneshot::channel();
    refreshes
        .send(Refresh {
            name: "catalogue".into(),
            done,
        })
        .await
        .unwrap();
    assert!(
        outcome
            .await
            .unwrap()
            .unwrap_err()
            .contains("offered.db-wal")
    );
    // The file itself stays as it is.
    fs::remove_file(&log).unwrap();
    assert!(matches!(
        timeout(SOON, told.recv()).await,
        Ok(Some(FileEvent::Newer { .. }))
    ));
    let offered = offers.all().remove(0).1;
    assert!(offered.error.is_none() && offered.current.is_some());

    // So is one that takes the place of a refused one and was served before.
    fs::rename(&path, directory.path().join("kept")).unwrap();
    fs::create_dir(&path).unwrap();
    let error = |offers: &Offers| offers.all().remove(0).1.error;
    until(|| error(&offers).is_some()).await;
    fs::remove_dir(&path).unwrap();
    fs::rename(directory.path().join("kept"), &path).unwrap();
    until(|| error(&offers).is_none()).await;
}

async fn until(is_so: impl Fn() -> bool) {
    let seen = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, seen).await.unwrap();
}

// --- the log ---

/// What is logged, for as long as the guard lives, on this thread.
#[derive(Debug, Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn kept(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(
            tracing_subscriber::fmt()
                .with_writer(move || log.clone())
                .finish(),
        )
    }

    fn count(&self, of: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap())
            .matches(of)
            .count()
    }
}

#[tokio::test]
async fn the_same_failure_is_logged_once_and_anew_for_another_generation_or_after_a_success() {
    let log = Log::default();
    let _kept = log.kept();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let mended = directory.path().join("mended");
    let command = ["sh", "-c", &format!("test -e {}", mended.display())]
        .map(str::to_owned)
        .to_vec();
    let node = Node::start(|accepted| {
        accepted.after = Some(After::Exec {
            command,
            limit: SOON,
        })
    });
    node.servers(&[server.found()]);
    let failures = async || {
        assert_eq!(node.pull().await.state, Progress::Failed);
        log.count("not taken")
    };
    assert_eq!(failures().await, 1);
    assert_eq!(failures().await, 1, "the same again is no news");
    fs::write(&path, b"two").unwrap();
    server.refresh().await.unwrap();
    assert_eq!(failures().await, 2, "another generation's is");
    fs::write(&mended, "").unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    fs::remove_file(&node.path).unwrap();
    fs::create_dir(&node.path).unwrap();
    assert_eq!(failures().await, 3);
    // The same directory again, after a success in between.
    fs::remove_dir(&node.path).unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    fs::remove_file(&node.path).unwrap();
    fs::create_dir(&node.path).unwrap();
    assert_eq!(failures().await, 4);
}

// --- slow disks ---

/// A disk that stands still: what writes the ledger finds a full pipe in its place.
struct Still {
    pipe: File,
    go_on: std::sync::mpsc::Sender<()>,
    reads: std::thread::JoinHandle<bool>,
}

impl Still {
    fn new(ledger: &Path) -> Self {
        let path = ledger.with_extension("new");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let open = |write| {
            let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            File::options()
                .read(true)
                .write(write)
                .custom_flags(nonblock)
                .open(&path)
                .unwrap()
        };
        let pipe = open(false);
        let mut full = open(true);
        while full.write(&[0; 4096]).is_ok() {}
        drop(full);
        let (go_on, asked) = std::sync::mpsc::channel();
        let reads = std::thread::spawn(move || {
            let in_time = asked.recv_timeout(SOON / 3).is_ok();
            let _ = fs::read(path);
            in_time
        });
        Self { pipe, go_on, reads }
    }

    /// Whether somebody waits to write.
    fn is_awaited(&self) -> bool {
        let mut looked = [PollFd::new(&self.pipe, PollFlags::IN)];
        poll(&mut looked, Some(&Timespec::default())).unwrap();
        // It is there as long as nobody has the other end.
        !looked[0].revents().contains(PollFlags::HUP)
    }

    /// Lets it go on; whether that was asked for in time: what kept this test from running did not.
    fn goes_on(self) -> bool {
        let _ = self.go_on.send(());
        self.reads.join().unwrap()
    }
}

#[tokio::test]
async fn sessions_go_on_while_a_ledger_is_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let ledger = directory.path().join("offers.json");
    let still = Still::new(&ledger);
    let (events, _told) = mpsc::channel(16);
    let keeper = Keeper::new(
        Offers::new([("catalogue".into(), path.clone())]),
        NodeId([1; 32]),
        ledger,
        events,
    );
    let (_refreshes, asked) = mpsc::channel(8);
    let keeper = tokio::spawn(keeper.run(asked));
    until(|| still.is_awaited()).await;
    assert!(still.goes_on(), "the offers' was waited for");
    keeper.abort();

    let state = TempDir::new().unwrap();
    let server = Server::start(1, &path, state.path());
    server.refresh().await.unwrap();
    let taken = TempDir::new().unwrap();
    let still = Still::new(&taken.path().join("accepted.json"));
    let node = Node::start_in(taken, |_| ());
    node.servers(&[server.found()]);
    until(|| still.is_awaited()).await;
    assert!(node.content().is_some());
    assert!(still.goes_on(), "the pulls' was waited for");
}
