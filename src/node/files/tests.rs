//! A puller and a server over loopback: the real threads and sockets, without datagrams.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::offers::{Keeper, Offers, Refresh};
use super::puller::{Accepted, Puller, Told};
use super::*;
use crate::api::request::Item;
use crate::api::view::{AcceptView, Progress, PullView};
use crate::files::after::After;
use crate::files::target::Target;
use crate::files::webhook::Webhook;
use crate::node::ask::FoundServer;
use crate::node::session::{Limits, Served, SessionCounters, Shared, Thread};
use crate::session;
use crate::wire::keyring::Secret;
use crate::wire::session::{Answer, MAX_CONTENT};

const SOON: Duration = Duration::from_secs(60);

fn ring() -> KeyRing {
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
        let files = Served { identity: identity.clone(), offers: offers.clone(), events: events.clone() };
        let limits = Limits { sessions: 64, per_source: 64, idle };
        let (calls, _) = mpsc::channel(1);
        let shared = Shared::new(ring(), "home".into(), limits, calls, counters.clone(), files);
        let (refreshes, asked) = mpsc::channel(8);
        let keeper = Keeper::new(offers, identity.id(), state.join("offers.json"), events);
        let thread = Thread::start(Some((listener, shared)), vec![Box::pin(keeper.run(asked))]).unwrap();
        Self { address, identity, counters, events: received, refreshes, _thread: thread }
    }

    /// Waits until the newest content is served, and gives its generation.
    async fn refresh(&self) -> Result<u64, String> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.refreshes.send(Refresh { name: "catalogue".into(), done }).await.unwrap();
        timeout(SOON, outcome).await.unwrap().unwrap().map(|generation| generation.number)
    }

    fn found(&self) -> FoundServer {
        found(self.address, &self.identity)
    }

    /// Waits for the next report of a node.
    async fn report(&mut self) -> Report {
        loop {
            if let FileEvent::Reported { report, .. } = timeout(SOON, self.events.recv()).await.unwrap().unwrap() {
                return report;
            }
        }
    }

    /// Waits until a generation later than this one is told.
    async fn newer(&mut self, than: u64) {
        loop {
            if let FileEvent::Newer { generation, .. } = timeout(SOON, self.events.recv()).await.unwrap().unwrap()
                && generation.number > than
            {
                return;
            }
        }
    }

    fn content_bytes(&self) -> u64 {
        self.counter("content_bytes")
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.all().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
    }
}

fn found(address: SocketAddr, identity: &Identity) -> FoundServer {
    FoundServer { address, id: identity.id(), name: "hub".parse().unwrap(), clock_ahead: 0 }
}

/// A node that takes `catalogue`.
struct Node {
    path: PathBuf,
    told: mpsc::Sender<Told>,
    accepts: Accepts,
    folder: TempDir,
}

impl Node {
    fn start(change: impl FnOnce(&mut Accepted)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change)
    }

    /// Starts a node with what an earlier one left.
    fn start_in(folder: TempDir, change: impl FnOnce(&mut Accepted)) -> Self {
        let path = folder.path().join("catalogue.db");
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
            ring: ring(),
            channel: "home".into(),
            identity: Identity::from_seed(&[77; 32]),
            node: "kiosk".parse().unwrap(),
            accepts: accepts.clone(),
            accepted: vec![accepted],
            spread: Duration::ZERO,
            ledger_path: folder.path().join("accepted.json"),
        };
        let (told, tell) = mpsc::channel(8);
        tokio::spawn(puller.run(tell));
        Self { path, told, accepts, folder }
    }

    async fn servers(&self, servers: &[FoundServer]) {
        self.told.send(Told::Servers(servers.to_vec())).await.unwrap();
    }

    /// Pulls now, and gives how that ended.
    async fn pull(&self) -> PullView {
        let (reply, mut responses) = mpsc::channel(1000);
        self.told.send(Told::Now { name: None, reply }).await.unwrap();
        let mut last = None;
        loop {
            match timeout(SOON, responses.recv()).await.unwrap() {
                Some(Response::Item { item: Item::Pulled(view) }) => last = Some(view),
                Some(Response::End { .. }) | None => return last.unwrap(),
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

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

#[tokio::test]
async fn a_node_takes_each_generation_and_tells_the_server() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, noise(2_500_000)).unwrap();
    let mut server = Server::start(1, &path, folder.path());
    let first = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]).await;
    assert_eq!(server.report().await, Report { name: "catalogue".into(), generation: first, error: None });
    assert_eq!(node.content().unwrap(), noise(2_500_000));

    // A new content is a new generation, a touch is none.
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    let view = node.pull().await;
    assert_eq!((view.state, view.generation), (Progress::Done, first + 1), "{view:?}");
    assert_eq!(node.content().unwrap(), b"small");

    // A restart of the server keeps the count.
    drop(server);
    let server = Server::start(1, &path, folder.path());
    assert_eq!(server.refresh().await.unwrap(), first + 1);
}

#[tokio::test]
async fn a_change_is_offered_without_being_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let mut server = Server::start(1, &path, folder.path());
    let first = server.refresh().await.unwrap();
    fs::write(folder.path().join("new"), b"another").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    server.newer(first).await;
    let node = Node::start(|_| ());
    node.servers(&[server.found()]).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().as_deref(), Some(&b"another"[..]));
}

#[tokio::test]
async fn a_pull_goes_on_where_the_server_was_lost() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    let content = noise(8_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::start(1, &path, folder.path());
    server.refresh().await.unwrap();
    // In between stands somebody who cuts the line after 3 MB.
    let cut = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (cut.local_addr().unwrap(), server.address);
    tokio::spawn(async move {
        let (near, _) = cut.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(behind).await.unwrap();
        let ((mut near_read, mut near_write), (far_read, mut far_write)) = (near.into_split(), far.into_split());
        let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
        tokio::io::copy(&mut tokio::io::AsyncReadExt::take(far_read, 3_000_000), &mut near_write).await.unwrap();
        up.abort();
    });
    let node = Node::start(|_| ());
    node.servers(&[found(address, &server.identity)]).await;
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert_eq!(node.content(), None);
    // The server is back at its own address.
    node.servers(&[server.found()]).await;
    let before = server.content_bytes();
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Done, "{view:?}");
    assert_eq!(node.content().unwrap(), content);
    let again = server.content_bytes() - before;
    assert!(again <= 8_000_000 - 2_000_000, "{again} bytes were sent again: those held are not");
}

#[tokio::test]
async fn a_pull_goes_on_though_the_server_closed_the_session_while_the_part_was_hashed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    let content = noise(3_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::with_idle(1, &path, folder.path(), Duration::from_secs(2));
    let generation = server.refresh().await.unwrap();
    let digest = blake3::hash(&content).into();
    let target = folder.path().join("target");
    Target::open(&target, 0o644).unwrap().part(3_000_000, &digest).unwrap().write(&content[..1_000_000]).unwrap();
    let (found, ring) = (server.found(), ring());
    let connect = || crate::node::session::client::connect(&found, &ring, "home");
    let mut session = connect().await.unwrap();
    let notice = Notice::sign(&server.identity, session.key(), "catalogue", generation, 3_000_000, digest).unwrap();
    // As if hashing had taken that long.
    let closed = async {
        while server.counter("idle") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, closed).await.unwrap();
    let place = fetch::Place { path: target.clone(), mode: 0o644, owner: None, is_other: false };
    let came = fetch::fetch(&mut session, connect(), &notice, place, &mut |_| ()).await.unwrap();
    assert_eq!((came, fs::read(&target).unwrap() == content), (2_000_000, true));
}

#[tokio::test]
async fn another_servers_file_is_refused_once_one_is_known() {
    let folder = TempDir::new().unwrap();
    let (genuine, forged) = (folder.path().join("genuine"), folder.path().join("forged"));
    fs::write(&genuine, b"genuine").unwrap();
    fs::write(&forged, b"forged").unwrap();
    let server = Server::start(1, &genuine, folder.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &forged, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    node.servers(&[member.found()]).await;
    let view = node.pull().await;
    assert!(view.error.unwrap().contains("files.accept"), "{:?}", view.state);
    assert_eq!(node.content().unwrap(), b"genuine");
}

/// A member of the channel that serves other bytes than it signed, or signs in another's name.
async fn liar(identity: Identity, signer: Identity, content: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut session) = session::accept(stream, &ring(), "home", |_, _| true).await else { continue };
            let digest = blake3::hash(b"what was promised").into();
            let mut notice = Notice::sign(&signer, session.key(), "catalogue", 9, 17, digest).unwrap();
            notice.server = identity.id();
            while let Ok(Some(request)) = session.request().await {
                match request {
                    crate::wire::session::Request::Offers => session.queue(&Answer::Offer(notice.clone())).unwrap(),
                    crate::wire::session::Request::Pull { .. } => {
                        session.queue(&Answer::File { notice: notice.clone(), offset: 0 }).unwrap();
                        content.chunks(MAX_CONTENT).for_each(|part| session.queue(&Answer::Content(part)).unwrap());
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
        node.servers(&[found(address, &identity)]).await;
        let view = node.pull().await;
        assert!(view.error.as_deref().is_some_and(|error| error.contains(says)), "{says}: {view:?}");
        assert_eq!(node.content().unwrap(), b"old");
    }
}

#[tokio::test]
async fn an_offer_with_a_forged_signature_is_refused_and_said_to_be() {
    let (victim, member) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let address = liar(victim.clone(), member, b"what was promised").await;
    let node = Node::start(|_| ());
    node.servers(&[found(address, &victim)]).await;
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert!(view.error.is_some_and(|error| error.contains(&victim.id().to_string()) && error.contains("signature")));
    assert_eq!(node.content(), None);
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_here_and_to_the_server() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, folder.path());
    server.refresh().await.unwrap();
    let outside = folder.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    let answers = answering("HTTP/1.1 507 Full\r\n\r\nthe shelf is full\nand more").await;
    let nodes = [
        (Node::start(|accepted| accepted.path.push("none/file")), "must exist"),
        (Node::start(|accepted| accepted.max_size = 99), "max_size"),
        (Node::start(|accepted| fs::create_dir(&accepted.path).unwrap()), "is a folder"),
        (Node::start(|accepted| std::os::unix::fs::symlink(&outside, &accepted.path).unwrap()), "is a symbolic link"),
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
                accepted.after = Some(After::Exec { command, limit: SOON });
            }),
            "exit status: 7",
        ),
    ];
    for (node, says) in &nodes {
        node.servers(&[server.found()]).await;
        let report = server.report().await;
        let error = report.error.as_deref().unwrap_or_default();
        assert!(error.contains(says) && !error.contains("s3cret"), "{says}: {report:?}");
        let view = node.accept_view(|view| view.last_attempt.is_some()).await;
        assert_eq!(
            view.error.map(|error| error[..error.floor_char_boundary(Report::MAX_ERROR)].to_owned()).as_deref(),
            Some(error)
        );
    }
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    for (node, _) in &nodes[4..] {
        assert_eq!(node.content().unwrap(), noise(100), "the file is in its place, whatever followed");
    }
}

#[tokio::test]
async fn what_followed_and_failed_is_told_until_somebody_who_mended_it_pulls() {
    let folder = TempDir::new().unwrap();
    let [path, ran, mended] = ["offered", "ran", "mended"].map(|name| folder.path().join(name));
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, folder.path());
    server.refresh().await.unwrap();
    let command = format!("echo >> {}; test -e {}", ran.display(), mended.display());
    let after = After::Exec { command: ["sh", "-c", &command].map(str::to_owned).to_vec(), limit: SOON };
    let runs = || fs::read(&ran).unwrap().len();
    let failed = |report: &Report| report.error.as_ref().is_some_and(|error| error.contains("what follows failed"));
    let node = Node::start(|accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]).await;
    assert!(failed(&server.report().await));
    // Neither a further visit nor a restart forgets it, or does it again.
    node.told.send(Told::Changed).await.unwrap();
    assert!(failed(&server.report().await));
    let Node { told, folder: left, .. } = node;
    drop(told);
    let node = Node::start_in(left, |accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]).await;
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
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, folder.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    let untried = node.accept_view(|_| true).await;
    assert_eq!((untried.generation, untried.server, untried.taken, untried.last_attempt), (None, None, None, None));
    node.servers(&[server.found()]).await;
    let view = node.accept_view(|view| view.last_attempt.is_some()).await;
    assert_eq!((view.generation, view.size, view.error.as_deref()), (Some(generation), Some(100), None));
    assert_eq!(view.digest.unwrap(), blake3::hash(&noise(100)).to_hex().as_str());
    assert_eq!((view.server, view.server_name.unwrap().as_str()), (Some(server.identity.id()), "hub"));
    assert!(view.taken.unwrap() <= view.last_attempt.unwrap());
    // What is held stays to be seen when the server is gone, with why nothing newer comes.
    let gone = server.found();
    drop(server);
    node.servers(&[gone]).await;
    assert_eq!(node.pull().await.state, Progress::Failed);
    let after = node.accept_view(|view| view.error.is_some()).await;
    assert!(after.error.unwrap().contains("no session with hub"));
    assert_eq!((after.generation, after.taken), (Some(generation), view.taken));
}

#[tokio::test]
async fn a_node_whose_ledger_is_damaged_takes_nothing_and_overwrites_nothing_until_it_is_mended() {
    let folder = TempDir::new().unwrap();
    let (genuine, other) = (folder.path().join("genuine"), folder.path().join("other"));
    fs::write(&genuine, "genuine").unwrap();
    fs::write(&other, "forged").unwrap();
    let server = Server::start(1, &genuine, folder.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &other, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node { told, folder: left, .. } = node;
    drop(told);
    let ledger = left.path().join("accepted.json");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, &whole[..50]).unwrap();

    let node = Node::start_in(left, |_| ());
    let says = |error: Option<&str>| error.is_some_and(|error| error.contains("accepted.json is damaged"));
    node.accept_view(|view| says(view.error.as_deref())).await;
    node.servers(&[member.found()]).await;
    let view = node.pull().await;
    assert!(view.state == Progress::Failed && says(view.error.as_deref()), "{view:?}");
    let (reply, outcome) = tokio::sync::oneshot::channel();
    let asked = puller::Received { name: "catalogue".into(), file: None, reply };
    node.told.send(Told::Received(asked)).await.unwrap();
    assert!(says(timeout(SOON, outcome).await.unwrap().unwrap().err().as_deref()), "an old base's is not taken either");
    assert_eq!(node.content().unwrap(), b"genuine");
    assert!(says(node.accept_view(|view| view.last_attempt.is_some()).await.error.as_deref()));
    assert_eq!(fs::read(&ledger).unwrap(), whole[..50], "what is left of it is not overwritten");

    // Once it is restored it says again whose the file is, and without it the first one's is taken.
    fs::write(&ledger, &whole).unwrap();
    let view = node.pull().await;
    assert!(view.error.as_ref().is_some_and(|error| error.contains("files.accept")), "{view:?}");
    node.servers(&[server.found()]).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node { told, folder: left, .. } = node;
    drop(told);
    fs::remove_file(&ledger).unwrap();
    let node = Node::start_in(left, |_| ());
    node.servers(&[member.found()]).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().unwrap(), b"forged");
}

#[tokio::test]
async fn a_file_that_lies_there_already_is_not_pulled_and_gets_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, folder.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|accepted| {
        fs::write(&accepted.path, noise(100)).unwrap();
        fs::set_permissions(&accepted.path, fs::Permissions::from_mode(0o600)).unwrap();
    });
    node.servers(&[server.found()]).await;
    node.accept_view(|view| view.generation == Some(generation)).await;
    assert_eq!(fs::metadata(&node.path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(server.content_bytes(), 0, "it was there");
}

#[tokio::test]
async fn reports_need_an_introduction() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("offered");
    fs::write(&path, "x").unwrap();
    let server = Server::start(1, &path, folder.path());
    let mut session = crate::node::session::client::connect(&server.found(), &ring(), "home").await.unwrap();
    let report = Report { name: "catalogue".into(), generation: 5, error: None };
    session.ask(&crate::wire::session::Request::Report(report)).await.unwrap();
    assert!(matches!(session.answer().await.unwrap(), Answer::Failed { .. }));
    // An introduction of another session proves nothing here.
    let introduction = crate::wire::session::Request::introduce(&Identity::from_seed(&[5; 32]), &[0; 32]);
    session.ask(&introduction).await.unwrap();
    assert!(matches!(session.answer().await.unwrap(), Answer::Failed { .. }));
}
