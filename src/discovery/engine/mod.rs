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

mod announce;
mod heard;
mod output;
mod search;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::output::{Event, Output, To};
use self::search::{Candidate, Configured, Outstanding};
use super::method::Attempt;
use super::own::OwnRecord;
use super::schedule::AskSchedule;
use super::servers::Server;
use crate::model::Method;
use crate::model::Now;
use crate::wire::KeyId;
use crate::wire::v1::Message;

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

/// The asking side of a node.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    own: OwnRecord,
    rng: fastrand::Rng,
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

impl Engine {
    /// An engine that begins its search at `now`; a node that does not register only announces.
    pub fn new(now: Now, settings: EngineSettings, own: OwnRecord) -> Self {
        let rng = fastrand::Rng::with_seed(settings.seed);
        let configured = (0..settings.configured)
            .map(|_| Configured {
                addresses: Vec::new(),
                schedule: AskSchedule::new(now.elapsed),
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

    /// This node's own record.
    pub fn own(&self) -> &OwnRecord {
        &self.own
    }

    /// The servers known, in the order found.
    pub fn servers(&self) -> &[Server] {
        &self.servers
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
        let attempts =
            self.attempts
                .iter()
                .filter(|_| searching)
                .map(|attempt| match &attempt.schedule {
                    Some(schedule) => schedule.next(),
                    None if self.connected() => Duration::MAX,
                    None => attempt.starts,
                });
        let configured = self
            .configured
            .iter()
            .filter(|c| searching && !c.resolving)
            .map(|configured| configured.schedule.next());
        let servers = self.servers.iter().map(Server::deadline);
        attempts
            .chain(configured)
            .chain(servers)
            .chain(self.announce_at)
            .min()
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

    /// Registers with every server again, now.
    pub fn register_now(&mut self, now: Now) {
        for server in &mut self.servers {
            server.register_now(now);
        }
        if self.servers.is_empty() {
            self.search(now);
        }
    }

    /// The next sequence number, for this node's own renewal in its own registry.
    pub fn next_sequence(&mut self) -> u64 {
        self.own.next_sequence()
    }

    /// Begins an epoch past this one and the own, as an earlier start used it; whether that is possible.
    pub fn begin_epoch(&mut self, past: u64) -> bool {
        let begun = self.own.begin_epoch(past);
        if begun {
            self.event(Event::EpochRaised {
                epoch: self.own.record().epoch,
            });
        }
        begun
    }

    /// Signs the own record under a new sequence number.
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
