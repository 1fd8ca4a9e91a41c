//! The asking side of a node, as one pure machine.
//!
//! A search asks by the first method at once and by each further one when those before it brought no server for
//! `fallback_after`; configured servers are asked by unicast from the start. Multicast DNS is such a method, but only
//! brings addresses: each is asked by a sealed query, and believed when it answers. Whoever answers with the record of a server
//! becomes a [`Server`]: it is registered with, renewed at a third of its lease, and given up when the lease is over
//! without a word, which begins a new search.
//!
//! The shell calls [`Engine::handle`] for each opened message, [`Engine::advance`] when [`Engine::deadline`] is reached,
//! and sends what [`Engine::output`] gives until it gives nothing.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::method::{Attempt, Method, MethodStatus};
use super::own::OwnRecord;
use super::schedule::AskSchedule;
use super::servers::{Acknowledged, Due, Server};
use crate::model::{Address, Lease, NodeName, Now, Record};
use crate::wire::KeyId;
use crate::wire::v1::{Message, Query, Refusal, Refused, Regarding, SignedRecord, Subject, Want};

/// Queries whose answers are still taken; older ones are forgotten first.
const OUTSTANDING_QUERIES: usize = 64;
/// Addresses taken of one configured server's name.
const ADDRESSES_PER_NAME: usize = 8;
/// Addresses from multicast DNS that are asked; anybody can announce there.
const CANDIDATES: usize = 32;
/// Rounds that a candidate is asked in before a new one may take its place.
const ROUNDS_PER_CANDIDATE: u32 = 2;
/// Between announcements of changes; the last change always gets one.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// The second announcement of a start or a change, as multicast is lost easily.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// How far answers to a `servers` query may be spread: not at all.
const NO_WINDOW: Duration = Duration::ZERO;
/// Clock corrections per query, so that no server keeps an asker busy.
const CLOCK_RETRIES_PER_QUERY: u8 = 8;

/// The settings of a search.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Whether servers are looked for and registered with; else the node only announces itself.
    pub registers: bool,
    /// The methods, in order; [`Method::Unicast`] is not one of them.
    pub methods: Vec<Method>,
    /// How long a method has before the next one starts.
    pub fallback_after: Duration,
    /// The most servers to register with.
    pub max_servers: usize,
    /// How many servers the configuration names; they are spoken of by index.
    pub configured: usize,
    /// The ids of the keys that records may be signed under.
    pub keys: Vec<KeyId>,
    /// Seeds jitter and query ids; from the system's randomness.
    pub seed: u64,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// By this method to everybody on every taken interface.
    All(Method),
    /// To one address.
    One(SocketAddr),
}

/// What the engine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal and send.
    Send {
        /// Where to.
        to: To,
        /// What.
        message: Message,
    },
    /// Look up the addresses of a configured server, then call [`Engine::resolved`].
    Resolve {
        /// Its index in the configuration.
        configured: usize,
    },
    /// Begin to browse by multicast DNS and give what is found to [`Engine::candidate`], or stop it.
    Browse {
        /// Whether to begin.
        on: bool,
    },
    /// Something that an operator wants to know.
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server acknowledged this node for the first time.
    Registered {
        /// Which.
        server: NodeName,
        /// Where it is.
        address: SocketAddr,
        /// How it was found.
        found_by: Method,
        /// This node's address as the server saw it.
        seen: SocketAddr,
    },
    /// A server sees this node at another address than before.
    SeenElsewhere {
        /// Which.
        server: NodeName,
        /// The address it sees now.
        seen: SocketAddr,
    },
    /// A server refused.
    Refused {
        /// Which.
        server: NodeName,
        /// Why.
        refusal: Refusal,
    },
    /// A server did not answer for a whole lease, or said goodbye.
    Lost {
        /// Which.
        server: NodeName,
        /// Where it was.
        address: SocketAddr,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// The methods so far brought no server; this one starts.
    Fallback {
        /// The method that starts.
        method: Method,
    },
    /// A server's clock refused a query: the clocks differ by this many milliseconds (the server's less ours).
    ClockDiffers {
        /// Who said so.
        from: SocketAddr,
        /// By how much.
        millis: i64,
    },
    /// Another channel's server holds our key.
    OtherChannel {
        /// Who said so.
        from: SocketAddr,
        /// The name of its channel.
        name: Box<str>,
    },
    /// A server had a greater epoch on record: the state directory must hold this one from now on.
    EpochRaised {
        /// The epoch in use.
        epoch: u64,
    },
}

/// The asking side of a node.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    own: OwnRecord,
    dice: fastrand::Rng,
    attempts: Vec<Attempt>,
    configured: Vec<Configured>,
    servers: Vec<Server>,
    queries: VecDeque<Outstanding>,
    /// What multicast DNS brought since browsing began.
    candidates: Vec<Candidate>,
    browsing: bool,
    announce_at: Option<Duration>,
    announced_at: Option<Duration>,
    announce_repeats: u8,
    stopped: bool,
    output: VecDeque<Output>,
}

/// A server that the configuration names.
#[derive(Debug)]
struct Configured {
    addresses: Vec<SocketAddr>,
    schedule: AskSchedule,
    resolving: bool,
}

/// An address from multicast DNS.
#[derive(Debug)]
struct Candidate {
    address: SocketAddr,
    rounds: u32,
}

#[derive(Debug)]
struct Outstanding {
    id: u64,
    method: Method,
    clock_retries: u8,
}

impl Engine {
    /// An engine that begins its search at `now`; a node that does not register only announces.
    pub fn new(now: Now, settings: EngineSettings, own: OwnRecord) -> Self {
        let dice = fastrand::Rng::with_seed(settings.seed);
        let configured = (0..settings.configured)
            .map(|_| Configured { addresses: Vec::new(), schedule: AskSchedule::new(now.elapsed), resolving: false })
            .collect();
        let mut engine = Self {
            settings,
            own,
            dice,
            attempts: Vec::new(),
            configured,
            servers: Vec::new(),
            queries: VecDeque::new(),
            candidates: Vec::new(),
            browsing: false,
            announce_at: Some(now.elapsed),
            announced_at: None,
            announce_repeats: 1,
            stopped: false,
            output: VecDeque::new(),
        };
        engine.search(now);
        engine
    }

    /// This node's own record.
    pub fn own(&self) -> &OwnRecord {
        &self.own
    }

    /// The servers known, in the order found.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Each method, in order, and how far it has come.
    pub fn methods(&self, now: Now) -> Vec<MethodStatus> {
        let found = |method| self.servers.iter().filter(|s| s.held.is_some() && s.found_by == method).count() as u32;
        self.attempts
            .iter()
            .map(|attempt| {
                let candidates = if attempt.method == Method::Mdns { self.candidates.len() } else { 0 };
                attempt.status(now.elapsed, self.settings.fallback_after, found(attempt.method), candidates)
            })
            .collect()
    }

    /// What is to be done next; `None` when all is done until the next input or deadline.
    pub fn output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Engine::advance`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        let searching = self.searches();
        let attempts = self.attempts.iter().filter(|_| searching).map(|attempt| match &attempt.schedule {
            Some(schedule) => schedule.next(),
            None if self.connected() => Duration::MAX,
            None => attempt.starts,
        });
        let configured =
            self.configured.iter().filter(|c| searching && !c.resolving).map(|configured| configured.schedule.next());
        let servers = self.servers.iter().map(Server::deadline);
        attempts.chain(configured).chain(servers).chain(self.announce_at).min()
    }

    /// Does what became due.
    pub fn advance(&mut self, now: Now) {
        if self.stopped {
            return;
        }
        self.advance_servers(now);
        if self.searches() {
            self.advance_methods(now);
            self.advance_configured(now);
        }
        if self.announce_at.is_some_and(|at| at <= now.elapsed) {
            self.announce(now);
        }
    }

    /// Takes the addresses that the interfaces hold now; a change is announced and registered at once.
    pub fn set_addresses(&mut self, now: Now, addresses: Vec<Address>) -> bool {
        if self.stopped || !self.own.set_addresses(addresses) {
            return false;
        }
        self.content_changed(now);
        true
    }

    /// Looks again, as the network changed: a server that was out of reach may be there now.
    pub fn network_changed(&mut self, now: Now) {
        if !self.stopped && !self.connected() {
            self.search(now);
        }
    }

    /// Registers with every server again, now.
    pub fn hasten(&mut self, now: Now) {
        for server in &mut self.servers {
            server.hasten(now);
        }
        if self.servers.is_empty() {
            self.search(now);
        }
    }

    /// Takes what a look-up of a configured server brought; nothing if it failed.
    pub fn resolved(&mut self, now: Now, configured: usize, mut addresses: Vec<SocketAddr>) {
        let Some(entry) = self.configured.get_mut(configured) else { return };
        entry.resolving = false;
        addresses.truncate(ADDRESSES_PER_NAME);
        entry.addresses = addresses;
        entry.schedule.asked(now.elapsed, &mut self.dice);
        for address in self.configured[configured].addresses.clone() {
            self.query(now, Method::Unicast, To::One(address));
        }
    }

    /// Takes an address that multicast DNS brought: it is asked, and believed when it answers.
    pub fn candidate(&mut self, now: Now, address: SocketAddr) {
        if self.stopped || !self.browsing || self.candidates.iter().any(|known| known.address == address) {
            return;
        }
        if self.candidates.len() == CANDIDATES {
            // Whoever announces a thousand services makes this node neither ask without end nor forget the true one.
            let Some(spent) = self.candidates.iter().position(|known| known.rounds >= ROUNDS_PER_CANDIDATE) else {
                return;
            };
            self.candidates.remove(spent);
        }
        self.candidates.push(Candidate { address, rounds: 0 });
        self.query(now, Method::Mdns, To::One(address));
    }

    /// The next sequence number, for this node's own renewal in its own registry.
    pub fn next_sequence(&mut self) -> u64 {
        self.own.next_sequence()
    }

    /// Goes past an order that this node's own registry has on record; whether the epoch was raised.
    pub fn overtake(&mut self, epoch: u64, sequence: u64) -> bool {
        let raised = self.own.overtake(epoch, sequence);
        if raised {
            self.event(Event::EpochRaised { epoch: self.own.record().epoch });
        }
        raised
    }

    /// Signs the own record under a new sequence number.
    pub fn sign_anew(&mut self) {
        self.own.for_registering();
    }

    /// Notes that a query by this method could not be sent on any interface, or can again.
    pub fn sent(&mut self, method: Method, failure: Option<String>) {
        if let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.method == method) {
            attempt.failure = failure;
        }
    }

    /// Takes a message for the asking side, and the way it came by; queries, registers and renewals are not for it.
    pub fn handle(&mut self, now: Now, from: SocketAddr, came_by: Method, message: &Message) {
        if self.stopped {
            return;
        }
        match message {
            Message::Answer(answer) => {
                let Some(query) = self.queries.iter().find(|query| query.id == answer.id) else { return };
                let found_by = query.method;
                if let Subject::Own { record, .. } = &answer.subject {
                    self.heard_server(now, from, record, found_by);
                    let overheard = |server: &&mut Server| server.id == record.node && server.overheard;
                    if let Some(server) = self.servers.iter_mut().find(overheard) {
                        (server.found_by, server.overheard) = (found_by, false);
                    }
                }
            }
            Message::Announcement(signed) => self.heard_announcement(now, from, came_by, signed),
            Message::Goodbye(signed) => self.heard_goodbye(now, signed),
            Message::Registered(registered) => {
                // A machine that was set up anew is two servers at one address for a while.
                let sequence = registered.sequence;
                let Some(server) =
                    self.servers.iter_mut().find(|server| server.address == from && server.awaits(sequence))
                else {
                    return;
                };
                let (name, address, found_by) = (server.name.clone(), server.address, server.found_by);
                match server.acknowledged(now, registered) {
                    Acknowledged::First => {
                        self.found(now);
                        self.event(Event::Registered { server: name, address, found_by, seen: registered.seen });
                    }
                    Acknowledged::SeenElsewhere => {
                        self.event(Event::SeenElsewhere { server: name, seen: registered.seen });
                    }
                    Acknowledged::Again | Acknowledged::Stray => {}
                }
            }
            Message::Refused(refused) => self.heard_refusal(now, from, refused),
            Message::Query(_) | Message::Register(_) | Message::Renew(_) | Message::Notice(_) => {}
        }
    }

    /// Says goodbye to everybody and to each server; nothing is sent afterwards. `None` if it was said before.
    pub fn stop(&mut self) -> Option<SignedRecord> {
        if std::mem::replace(&mut self.stopped, true) {
            return None;
        }
        self.browse(false);
        let signed = self.own.goodbye();
        let goodbye = Message::Goodbye(signed.clone());
        for method in self.announcing_methods() {
            self.send(To::All(method), goodbye.clone());
        }
        for index in 0..self.servers.len() {
            self.send(To::One(self.servers[index].address), goodbye.clone());
        }
        Some(signed)
    }

    fn registers(&self) -> bool {
        self.settings.registers
    }

    fn searches(&self) -> bool {
        self.registers() && self.servers.len() < self.settings.max_servers
    }

    fn connected(&self) -> bool {
        self.servers.iter().any(|server| server.held.is_some())
    }

    /// Begins again with the first method.
    fn search(&mut self, now: Now) {
        if !self.registers() {
            return;
        }
        let mut starts = now.elapsed;
        let mut attempts = Vec::with_capacity(self.settings.methods.len());
        for method in &self.settings.methods {
            attempts.push(Attempt::new(*method, starts));
            starts += self.settings.fallback_after;
        }
        self.attempts = attempts;
        for configured in &mut self.configured {
            configured.schedule = AskSchedule::new(now.elapsed);
        }
    }

    fn advance_methods(&mut self, now: Now) {
        let connected = self.connected();
        for index in 0..self.attempts.len() {
            let attempt = &mut self.attempts[index];
            let method = attempt.method;
            if attempt.schedule.is_none() && !connected && attempt.starts <= now.elapsed {
                attempt.schedule = Some(AskSchedule::new(now.elapsed));
                if index > 0 {
                    self.event(Event::Fallback { method });
                }
            }
            let attempt = &mut self.attempts[index];
            let Some(schedule) = attempt.schedule.as_mut().filter(|schedule| schedule.next() <= now.elapsed) else {
                continue;
            };
            schedule.asked(now.elapsed, &mut self.dice);
            if connected {
                schedule.content(now.elapsed, &mut self.dice);
            }
            if method == Method::Mdns {
                // With a server nothing is browsed for: others would be found by the methods before.
                if !connected {
                    attempt.asked = attempt.asked.saturating_add(1);
                    self.browse(true);
                    self.ask_candidates(now);
                }
                continue;
            }
            attempt.asked = attempt.asked.saturating_add(1);
            self.query(now, method, To::All(method));
        }
    }

    fn ask_candidates(&mut self, now: Now) {
        for index in 0..self.candidates.len() {
            let candidate = &mut self.candidates[index];
            candidate.rounds = candidate.rounds.saturating_add(1);
            let address = candidate.address;
            self.query(now, Method::Mdns, To::One(address));
        }
    }

    fn browse(&mut self, on: bool) {
        if std::mem::replace(&mut self.browsing, on) != on {
            self.candidates.clear();
            self.output.push_back(Output::Browse { on });
        }
    }

    fn advance_configured(&mut self, now: Now) {
        for index in 0..self.configured.len() {
            let configured = &mut self.configured[index];
            if configured.resolving || configured.schedule.next() > now.elapsed {
                continue;
            }
            // The name is looked up each time: what it meant before is what did not answer.
            configured.resolving = true;
            let reached = self
                .servers
                .iter()
                .any(|server| server.held.is_some() && configured.addresses.contains(&server.address));
            if reached {
                configured.resolving = false;
                configured.schedule.content(now.elapsed, &mut self.dice);
                continue;
            }
            self.output.push_back(Output::Resolve { configured: index });
        }
    }

    fn advance_servers(&mut self, now: Now) {
        let mut index = 0;
        while index < self.servers.len() {
            match self.servers[index].due(now, &mut self.own, &mut self.dice) {
                Some(Due::Send(message)) => {
                    let message = *message;
                    self.send(To::One(self.servers[index].address), message);
                    index += 1;
                }
                Some(Due::Lost) => self.lose(now, index, false),
                None => index += 1,
            }
        }
    }

    fn lose(&mut self, now: Now, index: usize, goodbye: bool) {
        let server = self.servers.remove(index);
        if server.held.is_some() || goodbye {
            self.event(Event::Lost { server: server.name, address: server.address, goodbye });
        }
        if !self.connected() {
            self.search(now);
        }
    }

    /// A server acknowledged: the search can rest.
    fn found(&mut self, now: Now) {
        self.browse(false);
        for attempt in &mut self.attempts {
            if let Some(schedule) = &mut attempt.schedule {
                schedule.content(now.elapsed, &mut self.dice);
            }
        }
    }

    fn query(&mut self, now: Now, method: Method, to: To) {
        let id = self.dice.u64(..);
        if self.queries.len() == OUTSTANDING_QUERIES {
            self.queries.pop_front();
        }
        self.queries.push_back(Outstanding { id, method, clock_retries: 0 });
        let query = Query { id, want: Want::Servers, clock: now.wall, window: NO_WINDOW };
        self.send(to, Message::Query(query));
    }

    /// Verifies a record and leaves out this node's own.
    fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        if signed.node == self.own.id() {
            return None;
        }
        signed.verify(|key| self.settings.keys.contains(&key)).ok()
    }

    /// The same, but for goodbyes: a record with lease zero says that its node is there no more.
    fn verified_present(&self, signed: &SignedRecord) -> Option<Record> {
        self.verified(signed).filter(|record| record.lease != Lease::ZERO)
    }

    fn heard_server(&mut self, now: Now, from: SocketAddr, signed: &SignedRecord, found_by: Method) {
        if !self.registers() {
            return;
        }
        if let Some(server) = self.servers.iter_mut().find(|server| server.id == signed.node) {
            if server.address != from && server.wavers() && server.held.is_some() {
                server.moved(now, from);
            }
            return;
        }
        let room = self.servers.len() < self.settings.max_servers;
        let Some(record) = self.verified_present(signed).filter(|record| record.role.serves() && room) else {
            return;
        };
        let Ok(key) = self.own.identity().renewal_key_with_server(&signed.node) else { return };
        self.servers.push(Server::new(now, from, signed.node, record.name.clone(), found_by, record.order(), key));
        self.advance_servers(now);
    }

    fn heard_announcement(&mut self, now: Now, from: SocketAddr, came_by: Method, signed: &SignedRecord) {
        // Only servers matter here, and a known one is not verified again unless it says something new.
        let serves = |record: &Record| record.role.serves() && record.port != 0;
        let Some(record) = self.verified_present(signed).filter(serves) else { return };
        let address = SocketAddr::new(from.ip(), record.port);
        let address = with_scope_of(address, from);
        match self.servers.iter_mut().find(|server| server.id == signed.node) {
            Some(server) => {
                let restarted = record.epoch > server.order.0;
                if record.order() > server.order {
                    server.order = record.order();
                    server.name = record.name;
                    if restarted && server.address.ip() == address.ip() {
                        server.hasten(now);
                    } else if server.address != address && server.wavers() {
                        server.moved(now, address);
                    }
                }
            }
            None => {
                self.heard_server(now, address, signed, came_by);
                if let Some(server) = self.servers.last_mut().filter(|server| server.id == signed.node) {
                    server.overheard = true;
                }
            }
        }
    }

    fn heard_goodbye(&mut self, now: Now, signed: &SignedRecord) {
        let Some(index) = self.servers.iter().position(|server| server.id == signed.node) else { return };
        let Some(record) = self.verified(signed) else { return };
        if record.order() > self.servers[index].order && record.lease == Lease::ZERO {
            self.lose(now, index, true);
        }
    }

    fn heard_refusal(&mut self, now: Now, from: SocketAddr, refused: &Refused) {
        match refused.regarding {
            Regarding::Query(id) => self.query_refused(now, from, id, &refused.refusal),
            Regarding::Sequence(sequence) => {
                let Some(server) =
                    self.servers.iter_mut().find(|server| server.address == from && server.awaits(sequence))
                else {
                    return;
                };
                let name = server.name.clone();
                let told_before = server.refusal.as_ref() == Some(&refused.refusal);
                server.refused(now, refused.refusal.clone(), &mut self.dice);
                if let Refusal::Outdated { epoch, sequence } = refused.refusal {
                    self.overtake(epoch, sequence);
                }
                if !told_before && !matches!(refused.refusal, Refusal::UnknownRecord | Refusal::Outdated { .. }) {
                    self.event(Event::Refused { server: name, refusal: refused.refusal.clone() });
                }
            }
        }
    }

    fn query_refused(&mut self, now: Now, from: SocketAddr, id: u64, refusal: &Refusal) {
        if let Refusal::Channel { name } = refusal {
            // It comes from a server that could not open the query, so it carries no id.
            self.event(Event::OtherChannel { from, name: name.clone() });
            return;
        }
        let Some(query) = self.queries.iter_mut().find(|query| query.id == id) else { return };
        let Refusal::Clock { clock } = refusal else { return };
        if query.clock_retries == CLOCK_RETRIES_PER_QUERY {
            return;
        }
        query.clock_retries += 1;
        // The same id: the answer to the corrected query answers the first one.
        let corrected = Query { id, want: Want::Servers, clock: *clock, window: NO_WINDOW };
        let millis = i64::try_from(clock.0).unwrap_or(i64::MAX) - i64::try_from(now.wall.0).unwrap_or(i64::MAX);
        self.event(Event::ClockDiffers { from, millis });
        self.send(To::One(from), Message::Query(corrected));
    }

    fn content_changed(&mut self, now: Now) {
        let earliest = self.announced_at.map_or(now.elapsed, |at| (at + ANNOUNCE_EVERY).max(now.elapsed));
        self.announce_at = Some(self.announce_at.map_or(earliest, |at| at.min(earliest)));
        self.announce_repeats = 1;
        for server in &mut self.servers {
            server.hasten(now);
        }
        self.advance_servers(now);
    }

    fn announce(&mut self, now: Now) {
        self.announced_at = Some(now.elapsed);
        self.announce_at = (self.announce_repeats > 0).then(|| now.elapsed + ANNOUNCE_AGAIN);
        self.announce_repeats = self.announce_repeats.saturating_sub(1);
        let announcement = Message::Announcement(self.own.signed().clone());
        for method in self.announcing_methods() {
            self.send(To::All(method), announcement.clone());
        }
    }

    /// Whoever listens by any of the methods shall hear it.
    fn announcing_methods(&self) -> Vec<Method> {
        self.settings.methods.iter().copied().filter(|m| matches!(m, Method::Multicast | Method::Broadcast)).collect()
    }

    fn send(&mut self, to: To, message: Message) {
        self.output.push_back(Output::Send { to, message });
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}

/// An address with the zone of another one, where it needs one (RFC 4007 §6).
fn with_scope_of(address: SocketAddr, from: SocketAddr) -> SocketAddr {
    match (address, from) {
        (SocketAddr::V6(mut address), SocketAddr::V6(from)) => {
            address.set_scope_id(from.scope_id());
            SocketAddr::V6(address)
        }
        (address, _) => address,
    }
}
