//! A server that is killed loses nothing that it acknowledged, and its file always opens.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hereabouts::model::{
    Address, Labels, Lease, NodeId, NodeName, Now, Origin, Record, Role, Timestamp,
};
use hereabouts::registry::store::{Ticket, Writer};
use hereabouts::registry::{Outcome, Registration, RenewOutcome, Settings, Table};
use hereabouts::wire::KeyId;
use hereabouts::wire::v1::SignedRecord;

/// Set for the child alone: the file that it writes.
const FILE: &str = "HEREABOUTS_TEST_CRASH_FILE";
const ROUNDS: u32 = 25;
const NODES: u32 = 200;
const SERVER: NodeId = NodeId([3; 32]);

fn node_id(index: u32) -> NodeId {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&index.to_le_bytes());
    NodeId(id)
}

/// An address that encodes node and sequence number, so that a mixed-up row shows.
fn address(index: u32, sequence: u64) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + index * 10_000 + (sequence % 10_000) as u32).into()
}

fn registration(index: u32, sequence: u64) -> Registration {
    let record = Record {
        name: NodeName::parse(&format!("node-{index}")).unwrap(),
        epoch: 1,
        sequence,
        boot: 1,
        lease: Lease(3600),
        addresses: vec![Address {
            ip: address(index, sequence),
            interface: None,
            origin: Origin::Interface,
        }],
        port: 1,
        role: Role::Client,
        labels: Labels::default(),
    };
    let body = [u64::from(index).to_le_bytes(), sequence.to_le_bytes()].concat();
    let signed = SignedRecord {
        node: node_id(index),
        key: KeyId([0; 4]),
        body: body.into(),
        signature: [0; 64],
    };
    Registration {
        record,
        signed,
        source: SocketAddr::new(address(index, 0), 1),
        key: KeyId([0; 4]),
    }
}

fn now() -> Now {
    let wall = Timestamp::from_system(SystemTime::now());
    Now {
        elapsed: Duration::from_millis(wall.0),
        wall,
    }
}

fn load(path: &Path) -> (Table, Writer) {
    let mut table = Table::new(Settings {
        max_lease: Lease(3600),
        max_intervals_per_node: 20,
        ..Settings::default()
    });
    let (writer, _) = Writer::open(path, SERVER, |node| table.load(now(), node)).unwrap();
    (table, writer)
}

fn wait_until_durable(writer: &Writer, ticket: Ticket) {
    let progress = writer.progress();
    while progress.borrow().durable < ticket {
        std::thread::sleep(Duration::from_micros(100));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn seeded() -> Self {
        Self((now().wall.0 * 1000 + u64::from(std::process::id())) | 1)
    }
}

/// Registers and renews for ever, and prints on stdout what it acknowledged.
#[test]
#[ignore = "a child process of acknowledged_changes_survive_sigkill"]
fn child() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let (mut table, mut writer) = load(Path::new(&path));
    let mut random = Random::seeded();
    let mut out = std::io::stdout();
    // The test harness has begun a line of its own.
    out.write_all(b"\n").unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let mut acks = String::new();
        for _ in 0..=random.below(40) {
            let index = random.below(u64::from(NODES)) as u32;
            let (sequence, base) = table
                .by_id(&node_id(index))
                .map_or((0, 0), |node| (node.order().1, node.record().sequence));
            let next = sequence + 1;
            if base > 0 && random.below(3) == 0 {
                let source = registration(index, 0).source;
                let renewed = table.renew(now(), &node_id(index), 1, base, next, source);
                assert!(
                    matches!(renewed, RenewOutcome::Renewed { .. }),
                    "{renewed:?}"
                );
            } else {
                let outcome = table.register(now(), registration(index, next));
                assert!(
                    matches!(outcome, Outcome::Accepted { changed: true, .. }),
                    "{outcome:?}"
                );
            }
            acks += &format!("ack {index} {next}\n");
        }
        let mut ticket = Ticket(0);
        while table.is_dirty() {
            ticket = writer.submit(table.take_dirty()).unwrap();
        }
        if table.is_seen_dirty() {
            ticket = writer.submit(table.take_seen()).unwrap();
        }
        wait_until_durable(&writer, ticket);
        out.write_all(acks.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

fn kill_after(mut child: Child, delay: Duration) -> JoinHandle<ExitStatus> {
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap()
    })
}

#[test]
fn acknowledged_changes_survive_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let mut random = Random::seeded();
    println!("seed {}", random.0);
    let mut acknowledged: HashMap<u32, u64> = HashMap::new();
    let mut killed_at_work = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "store_crash::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut child = Some(child);
        let mut killer = None;
        // Some die while they start, most at work.
        if round % 5 == 4 {
            killer = child
                .take()
                .map(|child| kill_after(child, Duration::from_micros(random.below(20_000))));
        }
        let mut acks = 0;
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            // The kill may cut the last line short; then its sequence number is smaller, or missing.
            let mut words = line.split(' ');
            if words.next() != Some("ack") {
                continue;
            }
            let (Some(index), Some(sequence)) = (words.next(), words.next()) else {
                continue;
            };
            let (Ok(index), Ok(sequence)) = (index.parse(), sequence.parse::<u64>()) else {
                continue;
            };
            let entry = acknowledged.entry(index).or_default();
            *entry = sequence.max(*entry);
            acks += 1;
            if let Some(child) = child.take() {
                killer = Some(kill_after(
                    child,
                    Duration::from_micros(random.below(120_000)),
                ));
            }
        }
        let status = killer.expect("the child must come to work").join().unwrap();
        assert_eq!(status.signal(), Some(9), "the child must not end by itself");
        killed_at_work += u32::from(acks > 0);

        let (table, writer) = load(&path);
        for (index, sequence) in &acknowledged {
            let node = table
                .by_id(&node_id(*index))
                .unwrap_or_else(|| panic!("round {round}: node {index} is lost"));
            assert!(
                node.order().1 >= *sequence,
                "round {round}: node {index} {:?} < {sequence}",
                node.order()
            );
            let base = node.record().sequence;
            assert_eq!(
                node.record(),
                registration(*index, base).record,
                "round {round}"
            );
            let ip = address(*index, base);
            assert!(
                node.history()
                    .any(|interval| interval.ip == ip && interval.to.is_none()),
                "round {round}"
            );
        }
        assert_eq!(table.counters().load_conflicts, 0);
        writer.shutdown().unwrap();
    }
    assert!(
        killed_at_work >= 20,
        "too few children came to work: {killed_at_work}"
    );
    assert!(!acknowledged.is_empty());
}
