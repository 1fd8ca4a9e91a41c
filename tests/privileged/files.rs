//! Files between real nodes in network namespaces: killed at any moment, over a bad cable, and against members that lie.
//!
//! Needs root, `ip` of iproute2, `nft` of nftables, `setpriv` of util-linux, strace and python3.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::namespaces::program::{KEY, Machine, Running};
use crate::namespaces::{LIMIT, Lab, Namespace};
use crate::needs;
use hereabouts::model::NodeId;
use hereabouts::session;
use hereabouts::wire::session::{Answer, Request};
use hereabouts::wire::v1::Notice;
use hereabouts::wire::{Identity, KeyRing, Secret};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// The limit for what takes a second on an idle machine: this one may build something beside.
const SOON: Duration = Duration::from_secs(60);

/// A namespace in which nodes exchange datagrams over loopback.
fn loopback() -> (Lab, Namespace) {
    let lab = Lab::new();
    let namespace = lab.namespace("a");
    (lab, namespace)
}

/// What a node on loopback needs: its port, the servers that it asks, and its files.
fn on_loopback(port: u16, servers: &str, files: &str) -> String {
    format!(
        "listen: {{ address: 127.0.0.1, port: {port} }}\n\
         discovery: {{ methods: [], servers: [{servers}] }}\n\
         interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n\
         files: {{ {files} }}"
    )
}

/// Puts a file in the place of another one at once.
fn put(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

/// Checks until something is there; fails with `what` after [`SOON`].
fn await_some<T>(what: &str, mut read: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = read() {
            return seen;
        }
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn await_content(path: &Path, content: &[u8]) {
    await_some("the file came", || {
        fs::read(path).ok().filter(|there| there == content)
    });
}

/// What a server knows of a node's file.
fn held(server: &Machine, node: &str) -> Value {
    let nodes = server.json(&["nodes", "--absent"], &[]).lines;
    nodes
        .into_iter()
        .find(|view| view["name"] == node)
        .map(|view| view["files"][0].clone())
        .unwrap_or_default()
}

// --- kill -9 of a node ---

const NODES: u16 = 4;
/// Kills of each node: 104 in all.
const KILLS: u32 = 26;
const HUB: u16 = 24373;
const SIZE: usize = 4 << 20;

/// What a generation holds: its number over and over, and a length of its own.
fn content(generation: u64) -> Vec<u8> {
    generation
        .to_le_bytes()
        .repeat(SIZE / 8 + usize::try_from(generation).unwrap())
}

/// The generation that is there, if it is there wholly.
fn wholly(bytes: &[u8]) -> Option<u64> {
    let generation = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (bytes.len() < 2 * SIZE && bytes == content(generation)).then_some(generation)
}

/// How far a pull was when its node was killed, as the disk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of the new generation is there.
    Before,
    /// Some of it is beside the target.
    Transfer,
    /// All of it is beside the target.
    Whole,
    /// It is in its place, and the node had not noted so.
    Renamed,
    /// The node had noted so, and what follows was not over.
    After,
    /// All was done.
    Done,
}

/// A node that is killed, and its file of the server's.
struct Victim {
    machine: Machine,
    name: String,
    offered: PathBuf,
    directory: TempDir,
    /// Its `after` writes here when it begins, and the generation when it ends.
    begun: PathBuf,
    ended: PathBuf,
}

impl Victim {
    fn target(&self) -> PathBuf {
        self.directory.path().join("target")
    }

    fn parts(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.directory.path())
            .unwrap()
            .filter_map(Result::ok);
        let parts = entries.filter(|entry| entry.file_name() != "target");
        // One that is renamed meanwhile is none.
        parts
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .collect()
    }

    fn noted(&self) -> Value {
        let ledger =
            fs::read(self.machine.directory().join("state/accepted.json")).unwrap_or_default();
        serde_json::from_slice::<Value>(&ledger)
            .map(|ledger| ledger[&self.name].clone())
            .unwrap_or_default()
    }

    fn followed(&self) -> Vec<u64> {
        let text = fs::read_to_string(&self.ended).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// How far the pull of a generation was.
    fn phase(&self, old: u64, new: u64) -> Phase {
        let there = fs::read(self.target()).ok();
        let there = there.map_or(0, |bytes| {
            wholly(&bytes).expect("the target is wholly one generation")
        });
        assert!(
            there == old || there == new,
            "generation {there} is neither the old {old} nor the new {new}"
        );
        let parts = self.parts();
        assert!(parts.len() <= 1, "parts pile up: {parts:?}");
        let noted = self.noted();
        let digest = blake3::hash(&content(new)).to_hex();
        let part = self
            .directory
            .path()
            .join(format!(".target.{}.part", &digest[..16]));
        match fs::metadata(part) {
            Ok(part) if there != new && part.len() == content(new).len() as u64 => Phase::Whole,
            Ok(_) if there != new => Phase::Transfer,
            _ if there != new => Phase::Before,
            _ if noted["digest"] != digest.as_str() => Phase::Renamed,
            _ if noted["unfinished"] == true => Phase::After,
            _ => Phase::Done,
        }
    }

    /// Waits, looking often, until the pull is in a phase; it may be over sooner, or never begin. A transfer is awaited up
    /// to a part of its bytes, whatever time that takes.
    fn await_phase(&self, node: &mut Running, which: u32, new: u64, bytes: u64) {
        let before = fs::metadata(self.target())
            .map(|metadata| metadata.ino())
            .ok();
        let whole = content(new).len() as u64;
        let part = self.directory.path().join(format!(
            ".target.{}.part",
            &blake3::hash(&content(new)).to_hex()[..16]
        ));
        let replaced = || {
            fs::metadata(self.target())
                .map(|metadata| metadata.ino())
                .ok()
                != before
        };
        let size = || fs::metadata(&part).map(|part| part.len()).ok();
        let there = || match which {
            0 => true,
            1 | 2 => size().is_some_and(|size| size >= bytes) || replaced(),
            3 => size() == Some(whole) || replaced(),
            4 => replaced(),
            _ => self.begun.exists(),
        };
        let started = Instant::now();
        while !there() {
            assert!(
                started.elapsed() < SOON && node.is_alive(),
                "{which}: {}",
                self.machine.log()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Has the server offer a generation: it is served when this returns.
    fn offer(&self, hub: &Machine, generation: u64) {
        put(&self.offered, &content(generation));
        // A push reads the offered file at once, and here it waits for no node.
        hub.json(&["push", &self.name, "--timeout", "1ms"], &[]);
        let digest = blake3::hash(&content(generation)).to_hex();
        let offers = hub.status()["offers"].clone();
        let served = offers
            .as_array()
            .unwrap()
            .iter()
            .find(|offer| offer["name"] == *self.name)
            .unwrap();
        assert_eq!(served["digest"], digest.as_str(), "{served}");
    }

    /// Kills the node again and again; gives how far it was each time.
    fn is_killed(&self, hub: &Machine, seed: u64) -> Vec<Phase> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut old, mut phases, mut unfinished) = (0, Vec::new(), Vec::new());
        for round in 0..KILLS {
            let new = u64::from(round) + 1;
            self.offer(hub, new);
            let _ = fs::remove_file(&self.begun);
            let mut node = self.machine.spawn();
            let which = round % 6;
            self.await_phase(&mut node, which, new, random.u64(..SIZE as u64));
            // Any moment of a start, any byte of a transfer, any moment of what takes milliseconds and of what follows.
            let within = [100_000, 1, 1, 4_000, 4_000, 150_000][which as usize];
            std::thread::sleep(Duration::from_micros(random.u64(..within)));
            drop(node);
            let phase = self.phase(old, new);
            if phase == Phase::After {
                unfinished.push(self.noted()["generation"].as_u64().unwrap());
            }
            if matches!(phase, Phase::Renamed | Phase::After | Phase::Done) {
                old = new;
            }
            phases.push(phase);
        }
        // Left alone, it gets the newest, and nothing is left of all the others.
        let newest = u64::from(KILLS) + 1;
        self.offer(hub, newest);
        let node = self.machine.spawn();
        await_content(&self.target(), &content(newest));
        await_some("all is done", || {
            (self.phase(old, newest) == Phase::Done).then_some(())
        });
        assert_eq!(self.parts(), [0; 0], "nothing is left beside the target");
        let noted = self.noted()["generation"].as_u64().unwrap();
        let followed = self.followed();
        unfinished.push(noted);
        assert!(
            unfinished.iter().all(|due| followed.contains(due)),
            "{unfinished:?} were due, done were {followed:?}"
        );
        await_some("the server knows that it holds the newest", || {
            (held(hub, &self.name)["generation"] == noted).then_some(())
        });
        drop(node);
        phases
    }
}

#[test]
fn a_node_killed_a_hundred_times_holds_the_old_file_or_the_new_one_and_ends_with_the_newest() {
    let (_lab, namespace) = loopback();
    let names: Vec<_> = (0..NODES).map(|number| format!("file-{number}")).collect();
    let offers: Vec<_> = names
        .iter()
        .map(|name| format!("{{ name: {name}, path: {name} }}"))
        .collect();
    let files = format!("offer: [{}]", offers.join(", "));
    let hub = Machine::new(&namespace, "hub", "server", &on_loopback(HUB, "", &files));
    let victims: Vec<_> = names
        .into_iter()
        .zip(HUB + 1..)
        .map(|(name, port)| {
            let directory = tempfile::tempdir().unwrap();
            let [begun, ended] = ["begun", "ended"].map(|file| hub.directory().join(format!("{name}.{file}")));
            // What outlives its node does not count as done.
            let after = format!(
                "echo > {}; sleep 0.1; kill -0 $PPID && echo $HEREABOUTS_GENERATION >> {}",
                begun.display(),
                ended.display()
            );
            let accept = format!(
                "accept: [{{ name: {name}, path: {}/target, after: {{ type: exec, command: [sh, -c, '{after}'] }} }}]",
                directory.path().display()
            );
            let config = on_loopback(port, &format!("'127.0.0.1:{HUB}'"), &format!("spread: 0s, {accept}"));
            let machine = Machine::new(&namespace, &name, "client", &config);
            let offered = hub.directory().join(&name);
            fs::write(&offered, "").unwrap();
            Victim { machine, name, offered, directory, begun, ended }
        })
        .collect();
    let _hub = hub.run();
    let phases: Vec<_> = std::thread::scope(|scope| {
        let hub = &hub;
        let threads: Vec<_> = victims
            .iter()
            .zip(1..)
            .map(|(victim, seed)| scope.spawn(move || victim.is_killed(hub, seed)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let count = |phase| phases.iter().filter(|seen| **seen == phase).count();
    let all = [
        Phase::Before,
        Phase::Transfer,
        Phase::Whole,
        Phase::Renamed,
        Phase::After,
        Phase::Done,
    ];
    let counts = all.map(|phase| (phase, count(phase)));
    println!("{} kills: {counts:?}", phases.len());
    let of = |wanted: &[Phase]| wanted.iter().map(|phase| count(*phase)).sum::<usize>();
    assert!(phases.len() >= 100);
    assert!(of(&[Phase::Before]) >= 5, "{counts:?}");
    assert!(of(&[Phase::Transfer, Phase::Whole]) >= 10, "{counts:?}");
    assert!(
        of(&[Phase::Renamed, Phase::After, Phase::Done]) >= 10,
        "{counts:?}"
    );
    // What takes some milliseconds is hit as well.
    assert!(
        of(&[Phase::Whole, Phase::Renamed, Phase::After]) >= 5,
        "{counts:?}"
    );
}

// --- without notices ---

#[test]
fn a_change_without_a_notice_is_taken_with_the_next_renewal() {
    let (_lab, namespace) = loopback();
    let (offered, taken) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (offer, target) = (offered.path().join("offered"), taken.path().join("target"));
    put(&offer, b"the first");
    let offers = format!("offer: [{{ name: a, path: {} }}]", offer.display());
    // Without a method nothing is sent to all, and no push runs: renewals alone show the change, every two seconds here. Visits
    // without a cause come once in a minute.
    let lease = "registry: { lease: 6s }";
    let hub = Machine::new(
        &namespace,
        "hub",
        "server",
        &format!("{}\n{lease}", on_loopback(HUB, "", &offers)),
    );
    let accepts = format!(
        "spread: 0s, accept: [{{ name: a, path: {} }}]",
        target.display()
    );
    let asks = format!("\"127.0.0.1:{HUB}\"");
    let kiosk = Machine::new(
        &namespace,
        "kiosk",
        "client",
        &on_loopback(HUB + 1, &asks, &accepts),
    );
    let _hub = hub.run();
    let _kiosk = kiosk.run();
    await_content(&target, b"the first");
    for content in ["the second", "the third"] {
        put(&offer, content.as_bytes());
        await_content(&target, content.as_bytes());
    }
}

#[test]
fn a_node_with_nothing_to_do_leaves_the_processor_alone() {
    let (_lab, namespace) = loopback();
    let hub = Machine::new(&namespace, "hub", "both", &on_loopback(HUB, "", ""));
    let asks = format!("\"127.0.0.1:{HUB}\"");
    let kiosk = Machine::new(
        &namespace,
        "kiosk",
        "client",
        &on_loopback(HUB + 1, &asks, ""),
    );
    let running = [hub.run(), kiosk.run()];
    kiosk.registered();
    let spent = || running.each_ref().map(Running::processor_time);
    let (before, started) = (spent(), Instant::now());
    // Past the quick questions of the start. Time of the processor does not depend on what else the machine does.
    let rest = Duration::from_secs(5);
    await_some("some seconds passed", || {
        (started.elapsed() > rest).then_some(())
    });
    for (name, (before, after)) in ["hub", "kiosk"].iter().zip(before.into_iter().zip(spent())) {
        let spent = after - before;
        assert!(
            spent < rest / 20,
            "{name} was busy for {spent:?} of {rest:?} with nothing to do"
        );
    }
}

// --- a bad cable ---

#[test]
fn over_a_cable_with_delay_and_loss_a_server_is_found_and_its_file_comes_whole() {
    const SIZE: usize = 1 << 20;
    let lab = Lab::new();
    let (a, b) = (lab.namespace("a"), lab.namespace("b"));
    for (namespace, bridge, address) in [(&a, "br0", "10.77.0.1/24"), (&b, "br1", "10.77.0.2/24")] {
        lab.plug(namespace, "eth0", bridge);
        namespace.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
    }
    let delay = Duration::from_millis(100);
    let _cable = lab.join_bridges_badly(delay, 0.1);
    let hub = Machine::new(
        &a,
        "hub",
        "server",
        "files: { offer: [{ name: f, path: offered }] }",
    );
    let mut random = fastrand::Rng::with_seed(1);
    let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(SIZE)
        .collect();
    fs::write(hub.directory().join("offered"), &content).unwrap();
    // Multicast and broadcast alone: no address is named.
    let node = Machine::new(
        &b,
        "node",
        "client",
        "files: { spread: 0s, accept: [{ name: f, path: taken }] }",
    );
    let _hub = hub.run();
    let started = Instant::now();
    let _node = node.run();
    node.until_within(BAD, "it found the server and is registered", |status| {
        !status["servers"][0]["last_acknowledged"].is_null()
    });
    let found = started.elapsed();
    let taken = node.directory().join("state/taken");
    while fs::read(&taken).ok().as_ref() != Some(&content) {
        assert!(
            started.elapsed() < BAD,
            "the file did not come within {BAD:?}: {}",
            node.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed();
    node.until_within(BAD, "the server has the report", |_| {
        held(&hub, "node")["generation"].as_u64() > Some(0)
    });
    // The cable was as bad as it should be: packets were sent again, and none came in less than its delay.
    let again = retransmitted(&a);
    assert!(again > 0, "nothing was lost");
    let round_trip = a.run(async |_| {
        let started = Instant::now();
        // No program listens there: even the refusal takes its time.
        let _ = tokio::time::timeout(LIMIT, TcpStream::connect("10.77.0.2:9")).await;
        started.elapsed()
    });
    let round_trip = round_trip.join();
    assert!(round_trip >= delay * 2, "{round_trip:?}");
    println!(
        "found after {found:?}, {SIZE} bytes after {took:?}; {again} segments were sent again"
    );
}

/// The limit of what passes a bad cable: a hundred times what it takes over a good one.
const BAD: Duration = Duration::from_secs(180);

/// TCP segments that a namespace has sent again.
fn retransmitted(namespace: &Namespace) -> u64 {
    let table = namespace.exec(&["cat", "/proc/net/snmp"]);
    let mut lines = table
        .lines()
        .filter(|line| line.starts_with("Tcp:"))
        .map(|line| line.split_whitespace());
    let (names, mut values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names
        .into_iter()
        .position(|name| name == "RetransSegs")
        .unwrap();
    values.nth(place).unwrap().parse().unwrap()
}

// --- obstacles ---

/// A file system of a mebibyte, until it is dropped.
struct Small(TempDir);

impl Small {
    fn mount() -> Self {
        let disk = Self(TempDir::new().unwrap());
        disk.mounts("size=1m");
        disk
    }

    fn mounts(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0.path())
            .status();
        assert!(mounted.unwrap().success(), "{options}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A server with one file `f`, and a node that takes it.
struct Pair {
    _lab: Lab,
    hub: Machine,
    node: Machine,
    target: PathBuf,
}

impl Pair {
    /// The node takes the file to a path; `more` follows that in `files.accept`.
    fn new(target: &Path, more: &str) -> Self {
        let (lab, namespace) = loopback();
        let hub = Machine::new(
            &namespace,
            "hub",
            "server",
            &on_loopback(HUB, "", "offer: [{ name: f, path: offered }]"),
        );
        let accept = format!(
            "spread: 0s, accept: [{{ name: f, path: {}{more} }}]",
            target.display()
        );
        let config = on_loopback(HUB + 1, &format!("'127.0.0.1:{HUB}'"), &accept);
        let node = Machine::new(&namespace, "node", "client", &config);
        Self {
            _lab: lab,
            hub,
            node,
            target: target.to_owned(),
        }
    }

    fn offer(&self, content: &[u8]) {
        put(&self.hub.directory().join("offered"), content);
    }

    /// Pulls until that fails in these words, which are then in the node's log and at the server; the target is as it was.
    fn fails(&self, text: &str) {
        let before = fs::read(&self.target).unwrap();
        await_some(text, || {
            let pulled = self.node.json(&["pull"], &[]);
            let error = pulled
                .lines
                .last()
                .and_then(|view| view["error"].as_str().map(str::to_owned));
            error.filter(|error| error.contains(text) && pulled.code == Some(1))
        });
        assert!(self.node.log().contains(text), "{}", self.node.log());
        await_some("the server has the report", || {
            held(&self.hub, "node")["error"]
                .as_str()?
                .contains(text)
                .then_some(())
        });
        assert!(
            fs::read(&self.target).unwrap() == before,
            "the old file is whole"
        );
    }

    /// Pulls until the content is there, and the server knows of no error any more.
    fn comes(&self, content: &[u8]) {
        await_some("the file comes", || {
            self.node.json(&["pull"], &[]);
            fs::read(&self.target).ok().filter(|there| there == content)
        });
        let report = || {
            (held(&self.hub, "node")["generation"].as_u64()? > 0).then(|| held(&self.hub, "node"))
        };
        await_some("the server has the report", || {
            report().filter(|held| held["error"].is_null())
        });
    }
}

#[test]
fn a_disk_without_room_or_that_is_read_only_leaves_the_old_file_and_both_sides_report_why() {
    let disk = Small::mount();
    let target = disk.0.path().join("target");
    let pair = Pair::new(&target, "");
    pair.offer(b"old");
    let _hub = pair.hub.run();
    let _node = pair.node.run();
    pair.comes(b"old");
    let other = disk.0.path().join("other");
    fs::write(&other, vec![0; 500_000]).unwrap();
    pair.offer(&vec![2; 900_000]);
    pair.fails("is full: 900000 bytes are needed");
    let left: Vec<_> = fs::read_dir(disk.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    fs::remove_file(&other).unwrap();
    disk.mounts("remount,ro");
    pair.fails("ReadWritePaths=");
    disk.mounts("remount,rw");
    pair.comes(&vec![2; 900_000]);
}

#[test]
fn a_directory_that_the_nodes_user_may_not_write_leaves_the_old_file_and_both_sides_report_the_remedy()
 {
    const USER: u32 = 54321;
    let directory = TempDir::new().unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let target = directory.path().join("target");
    // Another user that may search directories: this binary is where only root can get. It may write nothing that is not its own.
    let pair = Pair::new(&target, "").within(&[
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
    ]);
    for path in [
        pair.node.directory(),
        pair.node.key(),
        pair.node.directory().join("hereabouts.yaml"),
    ] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    fs::write(&target, "old").unwrap();
    pair.offer(b"new");
    let _hub = pair.hub.run();
    let _node = pair.node.run();
    pair.fails(&format!("chown {USER} {}", directory.path().display()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    // The reported remedy works.
    chown(directory.path(), Some(USER), None).unwrap();
    pair.comes(b"new");
}

#[test]
fn an_older_generation_than_the_node_holds_leaves_the_file_and_both_sides_report_why() {
    let directory = TempDir::new().unwrap();
    let pair = Pair::new(&directory.path().join("target"), "");
    pair.offer(b"the newest");
    let hub = pair.hub.run();
    let _node = pair.node.run();
    pair.comes(b"the newest");
    let newest = held(&pair.hub, "node")["generation"].as_u64().unwrap();
    hub.stop();
    let ledger = pair.hub.directory().join("state/offers.json");
    let mut offers: Value = serde_json::from_slice(&fs::read(&ledger).unwrap()).unwrap();
    offers["f"]["generation"] = (newest - 10).into();
    fs::write(&ledger, offers.to_string()).unwrap();
    pair.offer(b"something older");
    let _hub = pair.hub.run();
    pair.fails(&format!(
        "the server offers generation {}, older than generation {newest}",
        newest - 9
    ));
    assert_eq!(held(&pair.hub, "node")["generation"], newest);
}

#[test]
fn a_node_that_does_not_know_any_more_whose_file_it_has_takes_none_and_both_sides_report_why() {
    let directory = TempDir::new().unwrap();
    let pair = Pair::new(&directory.path().join("target"), "");
    pair.offer(b"old");
    let _hub = pair.hub.run();
    let node = pair.node.run();
    pair.comes(b"old");
    node.stop();
    let ledger = pair.node.directory().join("state/accepted.json");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, &whole[..whole.len() / 2]).unwrap();
    pair.offer(b"new");
    let _node = pair.node.run();
    pair.node.until("the status shows it", |status| {
        status["accepts"][0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("accepted.json is damaged"))
    });
    pair.fails("accepted.json is damaged");
    assert_eq!(
        fs::read(&ledger).unwrap(),
        whole[..whole.len() / 2],
        "what is left of it is not overwritten"
    );
    fs::write(&ledger, &whole).unwrap();
    pair.comes(b"new");
}

// --- what reaches the disk, and in which order ---

impl Pair {
    /// The node runs within another program.
    fn within(self, wrapper: &[&str]) -> Self {
        Self {
            node: self.node.within(wrapper),
            ..self
        }
    }

    /// The node runs under strace; the file operations of each thread are in a file of its own in one directory.
    fn traced(self, more: &[&str]) -> (Self, TempDir) {
        let traces = TempDir::new().unwrap();
        let out = traces.path().join("thread");
        needs::programs(&[("strace", "strace")]);
        // The node is the child (-D), so that signals reach it.
        let strace = [
            "strace",
            "-D",
            "-ff",
            "-y",
            "-e",
            "trace=fsync,fdatasync,renameat,renameat2",
            "-o",
        ];
        (
            self.within(&[&strace[..], &[out.to_str().unwrap()], more].concat()),
            traces,
        )
    }
}

#[test]
fn a_pulled_file_is_synced_before_it_is_renamed_and_its_directory_after_that() {
    let directory = TempDir::new().unwrap();
    let (pair, traces) = Pair::new(&directory.path().join("target"), "").traced(&[]);
    // More than what is brought to the disk in between.
    let content = vec![7; 20 << 20];
    pair.offer(&content);
    let _hub = pair.hub.run();
    let _node = pair.node.run();
    pair.comes(&content);
    let part = format!(".target.{}.part", &blake3::hash(&content).to_hex()[..16]);
    let traces = fs::read_dir(&traces)
        .unwrap()
        .map(|trace| fs::read_to_string(trace.unwrap().path()).unwrap());
    let replacing: Vec<_> = traces
        .filter(|trace| trace.contains(&format!("\"{part}\"")))
        .collect();
    let [trace] = replacing.as_slice() else {
        panic!("not by one thread: {replacing:?}")
    };
    let directory = directory.path().display();
    let steps: Vec<_> = trace
        .lines()
        .filter(|line| line.contains(&directory.to_string()))
        .collect();
    let [synced, renamed, directory_synced] = steps.as_slice() else {
        panic!("{trace}")
    };
    let is = |line: &str, call: &str, of: &str| {
        line.starts_with(call) && line.contains(of) && line.ends_with("= 0")
    };
    assert!(
        is(synced, "fsync(", &format!("<{directory}/{part}>")),
        "{trace}"
    );
    assert!(
        is(renamed, "renameat", &format!("\"{part}\"")) && renamed.contains("\"target\""),
        "{trace}"
    );
    assert!(
        is(directory_synced, "fsync(", &format!("<{directory}>")),
        "{trace}"
    );
}

#[test]
fn a_file_that_is_there_already_is_synced_with_its_directory() {
    let directory = TempDir::new().unwrap();
    let target = directory.path().join("target");
    let (pair, traces) = Pair::new(&target, "").traced(&[]);
    fs::write(&target, "content").unwrap();
    let before = fs::metadata(&target).unwrap().ino();
    pair.offer(b"content");
    let _hub = pair.hub.run();
    let _node = pair.node.run();
    pair.comes(b"content");
    let traces = fs::read_dir(&traces)
        .unwrap()
        .map(|trace| fs::read_to_string(trace.unwrap().path()).unwrap());
    let of_target: Vec<_> = traces
        .filter(|trace| trace.contains(&format!("<{}>", target.display())))
        .collect();
    let [trace] = of_target.as_slice() else {
        panic!("not by one thread: {of_target:?}")
    };
    let is = |line: &str, of: &Path| {
        line.contains(&format!("<{}>", of.display())) && line.ends_with("= 0")
    };
    let at = |of: &Path| {
        trace
            .lines()
            .position(|line| line.starts_with("fsync(") && is(line, of))
    };
    assert!(
        at(&target).is_some() && at(&target) < at(directory.path()),
        "{trace}"
    );
    assert_eq!(
        fs::metadata(&target).unwrap().ino(),
        before,
        "it is the same file"
    );
}

#[test]
fn a_file_that_failed_to_come_to_the_disk_is_pulled_once_more_as_a_whole() {
    let directory = TempDir::new().unwrap();
    let target = directory.path().join("target");
    let content = vec![7; 100_000];
    let part = directory.path().join(format!(
        ".target.{}.part",
        &blake3::hash(&content).to_hex()[..16]
    ));
    // The first sync of the part fails. The kernel would report that once, and a second sync would pass.
    let inject = [
        "-P",
        part.to_str().unwrap(),
        "-e",
        "inject=fsync:error=EIO:when=1",
    ];
    let (pair, traces) = Pair::new(&target, "").traced(&inject);
    fs::write(&target, "old").unwrap();
    pair.offer(&content);
    let _hub = pair.hub.run();
    let _node = pair.node.run();
    pair.comes(&content);
    let injected = |trace: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(trace.unwrap().path())
            .unwrap()
            .contains("EIO (Input/output error) (INJECTED)")
    };
    assert!(
        fs::read_dir(&traces).unwrap().any(injected),
        "the disk failed"
    );
    let log = pair.node.log();
    assert!(
        log.contains("failed to sync") && log.contains("received=100000"),
        "{log}"
    );
}

// --- what follows ---

#[test]
fn what_a_command_prints_is_in_the_log_and_what_it_started_ends_with_the_node() {
    let directory = TempDir::new().unwrap();
    let child = directory.path().join("child");
    // First something that is left running and holds the output, then something that is waited for.
    let script = format!(
        "echo $HEREABOUTS_NAME is printed; echo warned >&2; \
         if test $(cat {0}/target) = long; then sleep 1000 & echo $! > {1}; wait; else sleep 20 & fi",
        directory.path().display(),
        child.display()
    );
    let after = format!(", after: {{ type: exec, command: [sh, -c, '{script}'] }}");
    let pair = Pair::new(&directory.path().join("target"), &after);
    pair.offer(b"short");
    let _hub = pair.hub.run();
    let node = pair.node.run();
    pair.comes(b"short");
    let log = await_some("what the command printed", || {
        Some(pair.node.log()).filter(|log| log.contains("f is printed"))
    });
    let line = |of: &str| {
        log.lines()
            .find(|line| line.contains(of))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        line("f is printed").contains("stdout") && line("warned").contains("stderr"),
        "{log}"
    );
    pair.offer(b"long");
    pair.hub.json(&["push", "f", "--timeout", "1ms"], &[]);
    let pid = await_some("the command began", || {
        fs::read_to_string(&child)
            .ok()
            .filter(|pid| pid.ends_with('\n'))
    });
    let stat = format!("/proc/{}/stat", pid.trim());
    let lives = || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| !state.starts_with('Z'))
    };
    assert!(lives());
    node.stop();
    await_some("what it started ends", || (!lives()).then_some(()));
}

// --- members that lie ---

#[test]
fn the_file_of_another_member_with_the_key_is_refused_and_both_sides_report_why() {
    let (_lab, namespace) = loopback();
    let offer = "offer: [{ name: f, path: offered }]";
    let hub = Machine::new(&namespace, "hub", "server", &on_loopback(HUB, "", offer));
    let forger = Machine::new(
        &namespace,
        "forger",
        "server",
        &on_loopback(HUB + 1, "", offer),
    );
    let servers = format!("'127.0.0.1:{HUB}', '127.0.0.1:{}'", HUB + 1);
    let accept = "spread: 0s, accept: [{ name: f, path: taken }]";
    let node = Machine::new(
        &namespace,
        "node",
        "client",
        &on_loopback(HUB + 2, &servers, accept),
    );
    let taken = node.directory().join("state/taken");
    fs::write(hub.directory().join("offered"), "genuine").unwrap();
    let _hub = hub.run();
    let _node = node.run();
    await_content(&taken, b"genuine");
    let genuine = await_some("the server has the report", || {
        held(&hub, "node")["generation"].as_u64()
    });

    // It has the key and is a server like the first one; its file is newer by its own count.
    fs::write(forger.directory().join("offered"), "forged").unwrap();
    let _forger = forger.run();
    let number = |forger: &Machine| forger.status()["offers"][0]["generation"].as_u64();
    await_some("the forger offers a higher generation", || {
        put(
            &forger.directory().join("offered"),
            format!("forged {:?}", Instant::now()).as_bytes(),
        );
        forger.json(&["push", "f", "--timeout", "1ms"], &[]);
        number(&forger).filter(|number| *number > genuine + 1)
    });
    await_some("the forger has the reason", || {
        held(&forger, "node")["error"]
            .as_str()
            .filter(|error| error.contains("files.accept"))
            .map(str::to_owned)
    });
    let pushed = forger.json(&["push", "f"], &[]);
    assert_eq!(pushed.code, Some(1), "{:?}", pushed.lines);
    let last = pushed.lines.last().unwrap();
    assert!(
        last["state"] == "failed" && last["error"].as_str().unwrap().contains("files.accept"),
        "{last}"
    );
    let pulled = node.json(&["pull"], &[]);
    let refused = |view: &&Value| {
        view["error"]
            .as_str()
            .is_some_and(|error| error.contains("files.accept"))
    };
    assert!(
        pulled.lines.iter().any(|view| refused(&view)),
        "{:?}",
        pulled.lines
    );
    assert!(node.log().contains("files.accept"), "{}", node.log());
    assert_eq!(fs::read(&taken).unwrap(), b"genuine");

    // The genuine one is still taken.
    put(&hub.directory().join("offered"), b"genuine too");
    let pushed = hub.json(&["push", "f"], &[]);
    assert_eq!(pushed.code, Some(0), "{:?}", pushed.lines);
    assert_eq!(fs::read(&taken).unwrap(), b"genuine too");
}

/// A member of the channel between a node and its server: it answers in the server's place, and signs as itself. It passes
/// on what the node reported.
async fn impostor(listener: TcpListener, server: NodeId, reports: std::sync::mpsc::Sender<String>) {
    let key_ring = KeyRing::new("lab", &[Secret::key(KEY)]).unwrap();
    let signer = Identity::from_seed(&[66; 32]);
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut session) = session::accept(stream, &key_ring, "lab", |_, _| true).await else {
            continue;
        };
        let generation = u64::MAX >> 1;
        let mut notice = Notice::sign(
            &signer,
            session.key(),
            "f",
            generation,
            6,
            blake3::hash(b"forged").into(),
        )
        .unwrap();
        notice.server = server;
        while let Ok(Some(request)) = session.request().await {
            match request {
                Request::Offers => session.queue(&Answer::Offer(notice.clone())).unwrap(),
                Request::Pull { .. } => {
                    session
                        .queue(&Answer::File {
                            notice: notice.clone(),
                            offset: 0,
                        })
                        .unwrap();
                    session.queue(&Answer::Content(b"forged")).unwrap();
                }
                // The test may be over.
                Request::Report(report) => {
                    drop(reports.send(report.error.unwrap_or_default().into()))
                }
                _ => {}
            }
            session.queue(&Answer::End).unwrap();
            if session.flush().await.is_err() {
                break;
            }
        }
    }
}

#[test]
fn an_offer_in_the_servers_name_that_the_server_did_not_sign_is_refused_and_both_sides_report_why()
{
    const IMPOSTOR: u16 = HUB + 10;
    let (_lab, namespace) = loopback();
    let hub = Machine::new(
        &namespace,
        "hub",
        "server",
        &on_loopback(HUB, "", "offer: [{ name: f, path: offered }]"),
    );
    let accept = "spread: 0s, accept: [{ name: f, path: taken }]";
    let config = on_loopback(HUB + 1, &format!("'127.0.0.1:{HUB}'"), accept);
    let node = Machine::new(&namespace, "node", "client", &config);
    let taken = node.directory().join("state/taken");
    fs::write(hub.directory().join("offered"), "genuine").unwrap();
    let _hub = hub.run();
    let _node = node.run();
    await_content(&taken, b"genuine");
    let server: NodeId = hub.status()["node"]["node_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();

    // From now on every connection to the server reaches the impostor.
    let (listens, ready) = std::sync::mpsc::channel();
    let (reports, reported) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let liar = namespace.run(async move |_| {
        let listener = TcpListener::bind(("127.0.0.1", IMPOSTOR)).await.unwrap();
        listens.send(()).unwrap();
        tokio::select! {
            () = impostor(listener, server, reports) => {}
            _ = stopped => {}
        }
    });
    ready.recv_timeout(LIMIT).unwrap();
    namespace.nft(&[
        "add chain inet lab nat { type nat hook output priority -100; }",
        &format!("add rule inet lab nat tcp dport {HUB} redirect to :{IMPOSTOR}"),
    ]);
    let pulled = node.json(&["pull"], &[]);
    assert_eq!(pulled.code, Some(1), "{:?}", pulled.lines);
    let error = pulled.lines.last().unwrap()["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        error.contains("signature") && error.contains(&server.to_string()),
        "{error}"
    );
    assert_eq!(
        reported.recv_timeout(LIMIT).unwrap(),
        error,
        "the other side has the reason"
    );
    assert!(node.log().contains(&error), "{}", node.log());
    assert_eq!(fs::read(&taken).unwrap(), b"genuine");
    stop.send(()).unwrap();
    liar.join();
}
