//! Compares a push of a new file to a fleet of nodes with as many plain TCP copies of it: `cargo
//! bench --bench fleet`.
//!
//! Every node is a process of its own with an address of its own, all in one network namespace
//! (root and `ip` are needed), so that all of them share this machine's cores and disk with their
//! server. The plain copies run one after the other over loopback; both write each copy to a file
//! and sync it. The result is the ratio. `FLEET_NODES` and `FLEET_MIB` change the numbers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't go on fails by a panic"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PORT: u16 = 24_373;
const RUNS: usize = 5;
/// The time limit of the start of all nodes, and of one push.
const LIMIT: Duration = Duration::from_secs(120);
/// Clock ticks of /proc a second, on every Linux.
const TICKS: f64 = 100.0;

fn main() {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let nodes = number("FLEET_NODES", 50);
    let mib = number("FLEET_MIB", 1);
    assert!((1..=250).contains(&nodes), "FLEET_NODES is 1 to 250");
    let fleet = Fleet::new(nodes);
    let offered = fleet.directory.path().join("offered");
    fill(&offered, mib, 0);
    let hub = fleet.run("hub");
    let clients: Vec<_> = (1..=nodes)
        .map(|number| fleet.run(&format!("node-{number}")))
        .collect();
    fleet.await_reports();

    let mut plain = Vec::new();
    let mut pushed = Vec::new();
    let before = (
        hub.processor(),
        clients.iter().map(Running::processor).sum::<f64>(),
    );
    for run in 1..=RUNS {
        fill(&offered, mib, run as u64);
        let started = Instant::now();
        (0..nodes).for_each(|number| {
            plain_copy(
                &offered,
                &fleet.directory.path().join(format!("copied-{number}")),
            )
        });
        plain.push(started.elapsed());
        let started = Instant::now();
        let output = fleet.hereabouts("hub", &["push", "f"]);
        pushed.push(started.elapsed());
        let lines = String::from_utf8(output.stdout).unwrap();
        let done = lines
            .lines()
            .filter(|line| line.contains("\tdone\t"))
            .count();
        assert!(
            output.status.success() && done == nodes,
            "{done} of {nodes} done: {lines}"
        );
    }
    let content = fs::read(&offered).unwrap();
    let whole = |number| {
        fs::read(fleet.directory.path().join(format!("node-{number}/taken"))).unwrap() == content
    };
    assert!((1..=nodes).all(whole));
    let after = (
        hub.processor(),
        clients.iter().map(Running::processor).sum::<f64>(),
    );

    let plain = median(plain);
    let pushed = median(pushed);
    let ratio = pushed.as_secs_f64() / plain.as_secs_f64();
    let each = |seconds: f64| seconds * 1000.0 / RUNS as f64;
    println!(
        "{nodes} plain TCP copies of {mib} MiB, one after the other   {:8.0} ms",
        plain.as_secs_f64() * 1000.0
    );
    println!(
        "push until all of {nodes} nodes are done               {:8.0} ms",
        pushed.as_secs_f64() * 1000.0
    );
    println!(
        "ratio                                            {ratio:8.2}   (target: at max_memory 2)"
    );
    println!(
        "CPU of the server, each push                     {:8.0} ms",
        each(after.0 - before.0)
    );
    println!(
        "CPU of all nodes, each push                      {:8.0} ms",
        each(after.1 - before.1)
    );
    println!(
        "maximum memory of the server                     {:8.1} MiB",
        hub.memory()
    );
    let max_memory = clients.iter().map(Running::memory).fold(0.0, f64::max);
    println!("maximum memory of a node                         {max_memory:8.1} MiB");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The configurations, and the namespace in which all nodes run.
struct Fleet {
    directory: tempfile::TempDir,
    namespace: String,
    nodes: usize,
}

impl Fleet {
    fn new(nodes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let namespace = format!("hereabouts-bench-{}", std::process::id());
        ip(&["netns", "add", &namespace]);
        let fleet = Self {
            directory,
            namespace,
            nodes,
        };
        fleet.ip(&["link", "set", "lo", "up"]);
        let key = fleet.directory.path().join("key");
        fs::write(&key, data_encoding::BASE64.encode(&[7; 32])).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fleet.config(
            "hub",
            "server",
            &format!("0.0.0.0, port: {PORT}"),
            "10.9.0.1",
            "",
            "offer: [{ name: f, path: offered }]",
        );
        for number in 1..=nodes {
            // The server answers at each address, and a client that connects to an address of this
            // machine uses it as its source.
            let address = format!("10.9.0.{number}");
            fleet.ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]);
            fleet.config(
                &format!("node-{number}"),
                "client",
                &format!("{address}, port: {}", PORT + 1),
                &address,
                &format!("'{address}:{PORT}'"),
                "spread: 0s, accept: [{ name: f, path: taken, max_size: 1TiB }]",
            );
        }
        fleet
    }

    fn config(
        &self,
        name: &str,
        role: &str,
        listen: &str,
        address: &str,
        servers: &str,
        files: &str,
    ) {
        let text = format!(
            "role: {role}\n\
             node: {{ name: {name}, state_dir: {name}, advertise: ['{address}'] }}\n\
             channel: {{ name: bench, keys: [{{ file: key }}] }}\n\
             listen: {{ address: {listen} }}\n\
             discovery: {{ methods: [], servers: [{servers}] }}\n\
             interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n\
             files: {{ {files} }}\n"
        );
        fs::write(self.path(name, "yaml"), text).unwrap();
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.{extension}"))
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.namespace], arguments].concat());
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &self.namespace,
            env!("CARGO_BIN_EXE_hereabouts"),
            "--config",
        ]);
        command
            .arg(self.path(name, "yaml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn hereabouts(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name, arguments).output().unwrap()
    }

    fn run(&self, name: &str) -> Running {
        let log = File::create(self.path(name, "log")).unwrap();
        // `ip netns exec` replaces itself with the program: the process id is that of the node.
        Running(
            self.command(name, &["run"])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    /// Waits until the server knows that all nodes hold the first file.
    fn await_reports(&self) {
        let started = Instant::now();
        loop {
            let output = self
                .hereabouts("hub", &["nodes", "--output", "json"])
                .stdout;
            let lines = String::from_utf8(output).unwrap();
            let holds = |line: &&str| {
                let node: serde_json::Value = serde_json::from_str(line).unwrap();
                node["files"][0]["generation"].as_u64() > Some(0)
            };
            let there = lines.lines().filter(holds).count();
            if there == self.nodes {
                return;
            }
            assert!(
                started.elapsed() < LIMIT,
                "only {there} of {} nodes pulled the file within {LIMIT:?}",
                self.nodes
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The nodes are killed already, because they are dropped first.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("failed to run 'ip': {error}: install iproute2"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "failed to run 'ip {}' (root is needed): {errors}",
        arguments.join(" ")
    );
}

/// Content that differs in each run.
fn fill(path: &Path, mib: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let block: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    let mut file = File::create(path).unwrap();
    (0..mib).for_each(|_| file.write_all(&block).unwrap());
    file.sync_all().unwrap();
}

fn plain_copy(from: &Path, to: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let from = from.to_owned();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Not io::copy: it would use splice and not copy through the program.
        pass(&mut File::open(from).unwrap(), &mut stream);
    });
    let mut file = File::create(to).unwrap();
    pass(&mut TcpStream::connect(address).unwrap(), &mut file);
    file.sync_all().unwrap();
    sender.join().unwrap();
}

fn pass(from: &mut impl Read, to: &mut impl Write) {
    let mut block = vec![0; 256 * 1024];
    loop {
        match from.read(&mut block).unwrap() {
            0 => return,
            read => to.write_all(&block[..read]).unwrap(),
        }
    }
}

/// A node that runs, killed when dropped.
struct Running(Child);

impl Running {
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// The CPU seconds so far, in user space and in the kernel (fields 14 and 15 of
    /// /proc/PID/stat).
    fn processor(&self) -> f64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum::<f64>()
            / TICKS
    }

    /// The maximum resident memory, in MiB.
    fn memory(&self) -> f64 {
        let status = self.proc("status");
        let max_memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        max_memory
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
