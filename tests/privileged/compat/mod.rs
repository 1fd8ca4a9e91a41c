//! The legacy protocols between network namespaces: the program against scripts that send what the old programs sent.
//!
//! Needs root, `ip` of iproute2, `python3`, `openssl` and `nc`. See `tests/privileged/compat/protocols.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::namespaces::{LIMIT, Lab, Namespace};
use crate::needs;
use serde_json::Value;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/privileged/compat/protocols.py"
);

/// Machines on one network, each a namespace with a directory: 10.77.0.1, 10.77.0.2, …
struct Site {
    machines: Vec<Machine>,
    _lab: Lab,
    _directory: tempfile::TempDir,
}

struct Machine {
    namespace: Namespace,
    directory: PathBuf,
    address: String,
}

impl Site {
    fn new(count: usize) -> Self {
        needs::root();
        needs::programs(&[("nc", "netcat-openbsd"), ("openssl", "openssl")]);
        let (lab, directory) = (Lab::new(), tempfile::tempdir().unwrap());
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        let machines = (1..=count).map(|index| {
            let namespace = lab.namespace(&format!("m{index}"));
            lab.plug(&namespace, "eth0", "br0");
            namespace.ip(&[
                "addr",
                "add",
                &format!("10.77.0.{index}/24"),
                "brd",
                "+",
                "dev",
                "eth0",
            ]);
            // The limited broadcast of the old programs needs a route.
            namespace.ip(&["route", "add", "default", "dev", "eth0"]);
            let home = directory.path().join(format!("m{index}"));
            std::fs::create_dir(&home).unwrap();
            let machine = Machine {
                namespace,
                directory: home,
                address: format!("10.77.0.{index}"),
            };
            machine.write("key", key);
            machine.write("password", "hunter2\n");
            machine
        });
        Self {
            machines: machines.collect(),
            _lab: lab,
            _directory: directory,
        }
    }
}

impl Machine {
    /// Writes a file that others may not read.
    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.namespace.name(), program])
            .args(args)
            .stdin(Stdio::null());
        command
            .current_dir(&self.directory)
            .env("TZ", "UTC")
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Starts a node, and waits until it is ready.
    fn node(&self, role: &str, name: &str, more: &str) -> Running {
        let common = format!(
            "role: {role}\nnode: {{ name: {name}, state_dir: state }}\nchannel: {{ name: test, keys: [file: key] }}\n"
        );
        self.write("hereabouts.yaml", &(common + more));
        let log = std::fs::File::create(self.directory.join("log")).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_hereabouts"), &["run"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let running = Running {
            child,
            log: Some(self.directory.join("log")),
        };
        until("the node answers", || {
            self.hereabouts(&["status", "--output", "json"])
                .status
                .success()
        });
        running
    }

    fn hereabouts(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_hereabouts"), args)
            .output()
            .unwrap()
    }

    /// What a command prints that has to end with 0.
    fn printed(&self, args: &[&str]) -> String {
        let output = self.hereabouts(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command prints, whether or not it found something.
    fn stdout(&self, args: &[&str]) -> String {
        String::from_utf8(self.hereabouts(args).stdout).unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.printed(&["status", "--output", "json"])).unwrap()
    }

    /// One node of the registry.
    fn record(&self, name: &str) -> Value {
        let all = self.printed(&["nodes", "--absent", "--output", "json"]);
        let mut records = all
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        records
            .find(|record| record["name"] == name)
            .unwrap_or(Value::Null)
    }

    /// Runs a script to its end, and gives what it printed.
    fn script(&self, args: &[&str]) -> String {
        let output = self
            .command("python3", &[&[SCRIPT], args].concat())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Starts a script; its lines can be read.
    fn start(&self, args: &[&str]) -> (Running, BufReader<ChildStdout>) {
        let mut command = self.command("python3", &[&[SCRIPT], args].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        (Running { child, log: None }, lines)
    }

    /// `printf NAME | nc -u -w1 SERVER 28630`
    fn netcat(&self, name: &str, server: &str) {
        let mut command = self.command("nc", &["-u", "-w1", server, "28630"]);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .expect("nc (Debian: apt-get install netcat-openbsd)");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(name.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// A process that ends with its handle; where the test fails, its log is printed.
struct Running {
    child: Child,
    log: Option<PathBuf>,
}

impl Running {
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its resident memory, in KiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.as_deref().filter(|_| std::thread::panicking()) {
            eprintln!(
                "---- {} ----\n{}",
                log.display(),
                std::fs::read_to_string(log).unwrap_or_default()
            );
        }
    }
}

/// Waits for what must come.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn json(path: &Path) -> Value {
    std::fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(Value::Null)
}

#[test]
fn name_sent_by_netcat_is_found_marked_exported_and_survives_a_kill() {
    let site = Site::new(2);
    let [hub, other] = &site.machines[..] else {
        unreachable!()
    };
    let more = "compat: { dynip: {} }\nregistry: { export: { path: dynip.json, format: dynip } }\n";
    let node = hub.node("both", "hub", more);
    other.write(
        "hereabouts.yaml",
        "role: client\nnode: { name: other, state_dir: state }\nchannel: { name: test, keys: [file: key] }\n",
    );
    other.netcat("laptop", &hub.address);
    until("the name is found", || {
        hub.stdout(&["where", "laptop"]) == "10.77.0.2\n"
    });
    let found = hub.hereabouts(&["where", "laptop"]);
    assert!(
        String::from_utf8_lossy(&found.stderr).contains("is unverified"),
        "{found:?}"
    );
    let far = other.hereabouts(&["where", "laptop"]);
    assert_eq!(
        String::from_utf8_lossy(&far.stdout),
        "10.77.0.2\n",
        "from another machine, by the key: {far:?}"
    );
    assert!(
        String::from_utf8_lossy(&far.stderr).contains("is unverified"),
        "{far:?}"
    );
    assert!(other.stdout(&["who", "10.77.0.2"]).contains("laptop"));
    let record = hub.record("laptop");
    assert_eq!(
        (&record["protocol"], &record["key"]),
        (&"dynip".into(), &Value::Null),
        "{record}"
    );
    assert_eq!(hub.record("hub")["protocol"], "hereabouts");
    let status = hub.status();
    assert_eq!(status["registry"]["unauthenticated"], 1);
    assert_eq!(status["compat"][0]["protocol"], "dynip");
    let log = std::fs::read_to_string(hub.directory.join("log")).unwrap();
    assert!(
        log.contains("anyone who reaches this port can claim any name"),
        "{log}"
    );
    let export = hub.directory.join("state/dynip.json");
    until("the export has it", || {
        json(&export)["laptop"][0] == "10.77.0.2"
    });
    let time = json(&export)["laptop"][1].as_str().unwrap().to_owned();
    assert_eq!((time.len(), &time[10..11]), (26, " "), "{time}");
    until("the change is on the disk", || {
        hub.status()["registry"]["durable_lag_ms"] == 0
    });
    node.kill();
    let _node = hub.node("both", "hub", more);
    assert_eq!(hub.stdout(&["where", "laptop"]), "10.77.0.2\n");
    // The next datagram brings a new time into DynIP's file.
    other.netcat("laptop", &hub.address);
    until("the export has the new time", || {
        json(&export)["laptop"][1]
            .as_str()
            .is_some_and(|at| at > time.as_str())
    });
    let forgotten = hub.printed(&["forget", "laptop"]);
    assert_eq!(forgotten, "laptop\n");
}

#[test]
fn name_of_a_node_of_the_channel_is_not_changed_by_a_datagram() {
    let site = Site::new(3);
    let [hub, kiosk, thief] = &site.machines[..] else {
        unreachable!()
    };
    let _hub = hub.node("both", "hub", "compat: { dynip: {} }\n");
    // As long as no node proves that it is the kiosk, a claim counts.
    thief.script(&["dynip-send", "kiosk", &hub.address, "28630"]);
    until("the claim is taken", || {
        hub.stdout(&["where", "kiosk", "--first"]) == "10.77.0.3\n"
    });
    let node = kiosk.node("client", "kiosk", "");
    until("the node has its name", || {
        hub.stdout(&["where", "kiosk", "--first"]) == "10.77.0.2\n"
    });
    for name in ["kiosk", "KIOSK", "hub"] {
        thief.script(&["dynip-send", name, &hub.address, "28630"]);
    }
    until("the claims were refused", || {
        hub.status()["counters"]["registry"]["unverified_owned"] == 3
    });
    assert_eq!(hub.stdout(&["where", "kiosk", "--first"]), "10.77.0.2\n");
    assert_eq!(hub.record("kiosk")["protocol"], "hereabouts");
    assert_eq!(hub.stdout(&["where", "hub", "--first"]), "10.77.0.1\n");
    // Nor when the node has stopped.
    node.kill();
    thief.script(&["dynip-send", "kiosk", &hub.address, "28630"]);
    until("the claim was refused", || {
        hub.status()["counters"]["registry"]["unverified_owned"] == 4
    });
    assert_eq!(hub.stdout(&["where", "kiosk", "--first"]), "10.77.0.2\n");
}

#[test]
fn old_dynip_server_is_sent_the_name_by_a_node_and_by_a_command() {
    let site = Site::new(2);
    let [old, new] = &site.machines[..] else {
        unreachable!()
    };
    let file = old.directory.join("dynip.json");
    let (_old, mut lines) = old.start(&["dynip-serve", file.to_str().unwrap(), "28630"]);
    assert_eq!(line(&mut lines), "ready");
    let publish = "publish: [{ type: server }, { type: dynip, server: 10.77.0.1 }]\n";
    let node = new.node("client", "kiosk", publish);
    until("the old server knows the node", || {
        json(&file)["kiosk"][0] == "10.77.0.2"
    });
    assert_eq!(new.status()["compat"][0]["target"], "10.77.0.1:28630");
    let publication = serde_json::json!({
        "target": "dynip", "name": "10.77.0.1:28630", "interface": null, "state": "sent", "addresses": [], "reason": null
    });
    until("the status shows it", || {
        new.status()["publications"]
            .as_array()
            .unwrap()
            .contains(&publication)
    });
    node.kill();
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(
        new.printed(&["announce", "--compat", "dynip"]),
        "10.77.0.1:28630\n"
    );
    until("the old server has the name", || {
        json(&file)["kiosk"][0] == "10.77.0.2"
    });
    let none = new.hereabouts(&[
        "announce",
        "--compat",
        "dynip",
        "--to",
        "no-such-host.invalid",
    ]);
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}

#[test]
fn old_records_are_imported_once_into_a_running_server() {
    let site = Site::new(1);
    let hub = &site.machines[0];
    let _hub = hub.node("both", "hub", "compat: { dynip: {} }\n");
    let file = r#"{"laptop": ["203.0.113.7", "2013-02-01 10:00:00.123456"], "phone": ["10.0.0.9", "2026-01-01 00:00:00"],
        "hub": ["6.6.6.6", "2026-01-01 00:00:00"], "../x": ["10.0.0.9", "2026-01-01 00:00:00"]}"#;
    hub.write("dynip.json", file);
    let import = || {
        let output = hub.hereabouts(&["import", "--dynip", "dynip.json"]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "two could not be taken: {output:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(import(), "2\t0\t0\n");
    let before = [hub.record("laptop"), hub.record("phone")];
    assert_eq!(before[0]["last_seen"], "2013-02-01T10:00:00.123Z");
    assert_eq!(
        (&before[0]["state"], &before[0]["protocol"]),
        (&"expired".into(), &"dynip".into())
    );
    assert_eq!(hub.stdout(&["where", "laptop"]), "203.0.113.7\n");
    assert_eq!(import(), "0\t0\t2\n");
    assert_eq!([hub.record("laptop"), hub.record("phone")], before);
    assert_eq!(hub.record("hub")["protocol"], "hereabouts");
}

#[test]
fn old_pydiscover_client_gets_the_info_with_and_without_password() {
    let site = Site::new(2);
    let [hub, old] = &site.machines[..] else {
        unreachable!()
    };
    let ask = |args: [&str; 4]| {
        let [magic, password, target, age] = args;
        old.script(&["pydiscover-ask", magic, password, target, "50000", age])
    };
    let answer = r#"fna349fn#OK#{"net_password": "asfi0j9ask123", "services": "10.0.0.1"}"#;
    let info = "info: { services: 10.0.0.1, net_password: asfi0j9ask123 }\n";
    for (password, setting) in [("", "null"), ("hunter2", "password")] {
        let more = format!("{info}compat: {{ pydiscover: {{ password_file: {setting} }} }}\n");
        let node = hub.node("both", "hub", &more);
        // The joined group is the node's own; a group is joined when the interface is taken.
        for target in [
            "10.77.0.1",
            "255.255.255.255",
            "10.77.0.255",
            "239.255.43.73",
        ] {
            until("the answer came", || {
                ask(["fna349fn", password, target, "0"]) == answer
            });
        }
        // Hidden: no other machine gets a byte.
        for wrong in [["other", password], ["fna349fn", "wrong"]] {
            assert_eq!(ask([wrong[0], wrong[1], "10.77.0.1", "0"]), "", "{wrong:?}");
        }
        assert_eq!(
            ask(["fna349fn", password, "10.77.0.1", "21"]),
            "",
            "too old"
        );
        let counted = &hub.status()["counters"]["pydiscover"];
        assert_eq!(
            (&counted["refused_channel"], &counted["refused_too_old"]),
            (&2.into(), &1.into()),
            "{counted}"
        );
        let log = std::fs::read_to_string(hub.directory.join("log")).unwrap();
        assert_eq!(
            log.contains("reuses one key stream"),
            !password.is_empty(),
            "{log}"
        );
        node.kill();

        let more = format!(
            "{info}compat: {{ pydiscover: {{ password_file: {setting}, hidden: false }} }}\n"
        );
        let _node = hub.node("both", "hub", &more);
        let refused = |reason: &str| format!("fna349fn#ERROR#{reason}");
        assert_eq!(
            ask(["fna349fn", password, "10.77.0.1", "21"]),
            refused("Timestamp is too old")
        );
        assert_eq!(
            ask(["fna349fnnow", password, "10.77.0.1", "0"]),
            refused("Invalid timestamp")
        );
        assert_eq!(
            ask(["other", password, "10.77.0.1", "0"]),
            refused("Invalid MAGIC or Password")
        );
    }
}

#[test]
fn old_pydiscover_server_is_found_with_its_info() {
    let site = Site::new(2);
    let [old, new] = &site.machines[..] else {
        unreachable!()
    };
    let answer = r#"{"services": "10.0.0.1", "odd": 1}"#;
    let (_old, mut lines) =
        old.start(&["pydiscover-serve", "fna349fn", "hunter2", "50000", answer]);
    assert_eq!(line(&mut lines), "ready");
    let more = "discovery: { methods: [multicast, pydiscover] }\ncompat: { pydiscover: { password_file: password } }\n";
    let _node = new.node("client", "kiosk", more);
    until("the node found it", || {
        new.status()["pydiscover"][0]["info"]["services"] == "10.0.0.1"
    });
    let found = new.printed(&["discover", "--compat", "pydiscover"]);
    assert_eq!(found, "10.77.0.1:50000\todd=1 services=10.0.0.1\n");
    // Under another password nothing is found.
    new.write("password", "other\n");
    let none = new.hereabouts(&["discover", "--compat", "pydiscover"]);
    assert_eq!(
        (none.status.code(), none.stdout.len()),
        (Some(3), 0),
        "{none:?}"
    );
}

#[test]
fn old_terminals_show_themselves_to_our_base() {
    let site = Site::new(3);
    let [hub, first, second] = &site.machines[..] else {
        unreachable!()
    };
    let (_first, mut lines) = first.start(&["terminal", "9998", "show"]);
    assert_eq!(line(&mut lines), "ready");
    let (_second, mut later) = second.start(&["terminal", "9998", "I am here"]);
    assert_eq!(line(&mut later), "ready");
    let _hub = hub.node("server", "hub", "compat: { terminals: {} }\n");
    assert_eq!(
        (line(&mut lines).as_str(), line(&mut later).as_str()),
        ("showed", "showed")
    );
    for (name, address) in [
        ("terminal-10-77-0-2", "10.77.0.2\n"),
        ("terminal-10-77-0-3", "10.77.0.3\n"),
    ] {
        until("the terminal is found", || {
            hub.stdout(&["where", name]) == address
        });
        assert_eq!(hub.record(name)["protocol"], "terminals");
    }
}

#[test]
fn our_terminal_shows_itself_to_an_old_base() {
    let site = Site::new(2);
    let [old, new] = &site.machines[..] else {
        unreachable!()
    };
    let _node = new.node("client", "kiosk", "compat: { terminals: {} }\n");
    let (_old, mut lines) = old.start(&["base", "9998"]);
    assert_eq!(line(&mut lines), "10.77.0.2 show");
    until("it is counted", || {
        new.status()["counters"]["terminals"]["showed_itself"].as_u64() >= Some(1)
    });
}

/// A file that is larger than any buffer, and its SHA-256.
fn made_up_file(path: &Path, seed: u8) -> String {
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .map(|index| (index / 7) as u8 ^ seed)
        .collect();
    std::fs::write(path, bytes).unwrap();
    sha256(path)
}

/// The digest that an old terminal prints next; it may be called to show itself more than once.
fn got(lines: &mut BufReader<ChildStdout>) -> String {
    loop {
        let printed = line(lines);
        if printed != "showed" {
            return printed
                .strip_prefix("got ")
                .unwrap_or_else(|| panic!("{printed:?}"))
                .to_owned();
        }
    }
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn old_terminals_get_their_file_from_our_base() {
    let site = Site::new(4);
    let [hub, first, second, kiosk] = &site.machines[..] else {
        unreachable!()
    };
    let old = [first, second].map(|machine| {
        let path = machine.directory.join("terminal.db");
        let (running, mut lines) =
            machine.start(&["terminal", "9998", "show", path.to_str().unwrap()]);
        assert_eq!(line(&mut lines), "ready");
        (running, lines, path)
    });
    let [
        (_first, mut lines, first_file),
        (_second, mut later, second_file),
    ] = old;
    let offered = hub.directory.join("catalogue.db");
    let before = made_up_file(&offered, 1);
    let offers = "files: { offer: [{ name: catalogue, path: catalogue.db }, { name: other, path: hereabouts.yaml }] }\n";
    let _hub = hub.node(
        "server",
        "hub",
        &format!("{offers}compat: {{ terminals: {{ file: catalogue }} }}\n"),
    );
    assert_eq!(
        (line(&mut lines).as_str(), line(&mut later).as_str()),
        ("showed", "showed")
    );
    for name in ["terminal-10-77-0-2", "terminal-10-77-0-3"] {
        until("the terminal is known", || {
            !hub.stdout(&["where", name]).is_empty()
        });
    }
    let accept = "files: { spread: 0s, accept: [{ name: catalogue, path: catalogue.db }] }\n";
    let _kiosk = kiosk.node("client", "kiosk", accept);
    let ours = kiosk.directory.join("state/catalogue.db");
    until("our own node has it", || sha256(&ours) == before);

    // To one: the other gets nothing.
    let note = "terminals do not report back: it is unknown whether this one has the file";
    let pushed = hub.printed(&["push", "catalogue", "--to", "terminal-10-77-0-2"]);
    assert!(
        pushed.starts_with("terminal-10-77-0-2\tsent\t") && pushed.contains(note),
        "{pushed}"
    );
    assert_eq!(got(&mut lines), before);
    assert!(!second_file.exists());

    // To all: the terminals by one broadcast, our node by its own protocol.
    let after = made_up_file(&offered, 2);
    let pushed = hub.printed(&["push", "catalogue"]);
    let mut words: Vec<_> = pushed
        .lines()
        .map(|line| line.split('\t').take(2).collect::<Vec<_>>())
        .collect();
    words.sort();
    let expected = [
        ["kiosk", "done"],
        ["terminal-10-77-0-2", "sent"],
        ["terminal-10-77-0-3", "sent"],
    ];
    assert_eq!(words, expected, "{pushed}");
    assert_eq!(
        (got(&mut lines), got(&mut later)),
        (after.clone(), after.clone())
    );
    assert_eq!(
        (sha256(&first_file), sha256(&second_file), sha256(&ours)),
        (after.clone(), after.clone(), after)
    );

    // Another file is not theirs.
    let refused = hub.hereabouts(&["push", "other", "--to", "terminal-10-77-0-2"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("compat.terminals.file"),
        "{refused:?}"
    );
}

#[test]
fn our_terminal_gets_its_file_from_an_old_base_whole_or_not_at_all() {
    let site = Site::new(2);
    let [old, new] = &site.machines[..] else {
        unreachable!()
    };
    let accept = "files: { accept: [{ name: catalogue, path: catalogue.db, mode: \"0640\", max_size: 4MiB, after: { type: exec, \
                  command: [sh, -c, \"echo $HEREABOUTS_NAME >> followed\"] } }] }\n";
    let _node = new.node(
        "client",
        "kiosk",
        &format!("{accept}compat: {{ terminals: {{ file: catalogue }} }}\n"),
    );
    let taken = new.directory.join("state/catalogue.db");
    let followed = || std::fs::read_to_string(new.directory.join("followed")).unwrap_or_default();
    let counted = |what: &str| {
        new.status()["counters"]["terminals"][what]
            .as_u64()
            .unwrap_or(0)
    };
    let offered = old.directory.join("base.db");
    let serve = |how: &str| {
        let (running, mut lines) =
            old.start(&["base-updates", "9998", offered.to_str().unwrap(), how]);
        assert_eq!(line(&mut lines), "10.77.0.2 get");
        running
    };

    let first = made_up_file(&offered, 1);
    let base = serve("whole");
    until("what follows was done", || followed() == "catalogue\n");
    assert_eq!(sha256(&taken), first);
    base.kill();

    made_up_file(&offered, 2);
    for (refusals, how) in [(1, "empty"), (2, "cut")] {
        let base = serve(how);
        until("it was refused", || counted("updates_refused") == refusals);
        assert_eq!(sha256(&taken), first, "{how}");
        base.kill();
    }
    std::fs::write(&offered, vec![7; 4 * 1024 * 1024 + 1]).unwrap();
    let base = serve("whole");
    until("it was refused", || counted("updates_refused") == 3);
    base.kill();
    assert_eq!(
        (sha256(&taken), followed().as_str()),
        (first, "catalogue\n")
    );
    let beside: Vec<_> = std::fs::read_dir(new.directory.join("state"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !beside
            .iter()
            .any(|name| name.to_string_lossy().ends_with(".part")),
        "{beside:?}"
    );
    let log = std::fs::read_to_string(new.directory.join("log")).unwrap();
    for reason in ["nothing came", "the transfer was cut after", "max_size"] {
        assert!(log.contains(reason), "{reason}: {log}");
    }

    // Whole again, and once more the same: nothing follows what changes nothing.
    let last = made_up_file(&offered, 3);
    let base = serve("whole");
    until("what follows was done", || {
        followed() == "catalogue\ncatalogue\n"
    });
    base.kill();
    let _base = serve("whole");
    until("it was found unchanged", || {
        counted("updates_unchanged") == 1
    });
    assert_eq!((sha256(&taken), followed().lines().count()), (last, 2));
}

#[test]
fn file_that_a_server_of_the_channel_gave_is_not_changed_by_an_old_base() {
    let site = Site::new(3);
    let [hub, old, new] = &site.machines[..] else {
        unreachable!()
    };
    let proved = made_up_file(&hub.directory.join("catalogue.db"), 1);
    let _hub = hub.node(
        "server",
        "hub",
        "files: { offer: [{ name: catalogue, path: catalogue.db }] }\n",
    );
    let more = "files: { spread: 0s, accept: [{ name: catalogue, path: catalogue.db }] }\n\
                compat: { terminals: { file: catalogue } }\n";
    let _node = new.node("client", "kiosk", more);
    let taken = new.directory.join("state/catalogue.db");
    until("the server's file is there", || sha256(&taken) == proved);
    let forged = old.directory.join("base.db");
    made_up_file(&forged, 6);
    let (_old, _lines) = old.start(&["base-updates", "9998", forged.to_str().unwrap(), "whole"]);
    let refused = || new.status()["counters"]["terminals"]["updates_refused"].as_u64() == Some(1);
    until("it was refused", refused);
    assert_eq!(sha256(&taken), proved);
    let log = std::fs::read_to_string(new.directory.join("log")).unwrap();
    assert!(log.contains("which proved it"), "{log}");
}

#[test]
fn bad_names_and_a_thousand_of_everything_at_once_do_no_harm() {
    let site = Site::new(3);
    let [hub, abuser, honest] = &site.machines[..] else {
        unreachable!()
    };
    let more = "compat: { dynip: {}, pydiscover: {}, terminals: {} }\n";
    let node = hub.node("both", "hub", more);
    let (_abuser, mut lines) = abuser.start(&["abuse", &hub.address]);
    let sent = line(&mut lines);
    assert!(sent.starts_with("sent"), "{sent}");
    // A client that comes meanwhile is served, on every protocol.
    honest.script(&["dynip-send", "laptop", &hub.address, "28630"]);
    until("the name is found", || {
        hub.stdout(&["where", "laptop"]) == "10.77.0.3\n"
    });
    let answer = honest.script(&["pydiscover-ask", "fna349fn", "", &hub.address, "50000"]);
    assert_eq!(answer, "fna349fn#OK#{}");
    let (_terminal, mut shown) = honest.start(&["terminal", "9998", "show"]);
    assert_eq!(line(&mut shown), "ready");
    hub.script(&["dynip-send", "show yourself", &honest.address, "9998"]);
    until("the terminal is found", || {
        hub.stdout(&["where", "terminal-10-77-0-3"]) == "10.77.0.3\n"
    });
    let status = hub.status();
    assert_eq!(status["health"]["ready"], true, "{status}");
    // 64 of the made-up names from one address at most.
    assert!(
        status["registry"]["unauthenticated"].as_u64() <= Some(64 + 2),
        "{status}"
    );
    let names = hub.printed(&["nodes", "--absent"]);
    assert!(
        names
            .lines()
            .all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')),
        "{names}"
    );
    let counted = &status["counters"];
    for (group, what) in [
        ("dynip", "dropped_not_a_name"),
        ("dynip", "dropped_too_long"),
        ("dynip", "dropped_rate"),
        ("pydiscover", "dropped_rate"),
        ("terminals", "dropped_rate"),
    ] {
        assert!(
            counted[group][what].as_u64() >= Some(1),
            "{group}.{what}: {counted}"
        );
    }
    assert!(node.resident() < 64 * 1024, "{} KiB", node.resident());
    until("lines that never end are given up", || {
        hub.status()["counters"]["terminals"]["dropped_slow"].as_u64() >= Some(1)
    });
}
