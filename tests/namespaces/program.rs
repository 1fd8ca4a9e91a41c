//! The real program in a network namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{LIMIT, Namespace};

const BINARY: &str = env!("CARGO_BIN_EXE_hereabouts");

/// The key that nodes share unless a test says otherwise.
pub(crate) const KEY: [u8; 32] = [7; 32];

/// A node's config, key and state, and the namespace where it runs.
pub(crate) struct Machine {
    namespace: Namespace,
    folder: TempDir,
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
    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let kill = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(kill.success());
        self.0.wait().unwrap();
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
        let folder = TempDir::new().unwrap();
        let hidden = if more.contains("hidden: false") { "false" } else { "true" };
        let more = more.replace("hidden: false", "");
        let config = format!(
            "role: {role}\nnode: {{ name: {name}, state_dir: state }}\n\
             channel: {{ name: {channel}, keys: [{{ file: channel.key }}], hidden: {hidden} }}\n{more}\n"
        );
        fs::write(folder.path().join("hereabouts.yaml"), config).unwrap();
        let machine = Self { namespace: namespace.clone(), folder };
        fs::write(machine.key(), data_encoding::BASE64.encode(&key) + "\n").unwrap();
        machine.key_mode(0o600);
        machine
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("channel.key")
    }

    pub(crate) fn key_mode(&self, mode: u32) {
        fs::set_permissions(self.key(), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace.name(), BINARY, "--config"]);
        command.arg(self.folder.path().join("hereabouts.yaml")).args(arguments).stdin(Stdio::null());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(environment.iter().copied());
        command
    }

    /// Starts the node; its log goes to `log` in its folder.
    pub(crate) fn run(&self) -> Running {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        // `ip netns exec` replaces itself by the program, so that a signal to the child reaches the node.
        let running = Running(self.command(&["run"], &[]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.until("it answers", |status| !status.is_null());
        running
    }

    /// Runs a command to its end.
    pub(crate) fn json(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = self.command(&arguments, environment).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Ended { code: output.status.code(), lines }
    }

    /// The node's view of itself; null while it does not answer.
    pub(crate) fn status(&self) -> Value {
        self.json(&["status"], &[]).lines.pop().unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Looks until the status is as wanted; gives how long that took.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        self.until_within(LIMIT, what, holds)
    }

    /// The same with a limit of its own.
    pub(crate) fn until_within(&self, limit: Duration, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        let started = Instant::now();
        loop {
            let status = self.status();
            if holds(&status) {
                return started.elapsed();
            }
            assert!(started.elapsed() < limit, "not within {limit:?}: {what}: {status}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it is registered with a server.
    pub(crate) fn registered(&self) {
        self.until("it is registered", |status| !status["servers"][0]["last_acknowledged"].is_null());
    }
}
