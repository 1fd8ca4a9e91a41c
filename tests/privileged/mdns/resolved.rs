//! Beside systemd-resolved, which `.ci/fetch-resolved` got without installing it.

use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use super::lab::{Bus, Node, Pair, Program, await_that, run};
use super::{PUBLISHED, SERVICE, ip, published};
use crate::namespaces::Namespace;

/// A systemd-resolved that runs, with multicast DNS on `eth0`.
struct Resolved {
    daemon: Program,
    bus: Bus,
    namespace: Namespace,
}

fn fetched(path: &str) -> String {
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let program = cache.join("hereabouts/systemd-resolved").join(path);
    assert!(
        program.exists(),
        "there is no {}: run .ci/fetch-resolved",
        program.display()
    );
    program.display().to_string()
}

impl Resolved {
    /// Starts one with this host name, users, `/run` and message bus of its own; `service` is a `.dnssd` file for it.
    fn start(pair: &Pair, namespace: &Namespace, host: &str, service: Option<&str>) -> Self {
        let directory = pair.directory.path().join(format!("resolved-{host}"));
        let bus = Bus::start(namespace, &directory);
        fs::write(
            directory.join("lab.conf"),
            "[Resolve]\nMulticastDNS=yes\nLLMNR=no\nDNSStubListener=no\nFallbackDNS=\n",
        )
        .unwrap();
        if let Some(service) = service {
            fs::write(directory.join("lab.dnssd"), service).unwrap();
        }
        // The daemon's user, by the number of Debian's `daemon`: the message bus refuses one that the machine has not.
        for (users, line) in [
            ("passwd", "systemd-resolve:x:1:1::/:/bin/false\n"),
            ("group", "systemd-resolve:x:1:\n"),
        ] {
            let others = fs::read_to_string(format!("/etc/{users}")).unwrap();
            let others = others
                .lines()
                .filter(|line| !line.starts_with("systemd-resolve:"));
            fs::write(
                directory.join(users),
                others.map(|line| format!("{line}\n")).collect::<String>() + line,
            )
            .unwrap();
        }
        fs::write(directory.join("empty"), "").unwrap();
        // A new name in any UTS namespace wakes everybody who watches the kernel's host name: resolved would start again with
        // its first name whenever another test runs, so it is given a file that can't be watched.
        // `ip netns exec` has mounts of its own, which end with the daemon. The message bus is in a directory that only
        // root may enter, and the daemon is not root.
        let script = format!(
            "set -e; cd {directory}; hostname {host}; mount --bind passwd /etc/passwd; mount --bind group /etc/group; \
             mount --bind empty $(realpath /etc/resolv.conf); mount --bind empty /proc/sys/kernel/hostname; mkdir -p bus; mount -t tmpfs tmpfs /run; \
             mkdir -p /run/dbus /run/systemd/resolve /run/systemd/resolved.conf.d /run/systemd/dnssd; \
             mount --bind bus /run/dbus; cp lab.conf /run/systemd/resolved.conf.d/; \
             test ! -e lab.dnssd || cp lab.dnssd /run/systemd/dnssd/; chown 1:1 /run/systemd/resolve; \
             exec {daemon}",
            directory = directory.display(),
            daemon = fetched("lib/systemd/systemd-resolved"),
        );
        let words = ["unshare", "--uts", "sh", "-c", &script];
        let log = [("SYSTEMD_LOG_TARGET", "console")];
        let daemon = Program::start(namespace, directory.join("log"), &log, &words);
        let resolved = Self {
            daemon,
            bus,
            namespace: namespace.clone(),
        };
        // As on a machine whose network is not managed by systemd-networkd.
        await_that("resolved uses multicast DNS", || {
            resolved.tool(&["mdns", "eth0", "yes"]).0
        });
        resolved
    }

    fn tool(&self, words: &[&str]) -> (bool, String) {
        let tool = fetched("usr/bin/resolvectl");
        let environment = [("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())];
        let output = run(
            &self.namespace,
            &environment,
            &[&["timeout", "20", &tool], words].concat(),
        );
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    /// A host's IPv4 address as resolved finds it on the network, not in its cache.
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        let (_, output) = self.tool(&["query", "--legend=no", "--cache=no", "-4", host]);
        output.split_whitespace().nth(1)?.parse().ok()
    }

    /// What resolved finds of a record.
    fn record(&self, kind: &str, name: &str) -> String {
        self.tool(&[
            "query",
            "--legend=no",
            "--cache=no",
            "--protocol=mdns",
            &format!("--type={kind}"),
            name,
        ])
        .1
    }
}

/// Which of two programs on one host begins.
const ORDERS: [bool; 2] = [true, false];

/// Starts resolved and a node on host `b`, in either order.
fn both(pair: &Pair, resolved_first: bool, host: &str, role: &str, more: &str) -> (Resolved, Node) {
    let resolved = || Resolved::start(pair, &pair.b, host, None);
    if resolved_first {
        let resolved = resolved();
        (resolved, pair.node(&pair.b, role, "laptop", more))
    } else {
        let node = pair.node(&pair.b, role, "laptop", more);
        await_that("the node holds the port", || {
            holders(&pair.b).contains("hereabouts")
        });
        (resolved(), node)
    }
}

/// The sockets of port 5353 on a host, with their programs.
fn holders(namespace: &Namespace) -> String {
    let output = run(namespace, &[], &["ss", "-Hlunp", "sport", "=", ":5353"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One more host on the bridge: 10.77.0.3.
fn third(pair: &Pair) -> Namespace {
    let namespace = pair.lab.namespace("c");
    pair.lab.plug(&namespace, "eth0", "br0");
    namespace.ip(&["addr", "add", "10.77.0.3/24", "dev", "eth0"]);
    namespace
}

#[test]
fn node_and_resolved_share_port_5353_and_both_receive_in_either_order() {
    for resolved_first in ORDERS {
        let pair = Pair::new();
        let far = pair.avahi(&pair.a, "box");
        let shelf = Resolved::start(&pair, &third(&pair), "shelf", None);
        let (desk, laptop) = both(&pair, resolved_first, "desk", "client", PUBLISHED);
        published(&laptop);
        let holders = holders(&pair.b);
        for program in ["\"hereabouts\"", "\"systemd-resolve\""] {
            assert_eq!(
                holders
                    .lines()
                    .filter(|line| line.contains(program))
                    .count(),
                2,
                "both families: {holders}"
            );
        }
        await_that("Avahi elsewhere has the node's address", || {
            far.resolve("laptop.local") == ip("10.77.0.2")
        });
        await_that("Avahi elsewhere sees the node's service", || {
            far.browse(SERVICE)
                .iter()
                .any(|line| line.contains("site=attic") && line.contains(";24373;"))
        });
        await_that("Avahi elsewhere has resolved's address", || {
            far.resolve("desk.local") == ip("10.77.0.2")
        });
        await_that("resolved elsewhere has the node's address", || {
            shelf.resolve("laptop.local") == ip("10.77.0.2")
        });
        let service = "laptop._hereabouts._udp.local";
        await_that("resolved elsewhere has the node's port", || {
            shelf.record("SRV", service).contains("24373")
        });
        assert!(
            shelf.record("TXT", service).contains("site=attic"),
            "{}",
            shelf.record("TXT", service)
        );
        await_that("resolved beside the node receives from others", || {
            desk.resolve("box.local") == ip("10.77.0.1")
        });
        // It passes over all that comes from an address of its own host (docs/mdns.md).
        assert_eq!(desk.resolve("laptop.local"), None);
        let findings =
            String::from_utf8(laptop.exec(&["doctor", "--output", "json"]).stdout).unwrap();
        assert!(
            findings
                .lines()
                .any(|line| line.contains("\"code\":\"mdns\"")),
            "{findings}"
        );
        assert_eq!(laptop.publication("eth0")["state"], "published");
    }
}

#[test]
fn server_is_found_by_a_client_beside_resolved_in_either_order() {
    for resolved_first in ORDERS {
        let pair = Pair::new();
        // The server announces nothing itself: resolved of its host announces it.
        let service = format!("[Service]\nName=Attic\nType={SERVICE}\nPort=24373\n");
        let _rack = Resolved::start(&pair, &pair.a, "rack", Some(&service));
        let _hub = pair.node(&pair.a, "server", "hub", "discovery: { methods: [] }");
        let (_desk, laptop) = both(
            &pair,
            resolved_first,
            "desk",
            "client",
            "discovery: { methods: [mdns] }",
        );
        await_that("the client holds its server", || {
            laptop.server()["name"] == "hub"
        });
        assert_eq!(laptop.server()["found_by"], "mdns");
    }
}

#[test]
fn server_beside_resolved_is_found_by_its_random_name() {
    for resolved_first in ORDERS {
        let pair = Pair::new();
        let (_desk, _server) = both(
            &pair,
            resolved_first,
            "desk",
            "server",
            "discovery: { methods: [mdns] }",
        );
        let client = pair.node(&pair.a, "client", "box", "discovery: { methods: [mdns] }");
        await_that("the client holds its server", || {
            client.server()["name"] == "laptop"
        });
        assert_eq!(client.server()["found_by"], "mdns");
    }
}

#[test]
fn resolved_of_this_host_with_our_name_is_no_conflict_in_either_order() {
    for resolved_first in ORDERS {
        let pair = Pair::new();
        let shelf = Resolved::start(&pair, &pair.a, "shelf", None);
        let (near, mut laptop) = both(&pair, resolved_first, "laptop", "client", PUBLISHED);
        published(&laptop);
        await_that("the name resolves", || {
            shelf.resolve("laptop.local") == ip("10.77.0.2")
        });
        let service = "laptop._hereabouts._udp.local";
        await_that("our service is seen", || {
            shelf.record("SRV", service).contains("24373")
        });
        assert_eq!(laptop.publication("eth0")["state"], "published");
        assert_eq!(
            near.resolve("laptop.local"),
            ip("10.77.0.2"),
            "resolved knows its own host's name"
        );
        assert!(
            !near.daemon.log().contains("onflict"),
            "{}",
            near.daemon.log()
        );
        laptop.program.stop();
        await_that("the service is withdrawn", || {
            !shelf.record("SRV", service).contains("24373")
        });
        await_that("resolved answers for its host", || {
            shelf.resolve("laptop.local") == ip("10.77.0.2")
        });
    }
}

#[test]
fn name_of_a_host_with_resolved_is_a_reported_conflict() {
    let pair = Pair::new();
    let _other = Resolved::start(&pair, &pair.a, "laptop", None);
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    await_that("the conflict is in the status", || {
        laptop.publication("eth0")["state"] == "conflict"
    });
    let reason = laptop.publication("eth0")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("laptop.local") && reason.contains("10.77.0.1"),
        "{reason}"
    );
}

#[test]
fn resolved_of_another_host_gives_way_to_a_published_name() {
    let pair = Pair::new();
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    let other = Resolved::start(&pair, &pair.a, "laptop", None);
    await_that("resolved takes another name", || {
        other.daemon.log().contains("onflict")
    });
    assert_eq!(laptop.publication("eth0")["state"], "published");
    let shelf = Resolved::start(&pair, &third(&pair), "shelf", None);
    await_that("the name is the node's", || {
        shelf.resolve("laptop.local") == ip("10.77.0.2")
    });
    assert_eq!(laptop.publication("eth0")["state"], "published");
}
