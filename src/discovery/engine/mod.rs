//! The requesting side of a node: it finds servers and keeps this node registered with them. Pure.
//!
//! A search begins with the first method. Each further method starts when the methods before it
//! found no server for `fallback_after`. Servers of the configuration are asked by unicast from the
//! start. Multicast DNS is a method, too, but it finds addresses only: each address is asked by a
//! sealed query, and counts once it answers.
//!
//! A node that answers with the record of a server becomes a [`Server`]. This node registers with
//! it, and renews at a third of the lease. A server that acknowledges nothing for a whole lease is
//! dropped, and a new search begins when no other server is left.
//!
//! The event loop calls [`Engine::handle`] for each opened message and [`Engine::advance`] at
//! [`Engine::deadline`]. After each call it carries out [`Engine::output`] until there is none.

mod announce;
mod known;
mod output;
mod receive;

mod search;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tracing::debug;

pub use self::output::{Event, Output, To};
use self::search::{Candidate, Configured, Outstanding};
use super::method::Attempt;
use super::own::OwnRecord;
use super::schedule::QuerySchedule;
use super::servers::Server;
use crate::model::{Method, Now};
use crate::wire::KeyId;
use crate::wire::v1::Message;

#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Whether this node looks for servers and registers with them; otherwise it only announces
    /// itself.
    pub registers: bool,
    /// The methods, in order; [`Method::Unicast`] is not one of them.
    pub methods: Vec<Method>,
    /// How long a method has before the next one starts.
    pub fallback_after: Duration,
    /// The maximum number of servers that this node registers with.
    pub max_servers: usize,
    /// How many servers the configuration names; outputs and inputs use their index.
    pub configured: usize,
    /// The ids of the keys under which records may be signed.
    pub keys: Vec<KeyId>,
    /// The seed of jitter and query ids; from the system's randomness.
    pub seed: u64,
}

#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    own: OwnRecord,
    rng: fastrand::Rng,
    attempts: Vec<Attempt>,
    configured: Vec<Configured>,
    servers: Vec<Server>,
    queries: VecDeque<Outstanding>,
    /// The addresses that multicast DNS has found since browsing began.
    candidates: Vec<Candidate>,
    browsing: bool,
    announce_at: Option<Duration>,
    announced_at: Option<Duration>,
    announce_repeats: u8,
    stopped: bool,
    output: VecDeque<Output>,
}

impl Engine {
    /// Creates an engine that begins its search at `now`.
    pub fn new(now: Now, settings: EngineSettings, own: OwnRecord) -> Self {
        let rng = fastrand::Rng::with_seed(settings.seed);
        let configured = (0..settings.configured)
            .map(|_| Configured {
                addresses: Vec::new(),
                schedule: QuerySchedule::new(now.elapsed),
                resolving: false,
            })
            .collect();
        let mut engine = Self {
            settings,
            own,
            rng,
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

    pub fn own(&self) -> &OwnRecord {
        &self.own
    }

    /// The known servers, in the order in which they were found.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The next action; `None` when all are done until the next input or deadline.
    pub fn output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Engine::advance`] must be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        let servers = self.servers.iter().map(Server::deadline);
        let search = if self.searches() {
            self.search_deadline()
        } else {
            None
        };
        servers.chain(search).chain(self.announce_at).min()
    }

    /// Does everything that is due.
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

    /// Registers with every server again, now. Begins a search if there is none.
    pub fn register_now(&mut self, now: Now) {
        debug!(
            servers = self.servers.len(),
            "registering with all servers now"
        );
        for server in &mut self.servers {
            server.register_now(now);
        }
        if self.servers.is_empty() {
            self.search(now);
        }
    }

    /// Takes the next sequence number, for this node's renewal in its own registry.
    pub fn next_sequence(&mut self) -> u64 {
        self.own.next_sequence()
    }

    /// Begins an epoch that is greater than `past`, which an earlier start used, and than the
    /// current one. Returns whether that is possible.
    pub fn begin_epoch(&mut self, past: u64) -> bool {
        let begun = self.own.begin_epoch(past);
        if begun {
            self.event(Event::EpochRaised {
                epoch: self.own.record().epoch,
            });
        }
        begun
    }

    /// Signs the own record under a sequence number that no renewal has used.
    pub fn sign_again(&mut self) {
        self.own.for_registering();
    }

    fn registers(&self) -> bool {
        self.settings.registers
    }

    fn send(&mut self, to: To, message: Message) {
        self.output.push_back(Output::Send { to, message });
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}
