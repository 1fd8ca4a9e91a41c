//! Nodes, Avahi and captures in network namespaces.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::namespaces::{Lab, Namespace};
use crate::needs;

/// How long is waited for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A program in a namespace; ended with SIGTERM when dropped.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(
        namespace: &Namespace,
        log: PathBuf,
        environment: &[(&str, &str)],
        words: &[&str],
    ) -> Self {
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace.name()])
            .args(words)
            .envs(environment.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {words:?}: {error}"));
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory that it ever had, in KiB (`VmHWM`).
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Its process, as `ip netns exec` becomes the program.
    pub(crate) fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Ends it with SIGTERM and waits for its end.
    pub(crate) fn stop(&mut self) {
        // It may have ended on its own.
        let _ = rustix::process::kill_process(self.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.log.display(), self.log());
        }
    }
}

/// Runs a program in a namespace to its end.
pub(crate) fn run(namespace: &Namespace, environment: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace.name()])
        .args(words)
        .envs(environment.iter().copied());
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("failed to run {words:?}: {error}"))
}

/// A system message bus of its own: `bus/system_bus_socket` in its directory.
pub(crate) struct Bus {
    _broker: Program,
    address: String,
}

impl Bus {
    pub(crate) fn start(namespace: &Namespace, directory: &Path) -> Self {
        fs::create_dir_all(directory.join("bus")).unwrap();
        let socket = directory.join("bus/system_bus_socket");
        let address = format!("unix:path={}", socket.display());
        let policy = format!(
            "<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><allow send_destination=\"*\"/><allow own=\"*\"/><allow receive_type=\"signal\"/>\
             <allow receive_type=\"method_return\"/><allow receive_type=\"method_call\"/><allow receive_type=\"error\"/>\
             </policy></busconfig>"
        );
        fs::write(directory.join("bus.conf"), policy).unwrap();
        let config = format!("--config-file={}", directory.join("bus.conf").display());
        let broker = Program::start(
            namespace,
            directory.join("bus.log"),
            &[],
            &["dbus-daemon", &config, "--nofork"],
        );
        await_that("the message bus is there", || socket.exists());
        Self {
            _broker: broker,
            address,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// Namespaces `a` and `b`, each with `eth0` on one bridge: 10.77.0.1 and 10.77.0.2.
pub(crate) struct Pair {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    pub(crate) directory: TempDir,
    pub(crate) lab: Lab,
}

impl Pair {
    pub(crate) fn new() -> Self {
        needs::root();
        needs::programs(&[
            ("avahi-browse", "avahi-utils"),
            ("avahi-daemon", "avahi-daemon"),
            ("dbus-daemon", "dbus"),
            ("tcpdump", "tcpdump"),
        ]);
        let lab = Lab::new();
        let (a, b) = (lab.namespace("a"), lab.namespace("b"));
        for (namespace, address) in [(&a, "10.77.0.1/24"), (&b, "10.77.0.2/24")] {
            lab.plug(namespace, "eth0", "br0");
            namespace.ip(&["addr", "add", address, "dev", "eth0"]);
        }
        let directory = TempDir::new().unwrap();
        let key = directory.path().join("channel.key");
        fs::write(&key, data_encoding::BASE64.encode(&[7; 32]) + "\n").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            a,
            b,
            directory,
            lab,
        }
    }

    /// Starts a node; `more` are further lines of its config.
    pub(crate) fn node(&self, namespace: &Namespace, role: &str, name: &str, more: &str) -> Node {
        // The path of a socket has an end that a long name would reach.
        let state = self
            .directory
            .path()
            .join(format!("{role}-{name:.20}-state"));
        fs::create_dir_all(&state).unwrap();
        let config = state.join("hereabouts.yaml");
        let key = self.directory.path().join("channel.key");
        let text = format!(
            "role: {role}\nnode: {{ name: {name}, state_dir: {}, labels: {{ site: attic }} }}\n\
             channel: {{ name: namespaces, keys: [{{ file: {} }}] }}\n{more}\n",
            state.display(),
            key.display()
        );
        fs::write(&config, text).unwrap();
        let words = [
            env!("CARGO_BIN_EXE_hereabouts"),
            "run",
            "--config",
            config.to_str().unwrap(),
        ];
        let program = Program::start(namespace, state.join("log"), &[], &words);
        Node {
            program,
            config,
            namespace: namespace.clone(),
        }
    }

    /// Starts an avahi-daemon for `eth0` with this host name, with a message bus of its own.
    pub(crate) fn avahi(&self, namespace: &Namespace, host: &str) -> Avahi {
        let directory = self
            .directory
            .path()
            .join(format!("avahi-{host}-{}", namespace.name()));
        let bus = Bus::start(namespace, &directory);
        let config = format!(
            "[server]\nhost-name={host}\nuse-ipv4=yes\nuse-ipv6=yes\nallow-interfaces=eth0\n\
             [wide-area]\nenable-wide-area=no\n[publish]\npublish-hinfo=no\npublish-workstation=no\n"
        );
        fs::write(directory.join("avahi.conf"), config).unwrap();
        // `ip netns exec` has mounts of its own, so each daemon has a directory of its own for its PID.
        let script = format!(
            "mkdir -p /run/avahi-daemon && mount -t tmpfs tmpfs /run/avahi-daemon && \
             exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {}",
            directory.join("avahi.conf").display()
        );
        let environment = [("DBUS_SYSTEM_BUS_ADDRESS", bus.address())];
        let daemon = Program::start(
            namespace,
            directory.join("avahi.log"),
            &environment,
            &["sh", "-c", &script],
        );
        let avahi = Avahi {
            daemon,
            bus,
            namespace: namespace.clone(),
            directory,
        };
        await_that("avahi-daemon runs", || {
            avahi.daemon.log().contains("Server startup complete")
        });
        avahi
    }

    /// Captures multicast DNS on an interface.
    pub(crate) fn capture(&self, namespace: &Namespace, interface: &str) -> Capture {
        let file = self
            .directory
            .path()
            .join(format!("{}-{interface}.pcap", namespace.name()));
        let words = [
            "tcpdump",
            "-i",
            interface,
            "-U",
            "--immediate-mode",
            "-w",
            file.to_str().unwrap(),
            "udp",
            "port",
            "5353",
        ];
        let program = Program::start(namespace, file.with_extension("log"), &[], &words);
        let capture = Capture { program, file };
        await_that("tcpdump listens", || {
            capture.program.log().contains("listening on")
        });
        capture
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) program: Program,
    config: PathBuf,
    namespace: Namespace,
}

impl Node {
    /// Runs a command with the node's config where the node runs.
    pub(crate) fn exec(&self, words: &[&str]) -> Output {
        self.exec_in(&self.namespace, words)
    }

    fn exec_in(&self, namespace: &Namespace, words: &[&str]) -> Output {
        let config = ["--config", self.config.to_str().unwrap()];
        run(
            namespace,
            &[],
            &[&[env!("CARGO_BIN_EXE_hereabouts")], words, &config].concat(),
        )
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.exec(&["status", "--output", "json"]).stdout)
            .unwrap_or_default()
    }

    /// The server that it holds, and how that was found; null without one.
    pub(crate) fn server(&self) -> Value {
        let status = self.status();
        let held = |server: &&Value| server["last_acknowledged"].is_string();
        status["servers"]
            .as_array()
            .and_then(|servers| servers.iter().find(held).cloned())
            .unwrap_or_default()
    }

    /// Whether it uses multicast DNS on an interface.
    pub(crate) fn uses_mdns(&self, interface: &str) -> bool {
        let uses = |socket: &Value| socket["purpose"] == "mdns" && socket["interface"] == interface;
        self.status()["sockets"]
            .as_array()
            .expect("the node answers")
            .iter()
            .any(uses)
    }

    /// The state of its publication by mDNS on an interface; null without one.
    pub(crate) fn publication(&self, interface: &str) -> Value {
        let status = self.status();
        let wanted = |view: &&Value| view["target"] == "mdns" && view["interface"] == interface;
        status["publications"]
            .as_array()
            .and_then(|views| views.iter().find(wanted).cloned())
            .unwrap_or_default()
    }
}

/// An avahi-daemon that runs.
pub(crate) struct Avahi {
    pub(crate) daemon: Program,
    bus: Bus,
    namespace: Namespace,
    directory: PathBuf,
}

impl Avahi {
    fn tool(&self, words: &[&str]) -> String {
        let output = run(
            &self.namespace,
            &[("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())],
            words,
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `avahi-resolve` prints as a host's IPv4 address.
    pub(crate) fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.resolve_by("-4", host)
    }

    /// What it prints as a host's IPv6 address.
    pub(crate) fn resolve_ipv6(&self, host: &str) -> Option<IpAddr> {
        self.resolve_by("-6", host)
    }

    fn resolve_by(&self, family: &str, host: &str) -> Option<IpAddr> {
        self.tool(&["timeout", "3", "avahi-resolve", family, "-n", host])
            .split_whitespace()
            .nth(1)?
            .parse()
            .ok()
    }

    /// What `avahi-browse` resolves of a service type, one line each.
    pub(crate) fn browse(&self, service: &str) -> Vec<String> {
        let lines = self.tool(&[
            "timeout",
            "8",
            "avahi-browse",
            "--resolve",
            "--terminate",
            "--parsable",
            service,
        ]);
        lines
            .lines()
            .filter(|line| line.starts_with('='))
            .map(str::to_owned)
            .collect()
    }

    /// Lets it announce a service on its own host.
    pub(crate) fn publish(&self, instance: &str, service: &str, port: u16) -> Program {
        let port = port.to_string();
        let words = ["avahi-publish", "-s", instance, service, &port];
        let environment = [("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())];
        let program = Program::start(
            &self.namespace,
            self.directory.join("publish.log"),
            &environment,
            &words,
        );
        await_that("avahi announces the service", || {
            program.log().contains("Established")
        });
        program
    }
}

/// Multicast DNS as it passed an interface.
pub(crate) struct Capture {
    program: Program,
    file: PathBuf,
}

impl Capture {
    /// Ends it; what passed, as text with TTLs, and as bytes.
    pub(crate) fn end(mut self) -> (String, Vec<u8>) {
        self.program.stop();
        let bytes = fs::read(&self.file).unwrap();
        (read(&self.file), bytes)
    }

    /// What passed so far, as text with TTLs.
    pub(crate) fn so_far(&self) -> String {
        read(&self.file)
    }

    /// When a packet with this text first passed, by the kernel's clock.
    pub(crate) fn when(&self, text: &str) -> Option<SystemTime> {
        let mut passed = None;
        for line in read(&self.file).lines() {
            // A packet's first line begins with its second; what follows of it is indented.
            if !line.starts_with(char::is_whitespace) {
                passed = line
                    .split_whitespace()
                    .next()
                    .and_then(|seconds| seconds.parse().ok());
            }
            if line.contains(text) {
                return Some(UNIX_EPOCH + Duration::from_secs_f64(passed?));
            }
        }
        None
    }
}

fn read(file: &Path) -> String {
    // `-tt` is for `when`: the second of each packet.
    let output = Command::new("tcpdump")
        .args(["-tt", "-nn", "-vvv", "-r", file.to_str().unwrap()])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Awaits a condition, and returns how long that took.
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}
