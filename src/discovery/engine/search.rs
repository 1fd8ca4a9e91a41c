//! The search for servers: by methods in their order, by the names of the configuration, and by the
//! addresses that multicast DNS finds.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, trace};

use super::{Engine, Event, Output, To};
use crate::discovery::explain_refusal;
use crate::discovery::method::{Attempt, MethodStatus};
use crate::discovery::schedule::QuerySchedule;
use crate::model::{Method, Now};
use crate::wire::v1::{Message, Query, Refusal, Want};

/// The maximum number of queries whose answers are still accepted; the oldest is forgotten first.
const MAX_OUTSTANDING_QUERIES: usize = 64;
/// The maximum number of addresses that are used of one configured server's name.
const MAX_ADDRESSES_PER_NAME: usize = 8;
/// The maximum number of addresses from multicast DNS that are asked: any machine can announce a
/// service there.
pub(super) const MAX_CANDIDATES: usize = 32;
/// The number of rounds in which a candidate is asked before a new one may replace it.
const ROUNDS_PER_CANDIDATE: u32 = 2;
/// The time over which answers to a query for servers are spread: they are sent at once.
const NO_WINDOW: Duration = Duration::ZERO;
/// The maximum number of clock corrections for one query, so that no server can keep this node
/// busy.
pub(super) const MAX_CLOCK_RETRIES: u8 = 8;

/// A server that the configuration names.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) schedule: QuerySchedule,
    pub(super) resolving: bool,
}

/// An address that multicast DNS found.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    pub(super) rounds: u32,
}

/// A query whose answers are still accepted.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) clock_retries: u8,
}

impl Engine {
    /// Each method, in order, and its progress.
    pub fn methods(&self, now: Now) -> Vec<MethodStatus> {
        self.attempts
            .iter()
            .map(|attempt| {
                let found = self
                    .servers
                    .iter()
                    .filter(|server| server.held.is_some() && server.found_by == attempt.method)
                    .count() as u32;
                let candidates = if attempt.method == Method::Mdns {
                    self.candidates.len()
                } else {
                    0
                };
                attempt.status(now.elapsed, self.settings.fallback_after, found, candidates)
            })
            .collect()
    }

    /// When the search has something to do.
    pub(super) fn search_deadline(&self) -> Option<Duration> {
        let connected = self.connected();
        let attempts = self.attempts.iter().map(|attempt| match &attempt.schedule {
            Some(schedule) => schedule.next(),
            None if connected => Duration::MAX,
            None => attempt.starts,
        });
        let configured = self
            .configured
            .iter()
            .filter(|configured| !configured.resolving)
            .map(|configured| configured.schedule.next());
        attempts.chain(configured).min()
    }

    /// Searches again because the interfaces that this node uses changed: a server that could not
    /// be reached before may be reachable now.
    pub fn network_changed(&mut self, now: Now) {
        if !self.stopped && !self.connected() {
            debug!("the interfaces changed and no server is held");
            self.search(now);
        }
    }

    /// Asks the servers of the configuration again because an interface that this node does not use
    /// changed: the route to them may use it. The methods continue where they are. Otherwise
    /// containers that come and go would make them start again for ever.
    pub fn routes_changed(&mut self, now: Now) {
        if !self.stopped && !self.connected() {
            trace!("the routes changed and no server is held; asking the configured servers again");
            self.configured
                .iter_mut()
                .for_each(|configured| configured.schedule.ask_now(now.elapsed));
        }
    }

    /// Asks a configured server at the addresses that a look-up of its name gave; there are none if
    /// it failed.
    pub fn resolved(&mut self, now: Now, configured: usize, mut addresses: Vec<SocketAddr>) {
        let Some(entry) = self.configured.get_mut(configured) else {
            return;
        };
        entry.resolving = false;
        if addresses.is_empty() {
            debug!(
                configured,
                "the name of a configured server gave no address; it is looked up again later"
            );
        } else {
            trace!(configured, ?addresses, "asking a configured server");
        }
        addresses.truncate(MAX_ADDRESSES_PER_NAME);
        entry.addresses = addresses;
        entry.schedule.on_sent(now.elapsed, &mut self.rng);
        for address in self.configured[configured].addresses.clone() {
            self.send_query(now, Method::Unicast, To::One(address));
        }
    }

    /// Asks an address that multicast DNS found; it counts as a server only once it answers.
    pub fn candidate(&mut self, now: Now, address: SocketAddr) {
        if self.stopped
            || !self.browsing
            || self.candidates.iter().any(|known| known.address == address)
        {
            trace!(
                peer = %address,
                browsing = self.browsing,
                "ignored an address from mdns: it is known, or this node does not browse now"
            );
            return;
        }
        if self.candidates.len() == MAX_CANDIDATES {
            // A peer that announces a thousand services must neither make this node ask without end
            // nor hide the true server.
            let Some(spent) = self
                .candidates
                .iter()
                .position(|known| known.rounds >= ROUNDS_PER_CANDIDATE)
            else {
                debug!(
                    peer = %address,
                    limit = MAX_CANDIDATES,
                    "ignored an address from mdns: too many others are being asked"
                );
                return;
            };
            self.candidates.remove(spent);
        }
        debug!(peer = %address, "mdns found an address; asking it");
        self.candidates.push(Candidate { address, rounds: 0 });
        self.send_query(now, Method::Mdns, To::One(address));
    }

    /// Records whether the last query by this method could be sent on any interface; `failure` says
    /// why not.
    pub fn sent(&mut self, method: Method, failure: Option<String>) {
        if let Some(error) = &failure {
            debug!(%method, error, "a query could not be sent");
        }
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

    /// Begins a search with the first method.
    pub(super) fn search(&mut self, now: Now) {
        if !self.registers() {
            return;
        }
        debug!(
            methods = ?self.settings.methods,
            configured = self.configured.len(),
            "searching for a server"
        );
        let mut starts = now.elapsed;
        let mut attempts = Vec::with_capacity(self.settings.methods.len());
        for method in &self.settings.methods {
            attempts.push(Attempt::new(*method, starts));
            starts += self.settings.fallback_after;
        }
        self.attempts = attempts;
        for configured in &mut self.configured {
            configured.schedule = QuerySchedule::new(now.elapsed);
        }
    }

    pub(super) fn advance_methods(&mut self, now: Now) {
        let connected = self.connected();
        for index in 0..self.attempts.len() {
            let attempt = &mut self.attempts[index];
            let method = attempt.method;
            if attempt.schedule.is_none() && !connected && attempt.starts <= now.elapsed {
                // The schedule begins at the planned moment. However late this call is, the
                // method's last frequent query is then not sent after the next method's first.
                attempt.schedule = Some(QuerySchedule::new(attempt.starts));
                debug!(%method, "a method starts");
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
            schedule.on_sent(now.elapsed, &mut self.rng);
            if connected {
                schedule.on_server_found(now.elapsed, &mut self.rng);
            }
            if method == Method::Mdns {
                // A node with a server does not browse: the earlier methods would find other
                // servers.
                if !connected {
                    attempt.asked = attempt.asked.saturating_add(1);
                    self.browse(true);
                    self.ask_candidates(now);
                }
                continue;
            }
            attempt.asked = attempt.asked.saturating_add(1);
            self.send_query(now, method, To::All(method));
        }
    }

    fn ask_candidates(&mut self, now: Now) {
        for index in 0..self.candidates.len() {
            let candidate = &mut self.candidates[index];
            candidate.rounds = candidate.rounds.saturating_add(1);
            let address = candidate.address;
            self.send_query(now, Method::Mdns, To::One(address));
        }
    }

    pub(super) fn browse(&mut self, on: bool) {
        if std::mem::replace(&mut self.browsing, on) != on {
            trace!(on, "browsing by mdns");
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
            let reached = self.servers.iter().any(|server| {
                server.held.is_some() && configured.addresses.contains(&server.address)
            });
            if reached {
                // Not `on_server_found`, which leaves the first queries due: no query is sent here,
                // so they would stay due for ever.
                configured.schedule.postpone(now.elapsed, &mut self.rng);
                continue;
            }
            // The name is looked up each time, because the addresses it had before did not answer.
            configured.resolving = true;
            trace!(
                configured = index,
                "looking up the name of a configured server"
            );
            self.output.push_back(Output::Resolve { configured: index });
        }
    }

    /// Slows the search down, since a server acknowledged this node.
    pub(super) fn on_first_acknowledgement(&mut self, now: Now) {
        self.browse(false);
        for attempt in &mut self.attempts {
            if let Some(schedule) = &mut attempt.schedule {
                schedule.on_server_found(now.elapsed, &mut self.rng);
            }
        }
    }

    fn send_query(&mut self, now: Now, method: Method, to: To) {
        let id = self.rng.u64(..);
        if self.queries.len() == MAX_OUTSTANDING_QUERIES {
            self.queries.pop_front();
        }
        self.queries.push_back(Outstanding {
            id,
            method,
            clock_retries: 0,
        });
        trace!(%method, ?to, id, "sending a query for servers");
        let query = Query {
            id,
            want: Want::Servers,
            clock: now.wall,
            window: NO_WINDOW,
        };
        self.send(to, Message::Query(query));
    }

    pub(super) fn on_query_refused(
        &mut self,
        now: Now,
        from: SocketAddr,
        id: u64,
        refusal: &Refusal,
    ) {
        if let Refusal::Channel { name } = refusal {
            // It comes from a server that could not open the query, so it carries no id.
            debug!(peer = %from, channel = %name, "a server of another channel refused a query");
            self.event(Event::OtherChannel {
                from,
                name: name.clone(),
            });
            return;
        }
        let Some(query) = self.queries.iter_mut().find(|query| query.id == id) else {
            trace!(peer = %from, id, "ignored a refusal: no query with this id is outstanding");
            return;
        };
        let Refusal::Clock { clock } = refusal else {
            debug!(peer = %from, reason = explain_refusal(refusal), "a server refused a query");
            return;
        };
        if query.clock_retries == MAX_CLOCK_RETRIES {
            debug!(
                peer = %from,
                id,
                limit = MAX_CLOCK_RETRIES,
                "ignored a refusal: the clock of this query was corrected too often"
            );
            return;
        }
        query.clock_retries += 1;
        // The corrected query has the same id, so that an answer to it answers the first one.
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
