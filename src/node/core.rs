//! A node without sockets, store or clock: the engine, the responder and the registry's table joined. Pure.
//!
//! The shell hands in opened messages, changed interfaces, durable tickets and the passing of time, then does what
//! [`Core::output`] gives until it gives nothing. One rule binds them: an acknowledgement of a change leaves only after
//! the store said that its ticket is durable.

mod hearsay;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) use self::hearsay::Heard;
use super::counters::Counters;
use crate::discovery::{self, Engine, Ignored, Method, Responder, To, Verdict};
use crate::model::{Address, Labels, Lease, NodeId, NodeName, Now, Record, State, Timestamp, Wire};
use crate::registry::{Batch, Change, Outcome, Registration, RenewOutcome, SEEN_EVERY, Table};
use crate::wire::KeyId;
use crate::wire::identity::RenewalKey;
use crate::wire::v1::{
    Answer, Message, Notice, Query, Refusal, Refused, Regarding, Registered, Renewal, SignedRecord, Subject, Want,
};

/// Acknowledgements that wait for the store; with more, registers are refused for a while.
const WAITING_ACKNOWLEDGEMENTS: usize = 65_536;
/// Batches handed to the store and not yet durable; more stay in the table, where they coalesce.
const BATCHES_IN_FLIGHT: u64 = 8;
/// How long a node is to wait when the store can't keep up.
const STORE_BUSY: Duration = Duration::from_secs(2);
/// Name conflicts kept for `status`; the oldest goes first.
const CONFLICTS: usize = 64;

/// Where a datagram came from, and the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via {
    /// The address of this node that was spoken to, if it was one of its own: the answer leaves from it.
    pub local: Option<IpAddr>,
    /// The interface it came in by.
    pub interface: u32,
}

/// An opened datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its sender.
    pub from: SocketAddr,
    /// The way it came.
    pub came_by: Method,
    /// The way back.
    pub via: Via,
    /// The key that opened it.
    pub key: KeyId,
    /// Its nonce.
    pub nonce: &'a [u8; 24],
    /// Its length on the wire, in bytes: what is answered has at most three times as many.
    pub length: usize,
}

/// What the core wants done.
#[derive(Debug)]
pub enum Output {
    /// Seal and send, on the node's own account.
    Send {
        /// Where to.
        to: To,
        /// What.
        message: Message,
    },
    /// Seal and send as an answer.
    Reply {
        /// Where to.
        to: SocketAddr,
        /// The way back.
        via: Via,
        /// What.
        message: Message,
        /// The most bytes it may have on the wire.
        most: usize,
    },
    /// Look up a configured server, then call [`Core::resolved`].
    Resolve {
        /// Its index.
        configured: usize,
    },
    /// Begin to browse by multicast DNS and give what is found to [`Core::candidate`], or stop it.
    Browse {
        /// Whether to begin.
        on: bool,
    },
    /// Make this durable, then call [`Core::durable`].
    Store {
        /// Its number; greater than every one before.
        ticket: u64,
        /// What.
        batch: Batch,
    },
    /// A server says that it has a newer generation of a file that this node takes.
    Notice {
        /// What it says; its signature holds.
        notice: Notice,
        /// Where it came from.
        from: SocketAddr,
    },
    /// Something that an operator wants to know.
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The asking side has news.
    Discovery(discovery::Event),
    /// A node registered that was not present.
    Arrived {
        /// Its name.
        name: NodeName,
        /// Its address as this server sees it.
        source: SocketAddr,
    },
    /// A present node's addresses, name or source changed.
    Changed {
        /// Its name.
        name: NodeName,
        /// Its address as this server sees it.
        source: SocketAddr,
    },
    /// An ancestor's wire brought a name, or another address of one; nobody proved anything.
    Hearsay {
        /// The name.
        name: NodeName,
        /// The wire.
        wire: Wire,
        /// Where it came from.
        source: SocketAddr,
        /// Whether the name was not present before.
        arrived: bool,
    },
    /// A node said goodbye.
    Departed {
        /// Its name.
        name: NodeName,
    },
    /// A node's lease ran out.
    Expired {
        /// Its name.
        name: NodeName,
    },
    /// A node claims a name that another one holds.
    NameConflict(Conflict),
    /// Two machines use one node id.
    Cloned {
        /// The id.
        node: NodeId,
        /// The name claimed last.
        name: NodeName,
        /// Where it came from.
        source: SocketAddr,
    },
}

/// A claim of a name that another node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: NodeName,
    /// Who holds it.
    pub holder: NodeId,
    /// Who claims it.
    pub claimant: NodeId,
    /// Where the claim came from.
    pub source: SocketAddr,
    /// When it came last.
    pub at: Timestamp,
}

/// The settings that are the core's own.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// A server's key/values for whoever asks.
    pub info: Labels,
    /// The ids of the keys that records may be signed under.
    pub keys: Vec<KeyId>,
    /// The names of the files that this node takes.
    pub accepts: Vec<Box<str>>,
}

/// A node without sockets, store or clock.
#[derive(Debug)]
pub struct Core {
    engine: Engine,
    responder: Responder,
    table: Option<Table>,
    settings: CoreSettings,
    /// The next renewal of this node in its own table.
    renew_own_at: Duration,
    /// When renewal times go to the store next; the batch before is durable then.
    seen_at: Duration,
    seen_ticket: u64,
    /// Whether batches of changes are to be handed out.
    storing: bool,
    acknowledgements: VecDeque<Acknowledgement>,
    submitted: u64,
    durable: u64,
    conflicts: VecDeque<Conflict>,
    counters: Counters,
    output: VecDeque<Output>,
}

#[derive(Debug)]
struct Acknowledgement {
    ticket: u64,
    to: SocketAddr,
    via: Via,
    sequence: u64,
    lease: Lease,
    most: usize,
}

impl Core {
    /// Joins the parts; a table makes it a server.
    pub fn new(now: Now, engine: Engine, responder: Responder, table: Option<Table>, settings: CoreSettings) -> Self {
        let mut core = Self {
            engine,
            responder,
            table,
            settings,
            renew_own_at: now.elapsed,
            seen_at: now.elapsed,
            seen_ticket: 0,
            storing: false,
            acknowledgements: VecDeque::new(),
            submitted: 0,
            durable: 0,
            conflicts: VecDeque::new(),
            counters: Counters::default(),
            output: VecDeque::new(),
        };
        core.register_own(now);
        core
    }

    /// The asking side.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The registry of a server.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was counted, to be counted up by the shell.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The last claims of names that others hold.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// A server's key/values.
    pub fn info(&self) -> &Labels {
        &self.settings.info
    }

    /// The ticket of the batch that holds the last change.
    pub fn last_ticket(&self) -> u64 {
        self.submitted + self.table.as_ref().map_or(0, waiting_batches)
    }

    /// Batches handed out and not yet durable.
    pub fn in_flight(&self) -> u64 {
        self.submitted - self.durable
    }

    /// What is to be done next; `None` when all is done until the next input or deadline.
    pub fn output(&mut self) -> Option<Output> {
        self.drain_engine();
        self.output.pop_front().or_else(|| self.next_batch())
    }

    /// When [`Core::advance`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        let table = self.table.as_ref();
        let own = table.map(|_| self.renew_own_at);
        let seen = table.filter(|table| self.may_store_seen(table)).map(|_| self.seen_at);
        [self.engine.deadline(), self.responder.deadline(), table.and_then(Table::next_deadline), own, seen]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what became due.
    pub fn advance(&mut self, now: Now) {
        self.engine.advance(now);
        while let Some(due) = self.responder.due(now) {
            let via = Via { local: due.via.0, interface: due.via.1 };
            self.answer(due.id, due.to, via, self.own_subject(), usize::MAX);
        }
        if let Some(table) = &mut self.table {
            for node in table.expire(now) {
                if let Some(node) = table.by_id(&node) {
                    self.output.push_back(Output::Event(Event::Expired { name: node.name().clone() }));
                }
            }
            if now.elapsed >= self.renew_own_at {
                self.renew_own(now);
            }
        }
        self.store();
        self.store_seen(now);
    }

    /// Takes an opened message.
    pub fn handle(&mut self, now: Now, datagram: Datagram<'_>, message: &Message) {
        match message {
            Message::Query(query) => self.query(now, datagram, query),
            Message::Register(signed) => self.register(now, datagram, signed),
            Message::Renew(renewal) => self.renew(now, datagram, renewal),
            Message::Goodbye(signed) => {
                self.engine.handle(now, datagram.from, datagram.came_by, message);
                self.goodbye(now, datagram, signed);
            }
            Message::Notice(notice) => self.notice(now, datagram, notice),
            Message::Answer(_) | Message::Registered(_) | Message::Announcement(_) | Message::Refused(_) => {
                self.engine.handle(now, datagram.from, datagram.came_by, message);
            }
        }
    }

    /// Whether somebody without the channel's key may be told something now.
    pub fn admits_stranger(&mut self, now: Now, from: SocketAddr) -> bool {
        self.responder.admits(now, from)
    }

    /// Hands what changed to the store: to be called when a batch of datagrams has been handled.
    pub fn store(&mut self) {
        self.storing = true;
    }

    /// The next batch of changes, once everything else is done: a batch gets its number only when the shell is about to
    /// submit it, so that one that comes back by [`Core::put_back`] is always the last.
    fn next_batch(&mut self) -> Option<Output> {
        let table = self.table.as_mut().filter(|table| self.storing && table.is_dirty());
        let Some(table) = table.filter(|_| self.submitted - self.durable < BATCHES_IN_FLIGHT) else {
            self.storing = false;
            return None;
        };
        self.submitted += 1;
        Some(Output::Store { ticket: self.submitted, batch: table.take_dirty() })
    }

    /// Whether renewal times may be stored when their time comes. Rows go first: the numbers of the batches that will
    /// hold them are promised to acknowledgements, and renewal times must not take one.
    fn may_store_seen(&self, table: &Table) -> bool {
        table.is_seen_dirty() && !table.is_dirty() && self.seen_ticket <= self.durable
    }

    fn store_seen(&mut self, now: Now) {
        if now.elapsed < self.seen_at || !self.table.as_ref().is_some_and(|table| self.may_store_seen(table)) {
            return;
        }
        let Some(table) = &mut self.table else { return };
        self.seen_at = now.elapsed + SEEN_EVERY;
        self.submitted += 1;
        self.seen_ticket = self.submitted;
        self.output.push_back(Output::Store { ticket: self.submitted, batch: table.take_seen() });
    }

    /// The store had no room for its last batch: what was in it is handed out again later.
    pub fn put_back(&mut self, batch: Batch) {
        let Some(table) = &mut self.table else { return };
        table.put_back(batch);
        // Not again before the next occasion: there is no room now.
        self.storing = false;
        let refused = self.submitted;
        self.submitted -= 1;
        self.seen_ticket = self.seen_ticket.min(self.submitted);
        // What was put back may now stand behind other changes.
        let last = self.submitted + waiting_batches(table);
        for waiting in self.acknowledgements.iter_mut().filter(|waiting| waiting.ticket >= refused) {
            waiting.ticket = last;
        }
    }

    /// All batches up to this ticket are durable: what waited for them is acknowledged.
    pub fn durable(&mut self, now: Now, ticket: u64) {
        self.durable = self.durable.max(ticket.min(self.submitted));
        while let Some(next) = self.acknowledgements.front()
            && next.ticket <= self.durable
        {
            if let Some(Acknowledgement { to, via, sequence, lease, most, .. }) = self.acknowledgements.pop_front() {
                self.acknowledge(now, to, via, sequence, lease, most);
            }
        }
        self.store();
    }

    /// Takes the addresses that the interfaces hold now.
    pub fn set_addresses(&mut self, now: Now, addresses: Vec<Address>) {
        if self.engine.set_addresses(now, addresses) {
            self.register_own(now);
            self.store();
        }
    }

    /// Looks again, as the network changed.
    pub fn network_changed(&mut self, now: Now) {
        self.engine.network_changed(now);
    }

    /// Registers with every server again, now.
    pub fn hasten(&mut self, now: Now) {
        self.engine.hasten(now);
        self.engine.advance(now);
    }

    /// Takes what a look-up of a configured server brought.
    pub fn resolved(&mut self, now: Now, configured: usize, addresses: Vec<SocketAddr>) {
        self.engine.resolved(now, configured, addresses);
    }

    /// Takes an address that multicast DNS brought.
    pub fn candidate(&mut self, now: Now, address: SocketAddr) {
        self.engine.candidate(now, address);
    }

    /// Notes whether a method can send.
    pub fn sent(&mut self, method: discovery::Method, failure: Option<String>) {
        self.engine.sent(method, failure);
    }

    /// Frees a name and drops its record; whether there was one.
    pub fn forget(&mut self, name: &NodeName) -> bool {
        let own = self.engine.own().record().name == *name;
        let forgotten = !own && self.table.as_mut().is_some_and(|table| table.forget(name).is_some());
        self.store();
        forgotten
    }

    /// Says goodbye and closes this node's own record; nothing is sent afterwards but what waits for the store.
    pub fn stop(&mut self, now: Now) {
        let Some(goodbye) = self.engine.stop() else { return };
        if let (Some(table), Ok(record)) = (&mut self.table, SignedRecord::decode_body(&goodbye.body)) {
            let source = own_source(&record);
            table.goodbye(now, Registration { record, key: goodbye.key, signed: goodbye, source });
        }
        self.store();
    }

    fn notice(&mut self, now: Now, datagram: Datagram<'_>, notice: &Notice) {
        let Datagram { from, key, .. } = datagram;
        if !self.settings.accepts.contains(&notice.name) {
            self.counters.ignored_notices += 1;
        } else if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate);
        } else if notice.verify(key).is_err() {
            self.counters.forged_notices += 1;
        } else {
            self.counters.notices += 1;
            self.output.push_back(Output::Notice { notice: notice.clone(), from });
        }
    }

    fn query(&mut self, now: Now, datagram: Datagram<'_>, query: &Query) {
        let Datagram { from, via, nonce, length, .. } = datagram;
        let most = length.saturating_mul(3);
        self.counters.queries += 1;
        match self.responder.query(now, query, nonce, from, (via.local, via.interface)) {
            Verdict::Ignore(reason) => self.counters.ignored(reason),
            Verdict::AnswerOwn => self.answer(query.id, from, via, self.own_subject(), most),
            Verdict::AnswerLater => {}
            Verdict::LookUp => {
                let subject = self.found(&query.want);
                self.answer(query.id, from, via, subject, most);
            }
            Verdict::Refuse(refused) => self.refuse(from, via, refused, most),
        }
    }

    fn answer(&mut self, id: u64, to: SocketAddr, via: Via, subject: Subject, most: usize) {
        self.counters.answers += 1;
        let message = Message::Answer(Answer { id, seen: to, subject });
        self.output.push_back(Output::Reply { to, via, message, most });
    }

    fn own_subject(&self) -> Subject {
        let serves = self.engine.own().record().role.serves();
        let info = if serves { self.settings.info.clone() } else { Labels::default() };
        Subject::Own { record: self.engine.own().signed().clone(), info }
    }

    fn found(&self, want: &Want) -> Subject {
        let server = self.engine.own().id();
        let entry = self.table.as_ref().and_then(|table| match want {
            Want::Name(name) => table.by_name(name),
            Want::Holder(ip) => table.holder(*ip),
            Want::Servers | Want::All => None,
        });
        match entry {
            // It has no signature that the asker could check, and is told as what it is.
            Some(node) if !node.wire().is_authenticated() => {
                let (name, wire) = (node.name().clone(), node.wire());
                Subject::Hearsay { server, name, wire, sighting: node.sighting() }
            }
            Some(node) => Subject::Found { server, record: node.signed(), sighting: node.sighting() },
            None => Subject::Unknown { server },
        }
    }

    fn register(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let Datagram { from, via, key, length, .. } = datagram;
        let most = length.saturating_mul(3);
        let Some(table) = &mut self.table else {
            self.counters.ignored(Ignored::NotAsked);
            return;
        };
        if signed.node == self.engine.own().id() {
            // Its own datagram come back by a loop in the network, or a copy of this server's disk.
            self.counters.own_reflected += 1;
            return;
        }
        if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate);
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            self.counters.forged_records += 1;
            return;
        };
        let Record { sequence, .. } = record;
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            let refused =
                Refused { regarding: Regarding::Sequence(sequence), refusal: Refusal::Rate { wait: STORE_BUSY } };
            self.refuse(from, via, refused, most);
            return;
        }
        let name = record.name.clone();
        let node = signed.node;
        self.counters.registers += 1;
        match table.register(now, Registration { record, signed: signed.clone(), source: from, key }) {
            Outcome::Accepted { lease, change, .. } => {
                // A retransmitted register changes nothing, yet its first copy may still be on the way to the disk.
                let ticket = self.submitted + waiting_batches(table);
                if ticket <= self.durable {
                    self.acknowledge(now, from, via, sequence, lease, most);
                } else {
                    let waiting = Acknowledgement { ticket, to: from, via, sequence, lease, most };
                    self.acknowledgements.push_back(waiting);
                }
                match change {
                    Change::Joined | Change::Returned => self.event(Event::Arrived { name, source: from }),
                    Change::Moved => self.event(Event::Changed { name, source: from }),
                    Change::Same | Change::Updated | Change::Left => {}
                }
            }
            Outcome::Refused(refusal) => {
                match &refusal {
                    Refusal::NameHeld { holder } => {
                        let holder = *holder;
                        self.conflict(Conflict { name, holder, claimant: node, source: from, at: now.wall });
                    }
                    Refusal::Cloned => self.event(Event::Cloned { node, name, source: from }),
                    _ => {}
                }
                let refused = Refused { regarding: Regarding::Sequence(sequence), refusal };
                self.refuse(from, via, refused, most);
            }
        }
    }

    fn renew(&mut self, now: Now, datagram: Datagram<'_>, renewal: &Renewal) {
        let Datagram { from, via, length, .. } = datagram;
        let most = length.saturating_mul(3);
        let own = self.engine.own().id();
        let Some(table) = &mut self.table else {
            self.counters.ignored(Ignored::NotAsked);
            return;
        };
        if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate);
            return;
        }
        let regarding = Regarding::Sequence(renewal.sequence);
        if table.by_id(&renewal.node).is_none() {
            self.refuse(from, via, Refused { regarding, refusal: Refusal::UnknownRecord }, most);
            return;
        }
        let genuine = match table.renewal_key(&renewal.node) {
            Some(key) => RenewalKey::from_bytes(*key).verify(renewal, &own),
            None => match self.engine.own().identity().renewal_key_of_node(&renewal.node) {
                Ok(key) => {
                    let genuine = key.verify(renewal, &own);
                    // Only a genuine renewal earns the memory.
                    if genuine {
                        table.set_renewal_key(&renewal.node, *key.bytes());
                    }
                    genuine
                }
                Err(_) => false,
            },
        };
        if !genuine {
            self.counters.forged_renewals += 1;
            return;
        }
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            // Most renewals wait for nothing, but whether this one does is known only once it is taken.
            self.refuse(from, via, Refused { regarding, refusal: Refusal::Rate { wait: STORE_BUSY } }, most);
            return;
        }
        self.counters.renewals += 1;
        match table.renew(now, &renewal.node, renewal.epoch, renewal.base, renewal.sequence, from) {
            RenewOutcome::Renewed { lease, changed: false } => {
                self.acknowledge(now, from, via, renewal.sequence, lease, most);
            }
            RenewOutcome::Renewed { lease, changed: true } => {
                let name = table.by_id(&renewal.node).map(|node| node.name().clone());
                let ticket = self.submitted + waiting_batches(table);
                let sequence = renewal.sequence;
                self.acknowledgements.push_back(Acknowledgement { ticket, to: from, via, sequence, lease, most });
                if let Some(name) = name {
                    self.event(Event::Changed { name, source: from });
                }
            }
            RenewOutcome::Unknown => {
                self.refuse(from, via, Refused { regarding, refusal: Refusal::UnknownRecord }, most);
            }
            RenewOutcome::Outdated { epoch, sequence } => {
                self.refuse(from, via, Refused { regarding, refusal: Refusal::Outdated { epoch, sequence } }, most);
            }
        }
    }

    fn goodbye(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let Some(table) = &mut self.table else { return };
        let known = table.by_id(&signed.node).is_some_and(|node| node.state() == State::Present);
        if !known || signed.node == self.engine.own().id() || !self.responder.admits(now, datagram.from) {
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            self.counters.forged_records += 1;
            return;
        };
        if record.lease != Lease::ZERO {
            // A record that its node signed for something else, put into a goodbye by another member of the channel.
            self.counters.forged_records += 1;
            return;
        }
        let name = record.name.clone();
        let Datagram { from: source, key, .. } = datagram;
        let registration = Registration { record, signed: signed.clone(), source, key };
        if let Outcome::Accepted { change: Change::Left, .. } = table.goodbye(now, registration) {
            self.event(Event::Departed { name });
        }
    }

    fn acknowledge(&mut self, now: Now, to: SocketAddr, via: Via, sequence: u64, lease: Lease, most: usize) {
        let message = Message::Registered(Registered { sequence, seen: to, lease, clock: now.wall });
        self.output.push_back(Output::Reply { to, via, message, most });
    }

    fn refuse(&mut self, to: SocketAddr, via: Via, refused: Refused, most: usize) {
        self.counters.refused(&refused.refusal);
        self.output.push_back(Output::Reply { to, via, message: Message::Refused(refused), most });
    }

    fn conflict(&mut self, conflict: Conflict) {
        let known = self.conflicts.iter_mut().find(|c| c.name == conflict.name && c.claimant == conflict.claimant);
        if let Some(known) = known {
            *known = conflict;
            return;
        }
        if self.conflicts.len() == CONFLICTS {
            self.conflicts.pop_front();
        }
        self.conflicts.push_back(conflict.clone());
        self.event(Event::NameConflict(conflict));
    }

    /// A server's own record stands in its registry like any other.
    fn register_own(&mut self, now: Now) {
        let Some(table) = &mut self.table else { return };
        let own = self.engine.own();
        let record = own.record().clone();
        let (claimant, name, source) = (own.id(), record.name.clone(), own_source(&record));
        let registration = Registration { record, signed: own.signed().clone(), source, key: own.signed().key };
        if let Outcome::Refused(refusal) = table.register(now, registration) {
            match refusal {
                Refusal::Outdated { epoch, sequence } if self.engine.overtake(epoch, sequence) => {
                    self.register_own(now);
                    return;
                }
                Refusal::NameHeld { holder } => {
                    self.conflict(Conflict { name, holder, claimant, source, at: now.wall });
                }
                _ => {}
            }
        }
        self.renew_own_at = now.elapsed + discovery::renew_after(self.engine.own().record().lease);
    }

    fn renew_own(&mut self, now: Now) {
        let Some(table) = &mut self.table else { return };
        let sequence = self.engine.next_sequence();
        let own = self.engine.own();
        let record = own.record();
        let renewed = table.renew(now, &own.id(), record.epoch, record.sequence, sequence, own_source(record));
        self.renew_own_at = now.elapsed + discovery::renew_after(record.lease);
        if !matches!(renewed, RenewOutcome::Renewed { .. }) {
            self.engine.sign_anew();
            self.register_own(now);
        }
    }

    fn drain_engine(&mut self) {
        while let Some(output) = self.engine.output() {
            self.output.push_back(match output {
                discovery::Output::Send { to, message } => Output::Send { to, message },
                discovery::Output::Resolve { configured } => Output::Resolve { configured },
                discovery::Output::Browse { on } => Output::Browse { on },
                discovery::Output::Event(event) => Output::Event(Event::Discovery(event)),
            });
        }
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}

/// How many batches from now on the last change that waits in the table will be part of.
///
/// A batch holds some thousands of rows, so with more waiting the acknowledgement waits for the last of them.
fn waiting_batches(table: &Table) -> u64 {
    table.dirty_batches() as u64
}

/// A server sees itself at its best address.
fn own_source(record: &Record) -> SocketAddr {
    let ip = record.addresses.first().map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip);
    SocketAddr::new(ip, record.port)
}
