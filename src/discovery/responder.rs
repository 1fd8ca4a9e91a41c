//! Whether, when and with what a query is answered.
//!
//! Nothing is answered twice, nothing out of its time, nothing faster than the buckets allow, and nothing at all without
//! the key: what comes here has been opened with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hashbrown::HashMap;

use crate::model::{NodeName, Now, Role};
use crate::wire::replay::{Freshness, ReplayWindow};
use crate::wire::seal::Nonce;
use crate::wire::v1::{Query, Refusal, Refused, Regarding, Want};

/// Sources whose rate is kept apart; further ones share one bucket, so a forged crowd gains nothing.
const SOURCES: usize = 4096;
/// Answers that wait for their moment; a node answers each `all` query once, so this is many askers at once.
const WAITING_ANSWERS: usize = 1024;
/// Between clock refusals to one source.
const CLOCK_REFUSAL_EVERY: Duration = Duration::from_secs(1);
/// The longest window over which an answer is spread, whatever the asker wishes.
const LONGEST_WINDOW: Duration = Duration::from_secs(5);

/// The settings of a responder.
#[derive(Debug, Clone)]
pub struct ResponderSettings {
    /// How far a query's clock may be off, either way.
    pub window: Duration,
    /// Answers to one source: a second, and at once.
    pub per_source: Rate,
    /// Answers to all sources together.
    pub in_all: Rate,
    /// Seeds the moments of spread answers; from the system's randomness.
    pub seed: u64,
}

/// A token bucket's size.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_second: u32,
    /// Tokens at most.
    pub burst: u32,
}

impl ResponderSettings {
    /// The protocol's values.
    pub fn new(seed: u64) -> Self {
        Self {
            window: Duration::from_secs(20),
            // A person or a script with a loop stays far below; a flood is cut to what one core does in a millisecond.
            per_source: Rate {
                per_second: 500,
                burst: 1000,
            },
            in_all: Rate {
                per_second: 100_000,
                burst: 100_000,
            },
            seed,
        }
    }
}

/// What is to be done with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, for this reason.
    Ignore(Ignored),
    /// Answer now with this node's own record.
    AnswerOwn,
    /// Answer with it later: [`Responder::due`] says when.
    AnswerLater,
    /// Look in the registry and answer with what it holds; with the own record if it is the one asked for.
    LookUp,
    /// Refuse.
    Refuse(Refused),
}

/// Why a query is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is not for a node like this one.
    NotAsked,
    /// Its nonce was seen before.
    Replayed,
    /// More nonces than fit came inside the window.
    WindowFull,
    /// Its clock is outside the window, and this source was told so a moment ago.
    Clock,
    /// Its source, or all together, asked too often.
    Rate,
    /// Too many answers wait for their moment.
    Crowded,
}

impl Ignored {
    /// The name of its counter.
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

/// The answering side of a node.
#[derive(Debug)]
pub struct Responder {
    settings: ResponderSettings,
    name: NodeName,
    role: Role,
    replay: ReplayWindow,
    sources: HashMap<IpAddr, Source>,
    crowd: Source,
    in_all: Bucket,
    waiting: BinaryHeap<Reverse<Waiting>>,
    rng: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    bucket: Bucket,
    clock_known: Option<Duration>,
}

/// An answer that waits for its moment; ordered by it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Duration,
    id: u64,
    to: SocketAddr,
    via: (Option<IpAddr>, u32),
}

/// A spread answer whose moment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueAnswer {
    /// The query's id.
    pub id: u64,
    /// The asker.
    pub to: SocketAddr,
    /// The own address and the interface that the query came by.
    pub via: (Option<IpAddr>, u32),
}

impl Responder {
    /// A responder for a node of this name and role.
    pub fn new(now: Now, settings: ResponderSettings, name: NodeName, role: Role) -> Self {
        let full = |rate| Bucket::full(now.elapsed, rate);
        Self {
            replay: ReplayWindow::new(settings.window, std::hash::RandomState::new()),
            sources: HashMap::with_capacity(64),
            crowd: Source {
                bucket: full(settings.per_source),
                clock_known: None,
            },
            in_all: full(settings.in_all),
            waiting: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(settings.seed),
            settings,
            name,
            role,
        }
    }

    /// Decides what a query gets. `via` is kept for an answer that waits.
    pub fn query(
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
        // The clock first: else whoever recorded old queries could fill the window with them.
        if now.wall.distance(query.clock) > self.settings.window {
            return self.out_of_time(now, query, from);
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
            Want::All => self.later(now, query, from, via),
            Want::Name(name) if *name == self.name => Verdict::AnswerOwn,
            Want::Name(_) | Want::Holder(_) => Verdict::LookUp,
        }
    }

    /// Whether a register or renewal from this source may be looked at now.
    pub fn admits(&mut self, now: Now, from: SocketAddr) -> bool {
        self.take_token(now, from)
    }

    /// When the next spread answer is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.at)
    }

    /// A spread answer whose moment has come, until there is none.
    pub fn due(&mut self, now: Now) -> Option<DueAnswer> {
        if self.deadline()? > now.elapsed {
            return None;
        }
        self.waiting
            .pop()
            .map(|Reverse(Waiting { id, to, via, .. })| DueAnswer { id, to, via })
    }

    fn later(
        &mut self,
        now: Now,
        query: &Query,
        to: SocketAddr,
        via: (Option<IpAddr>, u32),
    ) -> Verdict {
        if self.waiting.len() == WAITING_ANSWERS {
            return Verdict::Ignore(Ignored::Crowded);
        }
        let window = query.window.min(LONGEST_WINDOW);
        let at = now.elapsed + window.mul_f64(self.rng.f64());
        self.waiting.push(Reverse(Waiting {
            at,
            id: query.id,
            to,
            via,
        }));
        Verdict::AnswerLater
    }

    /// The asker proved that it holds the key, so it is told the time; a captured query played back gains one short answer.
    fn out_of_time(&mut self, now: Now, query: &Query, from: SocketAddr) -> Verdict {
        let source = self.source(now, from);
        if source
            .clock_known
            .is_some_and(|told| now.elapsed < told + CLOCK_REFUSAL_EVERY)
        {
            return Verdict::Ignore(Ignored::Clock);
        }
        source.clock_known = Some(now.elapsed);
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
        let Rate { per_second, burst } = self.settings.per_source;
        if !self
            .source(now, from)
            .bucket
            .take(now.elapsed, Rate { per_second, burst })
        {
            return false;
        }
        self.in_all.take(now.elapsed, self.settings.in_all)
    }

    fn source(&mut self, now: Now, from: SocketAddr) -> &mut Source {
        let ip = from.ip();
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&ip) {
            // Whoever has been quiet long enough to have a full bucket is a stranger again.
            let rate = self.settings.per_source;
            if self
                .crowd
                .clock_known
                .is_none_or(|swept| now.elapsed >= swept + CLOCK_REFUSAL_EVERY)
            {
                self.sources
                    .retain(|_, source| !source.bucket.is_full(now.elapsed, rate));
                self.crowd.clock_known = Some(now.elapsed);
            }
            if self.sources.len() >= SOURCES {
                return &mut self.crowd;
            }
        }
        let rate = self.settings.per_source;
        self.sources.entry(ip).or_insert_with(|| Source {
            bucket: Bucket::full(now.elapsed, rate),
            clock_known: None,
        })
    }
}

/// A token bucket in thousandths of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    millitokens: u64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn full(now: Duration, rate: Rate) -> Self {
        Self {
            millitokens: u64::from(rate.burst) * 1000,
            at: now,
        }
    }

    fn level(&self, now: Duration, rate: Rate) -> u64 {
        let micros = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(u64::from(rate.per_second)) / 1000;
        self.millitokens
            .saturating_add(gained)
            .min(u64::from(rate.burst) * 1000)
    }

    pub(crate) fn is_full(&self, now: Duration, rate: Rate) -> bool {
        self.level(now, rate) == u64::from(rate.burst) * 1000
    }

    pub(crate) fn take(&mut self, now: Duration, rate: Rate) -> bool {
        let level = self.level(now, rate);
        // A time step too short to earn a thousandth must not be forgotten, or a fast asker would earn nothing.
        if level > self.millitokens || level == u64::from(rate.burst) * 1000 {
            self.millitokens = level;
            self.at = now;
        }
        let enough = self.millitokens >= 1000;
        if enough {
            self.millitokens -= 1000;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Now {
        Now {
            elapsed: Duration::from_secs(seconds),
            wall: Timestamp(1_000_000 + seconds * 1000),
        }
    }

    fn responder(role: Role) -> Responder {
        let settings = ResponderSettings {
            per_source: Rate {
                per_second: 1,
                burst: 3,
            },
            ..ResponderSettings::new(7)
        };
        Responder::new(at(0), settings, NodeName::parse("own").unwrap(), role)
    }

    fn ask(
        responder: &mut Responder,
        now: Now,
        want: Want,
        clock: Timestamp,
        nonce: u8,
        from: &str,
    ) -> Verdict {
        let query = Query {
            id: 5,
            want,
            clock,
            window: SECOND,
        };
        responder.query(now, &query, &[nonce; 24], from.parse().unwrap(), (None, 1))
    }

    #[test]
    fn a_server_answers_at_once_and_a_client_not_at_all() {
        let ask = |role| {
            ask(
                &mut responder(role),
                at(1),
                Want::Servers,
                at(1).wall,
                1,
                "10.0.0.1:9",
            )
        };
        assert_eq!(ask(Role::Server), Verdict::AnswerOwn);
        assert_eq!(ask(Role::Client), Verdict::Ignore(Ignored::NotAsked));
    }

    #[test]
    fn a_nonce_is_answered_once() {
        let mut responder = responder(Role::Server);
        assert_eq!(
            ask(
                &mut responder,
                at(1),
                Want::Servers,
                at(1).wall,
                1,
                "10.0.0.1:9"
            ),
            Verdict::AnswerOwn
        );
        let again = ask(
            &mut responder,
            at(2),
            Want::Servers,
            at(1).wall,
            1,
            "10.0.0.2:9",
        );
        assert_eq!(again, Verdict::Ignore(Ignored::Replayed));
    }

    #[test]
    fn a_wrong_clock_is_told_once_a_second() {
        let mut responder = responder(Role::Server);
        let late = at(1).wall.plus(SECOND * 21);
        let told = ask(&mut responder, at(1), Want::Servers, late, 1, "10.0.0.1:9");
        let refusal = Refusal::Clock { clock: at(1).wall };
        assert_eq!(
            told,
            Verdict::Refuse(Refused {
                regarding: Regarding::Query(5),
                refusal
            })
        );
        let again = ask(&mut responder, at(1), Want::Servers, late, 2, "10.0.0.1:9");
        assert_eq!(again, Verdict::Ignore(Ignored::Clock));
        let later = ask(
            &mut responder,
            at(2),
            Want::Servers,
            late.plus(SECOND),
            3,
            "10.0.0.1:9",
        );
        assert!(matches!(later, Verdict::Refuse(_)), "{later:?}");
    }

    #[test]
    fn a_source_that_asks_too_often_waits_and_others_do_not() {
        let mut responder = responder(Role::Server);
        let mut answered = 0;
        for nonce in 0..10 {
            answered += usize::from(
                ask(
                    &mut responder,
                    at(1),
                    Want::Servers,
                    at(1).wall,
                    nonce,
                    "10.0.0.1:9",
                ) == Verdict::AnswerOwn,
            );
        }
        assert_eq!(answered, 3);
        assert_eq!(
            ask(
                &mut responder,
                at(1),
                Want::Servers,
                at(1).wall,
                20,
                "10.0.0.2:9"
            ),
            Verdict::AnswerOwn
        );
        assert_eq!(
            ask(
                &mut responder,
                at(2),
                Want::Servers,
                at(2).wall,
                21,
                "10.0.0.1:9"
            ),
            Verdict::AnswerOwn
        );
    }

    #[test]
    fn a_crowd_of_forged_sources_takes_bounded_memory() {
        let mut responder = responder(Role::Server);
        for i in 0..20_000u32 {
            let from = SocketAddr::new(IpAddr::from((0x0a00_0000 + i).to_be_bytes()), 9);
            let mut nonce = [0; 24];
            nonce[..4].copy_from_slice(&i.to_be_bytes());
            let query = Query {
                id: 5,
                want: Want::Servers,
                clock: at(1).wall,
                window: SECOND,
            };
            responder.query(at(1), &query, &nonce, from, (None, 1));
        }
        assert!(responder.sources.len() <= SOURCES);
    }

    #[test]
    fn answers_to_all_are_spread_over_the_window() {
        let mut responder = responder(Role::Client);
        for (nonce, from) in [(1, "10.0.0.1:9"), (2, "10.0.0.2:9"), (3, "10.0.0.3:9")] {
            assert_eq!(
                ask(&mut responder, at(1), Want::All, at(1).wall, nonce, from),
                Verdict::AnswerLater
            );
        }
        let first = responder.deadline().unwrap();
        assert!(first > at(1).elapsed && first < at(2).elapsed);
        assert_eq!(responder.due(at(1)), None);
        let mut due = 0;
        while responder.due(at(2)).is_some() {
            due += 1;
        }
        assert_eq!(due, 3);
    }

    #[test]
    fn a_name_is_looked_up_by_servers_and_answered_by_its_node() {
        let other = || Want::Name(NodeName::parse("other").unwrap());
        let own = || Want::Name(NodeName::parse("own").unwrap());
        let ask = |role, want| {
            ask(
                &mut responder(role),
                at(1),
                want,
                at(1).wall,
                1,
                "10.0.0.1:9",
            )
        };
        assert_eq!(ask(Role::Server, other()), Verdict::LookUp);
        assert_eq!(ask(Role::Server, own()), Verdict::AnswerOwn);
        assert_eq!(ask(Role::Client, own()), Verdict::AnswerOwn);
        assert_eq!(
            ask(Role::Client, other()),
            Verdict::Ignore(Ignored::NotAsked)
        );
    }
}
