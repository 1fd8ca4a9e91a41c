//! A network of nodes in virtual time, with faults from a seed.
//!
//! Time jumps from one event to the next: a datagram arrives, a batch is synced, a deadline is reached. After every step all
//! invariants are checked.

mod checks;
mod hosts;
mod network;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::discovery::Method;
use crate::model::{Lease, NodeId, NodeName, Now, Role, Secret, Timestamp};
use crate::node::Core;
use crate::registry::{self, Batch};
use crate::wire::identity::Identity;
use crate::wire::keyring::KeyRing;

pub(super) const LEASE: Lease = Lease(30);
const PORT: u16 = 24373;
/// The wall clock at the start: 2026-11-20.
const WALL: u64 = 1_795_150_000_000;

/// The faults of the network.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) loss: f64,
    pub(super) duplicates: f64,
    /// The longest delay: datagrams overtake each other.
    pub(super) delay: Duration,
}

/// Counts of events, so that a test can assert that its faults happened.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stats {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) cut: u64,
    pub(super) acknowledged: u64,
    pub(super) crashes: u64,
    pub(super) refused_clocks: u64,
    pub(super) browsed: u64,
}

/// The data that survives a crash.
#[derive(Debug, Default, Clone)]
struct Disk {
    epoch: u64,
    rows: BTreeMap<u32, Box<[u8]>>,
    seen: BTreeMap<u32, Box<[u8]>>,
}

pub(super) struct Host {
    pub(super) name: NodeName,
    pub(super) role: Role,
    pub(super) address: SocketAddr,
    pub(super) core: Option<Core>,
    pub(super) configured: Vec<usize>,
    pub(super) skew_millis: i64,
    /// Hosts in different parts receive nothing from each other.
    pub(super) part: u8,
    /// Hosts on different links receive only unicast from each other.
    pub(super) link: u8,
    browsing: bool,
    identity: u8,
    disk: Disk,
    unsynced: VecDeque<(u64, Batch)>,
    incarnation: u32,
    started: Duration,
    stopped: Duration,
}

impl Host {
    pub(super) fn id(&self) -> NodeId {
        identity(self.identity).id()
    }
}

enum Event {
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Synced {
        host: usize,
        incarnation: u32,
        ticket: u64,
    },
    Resolved {
        host: usize,
        incarnation: u32,
        configured: usize,
    },
    Browsed {
        host: usize,
        incarnation: u32,
    },
}

pub(super) struct World {
    pub(super) elapsed: Duration,
    pub(super) rng: fastrand::Rng,
    pub(super) hosts: Vec<Host>,
    pub(super) faults: Faults,
    pub(super) stats: Stats,
    pub(super) release_after: Duration,
    pub(super) methods: Vec<Method>,
    /// Whether multicast and broadcast of the nodes arrive; multicast DNS always arrives.
    pub(super) groups: bool,
    key_ring: KeyRing,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    counter: u64,
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            elapsed: Duration::ZERO,
            rng: fastrand::Rng::with_seed(seed),
            hosts: Vec::new(),
            faults: Faults::default(),
            stats: Stats::default(),
            release_after: Duration::from_secs(3600),
            methods: vec![Method::Multicast, Method::Broadcast, Method::Mdns],
            groups: true,
            key_ring: KeyRing::new("home", &[Secret::key([7; 32])]).unwrap(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            counter: 0,
        }
    }

    pub(super) fn now(&self, host: usize) -> Now {
        let wall = WALL + u64::try_from(self.elapsed.as_millis()).unwrap();
        Now {
            elapsed: self.elapsed,
            wall: Timestamp(wall.saturating_add_signed(self.hosts[host].skew_millis)),
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        while self.step(end) {
            self.check();
        }
        self.elapsed = end;
    }

    /// Lets time pass until a condition holds. Returns how long that took.
    pub(super) fn run_until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.elapsed;
        loop {
            if holds(self) {
                return Some(self.elapsed - start);
            }
            if !self.step(start + limit) {
                self.elapsed = start + limit;
                return holds(self).then_some(limit);
            }
            self.check();
        }
    }

    /// Handles the next event before `end`. Returns whether there was one.
    fn step(&mut self, end: Duration) -> bool {
        let timer = self.hosts.iter().enumerate().filter_map(|(index, host)| {
            let deadline = host.core.as_ref()?.deadline()?;
            Some((deadline.max(self.elapsed), index))
        });
        let timer = timer.min();
        let arrival = self.queue.peek().map(|Reverse((at, _))| *at);
        match (timer, arrival) {
            (Some((at, index)), arrival)
                if at < end && arrival.is_none_or(|arrival| at < arrival) =>
            {
                self.elapsed = at;
                let now = self.now(index);
                if let Some(core) = &mut self.hosts[index].core {
                    core.advance(now);
                    let next = core.deadline();
                    assert!(
                        next.is_none_or(|next| next > at),
                        "{} wakes at once for ever",
                        self.hosts[index].name
                    );
                }
                self.drain_outputs(index);
                true
            }
            (_, Some(at)) if at < end => {
                self.elapsed = at;
                let Some(Reverse((_, number))) = self.queue.pop() else {
                    return false;
                };
                if let Some(event) = self.events.remove(&number) {
                    self.on_event(event);
                }
                true
            }
            _ => false,
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.counter += 1;
        self.queue
            .push(Reverse((self.elapsed + after, self.counter)));
        self.events.insert(self.counter, event);
    }
}

impl Disk {
    fn apply(&mut self, batch: Batch) {
        for row in batch.rows {
            match row.value {
                Some(value) => self.rows.insert(row.slot, value),
                None => self.rows.remove(&row.slot),
            };
        }
        for page in batch.seen {
            self.seen.insert(page.page, page.entries);
        }
    }
}

fn stored_nodes(disk: &Disk) -> impl Iterator<Item = registry::StoredNode> {
    disk.rows.iter().map(|(slot, row)| {
        let mut node = registry::decode_row(*slot, row).unwrap();
        let page = *slot / u32::try_from(registry::SeenPage::SLOTS).unwrap();
        if let Some(page) = disk.seen.get(&page) {
            registry::merge_seen(&mut node, page);
        }
        node
    })
}
