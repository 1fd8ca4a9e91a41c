//! The cost of sealing and of the codec, compared with bare AES-256-GCM of the same bytes in the
//! same run.
//!
//! Prints ratios first (medians of interleaved rounds), then divan's table. `cargo bench --bench
//! sealing`

#![allow(
    clippy::expect_used,
    reason = "a benchmark that can't go on fails by a panic"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hereabouts::model::{Lease, NodeId, NodeName, Record, Role, Timestamp};
use hereabouts::wire::seal::{self, HEADER, MAX_DATAGRAM, OVERHEAD};
use hereabouts::wire::v1::{Message, QUERY_DATAGRAM, Query, Renewal, SignedRecord, Want};
use hereabouts::wire::{Identity, KeyRing, Secret};

fn main() {
    println!(
        "time of one unit of work; bare: AES-256-GCM seal and open of the same bytes with one key"
    );
    for payload in [QUERY_DATAGRAM - OVERHEAD, 200] {
        let mut sealed = Sealed::new(payload);
        let mut bare = Bare::new(payload);
        report(
            &format!("seal and open {payload} bytes"),
            || sealed.round(),
            || bare.round(),
        );
    }
    let mut bare = Bare::new(QUERY_DATAGRAM - OVERHEAD);
    let mut codec = Codec::new(query());
    report(
        "encode and decode a query",
        || codec.round(),
        || bare.round(),
    );
    let mut codec = Codec::new(renewal());
    report(
        "encode and decode a renewal",
        || codec.round(),
        || bare.round(),
    );
    let mut records = Records::new();
    report(
        "verify a signed record",
        || records.verify(),
        || bare.round(),
    );
    println!();
    divan::main();
}

/// Measures both sides alternately, so that a slower machine affects both.
fn report(what: &str, mut work: impl FnMut(), mut bare: impl FnMut()) {
    const ROUNDS: usize = 51;
    const TURNS: u32 = 500;
    let mut times: [Vec<Duration>; 2] = [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)];
    for _ in 0..ROUNDS {
        times[0].push(timed(TURNS, &mut work));
        times[1].push(timed(TURNS, &mut bare));
    }
    let [work, bare] = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_nanos() as f64 / f64::from(TURNS)
    });
    println!(
        "{what:<32} {work:>10.0} ns   bare {bare:>8.0} ns   ratio {:.2}",
        work / bare
    );
}

fn timed(turns: u32, work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..turns {
        work();
    }
    start.elapsed()
}

struct Sealed {
    key_ring: KeyRing,
    payload: usize,
    nonce: [u8; 24],
    datagram: [u8; MAX_DATAGRAM],
}

impl Sealed {
    fn new(payload: usize) -> Self {
        let key_ring =
            KeyRing::new("bench", &[Secret::key([1; 32])]).expect("one key makes a key ring");
        Self {
            key_ring,
            payload,
            nonce: [0; 24],
            datagram: [0; MAX_DATAGRAM],
        }
    }

    fn round(&mut self) {
        self.nonce[0] = self.nonce[0].wrapping_add(1);
        let length = seal::seal_in_place(
            self.key_ring.first(),
            &self.nonce,
            &mut self.datagram,
            self.payload,
        );
        let length = length.expect("the payload fits");
        let opened = seal::open(&self.key_ring, black_box(&mut self.datagram[..length]));
        black_box(opened.expect("a sealed payload opens"));
    }
}

struct Bare {
    cipher: Aes256Gcm,
    payload: usize,
    nonce: [u8; 12],
    datagram: [u8; MAX_DATAGRAM],
}

impl Bare {
    fn new(payload: usize) -> Self {
        Self {
            cipher: Aes256Gcm::new(&[1; 32].into()),
            payload,
            nonce: [0; 12],
            datagram: [0; MAX_DATAGRAM],
        }
    }

    fn round(&mut self) {
        self.nonce[0] = self.nonce[0].wrapping_add(1);
        let nonce = self.nonce.into();
        let (header, rest) = self.datagram.split_at_mut(HEADER);
        let text = &mut rest[..self.payload];
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, header, InOutBuf::from(&mut *text))
            .expect("short");
        let opened = self.cipher.decrypt_inout_detached(
            &nonce,
            header,
            InOutBuf::from(black_box(text)),
            &tag,
        );
        opened.expect("a sealed payload opens");
    }
}

struct Codec {
    message: Message,
    buffer: [u8; MAX_DATAGRAM],
}

impl Codec {
    fn new(message: Message) -> Self {
        Self {
            message,
            buffer: [0; MAX_DATAGRAM],
        }
    }

    fn round(&mut self) {
        let length = black_box(&self.message)
            .encode(&mut self.buffer)
            .expect("a message that fits");
        black_box(Message::decode(black_box(&self.buffer[..length])))
            .expect("an encoded message decodes");
    }
}

struct Records {
    signed: SignedRecord,
}

impl Records {
    fn new() -> Self {
        let record = Record {
            name: NodeName::parse("bench").expect("a name"),
            epoch: 1,
            sequence: 1,
            boot: 1,
            lease: Lease(60),
            addresses: Vec::new(),
            port: 24373,
            role: Role::Client,
            labels: Default::default(),
        };
        let identity = Identity::from_seed(&[1; 32]);
        let key = Sealed::new(1).key_ring.first().id();
        Self {
            signed: SignedRecord::sign(&record, &identity, key).expect("a short record"),
        }
    }

    fn verify(&mut self) {
        black_box(black_box(&self.signed).verify(|_| true)).expect("a signed record verifies");
    }
}

fn query() -> Message {
    Message::Query(Query {
        id: 1 << 60,
        want: Want::Servers,
        clock: Timestamp(1 << 40),
        window: Duration::ZERO,
    })
}

fn renewal() -> Message {
    let node = NodeId([1; 32]);
    Message::Renew(Renewal {
        node,
        epoch: 1000,
        base: 1000,
        sequence: 100_000,
        proof: [1; 16],
    })
}

#[divan::bench(args = [QUERY_DATAGRAM - OVERHEAD, 200])]
fn seal_and_open(bencher: divan::Bencher, payload: usize) {
    let mut sealed = Sealed::new(payload);
    bencher.bench_local(|| sealed.round());
}

#[divan::bench(args = [QUERY_DATAGRAM - OVERHEAD, 200])]
fn bare_aes_gcm(bencher: divan::Bencher, payload: usize) {
    let mut bare = Bare::new(payload);
    bencher.bench_local(|| bare.round());
}

#[divan::bench]
fn query_encode_decode(bencher: divan::Bencher) {
    let mut codec = Codec::new(query());
    bencher.bench_local(|| codec.round());
}

#[divan::bench]
fn renewal_encode_decode(bencher: divan::Bencher) {
    let mut codec = Codec::new(renewal());
    bencher.bench_local(|| codec.round());
}

#[divan::bench]
fn renewal_verify(bencher: divan::Bencher) {
    let node = Identity::from_seed(&[1; 32]);
    let server = Identity::from_seed(&[2; 32]);
    let key = server
        .renewal_key_of_node(&node.id())
        .expect("two good identities");
    let renewal = key.renewal(&node.id(), &server.id(), 1, 2, 3);
    bencher.bench_local(|| assert!(key.verify(black_box(&renewal), &server.id())));
}

#[divan::bench]
fn renewal_key(bencher: divan::Bencher) {
    let node = Identity::from_seed(&[1; 32]);
    let server = Identity::from_seed(&[2; 32]);
    bencher.bench_local(|| server.renewal_key_of_node(black_box(&node.id())));
}

#[divan::bench]
fn record_verify(bencher: divan::Bencher) {
    let mut records = Records::new();
    bencher.bench_local(|| records.verify());
}
