//! Every datagram that a server receives is answered, taken, or counted by the reason for which it is not.
//!
//! The server is flooded faster than it can read, with datagrams of every kind. What the kernel itself drops, as the socket's
//! buffer is full, is in `/proc/net/udp`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hereabouts::model::{Labels, Lease, NodeId, Record, Role, Timestamp};
use hereabouts::wire::v1::{
    Answer, Message, Notice, Query, Refusal, Refused, Regarding, Registered, Renewal, SignedRecord,
    Subject, Want,
};
use hereabouts::wire::{Identity, KeyRing, Secret};
use serde_json::Value;

use crate::memory::{Running, await_that, secret};

/// Datagrams of one flood.
const FLOOD: usize = 30_000;
/// Addresses of loopback that the flood comes from.
const SOURCES: u8 = 16;

type Counters = BTreeMap<String, BTreeMap<String, u64>>;

fn program(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hereabouts"));
    command.arg("--config").arg(directory.join("hub.yaml"));
    command.stdin(Stdio::null());
    command
}

/// A server on loopback that sends nothing on its own account.
fn server(directory: &Path, port: u16) -> Running {
    secret(&directory.join("key"), &[7; 32]);
    let config = format!(
        "role: server\n\
         node: {{ name: hub, state_dir: hub }}\n\
         channel: {{ name: count, keys: [{{ file: key }}] }}\n\
         listen: {{ address: 127.0.0.1, port: {port} }}\n\
         discovery: {{ methods: [] }}\n\
         interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n"
    );
    fs::write(directory.join("hub.yaml"), config).unwrap();
    let log = File::create(directory.join("log")).unwrap();
    let mut command = program(directory);
    command.arg("run").stdout(Stdio::null()).stderr(log);
    let running = Running::new(command.spawn().unwrap());
    await_that("the server is healthy", || {
        let health = program(directory).arg("health").output().unwrap();
        health.status.success()
    });
    running
}

fn counters(directory: &Path) -> Counters {
    let output = program(directory)
        .args(["status", "--output", "json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(status["counters"].clone()).unwrap()
}

/// What the kernel dropped for want of room in the buffer of the socket at this port.
fn dropped_by_the_kernel(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(&format!("0100007F:{port:04X} ")))
        .unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn get(counters: &Counters, group: &str, name: &str) -> u64 {
    counters
        .get(group)
        .and_then(|group| group.get(name))
        .copied()
        .unwrap_or(0)
}

fn sum(counters: &Counters, group: &str) -> u64 {
    counters.get(group).map_or(0, |group| group.values().sum())
}

/// Makes datagrams of every kind, sealed by a member of the channel where that is needed.
struct Sender {
    key_ring: KeyRing,
    identity: Identity,
    nonce: u64,
}

impl Sender {
    fn sealed(&mut self, message: &Message) -> Vec<u8> {
        self.nonce += 1;
        let mut nonce = [9; 24];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        let mut out = vec![0; 1200];
        let length = message
            .seal(self.key_ring.first(), &nonce, &mut out)
            .unwrap();
        out.truncate(length);
        out
    }

    fn query(&mut self, want: Want, clock: Timestamp) -> Vec<u8> {
        let id = self.nonce;
        let window = Duration::ZERO;
        self.sealed(&Message::Query(Query {
            id,
            want,
            clock,
            window,
        }))
    }

    fn record(&self, sequence: u64, lease: Lease) -> SignedRecord {
        let record = Record {
            name: "sender".parse().unwrap(),
            epoch: 1,
            sequence,
            boot: 1,
            lease,
            addresses: Vec::new(),
            port: 1,
            role: Role::Client,
            labels: Labels::default(),
        };
        SignedRecord::sign(&record, &self.identity, self.key_ring.first().id()).unwrap()
    }

    /// One datagram of each kind that does not depend on the clock.
    fn fixed(&mut self) -> Vec<Vec<u8>> {
        let record = self.record(1, Lease(90));
        let mut wrong = record.clone();
        wrong.signature[0] ^= 1;
        let goodbye = self.record(2, Lease::ZERO);
        let node = NodeId([3; 32]);
        let here: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
        let key = self.key_ring.first().id();
        let notice = Notice::sign(&self.identity, key, "f", 1, 1, [0; 32]).unwrap();
        let messages = [
            Message::Register(record.clone()),
            Message::Register(wrong),
            Message::Renew(Renewal {
                node,
                epoch: 1,
                base: 1,
                sequence: 2,
                proof: [0; 16],
            }),
            Message::Renew(Renewal {
                node: self.identity.id(),
                epoch: 1,
                base: 1,
                sequence: 2,
                proof: [0; 16],
            }),
            Message::Announcement(record),
            Message::Goodbye(goodbye),
            Message::Notice(notice),
            Message::Registered(Registered {
                sequence: 1,
                seen: here,
                lease: Lease(90),
                clock: Timestamp(1),
                offers: None,
            }),
            Message::Answer(Answer {
                id: 1,
                seen: here,
                subject: Subject::Unknown { server: node },
            }),
            Message::Refused(Refused {
                regarding: Regarding::Sequence(1),
                refusal: Refusal::UnknownRecord,
            }),
        ];
        let mut datagrams: Vec<_> = messages
            .iter()
            .map(|message| self.sealed(message))
            .collect();
        let whole = datagrams[0].clone();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        let mut foreign = whole.clone();
        foreign[1..9].fill(0xaa);
        let mut version = whole.clone();
        version[0] ^= 0xff;
        datagrams.extend([
            changed,
            foreign,
            version,
            whole[..5].to_vec(),
            vec![1; 1400],
            Vec::new(),
        ]);
        datagrams
    }
}

#[test]
fn every_datagram_of_a_flood_is_answered_taken_or_counted_by_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let _server = server(directory.path(), port);
    let sockets: Vec<_> = (0..SOURCES)
        .map(|last| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2 + last), 0)).unwrap())
        .collect();
    let mut sender = Sender {
        key_ring: KeyRing::new("count", &[Secret::key([7; 32])]).unwrap(),
        identity: Identity::from_seed(&[5; 32]),
        nonce: 0,
    };
    let now = Timestamp::from_system(SystemTime::now());
    let fixed = sender.fixed();
    let names = |number: usize| match number % 5 {
        0 => Want::All,
        1 => Want::Name("nobody".parse().unwrap()),
        2 => Want::Holder(Ipv4Addr::LOCALHOST.into()),
        _ => Want::Servers,
    };
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| match number % 4 {
            0 => fixed[number / 4 % fixed.len()].clone(),
            1 => sender.query(names(number / 4), Timestamp(1)),
            _ => sender.query(names(number / 4), now),
        })
        .collect();
    // Fresh queries are sent twice now and then: the second is a replay.
    let mut sent = 0;
    for (number, datagram) in flood.iter().enumerate() {
        for _ in 0..if number % 97 == 3 { 2 } else { 1 } {
            let socket = &sockets[number % sockets.len()];
            socket
                .send_to(datagram, (Ipv4Addr::LOCALHOST, port))
                .unwrap();
            sent += 1;
        }
    }
    let settled = |counters: &Counters| {
        let own = |name| get(counters, "datagrams", name);
        let held_back = get(counters, "dropped", "reply_too_long");
        let answered = own("answers") + own("registers") + own("renewals");
        let counted = own("notices") + sum(counters, "taken") + sum(counters, "ignored");
        let replies = answered + sum(counters, "refused");
        let dropped = sum(counters, "dropped") - held_back;
        let inward = own("received") == replies + counted + dropped;
        let outward = own("sent") + own("send_errors") + held_back == replies;
        inward && outward && own("received") + dropped_by_the_kernel(port) == sent
    };
    await_that("every datagram is accounted for", || {
        let counters = counters(directory.path());
        println!(
            "{sent} sent, {} dropped by the kernel: {counters:?}",
            dropped_by_the_kernel(port)
        );
        settled(&counters)
    });
    let counters = counters(directory.path());
    for name in ["answers", "registers"] {
        assert!(get(&counters, "datagrams", name) > 0, "{name}");
    }
    for (group, names) in [
        (
            "dropped",
            &[
                "too_long",
                "too_short",
                "other_version",
                "unknown_key",
                "forged",
                "forged_record",
            ][..],
        ),
        ("ignored", &["replayed", "clock", "notice"][..]),
        ("refused", &["clock", "unknown_record"][..]),
        (
            "taken",
            &["answer", "registered", "refused", "announcement", "goodbye"][..],
        ),
    ] {
        for name in names {
            assert!(get(&counters, group, name) > 0, "{group}.{name}");
        }
    }
}
