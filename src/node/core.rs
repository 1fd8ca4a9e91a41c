//! A node without sockets, store or clock: the search engine, the responder and the registry's table joined. Pure.
//!
//! The event loop hands in opened messages, changed interfaces, durable tickets and the passing of time. Then it does
//! everything that [`Core::output`] returns, until that returns `None`. One rule joins the parts: an acknowledgement of a
//! change leaves only after the store has confirmed that the ticket of the change is durable.

mod admit;
mod answers;
mod durability;
mod output;
mod own;
#[cfg(test)]
mod tests;
mod unverified;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use hashbrown::HashMap;

use self::durability::Acknowledgement;
pub use self::output::{Conflict, Event, Output};
use self::own::{ADDRESSES_WITHIN, own_source};
pub(super) use self::unverified::ClaimResult;
use crate::discovery::{self, Engine, Ignored, Method, Responder};
use crate::model::{Address, Labels, NodeId, NodeName, Now};
use crate::registry::{Registration, Table};
use crate::transport::{Counters, ReturnPath, Via};
use crate::wire::KeyId;
use crate::wire::v1::{Message, Notice, QUERY_DATAGRAM, SignedRecord};

/// An opened datagram, without its message.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The sender, and the way and the limit of an answer.
    pub path: ReturnPath,
    /// How the datagram was addressed.
    pub received_by: Method,
    /// The key that opened it.
    pub key: KeyId,
    pub nonce: &'a [u8; 24],
}

/// The settings of the core itself.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// A server's key/values, which its answers show to any peer.
    pub info: Labels,
    /// The ids of the keys that records may be signed under.
    pub keys: Vec<KeyId>,
    /// The names of the files that this node accepts.
    pub accepts: Vec<Box<str>>,
}

/// A node without sockets, store or clock.
#[derive(Debug)]
pub struct Core {
    engine: Engine,
    responder: Responder,
    table: Option<Table>,
    settings: CoreSettings,
    /// A number that changes with the files that this server offers, for [`Registered`](crate::wire::v1::Registered).
    offers: Option<u64>,
    /// Whether this node registered in its own table since the start.
    own_registered: bool,
    /// The next renewal of this node in its own table, or its first registration there.
    renew_own_at: Duration,
    /// When renewal times go to the store next.
    seen_at: Duration,
    /// The last batch of renewal times; the next one waits until it is durable.
    seen_ticket: u64,
    /// Whether batches of changes are to be handed out.
    storing: bool,
    acknowledgements: VecDeque<Acknowledgement>,
    /// Nodes that a renewal moved or brought back, each with the batch that holds the change, until it is durable.
    moving: HashMap<NodeId, u64>,
    submitted: u64,
    durable: u64,
    conflicts: VecDeque<Conflict>,
    counters: Counters,
    output: VecDeque<Output>,
}

impl Core {
    /// Joins the parts; a table makes the node a server.
    pub fn new(
        now: Now,
        engine: Engine,
        responder: Responder,
        table: Option<Table>,
        settings: CoreSettings,
    ) -> Self {
        let mut core = Self {
            engine,
            responder,
            table,
            settings,
            offers: None,
            own_registered: false,
            renew_own_at: now.elapsed + ADDRESSES_WITHIN,
            seen_at: now.elapsed,
            seen_ticket: 0,
            storing: false,
            acknowledgements: VecDeque::new(),
            moving: HashMap::new(),
            submitted: 0,
            durable: 0,
            conflicts: VecDeque::new(),
            counters: Counters::default(),
            output: VecDeque::new(),
        };
        // Without addresses, its source in the history would be one that it never had.
        if !core.engine.own().record().addresses.is_empty() {
            core.register_own(now);
        }
        core
    }

    /// The search for servers, and this node's own record.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The registry of a server.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The last claims of names that other nodes hold.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// Notes that the files that this server offers changed: acknowledgements show that from now on.
    pub fn offers_changed(&mut self, now: Now) {
        // The wall clock makes the number differ from those before a restart.
        self.offers = Some(self.offers.map_or(now.wall.0, |mark| mark.wrapping_add(1)));
    }

    /// The next thing to do; `None` when all is done until the next input or deadline.
    pub fn output(&mut self) -> Option<Output> {
        self.drain_engine();
        self.output.pop_front().or_else(|| self.next_batch())
    }

    /// When [`Core::advance`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        let table = self.table.as_ref();
        let own = table.map(|_| self.renew_own_at);
        let seen = table
            .filter(|table| self.may_store_seen(table))
            .map(|_| self.seen_at);
        [
            self.engine.deadline(),
            self.responder.deadline(),
            table.and_then(Table::next_deadline),
            own,
            seen,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due.
    pub fn advance(&mut self, now: Now) {
        self.engine.advance(now);
        while let Some(due) = self.responder.due(now) {
            let via = Via {
                local: due.via.0,
                interface: due.via.1,
            };
            // No query is shorter than this, and three times as much is as long as a datagram can be.
            let path = ReturnPath::new(due.to, via, QUERY_DATAGRAM);
            self.answer(due.id, path, self.own_subject());
        }
        if let Some(table) = &mut self.table {
            for node in table.expire(now) {
                if let Some(node) = table.by_id(&node) {
                    self.output.push_back(Output::Event(Event::Expired {
                        name: node.name().clone(),
                    }));
                }
            }
            if now.elapsed >= self.renew_own_at {
                self.renew_own(now);
            }
        }
        self.store();
        self.store_seen(now);
    }

    /// Handles an opened message.
    pub fn handle(&mut self, now: Now, datagram: Datagram<'_>, message: &Message) {
        match message {
            Message::Query(query) => self.on_query(now, datagram, query),
            Message::Register(signed) => self.on_register(now, datagram, signed),
            Message::Renew(renewal) => self.on_renewal(now, datagram, renewal),
            Message::Goodbye(signed) => {
                self.inform_engine(now, datagram, message);
                self.on_goodbye(now, datagram, signed);
            }
            Message::Notice(notice) => self.on_notice(now, datagram, notice),
            Message::Refused(_) => {
                self.counters.taken(message.kind());
                let version = self.engine.own().version();
                self.inform_engine(now, datagram, message);
                // Another server knows a later record of this node, so the engine signed it again: the own entry of this
                // server's registry follows at once.
                if self.table.is_some() && self.engine.own().version() != version {
                    self.register_own(now);
                }
            }
            Message::Answer(_) | Message::Registered(_) | Message::Announcement(_) => {
                self.counters.taken(message.kind());
                self.inform_engine(now, datagram, message);
            }
        }
    }

    fn inform_engine(&mut self, now: Now, datagram: Datagram<'_>, message: &Message) {
        self.engine
            .handle(now, datagram.path.to, datagram.received_by, message);
    }

    /// Whether a peer without the channel's key may get an answer now.
    pub fn admits_stranger(&mut self, now: Now, from: SocketAddr) -> bool {
        self.responder.admits(now, from)
    }

    /// Sets the addresses that the interfaces have now.
    pub fn set_addresses(&mut self, now: Now, addresses: Vec<Address>) {
        if self.engine.set_addresses(now, addresses) {
            self.register_own(now);
            self.store();
        }
    }

    /// Registers a server in its own table, if it is not there since the start: all of its addresses are set now.
    pub fn addresses_known(&mut self, now: Now) {
        if !self.own_registered {
            self.register_own(now);
            self.store();
        }
    }

    /// Searches again, as the interfaces that this node uses changed.
    pub fn network_changed(&mut self, now: Now) {
        self.engine.network_changed(now);
    }

    /// Queries known servers again, as an interface changed that this node does not use.
    pub fn routes_changed(&mut self, now: Now) {
        self.engine.routes_changed(now);
    }

    /// Registers with every server again, now.
    pub fn register_now(&mut self, now: Now) {
        self.engine.register_now(now);
        self.engine.advance(now);
    }

    /// Resumes after this node did not run for a while. Leases that no node could renew meanwhile start again, and this node
    /// registers with every server at once.
    pub fn resume(&mut self, now: Now) {
        if let Some(table) = &mut self.table {
            table.refresh_leases(now);
        }
        self.network_changed(now);
        self.register_now(now);
    }

    /// Takes the addresses of a configured server that was looked up.
    pub fn resolved(&mut self, now: Now, configured: usize, addresses: Vec<SocketAddr>) {
        self.engine.resolved(now, configured, addresses);
    }

    /// Takes the address of a server that multicast DNS found.
    pub fn candidate(&mut self, now: Now, address: SocketAddr) {
        self.engine.candidate(now, address);
    }

    /// Notes whether a method can send.
    pub fn sent(&mut self, method: discovery::Method, failure: Option<String>) {
        self.engine.sent(method, failure);
    }

    /// Frees a name and drops its record. Returns whether there was such a record.
    pub fn forget(&mut self, name: &NodeName) -> bool {
        let own = self.engine.own().record().name == *name;
        let forgotten = !own
            && self
                .table
                .as_mut()
                .is_some_and(|table| table.forget(name).is_some());
        self.store();
        forgotten
    }

    /// Says goodbye and closes this node's own record. Afterwards only acknowledgements that wait for the store are sent.
    pub fn stop(&mut self, now: Now) {
        let Some(goodbye) = self.engine.stop() else {
            return;
        };
        if let (Some(table), Ok(record)) =
            (&mut self.table, SignedRecord::decode_body(&goodbye.body))
        {
            let source = own_source(&record);
            table.goodbye(
                now,
                Registration {
                    record,
                    key: goodbye.key,
                    signed: goodbye,
                    source,
                },
            );
        }
        self.store();
    }

    fn on_notice(&mut self, now: Now, datagram: Datagram<'_>, notice: &Notice) {
        let from = datagram.path.to;
        if !self.settings.accepts.contains(&notice.name) {
            self.counters.ignored_notices += 1;
        } else if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate.as_str());
        } else if notice.verify(datagram.key).is_err() {
            tracing::debug!(peer = %from, file = %notice.name, "notice dropped: its signature is wrong");
            self.counters.forged_notices += 1;
        } else {
            self.counters.notices += 1;
            self.output.push_back(Output::Notice {
                notice: notice.clone(),
                from,
            });
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
