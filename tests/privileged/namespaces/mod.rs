//! Network namespaces for tests: made with `ip netns`, removed when dropped.

#![allow(dead_code, reason = "each suite uses a part of it")]

pub(crate) mod program;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::needs;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The groups of the protocol.
pub(crate) const GROUPS: [&str; 2] = ["239.255.43.73", "ff12::4373"];

/// How long a test waits for what must come: for a slow machine that does much beside.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

static LABS: AtomicU32 = AtomicU32::new(0);
static CABLES: AtomicU32 = AtomicU32::new(0);

/// A switch: a namespace of its own with bridges in it.
#[derive(Clone)]
pub(crate) struct Lab {
    prefix: String,
    switch: Namespace,
}

/// A network namespace, removed with its last handle.
#[derive(Clone)]
pub(crate) struct Namespace(Arc<Name>);

struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        // The interfaces go with it. A failure here must not hide the test's own.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A program that joins two bridges, ended when dropped.
pub(crate) struct BadCable(Child);

impl Drop for BadCable {
    fn drop(&mut self) {
        // A failure here must not hide the test's own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `ip` and gives what it printed; a failure is the test's failure.
fn ip(arguments: &[&str], input: &str) -> String {
    let spawned = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("failed to run 'ip': {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "failed to run 'ip {}': {errors}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Lab {
    #[track_caller]
    pub(crate) fn new() -> Self {
        needs::root();
        needs::programs(&[
            ("ip", "iproute2"),
            ("python3", "python3"),
            ("nft", "nftables"),
        ]);
        let prefix = format!(
            "hb{}-{}",
            std::process::id(),
            LABS.fetch_add(1, Ordering::Relaxed)
        );
        let switch = Namespace::new(&format!("{prefix}-switch"));
        for bridge in ["br0", "br1"] {
            switch.ip(&["link", "add", bridge, "type", "bridge"]);
            switch.ip(&["link", "set", bridge, "up"]);
        }
        Self { prefix, switch }
    }

    /// One more bridge.
    pub(crate) fn bridge(&self, name: &str) -> String {
        self.switch.ip(&["link", "add", name, "type", "bridge"]);
        self.switch.ip(&["link", "set", name, "up"]);
        name.to_owned()
    }

    /// Lays a cable between both bridges.
    pub(crate) fn join_bridges(&self) {
        self.switch.ip(&[
            "link", "add", "cable0", "type", "veth", "peer", "name", "cable1",
        ]);
        for (end, bridge) in [("cable0", "br0"), ("cable1", "br1")] {
            self.switch
                .ip(&["link", "set", end, "master", bridge, "up"]);
        }
    }

    /// Lays a bad cable between both bridges: each packet takes so long, and this part of them is lost, in each direction.
    ///
    /// A program joins them (tests/privileged/namespaces/taplink.py), since not every kernel has netem.
    pub(crate) fn join_bridges_badly(&self, delay: Duration, loss: f64) -> BadCable {
        for (tap, bridge) in [("bad0", "br0"), ("bad1", "br1")] {
            self.switch.ip(&["tuntap", "add", tap, "mode", "tap"]);
            self.switch
                .ip(&["link", "set", tap, "master", bridge, "up"]);
        }
        let tool = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/privileged/namespaces/taplink.py"
        );
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            self.switch.name(),
            "python3",
            tool,
            "bad0",
            "bad1",
        ]);
        command.args([delay.as_millis().to_string(), loss.to_string()]);
        let mut program = BadCable(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(program.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n", "taplink.py joins the bridges");
        program
    }

    /// A namespace without any interface but loopback.
    pub(crate) fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(&format!("{}-{name}", self.prefix))
    }

    /// Plugs a new interface of a namespace into a bridge and switches it on.
    pub(crate) fn plug(&self, namespace: &Namespace, interface: &str, bridge: &str) {
        self.plug_with(namespace, interface, bridge, None);
    }

    /// The same, with the interface's index given.
    pub(crate) fn plug_with(
        &self,
        namespace: &Namespace,
        interface: &str,
        bridge: &str,
        index: Option<u32>,
    ) {
        let end = format!("p{}", CABLES.fetch_add(1, Ordering::Relaxed));
        let index = index.map(|index| index.to_string());
        let mut add = vec!["link", "add", interface];
        if let Some(index) = &index {
            add.extend(["index", index.as_str()]);
        }
        add.extend([
            "type",
            "veth",
            "peer",
            "name",
            &end,
            "netns",
            self.switch.name(),
        ]);
        namespace.ip(&add);
        self.switch
            .ip(&["link", "set", &end, "master", bridge, "up"]);
        namespace.ip(&["link", "set", interface, "up"]);
    }

    /// The switch's end of a cable, as [`Lab::plug_named`] called it: pulled, or plugged in again.
    pub(crate) fn cable(&self, end: &str, plugged: bool) {
        self.switch
            .ip(&["link", "set", end, if plugged { "up" } else { "down" }]);
    }

    /// Lets a bridge do IGMP and MLD snooping as a managed switch does: a group that no host on a port has joined is not sent there.
    pub(crate) fn snoop(&self, bridge: &str) {
        let set = |options: &[&str]| {
            self.switch
                .ip(&[&["link", "set", bridge, "type", "bridge"][..], options].concat());
        };
        // In hundredths of a second. Before the querier starts: for so long it trusts nothing that it has learnt.
        set(&[
            "mcast_query_response_interval",
            "10",
            "mcast_startup_query_interval",
            "10",
        ]);
        set(&["mcast_snooping", "1", "mcast_querier", "1"]);
    }

    /// Whether a snooping bridge has learnt that a group is wanted at the end of a cable.
    pub(crate) fn knows_member(&self, bridge: &str, end: &str, group: &str) -> bool {
        let members = self.switch.exec(&["bridge", "mdb", "show", "dev", bridge]);
        members
            .lines()
            .any(|line| line.contains(&format!("port {end} grp {group} ")))
    }

    /// Lets a snooping bridge forget that.
    pub(crate) fn forget_member(&self, bridge: &str, end: &str, group: &str) {
        self.switch.exec(&[
            "bridge", "mdb", "del", "dev", bridge, "port", end, "grp", group,
        ]);
    }

    /// Plugs a new interface into a bridge by a cable with this name.
    pub(crate) fn plug_named(
        &self,
        namespace: &Namespace,
        interface: &str,
        bridge: &str,
        end: &str,
    ) {
        namespace.ip(&[
            "link",
            "add",
            interface,
            "type",
            "veth",
            "peer",
            "name",
            end,
            "netns",
            self.switch.name(),
        ]);
        self.switch
            .ip(&["link", "set", end, "master", bridge, "up"]);
        namespace.ip(&["link", "set", interface, "up"]);
    }
}

impl Namespace {
    fn new(name: &str) -> Self {
        ip(&["netns", "add", name], "");
        let namespace = Self(Arc::new(Name(name.to_owned())));
        // Duplicate address detection would keep each link-local address back for a second or two.
        for which in ["all", "default"] {
            namespace.sysctl(&format!("net.ipv6.conf.{which}.accept_dad"), "0");
        }
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.0
    }

    /// Runs a program in the namespace; its failure is the test's failure.
    pub(crate) fn exec(&self, arguments: &[&str]) -> String {
        ip(&[&["netns", "exec", self.name()], arguments].concat(), "")
    }

    /// Adds rules to the packet filter of the namespace: chains `input` and `output` of `inet lab`.
    pub(crate) fn nft(&self, rules: &[&str]) {
        let chain =
            |hook| format!("add chain inet lab {hook} {{ type filter hook {hook} priority 0; }}\n");
        let mut script = format!("add table inet lab\n{}{}", chain("input"), chain("output"));
        rules.iter().for_each(|rule| script += &format!("{rule}\n"));
        ip(&["netns", "exec", self.name(), "nft", "-f", "-"], &script);
    }

    /// Runs `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        self.text(arguments);
    }

    /// Runs `ip` in the namespace and gives what it printed.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", self.name()], arguments].concat(), "")
    }

    /// Runs many `ip` commands in the namespace, one a line.
    pub(crate) fn ip_batch(&self, lines: &str) {
        ip(&["-n", self.name(), "-batch", "-"], lines);
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let write = format!("echo {value} > {path}");
        ip(&["netns", "exec", self.name(), "sh", "-c", &write], "");
    }

    /// Runs a future on a thread of its own within the namespace.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Self) -> T + Send + 'static,
    ) -> Task<T> {
        let here = self.clone();
        Task(thread::spawn(move || {
            let file = std::fs::File::open(format!("/run/netns/{}", here.name()))
                .expect("the namespace's file");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("setns");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(work(&here))
        }))
    }
}

/// Work that runs in a namespace.
pub(crate) struct Task<T>(thread::JoinHandle<T>);

impl<T> Task<T> {
    /// Waits for the result; a panic there is one here.
    pub(crate) fn join(self) -> T {
        self.0
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
