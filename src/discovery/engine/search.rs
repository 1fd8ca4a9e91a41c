//! Looking for servers: by methods in their order, by the configuration's names, by what multicast DNS brings.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Engine, Event, Output, To};
use crate::discovery::method::{Attempt, MethodStatus};
use crate::discovery::schedule::AskSchedule;
use crate::model::Method;
use crate::model::Now;
use crate::wire::v1::{Message, Query, Refusal, Want};

/// Queries whose answers are still taken; older ones are forgotten first.
const OUTSTANDING_QUERIES: usize = 64;
/// Addresses taken of one configured server's name.
const ADDRESSES_PER_NAME: usize = 8;
/// Addresses from multicast DNS that are asked; anybody can announce there.
pub(super) const CANDIDATES: usize = 32;
/// Rounds that a candidate is asked in before a new one may take its place.
const ROUNDS_PER_CANDIDATE: u32 = 2;
/// How far answers to a `servers` query may be spread: not at all.
const NO_WINDOW: Duration = Duration::ZERO;
/// Clock corrections per query, so that no server keeps an asker busy.
pub(super) const CLOCK_RETRIES_PER_QUERY: u8 = 8;

/// A server that the configuration names.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) schedule: AskSchedule,
    pub(super) resolving: bool,
}

/// An address from multicast DNS.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    pub(super) rounds: u32,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) clock_retries: u8,
}

impl Engine {
    /// Each method, in order, and how far it has come.
    pub fn methods(&self, now: Now) -> Vec<MethodStatus> {
        let found = |method| {
            self.servers
                .iter()
                .filter(|s| s.held.is_some() && s.found_by == method)
                .count() as u32
        };
        self.attempts
            .iter()
            .map(|attempt| {
                let candidates = if attempt.method == Method::Mdns {
                    self.candidates.len()
                } else {
                    0
                };
                attempt.status(
                    now.elapsed,
                    self.settings.fallback_after,
                    found(attempt.method),
                    candidates,
                )
            })
            .collect()
    }

    /// Looks again, as the interfaces that this node uses changed: a server that was out of reach may be there now.
    pub fn network_changed(&mut self, now: Now) {
        if !self.stopped && !self.connected() {
            self.search(now);
        }
    }

    /// Asks the servers that the configuration names once more, as some other interface changed: the way to them may lead over
    /// it. The methods go on where they are, since containers that come and go would keep them at their beginning for ever.
    pub fn routes_changed(&mut self, now: Now) {
        if !self.stopped && !self.connected() {
            self.configured
                .iter_mut()
                .for_each(|configured| configured.schedule.register_now(now.elapsed));
        }
    }

    /// Takes what a look-up of a configured server brought; nothing if it failed.
    pub fn resolved(&mut self, now: Now, configured: usize, mut addresses: Vec<SocketAddr>) {
        let Some(entry) = self.configured.get_mut(configured) else {
            return;
        };
        entry.resolving = false;
        addresses.truncate(ADDRESSES_PER_NAME);
        entry.addresses = addresses;
        entry.schedule.asked(now.elapsed, &mut self.rng);
        for address in self.configured[configured].addresses.clone() {
            self.query(now, Method::Unicast, To::One(address));
        }
    }

    /// Takes an address that multicast DNS brought: it is asked, and believed when it answers.
    pub fn candidate(&mut self, now: Now, address: SocketAddr) {
        if self.stopped
            || !self.browsing
            || self.candidates.iter().any(|known| known.address == address)
        {
            return;
        }
        if self.candidates.len() == CANDIDATES {
            // Whoever announces a thousand services makes this node neither ask without end nor forget the true one.
            let Some(spent) = self
                .candidates
                .iter()
                .position(|known| known.rounds >= ROUNDS_PER_CANDIDATE)
            else {
                return;
            };
            self.candidates.remove(spent);
        }
        self.candidates.push(Candidate { address, rounds: 0 });
        self.query(now, Method::Mdns, To::One(address));
    }

    /// Notes that a query by this method could not be sent on any interface, or can again.
    pub fn sent(&mut self, method: Method, failure: Option<String>) {
        if let Some(attempt) = self
            .attempts
            .iter_mut()
            .find(|attempt| attempt.method == method)
        {
            attempt.failure = failure;
        }
    }

    pub(super) fn searches(&self) -> bool {
        self.registers() && self.servers.len() < self.settings.max_servers
    }

    /// Begins again with the first method.
    pub(super) fn search(&mut self, now: Now) {
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

    pub(super) fn advance_methods(&mut self, now: Now) {
        let connected = self.connected();
        for index in 0..self.attempts.len() {
            let attempt = &mut self.attempts[index];
            let method = attempt.method;
            if attempt.schedule.is_none() && !connected && attempt.starts <= now.elapsed {
                // From the moment that was meant: however late this is, its last quick question does not come after the next
                // method's first.
                attempt.schedule = Some(AskSchedule::new(attempt.starts));
                if index > 0 {
                    self.event(Event::Fallback { method });
                }
            }
            let attempt = &mut self.attempts[index];
            let Some(schedule) = attempt
                .schedule
                .as_mut()
                .filter(|schedule| schedule.next() <= now.elapsed)
            else {
                continue;
            };
            schedule.asked(now.elapsed, &mut self.rng);
            if connected {
                schedule.content(now.elapsed, &mut self.rng);
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

    pub(super) fn browse(&mut self, on: bool) {
        if std::mem::replace(&mut self.browsing, on) != on {
            self.candidates.clear();
            self.output.push_back(Output::Browse { on });
        }
    }

    pub(super) fn advance_configured(&mut self, now: Now) {
        for index in 0..self.configured.len() {
            let configured = &mut self.configured[index];
            if configured.resolving || configured.schedule.next() > now.elapsed {
                continue;
            }
            // The name is looked up each time: what it meant before is what did not answer.
            configured.resolving = true;
            let reached = self.servers.iter().any(|server| {
                server.held.is_some() && configured.addresses.contains(&server.address)
            });
            if reached {
                configured.resolving = false;
                // Not `content`, which leaves the first queries due: nothing is asked here, so they would be due for ever.
                configured.schedule.rest(now.elapsed, &mut self.rng);
                continue;
            }
            self.output.push_back(Output::Resolve { configured: index });
        }
    }

    /// A server acknowledged: the search can rest.
    pub(super) fn found(&mut self, now: Now) {
        self.browse(false);
        for attempt in &mut self.attempts {
            if let Some(schedule) = &mut attempt.schedule {
                schedule.content(now.elapsed, &mut self.rng);
            }
        }
    }

    fn query(&mut self, now: Now, method: Method, to: To) {
        let id = self.rng.u64(..);
        if self.queries.len() == OUTSTANDING_QUERIES {
            self.queries.pop_front();
        }
        self.queries.push_back(Outstanding {
            id,
            method,
            clock_retries: 0,
        });
        let query = Query {
            id,
            want: Want::Servers,
            clock: now.wall,
            window: NO_WINDOW,
        };
        self.send(to, Message::Query(query));
    }

    pub(super) fn query_refused(&mut self, now: Now, from: SocketAddr, id: u64, refusal: &Refusal) {
        if let Refusal::Channel { name } = refusal {
            // It comes from a server that could not open the query, so it carries no id.
            self.event(Event::OtherChannel {
                from,
                name: name.clone(),
            });
            return;
        }
        let Some(query) = self.queries.iter_mut().find(|query| query.id == id) else {
            return;
        };
        let Refusal::Clock { clock } = refusal else {
            return;
        };
        if query.clock_retries == CLOCK_RETRIES_PER_QUERY {
            return;
        }
        query.clock_retries += 1;
        // The same id: the answer to the corrected query answers the first one.
        let corrected = Query {
            id,
            want: Want::Servers,
            clock: *clock,
            window: NO_WINDOW,
        };
        let millis = i64::try_from(clock.0).unwrap_or(i64::MAX)
            - i64::try_from(now.wall.0).unwrap_or(i64::MAX);
        self.event(Event::ClockDiffers { from, millis });
        self.send(To::One(from), Message::Query(corrected));
    }
}
