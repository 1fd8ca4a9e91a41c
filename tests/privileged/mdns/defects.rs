//! What was once seen to go wrong, each tried with the real program.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::lab::{Node, Pair, await_that, run};
use super::{PUBLISHED, SERVICE, ip, published};

/// A name in the encoding of DNS.
fn name(text: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    [text.split('.').flat_map(label).collect(), vec![0]].concat()
}

/// A response; each record is whole.
fn response(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    [
        &[0, 0, 0x84, 0, 0, 0],
        &count[..],
        &[0; 4],
        &records.concat(),
    ]
    .concat()
}

fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &[0, kind, 0, 1, 0, 0, 0, 120], &length, data].concat()
}

/// A response with this many address records of one host, numbered; all but the first point to the first one's name.
fn addresses_of(host: &str, first: u32, count: u32) -> Vec<u8> {
    let owner = |number| {
        if number == first {
            name(host)
        } else {
            vec![0xc0, 12]
        }
    };
    let record = |number: u32| {
        record(
            &owner(number),
            1,
            &(0x0a4d_0000 + 0x100 + number).to_be_bytes(),
        )
    };
    response(&(first..first + count).map(record).collect::<Vec<_>>())
}

/// Sends packets from host `a` to everybody, one each 3 ms.
fn send(pair: &Pair, packets: Vec<Vec<u8>>) {
    pair.a
        .run(async move |_| {
            let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
            for packet in packets {
                socket.send_to(&packet, "224.0.0.251:5353").unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
        .join();
}

/// Sends packets, one after another, until this holds: one may be lost while the node is busy with those before.
fn send_until(
    pair: &Pair,
    mut packets: impl Iterator<Item = Vec<u8>>,
    what: &str,
    holds: impl Fn() -> bool,
) {
    await_that(what, || {
        send(pair, packets.next().into_iter().collect());
        holds()
    });
}

fn floods(node: &Node) -> Option<u64> {
    node.status()["counters"]["mdns"]["floods"].as_u64()
}

/// That a node's memory grows by less than the bound of docs/mdns.md while this happens to it.
fn grows_little(node: &Node, happens: impl FnOnce()) {
    let before = node.program.peak();
    happens();
    let grown = node.program.peak() - before;
    eprintln!("{before} KiB and {grown} more");
    assert!(grown < 64 * 1024, "{before} KiB grew by {grown}");
}

/// A response with 24 instances of the service, numbered, on one host that has no address yet.
fn instances(first: u32) -> Vec<u8> {
    let service = name(&format!("{SERVICE}.local"));
    let instance = |number: u32| {
        let label = format!("i{number:04}");
        let instance = [&[5], label.as_bytes(), &[0xc0, 12]].concat();
        let target = [&[0, 0, 0, 0, 0x5f, 0x35], &name("host.local")[..]].concat();
        let owner = if number == first {
            service.clone()
        } else {
            vec![0xc0, 12]
        };
        [
            record(&owner, 12, &instance),
            record(&instance, 33, &target),
        ]
    };
    response(&(first..first + 24).flat_map(instance).collect::<Vec<_>>())
}

/// Waits for the link-local addresses: one that comes later makes the node start again, and forget what was sent to it.
fn addresses_assigned(pair: &Pair) {
    await_that("the addresses are assigned", || {
        let addresses = pair
            .b
            .text(&["-6", "address", "show", "dev", "eth0", "scope", "link"]);
        addresses.contains("fe80::") && !addresses.contains("tentative")
    });
}

/// Starts a client, and waits until it browses.
fn browsing(pair: &Pair) -> Node {
    addresses_assigned(pair);
    let capture = pair.capture(&pair.a, "eth0");
    let laptop = pair.node(
        &pair.b,
        "client",
        "laptop",
        "discovery: { methods: [mdns] }",
    );
    await_that("it browses", || {
        capture
            .so_far()
            .contains("PTR (QM)? _hereabouts._udp.local.")
    });
    laptop
}

#[test]
fn addresses_of_the_nodes_own_name_take_bounded_memory() {
    let pair = Pair::new();
    addresses_assigned(&pair);
    let hub = pair.node(&pair.b, "server", "hub", "publish: [{ type: mdns }]");
    published(&hub);
    grows_little(&hub, || {
        let packets = || (0..300).map(|packet| addresses_of("hub.local", packet * 60, 60));
        send(&pair, packets().collect());
        send_until(&pair, packets(), "the flood is counted", || {
            floods(&hub) > Some(0)
        });
    });
}

#[test]
fn packets_longer_than_a_frame_are_not_taken() {
    let pair = Pair::new();
    addresses_assigned(&pair);
    let hub = pair.node(&pair.b, "server", "hub", "publish: [{ type: mdns }]");
    published(&hub);
    grows_little(&hub, || {
        send(
            &pair,
            (0..20)
                .map(|packet| addresses_of("hub.local", packet * 500, 500))
                .collect(),
        );
        // What was sent before is read before: the question is answered by the same daemon.
        let short = || addresses_of("hub.local", 60_000, 1);
        let conflict = || hub.publication("eth0")["state"] == "conflict";
        send_until(
            &pair,
            std::iter::repeat_with(short),
            "a short one is received",
            conflict,
        );
    });
    let reason = hub.publication("eth0")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("a host at 10.77.235.96:"),
        "of those in the long ones none: {reason}"
    );
}

#[test]
fn many_instances_on_one_host_take_bounded_memory_of_a_client_that_browses() {
    let pair = Pair::new();
    let laptop = browsing(&pair);
    // Fewer than 1,000 of them, and less than 4,096 records in all.
    let mut packets: Vec<_> = [0, 0]
        .iter()
        .flat_map(|_| (0..39).map(|packet| instances(packet * 24)))
        .collect();
    packets.extend((0..4).map(|packet| addresses_of("host.local", packet * 500, 500)));
    grows_little(&laptop, || {
        send(&pair, packets);
        let addresses = (0..30).map(|packet| addresses_of("host.local", packet * 60, 60));
        send_until(&pair, addresses, "the flood is counted", || {
            floods(&laptop) > Some(0)
        });
    });
    await_that("the flood is in the log", || {
        laptop.program.log().contains("flooded")
    });
}

#[test]
fn more_events_than_are_taken_are_a_flood_that_is_counted_and_followed_by_a_pause() {
    let pair = Pair::new();
    let laptop = browsing(&pair);
    // The crate gives a subscription up when 1,000 events wait, and each new address is one for each of these.
    let twice = || (0..50).map(|packet| instances(packet * 24));
    send(&pair, twice().chain(twice()).collect());
    let addresses = (0..50).map(|address| addresses_of("host.local", address, 1));
    send_until(&pair, addresses, "the flood is counted", || {
        floods(&laptop) > Some(0)
    });
    await_that("the flood is in the log", || {
        laptop.program.log().contains("flooded")
    });
}

#[test]
fn two_interfaces_on_one_link_are_no_conflict_and_either_may_go() {
    let pair = Pair::new();
    let far = pair.avahi(&pair.a, "box");
    pair.lab.plug(&pair.b, "eth1", "br0");
    pair.b.ip(&["addr", "add", "10.77.0.3/24", "dev", "eth1"]);
    for (interface, address) in [("eth0", "fd00:77::2/64"), ("eth1", "fd00:77::3/64")] {
        pair.b
            .ip(&["addr", "add", address, "dev", interface, "nodad"]);
    }
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    for interface in ["eth0", "eth1"] {
        await_that("both are published under the name", || {
            let view = laptop.publication(interface);
            view["state"] == "published" && view["name"] == "laptop.local"
        });
    }
    pair.b.ip(&["link", "set", "eth1", "down"]);
    await_that("eth1 is left", || laptop.publication("eth1").is_null());
    await_that("the name resolves by the other", || {
        far.resolve("laptop.local") == ip("10.77.0.2")
    });
    let view = laptop.publication("eth0");
    assert!(
        view["state"] == "published" && view["name"] == "laptop.local",
        "{view}"
    );
    assert!(
        !laptop.program.log().contains("is taken by"),
        "{}",
        laptop.program.log()
    );
}

#[test]
fn a_name_outlives_the_responder_that_it_was_shown_beside() {
    let pair = Pair::new();
    let far = pair.avahi(&pair.a, "box");
    let mut near = pair.avahi(&pair.b, "laptop");
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    near.daemon.stop();
    await_that("the name is the node's", || {
        far.resolve("laptop.local") == ip("10.77.0.2")
    });
    pair.b.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    pair.b.ip(&["addr", "add", "10.77.0.9/24", "dev", "eth0"]);
    pair.b.ip(&["addr", "del", "10.77.0.2/24", "dev", "eth0"]);
    await_that("the new address resolves", || {
        far.resolve("laptop.local") == ip("10.77.0.9")
    });
    await_that("the status shows it", || {
        let view = laptop.publication("eth0");
        view["state"] == "published" && view["name"] == "laptop.local" && view["reason"].is_null()
    });
}

#[test]
fn a_name_is_not_won_while_the_port_is_held_by_another_program() {
    let pair = Pair::new();
    let (held, release) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let holder = {
        let (held, release) = (held.clone(), release.clone());
        pair.b.run(async move |_| {
            let _socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
            held.store(true, Ordering::Relaxed);
            while !release.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    await_that("the port is held", || held.load(Ordering::Relaxed));
    let other = pair.avahi(&pair.a, "laptop");
    let started = Instant::now();
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    await_that("the port can't be shared", || {
        laptop.publication("eth0")["state"] == "failed"
    });
    // Longer than a question takes on a link that works.
    await_that("some time has passed", || {
        started.elapsed() > Duration::from_secs(4)
    });
    let capture = pair.capture(&pair.a, "eth0");
    release.store(true, Ordering::Relaxed);
    holder.join();
    await_that("the conflict is in the status", || {
        laptop.publication("eth0")["state"] == "conflict"
    });
    let reason = laptop.publication("eth0")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(reason.contains("10.77.0.1"), "{reason}");
    assert_eq!(other.resolve("laptop.local"), ip("10.77.0.1"));
    let (text, _) = capture.end();
    assert!(
        !text.contains("[0s]"),
        "the other host's records were withdrawn: {text}"
    );
    assert!(!text.contains("laptop-2"), "renamed in silence: {text}");
    assert!(
        !other.daemon.log().contains("onflict"),
        "{}",
        other.daemon.log()
    );
}

#[test]
fn a_node_with_a_long_name_is_shown_by_its_first_label() {
    let pair = Pair::new();
    let far = pair.avahi(&pair.a, "box");
    let label = "n".repeat(63);
    let node = pair.node(
        &pair.b,
        "client",
        &format!("{label}.attic.example"),
        PUBLISHED,
    );
    published(&node);
    let host = format!("{label}.local");
    await_that("the host resolves", || {
        far.resolve(&host) == ip("10.77.0.2")
    });
    let found = || {
        far.browse(SERVICE)
            .iter()
            .any(|line| line.contains(&format!(";{label};{SERVICE};")))
    };
    await_that("its service is seen", found);
}

#[test]
fn a_node_that_was_stopped_queries_and_probes_again_even_after_an_earlier_address_change() {
    let pair = Pair::new();
    let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
    published(&laptop);
    let capture = pair.capture(&pair.a, "eth0");
    pair.b.ip(&["addr", "add", "10.77.0.9/24", "dev", "eth0"]);
    await_that("the new address is announced", || {
        capture
            .when("laptop.local. (Cache flush) [2m] A 10.77.0.9")
            .is_some()
    });
    published(&laptop);
    drop(capture);
    kill_process(laptop.program.id(), Signal::STOP).unwrap();
    let stopped = Instant::now();
    await_that("the stop is long enough", || {
        stopped.elapsed() > Duration::from_secs(20)
    });
    let capture = pair.capture(&pair.a, "eth0");
    kill_process(laptop.program.id(), Signal::CONT).unwrap();
    await_that("it probes", || {
        capture.when("ANY (QM)? laptop.local.").is_some()
    });
    let asked = capture.when("A (QM)? laptop.local.");
    assert!(
        asked.is_some() && asked < capture.when("ANY (QM)? laptop.local."),
        "it asks first: {}",
        capture.so_far()
    );
    published(&laptop);
}

/// Lets each socket of a process on port 5353 leave a group.
const LEAVE: &str = r#"
import ctypes, os, socket, struct, sys
pid, interface, group = int(sys.argv[1]), socket.if_nametoindex(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
family = socket.AF_INET6 if ":" in group else socket.AF_INET
address = socket.inet_pton(family, group)
process, seen = os.pidfd_open(pid), set()
for name in os.listdir(f"/proc/{pid}/fd"):
    target = os.readlink(f"/proc/{pid}/fd/{name}")
    if not target.startswith("socket:") or target in seen:
        continue
    seen.add(target)
    copy = libc.syscall(438, process, int(name), 0) # pidfd_getfd
    if copy < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=copy) as it:
        if it.family != family or it.type != socket.SOCK_DGRAM or it.getsockname()[1] != 5353:
            continue
        if family == socket.AF_INET6:
            it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, struct.pack("=16sI", address, interface))
        else:
            it.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, struct.pack("=4s4si", address, bytes(4), interface))
"#;

#[test]
fn a_group_that_the_kernel_dropped_is_joined_again_by_the_next_event() {
    for group in ["224.0.0.251", "ff02::fb"] {
        let pair = Pair::new();
        pair.b
            .ip(&["addr", "add", "fd00:77::2/64", "dev", "eth0", "nodad"]);
        let laptop = pair.node(&pair.b, "client", "laptop", PUBLISHED);
        published(&laptop);
        let joined = || {
            pair.b
                .text(&["maddr", "show", "dev", "eth0"])
                .contains(group)
        };
        assert!(joined(), "it is in {group}");
        let pid = laptop.program.id().as_raw_nonzero().to_string();
        let left = run(&pair.b, &[], &["python3", "-c", LEAVE, &pid, "eth0", group]);
        assert!(
            left.status.success(),
            "{}",
            String::from_utf8_lossy(&left.stderr)
        );
        assert!(!joined(), "the kernel holds {group} still");
        // An event after which the interface is as before.
        pair.b.ip(&["link", "set", "eth0", "txqueuelen", "500"]);
        await_that("it is in the group again", joined);
        published(&laptop);
    }
}
