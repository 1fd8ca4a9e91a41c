//! Lists and files of any length pass in constant memory, on both sides.
//!
//! For the figures of the release build, with a file of 1 GiB instead of 64 MiB:
//! `MEMORY_MIB=1024 cargo test --release --test program memory -- --nocapture --test-threads 1`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use hereabouts::model::{
    Address, Labels, Lease, NodeId, NodeName, Now, Origin, Record, Role, Timestamp,
};
use hereabouts::registry::store::Writer;
use hereabouts::registry::{Outcome, Registration, Settings, Table};
use hereabouts::wire::v1::SignedRecord;
use hereabouts::wire::{Identity, KeyId};
use tempfile::TempDir;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// The longest that one thing may take in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// A server and a client of it on loopback, with a key and directories of their own.
struct Pair {
    directory: TempDir,
}

impl Pair {
    fn new(offer: &str, accept: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Free a moment ago: UDP and TCP of that number, as no other test here listens on both.
        let port = |_| {
            UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let [hub, node] = [(); 2].map(port);
        secret(&directory.path().join("key"), &[7; 32]);
        for (name, role, port, servers, files) in [
            ("hub", "server", hub, String::new(), offer),
            ("node", "client", node, format!("'127.0.0.1:{hub}'"), accept),
        ] {
            let text = format!(
                "role: {role}\n\
                 node: {{ name: {name}, state_dir: {name} }}\n\
                 channel: {{ name: memory, keys: [{{ file: key }}] }}\n\
                 listen: {{ address: 127.0.0.1, port: {port} }}\n\
                 discovery: {{ methods: [], servers: [{servers}] }}\n\
                 interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n\
                 registry: {{ lease: 15m }}\n\
                 files: {{ {files} }}\n"
            );
            fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
        }
        Self { directory }
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hereabouts"));
        command
            .arg("--config")
            .arg(self.directory.path().join(format!("{name}.yaml")))
            .args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str) -> Running {
        let log = File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let child = self
            .command(name, &["run"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let healthy = || {
            self.command(name, &["health"])
                .output()
                .unwrap()
                .status
                .success()
        };
        let running = Running(child);
        await_that(&format!("{name} is healthy"), healthy);
        running
    }
}

/// A running program, killed when dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// A size of /proc/PID/status in bytes: `VmRSS` is what is in memory, `VmHWM` the most that ever was.
    fn memory(&self, which: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
        // A program that has just ended has no memory any more.
        line.map_or(0, |line| {
            line.split_whitespace()
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                * KIB
        })
    }

    /// Has the kernel count the most memory from now on.
    fn recount(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").unwrap();
    }
}

pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn secret(path: &Path, bytes: &[u8; 32]) {
    fs::write(path, data_encoding::BASE64.encode(bytes) + "\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Makes the state of a server that knows so many nodes.
fn fill(state: &Path, nodes: u32) {
    fs::create_dir(state).unwrap();
    fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
    secret(&state.join("identity.key"), &[1; 32]);
    let server = Identity::from_seed(&[1; 32]).id();
    let (mut writer, _) = Writer::open(&state.join("registry.redb"), server, |_| ()).unwrap();
    let now = Now {
        elapsed: Duration::ZERO,
        wall: Timestamp::from_system(SystemTime::now()),
    };
    let mut table = Table::new(Settings {
        max_lease: Lease(900),
        ..Settings::default()
    });
    for index in 0..nodes {
        let outcome = table.register(now, registration(index));
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    while table.is_dirty() {
        let mut batch = table.take_dirty();
        while let Err(full) = writer.submit(batch) {
            batch = full.0;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writer.shutdown().unwrap();
}

fn registration(index: u32) -> Registration {
    let source = SocketAddr::new(Ipv4Addr::from(0x7f01_0000 + index).into(), 24373);
    let record = Record {
        name: NodeName::parse(&format!("node-{index:06}.example")).unwrap(),
        epoch: 1,
        sequence: 1,
        boot: 1,
        lease: Lease(900),
        addresses: vec![Address {
            ip: source.ip(),
            interface: None,
            origin: Origin::Interface,
        }],
        port: 24373,
        role: Role::Client,
        labels: Labels::new([("site", "home")]).unwrap(),
    };
    let node = NodeId(*blake3::hash(&index.to_le_bytes()).as_bytes());
    let signed = SignedRecord {
        node,
        key: KeyId([0; 4]),
        body: vec![0; 130].into(),
        signature: [0; 64],
    };
    Registration {
        record,
        signed,
        source,
        key: KeyId([0; 4]),
    }
}

/// Lists a server's nodes over a session; gives the most memory that the client took, and how much more the server took for it.
fn list(nodes: u32) -> (u64, u64) {
    let pair = Pair::new("", "");
    fill(&pair.directory.path().join("hub"), nodes);
    let hub = pair.run("hub");
    hub.recount();
    let before = hub.memory("VmRSS");
    let started = Instant::now();
    let mut client = Running(
        pair.command("node", &["nodes", "--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = 0;
    let mut most = 0;
    for line in BufReader::new(client.0.stdout.take().unwrap()).lines() {
        assert!(line.unwrap().starts_with('{'));
        lines += 1;
        if lines % 500 == 1 {
            most = most.max(client.memory("VmHWM"));
        }
    }
    assert!(client.0.wait().unwrap().success());
    // The server lists itself too.
    assert_eq!(lines, nodes + 1);
    let more = hub.memory("VmHWM").saturating_sub(before);
    println!(
        "{nodes} nodes listed over a session in {:?}: client {} KiB at the most, server {} KiB more than the {} KiB before",
        started.elapsed(),
        most / KIB,
        more / KIB,
        before / KIB
    );
    (most, more)
}

#[test]
fn a_list_of_a_hundred_thousand_nodes_takes_as_much_memory_as_one_of_a_thousand() {
    let (few_client, few_server) = list(1_000);
    let (many_client, many_server) = list(100_000);
    // All of them together are more than 40 MiB of JSON.
    assert!(
        many_client < few_client + 8 * MIB,
        "the client: {few_client} and {many_client} bytes"
    );
    assert!(
        many_server < few_server + 8 * MIB,
        "the server: {few_server} and {many_server} bytes"
    );
}

/// Pulls a file; gives the most memory that node and server took.
fn pull(mib: u64) -> (u64, u64) {
    let pair = Pair::new(
        "offer: [{ name: f, path: offered }]",
        "spread: 0s, accept: [{ name: f, path: taken, max_size: 1TiB }]",
    );
    let mut random = fastrand::Rng::with_seed(mib);
    let block: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(MIB as usize)
        .collect();
    let mut file = File::create(pair.directory.path().join("offered")).unwrap();
    (0..mib).for_each(|_| file.write_all(&block).unwrap());
    drop(file);
    let hub = pair.run("hub");
    let node = pair.run("node");
    let taken = pair.directory.path().join("node/taken");
    await_that("the file came", || taken.exists());
    assert_eq!(fs::metadata(taken).unwrap().len(), mib * MIB);
    let (node, hub) = (node.memory("VmHWM"), hub.memory("VmHWM"));
    println!(
        "{mib} MiB pulled: node {} KiB at the most, server {} KiB",
        node / KIB,
        hub / KIB
    );
    (node, hub)
}

#[test]
fn a_large_file_takes_as_much_memory_as_a_small_one() {
    let mib = std::env::var("MEMORY_MIB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(64);
    let (few_node, few_hub) = pull(16);
    let (many_node, many_hub) = pull(mib);
    assert!(
        many_node < few_node + 4 * MIB,
        "the node: {few_node} and {many_node} bytes"
    );
    assert!(
        many_hub < few_hub + 4 * MIB,
        "the server: {few_hub} and {many_hub} bytes"
    );
}
