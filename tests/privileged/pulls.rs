//! What starts pulls between real nodes in network namespaces: by which notice, for whom, and from a server that moves.
//!
//! Needs root, `ip` of iproute2, `nft` of nftables and python3.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::namespaces::program::{Machine, Running};
use crate::namespaces::{LIMIT, Lab, Namespace};
use serde_json::Value;

/// How soon a notice must have brought a file. Visits without a cause are at least 54 s apart, and renewals of the lease
/// here five minutes: nothing else brings it sooner.
const NOTICED: Duration = Duration::from_secs(25);
const LEASE: &str = "registry: { lease: 15m }";

/// Puts a file in the place of another one at once.
fn put(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

/// A server, what it offers as `f`, and nodes that take it, each in a namespace of its own on one switch.
struct Site {
    hub: Machine,
    hub_namespace: Namespace,
    offered: PathBuf,
    nodes: Vec<(Machine, Namespace)>,
    _running: Vec<Running>,
    _lab: Lab,
}

impl Site {
    /// `hub` and `node` are further lines of the configs.
    fn new(hub: &str, node: &str, names: &[&str]) -> Self {
        let lab = Lab::new();
        let place = |name: &str, number: usize| {
            let namespace = lab.namespace(name);
            namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
            lab.plug(&namespace, "eth0", "br0");
            namespace.ip(&[
                "addr",
                "add",
                &format!("10.77.0.{number}/24"),
                "brd",
                "+",
                "dev",
                "eth0",
            ]);
            namespace
        };
        let hub_namespace = place("hub", 1);
        let hub = format!("files: {{ offer: [{{ name: f, path: offered }}] }}\n{hub}");
        let hub = Machine::new(&hub_namespace, "hub", "server", &hub);
        let offered = hub.directory().join("offered");
        put(&offered, "the first");
        let mut running = vec![hub.run()];
        let mut nodes = Vec::new();
        for (name, number) in names.iter().zip(2..) {
            let namespace = place(name, number);
            let node =
                format!("files: {{ spread: 0s, accept: [{{ name: f, path: taken }}] }}\n{node}");
            let node = Machine::new(&namespace, name, "client", &node);
            running.push(node.run());
            nodes.push((node, namespace));
        }
        let site = Self {
            hub,
            hub_namespace,
            offered,
            nodes,
            _running: running,
            _lab: lab,
        };
        for (node, _) in &site.nodes {
            node.until("it has the first", |status| {
                taken(node) == "the first" && !status["accepts"][0]["last_attempt"].is_null()
            });
        }
        site
    }

    /// What the hub knows of a node's file.
    fn held(&self, node: &str) -> Value {
        let nodes = self.hub.json(&["nodes"], &[]).lines;
        nodes
            .into_iter()
            .find(|view| view["name"] == node)
            .map(|view| view["files"][0].clone())
            .unwrap_or_default()
    }
}

fn taken(node: &Machine) -> String {
    fs::read_to_string(node.directory().join("state/taken")).unwrap_or_default()
}

/// The last line of each node that a push shows, as its name and state.
fn ends(lines: &[Value]) -> Vec<(String, String)> {
    let text = |line: &Value, of: &str| line[of].as_str().unwrap().to_owned();
    let ended = lines
        .iter()
        .filter(|line| ["done", "failed", "sent"].contains(&line["state"].as_str().unwrap()));
    ended
        .map(|line| (text(line, "node"), text(line, "state")))
        .collect()
}

#[test]
fn a_server_that_moved_is_pulled_from_where_it_is_now() {
    let site = Site::new("registry: { lease: 30s }", "", &["kiosk"]);
    let (kiosk, namespace) = &site.nodes[0];
    // It is silent for a while, as a machine that restarts is; two renewals go to where it was.
    site.hub_namespace
        .ip(&["addr", "del", "10.77.0.1/24", "dev", "eth0"]);
    namespace.nft(&["add rule inet lab output ip daddr 10.77.0.1 udp dport 24373 counter"]);
    kiosk.until("two renewals got no answer", |_| {
        let rules = namespace.exec(&["nft", "list", "table", "inet", "lab"]);
        let packets = rules
            .split("packets ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap();
        packets.parse::<u32>().unwrap() >= 2
    });
    site.hub_namespace
        .ip(&["addr", "add", "10.77.0.9/24", "brd", "+", "dev", "eth0"]);
    let moved = Instant::now();
    kiosk.until("it is registered where the server is now", |status| {
        let server = &status["servers"][0];
        server["address"] == "10.77.0.9:24373" && !server["last_acknowledged"].is_null()
    });
    assert!(moved.elapsed() < LIMIT);
    put(&site.offered, "the second");
    let pushed = site.hub.json(&["push", "f", "--timeout", "50s"], &[]);
    assert_eq!(pushed.code, Some(0), "{:?}\n{}", pushed.lines, kiosk.log());
    assert_eq!(taken(kiosk), "the second");
}

#[test]
fn a_push_to_some_nodes_shows_each_once_and_the_rest_take_the_new_content_all_the_same() {
    let site = Site::new(LEASE, "", &["one", "two", "three"]);
    let to = ["push", "f", "--to", "one", "--to", "one", "--to", "two"];
    put(&site.offered, "the second");
    for what in ["new content", "nothing new"] {
        let pushed = site.hub.json(&to, &[]);
        let mut ends = ends(&pushed.lines);
        ends.sort();
        let done = |name: &str| (name.to_owned(), "done".to_owned());
        assert_eq!(
            ends,
            [done("one"), done("two")],
            "{what}: {:?}",
            pushed.lines
        );
        assert!(
            pushed.lines.iter().all(|line| line["node"] != "three"),
            "{what}: {:?}",
            pushed.lines
        );
        assert_eq!(pushed.code, Some(0), "{what}");
    }
    for (node, _) in &site.nodes {
        node.until("it has the second", |_| taken(node) == "the second");
    }
}

#[test]
fn a_notice_to_all_alone_brings_a_change() {
    let site = Site::new(LEASE, "", &["one", "two"]);
    put(&site.offered, "the second");
    let changed = Instant::now();
    for (node, _) in &site.nodes {
        let left = NOTICED.saturating_sub(changed.elapsed());
        node.until_within(left, "a notice brought the second", |_| {
            taken(node) == "the second"
        });
    }
}

#[test]
fn a_notice_to_one_alone_brings_a_change() {
    // Without a method nothing is sent to all.
    let methods = "discovery: { methods: [], servers: [10.77.0.1] }";
    let site = Site::new(
        &format!("{LEASE}\ndiscovery: {{ methods: [] }}"),
        methods,
        &["one"],
    );
    put(&site.offered, "the second");
    let changed = Instant::now();
    let pushed = site.hub.json(
        &["push", "f", "--timeout", &format!("{}s", NOTICED.as_secs())],
        &[],
    );
    assert_eq!(pushed.code, Some(0), "{:?}", pushed.lines);
    assert!(changed.elapsed() < NOTICED);
    assert_eq!(taken(&site.nodes[0].0), "the second");
}

#[test]
fn the_registry_shows_when_a_node_last_tried_what_it_holds_and_why_that_failed() {
    let site = Site::new(LEASE, "", &["one"]);
    let (node, _) = &site.nodes[0];
    node.until("the server knows it", |_| {
        site.held("one")["generation"].as_u64() > Some(0)
    });
    let before = site.held("one");
    assert!(before["error"].is_null(), "{before}");
    // An attempt that brings nothing new is one too.
    let pulled = node.json(&["pull"], &[]);
    assert_eq!(pulled.code, Some(0), "{:?}", pulled.lines);
    let again = site.held("one");
    let time = |held: &Value| held["reported"].as_str().unwrap().to_owned();
    assert_eq!(again["generation"], before["generation"]);
    assert!(time(&again) > time(&before), "{before} {again}");
    // So is one that fails: what is held stays.
    fs::remove_file(node.directory().join("state/taken")).unwrap();
    fs::create_dir(node.directory().join("state/taken")).unwrap();
    let pulled = node.json(&["pull"], &[]);
    assert_eq!(pulled.code, Some(1), "{:?}", pulled.lines);
    let failed = site.held("one");
    assert!(
        failed["error"].as_str().unwrap().contains("is a directory"),
        "{failed}"
    );
    assert_eq!(failed["generation"], before["generation"]);
    assert!(time(&failed) > time(&again), "{again} {failed}");
    // A push of what the node holds by its own word, and has in another way, does not call that done.
    let pushed = site.hub.json(&["push", "f"], &[]);
    assert_eq!(
        (pushed.code, ends(&pushed.lines)),
        (Some(1), vec![("one".to_owned(), "failed".to_owned())])
    );
    let error = pushed.lines.last().unwrap()["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("is a directory"), "{error}");
    // Once the cause is fixed, the same push brings it.
    fs::remove_dir(node.directory().join("state/taken")).unwrap();
    let pushed = site.hub.json(&["push", "f"], &[]);
    assert_eq!(
        (pushed.code, ends(&pushed.lines)),
        (Some(0), vec![("one".to_owned(), "done".to_owned())])
    );
    assert_eq!(taken(node), "the first");
}

// --- a line that breaks ---

/// How much of a file is beside its place at a node; `None` where nothing does.
fn part(node: &Machine) -> Option<u64> {
    let entries = fs::read_dir(node.directory().join("state"))
        .unwrap()
        .filter_map(Result::ok);
    let part = entries
        .into_iter()
        .find(|entry| entry.file_name().to_string_lossy().ends_with(".part"))?;
    Some(part.metadata().ok()?.len())
}

#[test]
fn a_push_waits_for_a_node_whose_connection_broke_and_that_resumes() {
    const SIZE: usize = 48 << 20;
    let lab = Lab::new();
    let (a, b) = (lab.namespace("a"), lab.namespace("b"));
    for (namespace, bridge, end, address) in [
        (&a, "br0", "hub0", "10.77.0.1/24"),
        (&b, "br1", "node0", "10.77.0.2/24"),
    ] {
        lab.plug_named(namespace, "eth0", bridge, end);
        namespace.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
    }
    // Long enough that a file does not come in no time.
    let _cable = lab.join_bridges_badly(Duration::from_millis(50), 0.0);
    // Who takes nothing for a second is left: so the line breaks soon after its cable was pulled.
    let hub = "files: { offer: [{ name: f, path: offered }] }\nsessions: { idle: 1s }";
    let hub = Machine::new(&a, "hub", "server", hub);
    let node = Machine::new(
        &b,
        "node",
        "client",
        "files: { spread: 0s, accept: [{ name: f, path: taken }] }",
    );
    let offered = hub.directory().join("offered");
    put(&offered, "the first");
    let _running = [hub.run(), node.run()];
    node.until("it has the first", |_| taken(&node) == "the first");
    let broken = |hub: &Machine| {
        hub.status()["counters"]["sessions"]["idle"]
            .as_u64()
            .unwrap_or(0)
    };
    // On a machine that stalls for a moment the file may have come before its cable is pulled.
    let mut random = fastrand::Rng::with_seed(1);
    for round in 1.. {
        assert!(round < 10, "the line never broke within a pull");
        let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(SIZE)
            .collect();
        fs::write(offered.with_extension("new"), &content).unwrap();
        fs::rename(offered.with_extension("new"), &offered).unwrap();
        let before = broken(&hub);
        let (pushed, hit) = std::thread::scope(|scope| {
            let push = scope.spawn(|| hub.json(&["push", "f", "--timeout", "50s"], &[]));
            let started = Instant::now();
            while part(&node).is_none_or(|size| size == 0) && !push.is_finished() {
                assert!(started.elapsed() < LIMIT, "nothing came: {}", node.log());
                std::thread::sleep(Duration::from_millis(1));
            }
            lab.cable("node0", false);
            let hit = !push.is_finished() && part(&node).is_some();
            if hit {
                hub.until("the session broke", |_| broken(&hub) > before);
            }
            lab.cable("node0", true);
            (push.join().unwrap(), hit)
        });
        assert_eq!(pushed.code, Some(0), "{:?}", pushed.lines.last());
        assert_eq!(
            ends(&pushed.lines),
            [("node".to_owned(), "done".to_owned())]
        );
        assert!(fs::read(node.directory().join("state/taken")).unwrap() == content);
        if hit {
            break;
        }
    }
    assert!(node.log().contains("resumes there"), "{}", node.log());
}

/// A program that maps a file and replaces its content twice, each time on a line on its standard input. The kernel
/// changes the file's times at the first write to a page at most.
const MAPPED: &str = r#"
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as content:
    for line in sys.stdin:
        content[:] = line.strip().encode()
        print("written", flush=True)
"#;

#[test]
fn push_reads_the_file_anew_though_neither_size_nor_any_of_its_times_shows_a_change() {
    let site = Site::new(LEASE, "", &["kiosk"]);
    let (kiosk, _) = &site.nodes[0];
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = memory.path().join("offered");
    fs::write(&file, "content 0").unwrap();
    fs::remove_file(&site.offered).unwrap();
    std::os::unix::fs::symlink(&file, &site.offered).unwrap();
    let mut writer = Command::new("python3")
        .args(["-c", MAPPED, file.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut write = |content: &str| {
        writeln!(writer.stdin.as_ref().unwrap(), "{content}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "written");
    };
    write("content 1");
    let pushed = site.hub.json(&["push", "f", "--timeout", "50s"], &[]);
    assert_eq!(pushed.code, Some(0), "{:?}", pushed.lines);
    assert_eq!(taken(kiosk), "content 1");
    let times = |file: &Path| {
        let metadata = fs::metadata(file).unwrap();
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        (changed, metadata.modified().unwrap(), metadata.len())
    };
    let before = times(&file);
    write("content 2");
    assert_eq!(times(&file), before, "the kernel shows no change");
    let pushed = site.hub.json(&["push", "f", "--timeout", "50s"], &[]);
    assert_eq!(pushed.code, Some(0), "{:?}", pushed.lines);
    assert_eq!(taken(kiosk), "content 2");
    drop(writer.stdin.take());
    writer.wait().unwrap();
}
