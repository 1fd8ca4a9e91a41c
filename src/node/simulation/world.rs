//! A network of nodes in virtual time, with faults from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::discovery::{
    Engine, EngineSettings, Method, OwnRecord, OwnSettings, Responder, ResponderSettings, To,
};
use crate::model::{Address, Labels, Lease, NodeId, NodeName, Now, Origin, Role, State, Timestamp};
use crate::node::{Core, CoreSettings, Datagram, Output};
use crate::registry::{self, Batch, Filter, Table};
use crate::transport::{ReturnPath, Via};
use crate::wire::identity::Identity;
use crate::wire::keyring::{KeyRing, Secret};
use crate::wire::seal;
use crate::wire::v1::Message;

pub(super) const LEASE: Lease = Lease(30);
const PORT: u16 = 24373;
/// The wall clock at the start: 2026-11-20.
const WALL: u64 = 1_795_150_000_000;

/// What the network does to datagrams.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) loss: f64,
    pub(super) duplicates: f64,
    /// The longest delay: datagrams overtake each other.
    pub(super) delay: Duration,
}

/// What happened, so that a test can say that its faults did.
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

/// What survives a crash.
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
    /// Hosts of different parts hear nothing of each other.
    pub(super) part: u8,
    /// Hosts of different links hear each other by unicast only.
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

enum Happening {
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
    /// Whether multicast and broadcast of ours arrive; multicast DNS always does.
    pub(super) groups: bool,
    key_ring: KeyRing,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
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
            happenings: BTreeMap::new(),
            counter: 0,
        }
    }

    /// Adds a host that is switched off.
    pub(super) fn add(&mut self, name: &str, role: Role) -> usize {
        let index = self.hosts.len();
        let number = u8::try_from(index + 1).unwrap();
        self.hosts.push(Host {
            name: NodeName::parse(name).unwrap(),
            role,
            address: SocketAddr::new(Ipv4Addr::new(10, 0, 0, number).into(), PORT),
            core: None,
            configured: Vec::new(),
            skew_millis: 0,
            part: 0,
            link: 0,
            browsing: false,
            identity: number,
            disk: Disk::default(),
            unsynced: VecDeque::new(),
            incarnation: 0,
            started: Duration::ZERO,
            stopped: Duration::ZERO,
        });
        index
    }

    pub(super) fn now(&self, host: usize) -> Now {
        let wall = WALL + u64::try_from(self.elapsed.as_millis()).unwrap();
        Now {
            elapsed: self.elapsed,
            wall: Timestamp(wall.saturating_add_signed(self.hosts[host].skew_millis)),
        }
    }

    /// Switches a host on: from its disk, as after a crash.
    pub(super) fn start(&mut self, index: usize) {
        let now = self.now(index);
        let seed = self.rng.u64(..);
        let boot = self.rng.u64(..);
        let release_after = self.release_after;
        let keys: Vec<_> = self.key_ring.ids().collect();
        let key = self.key_ring.first().id();
        let host = &mut self.hosts[index];
        assert!(host.core.is_none(), "a host is started once");
        host.incarnation += 1;
        host.browsing = false;
        host.started = self.elapsed;
        host.disk.epoch += 1;
        let own = OwnSettings {
            name: host.name.clone(),
            epoch: host.disk.epoch,
            boot,
            lease: LEASE,
            port: PORT,
            role: host.role,
            labels: Labels::default(),
        };
        let own = OwnRecord::new(identity(host.identity), key, own);
        let settings = EngineSettings {
            registers: host.role.registers(),
            methods: self.methods.clone(),
            fallback_after: Duration::from_secs(3),
            max_servers: 4,
            configured: host.configured.len(),
            keys: keys.clone(),
            seed,
        };
        let engine = Engine::new(now, settings, own);
        let responder = Responder::new(
            now,
            ResponderSettings::new(seed ^ 1),
            host.name.clone(),
            host.role,
        );
        let table = host.role.serves().then(|| {
            let settings = registry::Settings {
                max_lease: LEASE,
                release_after,
                ..registry::Settings::default()
            };
            let mut table = Table::new(settings);
            for stored in stored_nodes(&host.disk) {
                table.load(now, stored);
            }
            table
        });
        let settings = CoreSettings {
            info: Labels::default(),
            keys,
            accepts: Vec::new(),
        };
        host.core = Some(Core::new(now, engine, responder, table, settings));
        self.set_address(index, self.hosts[index].address.ip());
        self.settle(index);
    }

    /// Switches a host off without a word; what was not synced is lost.
    pub(super) fn crash(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.core.take().is_some() {
            host.unsynced.clear();
            host.incarnation += 1;
            host.stopped = self.elapsed;
            self.stats.crashes += 1;
        }
    }

    /// Stops a host in order: it says goodbye and syncs what it knows.
    pub(super) fn stop(&mut self, index: usize) {
        let now = self.now(index);
        if let Some(core) = &mut self.hosts[index].core {
            core.stop(now);
            self.settle(index);
            let host = &mut self.hosts[index];
            while let Some((_, batch)) = host.unsynced.pop_front() {
                host.disk.apply(batch);
            }
            host.core = None;
            host.incarnation += 1;
            host.stopped = self.elapsed;
        }
    }

    /// Wipes a host's disk: it comes back as another node of the same name.
    pub(super) fn wipe(&mut self, index: usize, identity: u8) {
        assert!(
            self.hosts[index].core.is_none(),
            "a running host keeps its disk"
        );
        self.hosts[index].disk = Disk::default();
        self.hosts[index].identity = identity;
    }

    /// Makes a host's disk a copy of another's.
    pub(super) fn clone_disk(&mut self, from: usize, to: usize) {
        self.hosts[to].disk = Disk {
            epoch: self.hosts[from].disk.epoch,
            ..Disk::default()
        };
        self.hosts[to].identity = self.hosts[from].identity;
    }

    /// Gives a host another address.
    pub(super) fn set_address(&mut self, index: usize, ip: IpAddr) {
        let now = self.now(index);
        self.hosts[index].address.set_ip(ip);
        if let Some(core) = &mut self.hosts[index].core {
            core.set_addresses(
                now,
                vec![Address {
                    ip,
                    interface: None,
                    origin: Origin::Interface,
                }],
            );
            core.network_changed(now);
            self.settle(index);
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

    /// Lets time pass until something holds; how long it took.
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

    /// One thing that happens before `end`.
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
                self.settle(index);
                true
            }
            (_, Some(at)) if at < end => {
                self.elapsed = at;
                let Some(Reverse((_, number))) = self.queue.pop() else {
                    return false;
                };
                if let Some(happening) = self.happenings.remove(&number) {
                    self.happen(happening);
                }
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram {
                to,
                from,
                mut bytes,
            } => {
                let now = self.now(to);
                let length = bytes.len();
                let Some(core) = &mut self.hosts[to].core else {
                    return;
                };
                self.stats.delivered += 1;
                let opened = seal::open(&self.key_ring, &mut bytes).unwrap();
                let message = Message::decode(opened.payload).unwrap();
                let via = Via {
                    local: None,
                    interface: 1,
                };
                let datagram = Datagram {
                    path: ReturnPath::new(from, via, length),
                    came_by: Method::Multicast,
                    key: opened.key,
                    nonce: &opened.nonce,
                };
                core.handle(now, datagram, &message);
                core.store();
                self.settle(to);
            }
            Happening::Synced {
                host,
                incarnation,
                ticket,
            } => {
                let now = self.now(host);
                let state = &mut self.hosts[host];
                if state.incarnation != incarnation {
                    return;
                }
                while state
                    .unsynced
                    .front()
                    .is_some_and(|(waiting, _)| *waiting <= ticket)
                {
                    if let Some((_, batch)) = state.unsynced.pop_front() {
                        state.disk.apply(batch);
                    }
                }
                if let Some(core) = &mut state.core {
                    core.durable(now, ticket);
                }
                self.settle(host);
            }
            Happening::Resolved {
                host,
                incarnation,
                configured,
            } => {
                let now = self.now(host);
                if self.hosts[host].incarnation != incarnation {
                    return;
                }
                let address = self.hosts[self.hosts[host].configured[configured]].address;
                if let Some(core) = &mut self.hosts[host].core {
                    core.resolved(now, configured, vec![address]);
                }
                self.settle(host);
            }
            Happening::Browsed { host, incarnation } => self.browsed(host, incarnation),
        }
    }

    /// What runs and serves on a browsing host's link shows, along with an address where nobody is.
    fn browsed(&mut self, host: usize, incarnation: u32) {
        let now = self.now(host);
        if self.hosts[host].incarnation != incarnation || !self.hosts[host].browsing {
            return;
        }
        self.stats.browsed += 1;
        let (link, part) = (self.hosts[host].link, self.hosts[host].part);
        let shown = |other: &&Host| {
            other.link == link && other.part == part && other.core.is_some() && other.role.serves()
        };
        let mut addresses: Vec<_> = self
            .hosts
            .iter()
            .filter(shown)
            .map(|other| other.address)
            .collect();
        addresses.insert(
            0,
            SocketAddr::new(Ipv4Addr::new(10, 0, 0, 250).into(), PORT),
        );
        if let Some(core) = &mut self.hosts[host].core {
            addresses
                .into_iter()
                .for_each(|address| core.candidate(now, address));
        }
        self.settle(host);
        self.plan(
            Duration::from_secs(2),
            Happening::Browsed { host, incarnation },
        );
    }

    /// Does what a core wants done.
    fn settle(&mut self, index: usize) {
        loop {
            let Some(core) = &mut self.hosts[index].core else {
                return;
            };
            let Some(output) = core.output() else { return };
            match output {
                Output::Reply { path, message } => {
                    let to = path.to;
                    let bytes = self.seal(&message);
                    assert!(
                        bytes.len() <= path.limit(),
                        "a {} of {} bytes is longer than {} bytes",
                        message.kind(),
                        bytes.len(),
                        path.limit()
                    );
                    if let Message::Registered(registered) = &message {
                        self.stats.acknowledged += 1;
                        self.check_acknowledged(index, to, registered.sequence);
                    }
                    if matches!(&message, Message::Refused(refused) if matches!(refused.refusal, crate::wire::v1::Refusal::Clock { .. }))
                    {
                        self.stats.refused_clocks += 1;
                    }
                    self.transmit(index, to, &bytes);
                }
                Output::Send {
                    to: To::One(to),
                    message,
                } => {
                    let bytes = self.seal(&message);
                    self.transmit(index, to, &bytes);
                }
                Output::Send {
                    to: To::All(_),
                    message,
                } => {
                    if !self.groups {
                        self.stats.cut += 1;
                        continue;
                    }
                    let bytes = self.seal(&message);
                    for to in 0..self.hosts.len() {
                        // One's own multicast comes back, as it does on a real network.
                        if self.hosts[to].link == self.hosts[index].link {
                            self.transmit(index, self.hosts[to].address, &bytes);
                        }
                    }
                }
                Output::Resolve { configured } => {
                    let incarnation = self.hosts[index].incarnation;
                    let delay = Duration::from_millis(self.rng.u64(1..20));
                    self.plan(
                        delay,
                        Happening::Resolved {
                            host: index,
                            incarnation,
                            configured,
                        },
                    );
                }
                Output::Browse { on } => {
                    let host = &mut self.hosts[index];
                    host.browsing = on;
                    let incarnation = host.incarnation;
                    if on {
                        let delay = Duration::from_millis(self.rng.u64(50..1500));
                        self.plan(
                            delay,
                            Happening::Browsed {
                                host: index,
                                incarnation,
                            },
                        );
                    }
                }
                Output::Store { ticket, batch } => {
                    assert!(!batch.is_empty(), "an empty batch has no ticket of its own");
                    let host = &mut self.hosts[index];
                    host.unsynced.push_back((ticket, batch));
                    let incarnation = host.incarnation;
                    let delay = Duration::from_millis(self.rng.u64(1..30));
                    self.plan(
                        delay,
                        Happening::Synced {
                            host: index,
                            incarnation,
                            ticket,
                        },
                    );
                }
                Output::Event(_) | Output::Notice { .. } => {}
            }
        }
    }

    fn seal(&mut self, message: &Message) -> Vec<u8> {
        let nonce = std::array::from_fn(|_| self.rng.u8(..));
        let mut out = vec![0; seal::MAX_DATAGRAM];
        let length = message
            .seal(self.key_ring.first(), &nonce, &mut out)
            .unwrap();
        out.truncate(length);
        out
    }

    fn transmit(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        let Some(target) = self.hosts.iter().position(|host| host.address == to) else {
            return;
        };
        if self.hosts[target].part != self.hosts[from].part {
            self.stats.cut += 1;
            return;
        }
        if self.rng.f64() < self.faults.loss {
            self.stats.lost += 1;
            return;
        }
        let copies = if self.rng.f64() < self.faults.duplicates {
            2
        } else {
            1
        };
        self.stats.duplicated += copies - 1;
        for _ in 0..copies {
            let delay = Duration::from_micros(200) + self.faults.delay.mul_f64(self.rng.f64());
            let from = self.hosts[from].address;
            self.plan(
                delay,
                Happening::Datagram {
                    to: target,
                    from,
                    bytes: bytes.to_vec(),
                },
            );
        }
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.counter += 1;
        self.queue
            .push(Reverse((self.elapsed + after, self.counter)));
        self.happenings.insert(self.counter, happening);
    }

    /// An acknowledged record is on the disk.
    fn check_acknowledged(&self, server: usize, node: SocketAddr, sequence: u64) {
        let Some(node) = self.hosts.iter().find(|host| host.address == node) else {
            return;
        };
        let (id, server) = (node.id(), &self.hosts[server]);
        let on_disk = stored_nodes(&server.disk)
            .any(|stored| stored.record.sequence <= sequence && stored.signed.node == id);
        assert!(
            on_disk,
            "{} acknowledged {} of {} before it was synced",
            server.name, sequence, node.name
        );
    }

    /// What must hold at every step.
    fn check(&self) {
        let slack = Duration::from_secs(1);
        for server in &self.hosts {
            let Some(table) = server.core.as_ref().and_then(Core::table) else {
                continue;
            };
            let mut names = std::collections::BTreeSet::new();
            for node in table.nodes(Filter::ALL, None) {
                if node.is_bound() {
                    assert!(
                        names.insert(node.name().clone()),
                        "{} has two owners at {}",
                        node.name(),
                        server.name
                    );
                }
                let alive = self
                    .hosts
                    .iter()
                    .any(|host| host.id() == node.id() && host.core.is_some());
                if node.state() == State::Present && !alive {
                    let died = self
                        .hosts
                        .iter()
                        .filter(|host| host.id() == node.id())
                        .map(|host| host.stopped)
                        .max();
                    let since = died.unwrap_or_default().max(server.started);
                    let limit = LEASE.duration() + self.faults.delay + slack;
                    assert!(
                        self.elapsed <= since + limit,
                        "{} is dead and still present at {}",
                        node.name(),
                        server.name
                    );
                }
            }
        }
    }

    /// Whether every server knows every host that runs at its address, and every host is registered with a server.
    pub(super) fn agrees(&self) -> bool {
        let running = || {
            self.hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| host.core.is_some())
        };
        let servers = || {
            running()
                .map(|(_, host)| host)
                .filter(|host| host.role.serves())
        };
        running().all(|(index, host)| {
            let known = servers().all(|server| {
                let table = server.core.as_ref().and_then(Core::table);
                let node = table.and_then(|table| table.by_name(&host.name));
                node.is_some_and(|node| {
                    let addresses = node.record().addresses;
                    node.state() == State::Present
                        && node.id() == host.id()
                        && addresses
                            .first()
                            .is_some_and(|address| address.ip == host.address.ip())
                })
            });
            let alone = !servers().any(|server| server.address != host.address);
            let held = self.holds_a_server(index);
            let registers = host.role.registers() && !alone;
            (known || (host.role == Role::Server && servers().count() > 1)) && (held || !registers)
        })
    }

    /// Whether a host is registered with any server.
    pub(super) fn holds_a_server(&self, host: usize) -> bool {
        let core = self.hosts[host].core.as_ref();
        core.is_some_and(|core| {
            core.engine()
                .servers()
                .iter()
                .any(|server| server.held.is_some())
        })
    }

    pub(super) fn state_of(&self, server: usize, name: &str) -> Option<State> {
        let table = self.hosts[server].core.as_ref().and_then(Core::table)?;
        table
            .by_name(&NodeName::parse(name).unwrap())
            .map(|node| node.state())
    }

    /// What a server's disk holds, by name.
    pub(super) fn on_disk(&self, server: usize) -> Vec<NodeName> {
        stored_nodes(&self.hosts[server].disk)
            .map(|stored| stored.record.name)
            .collect()
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
