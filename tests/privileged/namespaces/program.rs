//! The real program in a network namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{GROUPS, LIMIT, Lab, Namespace};

const BINARY: &str = env!("CARGO_BIN_EXE_hereabouts");

/// The key that nodes share by default.
pub(crate) const KEY: [u8; 32] = [7; 32];

/// A node's config, key and state, and the namespace where it runs.
pub(crate) struct Machine {
    namespace: Namespace,
    directory: TempDir,
    /// What runs the program within the namespace.
    wrapper: Vec<String>,
}

/// A `watch` that runs; it ends when it is dropped.
pub(crate) struct Watch {
    _command: Running,
    path: PathBuf,
}

impl Watch {
    /// The whole lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A running node; killed when dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// How long it has kept a processor busy, by the kernel's clock ticks of a hundredth (proc(5), `stat`).
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // The name may hold blanks; it ends with the last parenthesis.
        let fields: Vec<_> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// The process that was started: the node, or the program that the node runs within.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub(crate) fn send(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let kill = Command::new("kill")
            .arg(self.0.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
        self.0.wait().unwrap();
    }
}

/// Leaves a group on an interface by the sockets of another process that are bound to a port, as that process could itself.
///
/// Arguments: process, interface, group, port. Prints how many sockets were members.
const LEAVE: &str = r#"
import ctypes, os, socket, struct, sys
pid, interface, group, port = int(sys.argv[1]), socket.if_nametoindex(sys.argv[2]), sys.argv[3], int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
family = socket.AF_INET6 if ":" in group else socket.AF_INET
address = socket.inet_pton(family, group)
process, members = os.pidfd_open(pid), 0
for name in os.listdir(f"/proc/{pid}/fd"):
    if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
        continue
    copy = libc.syscall(438, process, int(name), 0) # pidfd_getfd
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=copy) as it:
        if it.family != family or it.type != socket.SOCK_DGRAM or it.getsockname()[1] != port:
            continue
        if family == socket.AF_INET6:
            it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, struct.pack("=16sI", address, interface))
        else:
            it.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, struct.pack("=4s4si", address, bytes(4), interface))
        members += 1
print(members)
"#;

impl Running {
    /// Stops it in its tracks, as a paused container is (SIGSTOP), or lets it go on (SIGCONT).
    pub(crate) fn pause(&self, paused: bool) {
        let signal = if paused {
            rustix::process::Signal::STOP
        } else {
            rustix::process::Signal::CONT
        };
        self.send(signal);
    }

    /// Makes the kernel lose its membership of a group, without an event.
    pub(crate) fn lose_membership(&self, namespace: &Namespace, interface: &str, group: &str) {
        let pid = self.0.id().to_string();
        let left = namespace.exec(&["python3", "-c", LEAVE, &pid, interface, group, "24373"]);
        assert_eq!(left.trim(), "1", "one socket is a member of {group}");
    }
}

/// What a command gave.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
}

impl Machine {
    /// A machine with the common key; `more` are further lines of its config.
    pub(crate) fn new(namespace: &Namespace, name: &str, role: &str, more: &str) -> Self {
        Self::with(namespace, name, role, "lab", KEY, more)
    }

    /// A machine with a key and a channel of its own.
    pub(crate) fn with(
        namespace: &Namespace,
        name: &str,
        role: &str,
        channel: &str,
        key: [u8; 32],
        more: &str,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let hidden = if more.contains("hidden: false") {
            "false"
        } else {
            "true"
        };
        let more = more.replace("hidden: false", "");
        let config = format!(
            "role: {role}\nnode: {{ name: {name}, state_dir: state }}\n\
             channel: {{ name: {channel}, keys: [{{ file: channel.key }}], hidden: {hidden} }}\n{more}\n"
        );
        fs::write(directory.path().join("hereabouts.yaml"), config).unwrap();
        let machine = Self {
            namespace: namespace.clone(),
            directory,
            wrapper: Vec::new(),
        };
        fs::write(machine.key(), data_encoding::BASE64.encode(&key) + "\n").unwrap();
        machine.key_mode(0o600);
        machine
    }

    /// Runs the program by another one from now on, which takes it as its arguments and replaces itself by it.
    pub(crate) fn within(self, wrapper: &[&str]) -> Self {
        Self {
            wrapper: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            ..self
        }
    }

    /// Another machine with a copy of this one's disk as it is now.
    pub(crate) fn copied_to(&self, namespace: &Namespace) -> Self {
        let directory = TempDir::new().unwrap();
        let from = self.directory.path().join(".");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&from, directory.path()])
            .status()
            .unwrap();
        assert!(copied.success());
        Self {
            namespace: namespace.clone(),
            directory,
            wrapper: self.wrapper.clone(),
        }
    }

    /// Changes the text of the config.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) {
        let file = self.directory.path().join("hereabouts.yaml");
        let config = fs::read_to_string(&file).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(&file, config.replace(from, to)).unwrap();
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("channel.key")
    }

    pub(crate) fn key_mode(&self, mode: u32) {
        fs::set_permissions(self.key(), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.namespace.name()])
            .args(&self.wrapper)
            .args([BINARY, "--config"]);
        command
            .arg(self.directory.path().join("hereabouts.yaml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(environment.iter().copied());
        command
    }

    /// Starts the node and waits until it answers; its log goes to `log` in its directory.
    pub(crate) fn run(&self) -> Running {
        let running = self.spawn();
        self.until("it answers", |status| !status.is_null());
        running
    }

    /// Starts the node without waiting for it.
    pub(crate) fn spawn(&self) -> Running {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        // `ip netns exec` replaces itself by the program, so that a signal to the child reaches the node.
        Running(
            self.command(&["run"], &[])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    /// Starts `watch`, whose lines go to a file in the node's directory.
    pub(crate) fn watch(&self) -> Watch {
        let path = self.directory.path().join("watch");
        let file = fs::File::create(&path).unwrap();
        let command = self
            .command(&["watch", "--output", "json"], &[])
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Watch {
            _command: Running(command),
            path,
        }
    }

    /// Runs a command to its end.
    pub(crate) fn json(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = self.command(&arguments, environment).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Ended {
            code: output.status.code(),
            lines,
        }
    }

    /// Runs a command to its end as a script does; gives what it printed.
    pub(crate) fn plain(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments, &[]).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Runs a command to its end on a terminal of so many columns; gives its code and all that it drew there.
    pub(crate) fn on_terminal(&self, columns: u16, arguments: &[&str]) -> (Option<i32>, String) {
        let tool = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/privileged/namespaces/terminal.py"
        );
        let mut command = Command::new("python3");
        let program = self.command(arguments, &[("TERM", "xterm")]);
        command
            .arg(tool)
            .arg(columns.to_string())
            .arg(program.get_program())
            .args(program.get_args());
        command.env_clear().envs(
            program
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// The node's view of itself; null while it does not answer.
    pub(crate) fn status(&self) -> Value {
        self.json(&["status"], &[]).lines.pop().unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Reads the status until it is as wanted; returns how long that took.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        self.until_within(LIMIT, what, holds)
    }

    /// The same with a limit of its own.
    pub(crate) fn until_within(
        &self,
        limit: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Duration {
        let started = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return started.elapsed();
            }
            assert!(
                started.elapsed() < limit,
                "not within {limit:?}: {what}: {status}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets the snooping bridge `br0` forget that this node, which runs at the end of a cable, is in the groups.
    pub(crate) fn forgotten(&self, lab: &Lab, cable: &str) {
        let known = |_: &Value| {
            GROUPS
                .iter()
                .all(|group| lab.knows_member("br0", cable, group))
        };
        self.until("the switch knows it", known);
        // The kernel reports a membership more than once within its first seconds (RFC 3376 §8.11): after the last report.
        let reports_end = Instant::now() + Duration::from_secs(4);
        self.until("the switch has forgotten it", |_| {
            GROUPS
                .iter()
                .filter(|group| lab.knows_member("br0", cable, group))
                .for_each(|group| {
                    lab.forget_member("br0", cable, group);
                });
            Instant::now() > reports_end
        });
    }

    /// Waits until it is registered with a server.
    pub(crate) fn registered(&self) {
        self.registered_within(LIMIT);
    }

    /// The same with a limit of its own: a server that could not write, or a node that was refused, tries again later.
    pub(crate) fn registered_within(&self, limit: Duration) {
        let acknowledged = |status: &Value| !status["servers"][0]["last_acknowledged"].is_null();
        self.until_within(limit, "it is registered", acknowledged);
    }
}
