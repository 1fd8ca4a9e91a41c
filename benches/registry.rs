//! The registry's memory, throughput and durability, as ratios within one run: `cargo bench --bench
//! registry`.

#![expect(clippy::expect_used, reason = "a benchmark may panic")]

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hereabouts::model::{
    Address, InterfaceName, Labels, Lease, NodeId, NodeName, Now, Origin, Record, Role, Timestamp,
};
use hereabouts::registry::store::{Ticket, Writer};
use hereabouts::registry::{Batch, Change, Outcome, Registration, RenewOutcome, Settings, Table};
use hereabouts::wire::KeyId;
use hereabouts::wire::v1::SignedRecord;

const MILLION: u32 = 1_000_000;
/// The approximate length of a record's body with a name, two addresses and a label, in bytes.
const BODY: usize = 130;

fn main() {
    // `cargo test --benches` runs this too, as a check that it works: small numbers are enough for
    // that.
    let small = !std::env::args().any(|argument| argument == "--bench");
    let many = if small { 10_000 } else { MILLION };
    memory_and_speed(many);
    if small {
        durable(&[(20, 5)]);
    } else {
        durable(&[(1, 300), (20, 300), (1000, 60)]);
    }
}

fn memory_and_speed(many: u32) {
    let rounds = 2_000_000.min(many as usize * 4);
    let mut few = filled(1000);
    let few_renewals = renewals(&mut few, 1000, rounds);
    let few_queries = queries(&few, 1000, rounds);
    drop(few);

    let before = resident();
    let mut table = filled(many);
    let bytes = (resident() - before) as f64 / f64::from(many);
    println!("memory: {bytes:.0} bytes resident a record at {many} (target: at most 1024)");

    let many_renewals = renewals(&mut table, many, rounds);
    println!(
        "renewals: {:.0}/s at 1,000 nodes, {:.0}/s at {many}; ratio {:.2}",
        few_renewals,
        many_renewals,
        many_renewals / few_renewals
    );
    let many_queries = queries(&table, many, rounds);
    println!(
        "look-ups by name: {:.0}/s at 1,000 nodes, {:.0}/s at {many}; ratio {:.2}",
        few_queries,
        many_queries,
        many_queries / few_queries
    );
    let start = Instant::now();
    let pages = table.take_seen();
    println!(
        "renewal times of all: {} pages, {} bytes, taken in {:?}",
        pages.seen.len(),
        pages.bytes(),
        start.elapsed()
    );

    reload(&mut table, many);
}

fn reload(table: &mut Table, many: u32) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let path = directory.path().join("registry.redb");
    let (mut writer, _) = Writer::open(&path, NodeId([0; 32]), |_| ()).expect("a new store");
    let start = Instant::now();
    while table.is_dirty() {
        submit(&mut writer, table.take_dirty());
    }
    writer.shutdown().expect("a disk that works");
    let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    println!(
        "store: {many} rows written in {:?}, {} bytes a row in the file",
        start.elapsed(),
        size / u64::from(many)
    );
    let mut loaded = Table::new(settings());
    let start = Instant::now();
    let (writer, opened) =
        Writer::open(&path, NodeId([0; 32]), |node| loaded.load(now(1), node)).expect("the store");
    println!(
        "store: {} rows loaded in {:?}",
        opened.nodes,
        start.elapsed()
    );
    drop(writer);
}

fn submit(writer: &mut Writer, batch: Batch) -> Ticket {
    let mut batch = batch;
    loop {
        match writer.submit(batch) {
            Ok(ticket) => return ticket,
            Err(full) => batch = full.0,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes changed records durable, compared with a file append and fdatasync of the same bytes in
/// the same groups.
fn durable(groups: &[(u32, u32)]) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    for (group, rounds) in groups.iter().copied() {
        let mut table = filled(10_000);
        while table.is_dirty() {
            table.take_dirty();
        }
        let path = directory.path().join(format!("{group}.redb"));
        let (mut writer, _) = Writer::open(&path, NodeId([0; 32]), |_| ()).expect("a new store");
        let progress = writer.progress();
        let mut log =
            File::create(directory.path().join(format!("{group}.log"))).expect("a new file");
        let mut stored = Duration::ZERO;
        let mut appended = Duration::ZERO;
        let mut sequence: u64 = 1;
        // Alternately, so that both find the same state of the disk.
        for round in 0..rounds {
            sequence += 1;
            for index in 0..group {
                let node = (round * group + index).wrapping_mul(7919) % 10_000;
                let outcome = table.register(now(2), registration(node, sequence));
                assert!(
                    matches!(outcome, Outcome::Accepted { change, .. } if change != Change::Same)
                );
            }
            let batch = table.take_dirty();
            let bytes: Vec<u8> = batch
                .rows
                .iter()
                .filter_map(|row| row.value.as_ref())
                .flat_map(|value| value.iter().copied())
                .collect();
            let start = Instant::now();
            let ticket = submit(&mut writer, batch);
            while progress.borrow().durable < ticket {
                std::thread::sleep(Duration::from_micros(20));
            }
            stored += start.elapsed();
            let start = Instant::now();
            log.write_all(&bytes)
                .and_then(|()| log.sync_data())
                .expect("a disk that works");
            appended += start.elapsed();
        }
        let count = f64::from(group * rounds);
        let store = count / stored.as_secs_f64();
        let append = count / appended.as_secs_f64();
        println!(
            "durable in groups of {group}: {store:.0}/s, bare append and fdatasync {append:.0}/s; ratio {:.2}",
            store / append
        );
    }
}

fn renewals(table: &mut Table, nodes: u32, rounds: usize) -> f64 {
    let mut sequences = vec![1_u64; nodes as usize];
    let mut index = 0_u32;
    let start = Instant::now();
    for _ in 0..rounds {
        // A stride that visits all nodes in an order that no cache can predict.
        index = (index + 611_953) % nodes;
        let sequence = &mut sequences[index as usize];
        *sequence += 1;
        let outcome = table.renew(now(2), &node_id(index), 1, 1, *sequence, source(index));
        assert!(matches!(
            outcome,
            RenewOutcome::Renewed { changed: false, .. }
        ));
    }
    rounds as f64 / start.elapsed().as_secs_f64()
}

fn queries(table: &Table, nodes: u32, rounds: usize) -> f64 {
    let names: Vec<NodeName> = (0..10_000)
        .map(|index| name((index as u32).wrapping_mul(611_953) % nodes))
        .collect();
    let start = Instant::now();
    for index in 0..rounds {
        black_box(
            table
                .by_name(&names[index % names.len()])
                .map(|node| node.sighting()),
        );
    }
    rounds as f64 / start.elapsed().as_secs_f64()
}

fn filled(nodes: u32) -> Table {
    let mut table = Table::new(settings());
    for index in 0..nodes {
        let outcome = table.register(now(1), registration(index, 1));
        assert!(matches!(outcome, Outcome::Accepted { .. }));
        table.set_renewal_key(&node_id(index), [1; 32]);
    }
    table
}

fn settings() -> Settings {
    Settings {
        max_nodes: 2 * MILLION as usize,
        max_lease: Lease(900),
        ..Settings::default()
    }
}

fn now(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now {
        elapsed,
        wall: Timestamp(1_700_000_000_000).plus(elapsed),
    }
}

/// An id that is as random as a public key.
fn node_id(index: u32) -> NodeId {
    let mut id = [0; 32];
    let mut word = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for chunk in id.chunks_mut(8) {
        word ^= word >> 29;
        word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(1);
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    id[..4].copy_from_slice(&index.wrapping_mul(0x9e37_79b1).to_le_bytes());
    NodeId(id)
}

fn name(index: u32) -> NodeName {
    NodeName::parse(&format!("node-{index:07}.example")).expect("a valid name")
}

fn source(index: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + index).into(), 24373)
}

fn registration(index: u32, sequence: u64) -> Registration {
    let interface = InterfaceName::parse("enp3s0").ok();
    let address = |ip: IpAddr| Address {
        ip,
        interface,
        origin: Origin::Interface,
    };
    let v6 = Ipv6Addr::new(
        0x2001,
        0xdb8,
        0,
        0,
        0,
        0,
        (index >> 16) as u16,
        index as u16,
    );
    let record = Record {
        name: name(index),
        epoch: 1,
        sequence,
        boot: 1,
        lease: Lease(900),
        addresses: vec![address(source(index).ip()), address(v6.into())],
        port: 24373,
        role: Role::Client,
        labels: Labels::new([("site", "home")]).expect("a valid label"),
    };
    let mut body = vec![0; BODY];
    body[..8].copy_from_slice(&sequence.to_le_bytes());
    let signed = SignedRecord {
        node: node_id(index),
        key: KeyId([0; 4]),
        body: body.into(),
        signature: [0; 64],
    };
    Registration {
        record,
        signed,
        source: source(index),
        key: KeyId([0; 4]),
    }
}

/// This process's resident memory in bytes (the second field of /proc/self/statm, in pages of 4
/// KiB).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux with /proc");
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .expect("a number of pages")
        * 4096
}
