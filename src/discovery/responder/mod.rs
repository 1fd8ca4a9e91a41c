//! The answering side of a node: it decides whether, when and with which record a query is
//! answered. Pure.
//!
//! Opened queries go in, a [`Verdict`] comes out; [`Responder::due`] gives answers that were
//! delayed. All queries that come here were opened with the channel's key. No query may be answered
//! twice, with a clock outside the window, or faster than the token buckets allow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::{debug, trace};

use crate::model::{Exceeded, NodeName, Now, Rate, RateLimiter, Role};
use crate::wire::replay::{Freshness, ReplayWindow};
use crate::wire::seal::Nonce;
use crate::wire::v1::{Query, Refusal, Refused, Regarding, Want};

/// The maximum number of delayed answers. A node answers each query for all nodes once, so this is
/// the number of clients that ask at about the same time.
const MAX_WAITING_ANSWERS: usize = 1024;
/// Clock refusals to one source.
const CLOCK_REFUSALS: Rate = Rate {
    per_second: 1,
    burst: 1,
};
/// The longest time over which answers are spread, whatever the query asks for.
const MAX_WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct ResponderSettings {
    /// How far a query's clock may differ from this node's, either way.
    pub window: Duration,
    /// The rate of answers to one source.
    pub per_source: Rate,
    /// The rate of answers to all sources together.
    pub all_sources: Rate,
    /// The seed of the random delays; from the system's randomness.
    pub seed: u64,
}

impl ResponderSettings {
    /// The values that the protocol specifies.
    pub fn new(seed: u64) -> Self {
        Self {
            window: Duration::from_secs(20),
            // A person, or a script with a loop, stays far below. A flood is cut to what one core
            // does in a millisecond.
            per_source: Rate {
                per_second: 500,
                burst: 1000,
            },
            all_sources: Rate {
                per_second: 100_000,
                burst: 100_000,
            },
            seed,
        }
    }
}

/// The decision about a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send no answer, for this reason.
    Ignore(Ignored),
    /// Answer now with this node's own record.
    AnswerOwn,
    /// Answer with this node's own record later: [`Responder::due`] gives the moment.
    AnswerLater,
    /// Look in the registry and answer with the result; with the own record if the query is for it.
    LookUp,
    Refuse(Refused),
}

/// Why a query is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is for nodes of another role or name.
    NotAsked,
    /// Its nonce was received before.
    Replayed,
    /// More nonces than the replay window holds were received in its time.
    WindowFull,
    /// Its clock is outside the window, and this source got a clock refusal a moment ago.
    Clock,
    /// Its source, or all sources together, sent too many queries.
    Rate,
    /// Too many delayed answers are waiting.
    Crowded,
}

impl Ignored {
    /// The name of the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Replayed => "replayed",
            Self::WindowFull => "replay_window_full",
            Self::Clock => "clock",
            Self::Rate => "rate",
            Self::Crowded => "crowded",
        }
    }
}

#[derive(Debug)]
pub struct Responder {
    settings: ResponderSettings,
    name: NodeName,
    role: Role,
    replay: ReplayWindow,
    messages: RateLimiter,
    clock_refusals: RateLimiter,
    waiting: BinaryHeap<Reverse<Waiting>>,
    rng: fastrand::Rng,
}

/// A delayed answer; ordered by the time at which it is due.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Duration,
    id: u64,
    to: SocketAddr,
    via: (Option<IpAddr>, u32),
}

/// A delayed answer that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueAnswer {
    /// The query's id.
    pub id: u64,
    /// The source of the query.
    pub to: SocketAddr,
    /// The own address and the interface at which the query was received.
    pub via: (Option<IpAddr>, u32),
}

impl Responder {
    pub fn new(now: Now, settings: ResponderSettings, name: NodeName, role: Role) -> Self {
        Self {
            replay: ReplayWindow::new(settings.window, std::hash::RandomState::new()),
            messages: RateLimiter::new(now.elapsed, settings.per_source, settings.all_sources),
            clock_refusals: RateLimiter::new(now.elapsed, CLOCK_REFUSALS, settings.all_sources),
            waiting: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(settings.seed),
            settings,
            name,
            role,
        }
    }

    /// Decides about a query. `via` is kept for a delayed answer.
    pub fn query(
        &mut self,
        now: Now,
        query: &Query,
        nonce: &Nonce,
        from: SocketAddr,
        via: (Option<IpAddr>, u32),
    ) -> Verdict {
        let verdict = self.decide(now, query, nonce, from, via);
        trace!(peer = %from, id = query.id, want = ?query.want, ?verdict, "a query was received");
        verdict
    }

    fn decide(
        &mut self,
        now: Now,
        query: &Query,
        nonce: &Nonce,
        from: SocketAddr,
        via: (Option<IpAddr>, u32),
    ) -> Verdict {
        let wanted = match &query.want {
            Want::Servers | Want::Holder(_) => self.role.serves(),
            Want::All => true,
            Want::Name(name) => self.role.serves() || *name == self.name,
        };
        if !wanted {
            return Verdict::Ignore(Ignored::NotAsked);
        }
        // The clock is checked first. Otherwise a peer that recorded old queries could fill the
        // replay window with them.
        let distance = now.wall.distance(query.clock);
        if distance > self.settings.window {
            debug!(
                peer = %from,
                ?distance,
                window = ?self.settings.window,
                "the clock of a query differs too much"
            );
            return self.on_clock_outside_window(now, query, from);
        }
        match self.replay.check(now.elapsed, nonce) {
            Freshness::Fresh => {}
            Freshness::Seen => return Verdict::Ignore(Ignored::Replayed),
            Freshness::Full => return Verdict::Ignore(Ignored::WindowFull),
        }
        if !self.take_token(now, from) {
            return Verdict::Ignore(Ignored::Rate);
        }
        match &query.want {
            Want::Servers => Verdict::AnswerOwn,
            Want::All => self.answer_later(now, query, from, via),
            Want::Name(name) if *name == self.name => Verdict::AnswerOwn,
            Want::Name(_) | Want::Holder(_) => Verdict::LookUp,
        }
    }

    /// Whether the rate limits allow a register or renewal from this source now.
    pub fn admits(&mut self, now: Now, from: SocketAddr) -> bool {
        self.take_token(now, from)
    }

    /// When the next delayed answer is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.at)
    }

    /// Takes a delayed answer that is due; to be called until there is none.
    pub fn due(&mut self, now: Now) -> Option<DueAnswer> {
        if self.deadline()? > now.elapsed {
            return None;
        }
        self.waiting
            .pop()
            .map(|Reverse(Waiting { id, to, via, .. })| DueAnswer { id, to, via })
    }

    fn answer_later(
        &mut self,
        now: Now,
        query: &Query,
        to: SocketAddr,
        via: (Option<IpAddr>, u32),
    ) -> Verdict {
        if self.waiting.len() == MAX_WAITING_ANSWERS {
            return Verdict::Ignore(Ignored::Crowded);
        }
        let window = query.window.min(MAX_WINDOW);
        let at = now.elapsed + window.mul_f64(self.rng.f64());
        self.waiting.push(Reverse(Waiting {
            at,
            id: query.id,
            to,
            via,
        }));
        Verdict::AnswerLater
    }

    /// Refuses a query with this node's time. The sender proved that it holds the key; a replay of
    /// a captured query gets one short answer.
    fn on_clock_outside_window(&mut self, now: Now, query: &Query, from: SocketAddr) -> Verdict {
        if !self.clock_refusals.admits(now.elapsed, from.ip()) {
            return Verdict::Ignore(Ignored::Clock);
        }
        if !self.take_token(now, from) {
            return Verdict::Ignore(Ignored::Rate);
        }
        let refusal = Refusal::Clock { clock: now.wall };
        Verdict::Refuse(Refused {
            regarding: Regarding::Query(query.id),
            refusal,
        })
    }

    fn take_token(&mut self, now: Now, from: SocketAddr) -> bool {
        match self.messages.take(now.elapsed, from.ip()) {
            Ok(()) => true,
            Err(Exceeded::Source) => {
                let limit = self.settings.per_source.per_second;
                debug!(peer = %from, limit, "this source sent too many messages");
                false
            }
            Err(Exceeded::All) => {
                let limit = self.settings.all_sources.per_second;
                debug!(peer = %from, limit, "all sources together sent too many messages");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
