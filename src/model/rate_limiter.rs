//! Token buckets, which limit how often sources of messages are served. Pure: the caller passes the time.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hashbrown::HashMap;

/// The number of sources with a bucket of their own. Further ones share one bucket, so that many
/// forged sources gain nothing.
const MAX_SOURCES: usize = 4096;
/// The shortest time between two sweeps of the sources that have been quiet.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The parts of a token that a bucket counts: with one for each microsecond of a rate of one token
/// per second, the count is exact.
const TOKEN: u64 = 1_000_000;

/// The size of a token bucket.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Tokens that are added each second.
    pub per_second: u32,
    /// The maximum number of tokens that the bucket holds.
    pub burst: u32,
}

impl Rate {
    fn capacity(self) -> u64 {
        u64::from(self.burst) * TOKEN
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Millionths of a token, at the time `at`.
    level: u64,
    at: Duration,
}

impl Bucket {
    fn full(now: Duration, rate: Rate) -> Self {
        Self {
            level: rate.capacity(),
            at: now,
        }
    }

    fn level(&self, now: Duration, rate: Rate) -> u64 {
        let micros = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(u64::from(rate.per_second));
        self.level.saturating_add(gained).min(rate.capacity())
    }

    fn is_full(&self, now: Duration, rate: Rate) -> bool {
        self.level(now, rate) == rate.capacity()
    }

    /// Takes a token. Returns false if there is none.
    fn take(&mut self, now: Duration, rate: Rate) -> bool {
        let level = self.level(now, rate);
        // A time step below a microsecond adds nothing and must not be forgotten, or frequent
        // requests would add nothing.
        if level > self.level || level == rate.capacity() {
            self.level = level;
            self.at = now;
        }
        let enough = self.level >= TOKEN;
        if enough {
            self.level -= TOKEN;
        }
        enough
    }
}

/// The limit that a message exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The limit of its source.
    Source,
    /// The limit of all sources together.
    All,
}

/// Limits the messages of each source, and those of all sources together.
///
/// A source is an address. Where a host may use any address of its network, the caller passes
/// [`source_network`] of the address.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_source: Rate,
    in_all: Rate,
    sources: HashMap<IpAddr, Bucket>,
    /// The bucket that the sources beyond [`MAX_SOURCES`] share.
    overflow: Bucket,
    all: Bucket,
    swept: Duration,
}

impl RateLimiter {
    pub(crate) fn new(now: Duration, per_source: Rate, in_all: Rate) -> Self {
        Self {
            per_source,
            in_all,
            sources: HashMap::new(),
            overflow: Bucket::full(now, per_source),
            all: Bucket::full(now, in_all),
            swept: now,
        }
    }

    /// Whether a message of a source is within the limits now.
    pub(crate) fn admits(&mut self, now: Duration, source: IpAddr) -> bool {
        self.take(now, source).is_ok()
    }

    /// Counts a message of a source, or returns the limit that it exceeds.
    pub(crate) fn take(&mut self, now: Duration, source: IpAddr) -> Result<(), Exceeded> {
        let rate = self.per_source;
        if !self.bucket(now, source).take(now, rate) {
            Err(Exceeded::Source)
        } else if !self.all.take(now, self.in_all) {
            Err(Exceeded::All)
        } else {
            Ok(())
        }
    }

    fn bucket(&mut self, now: Duration, source: IpAddr) -> &mut Bucket {
        let rate = self.per_source;
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            if now >= self.swept + SWEEP_EVERY {
                // A source with a full bucket has been quiet long enough to be forgotten.
                self.sources.retain(|_, bucket| !bucket.is_full(now, rate));
                self.swept = now;
            }
            if self.sources.len() >= MAX_SOURCES {
                return &mut self.overflow;
            }
        }
        self.sources
            .entry(source)
            .or_insert_with(|| Bucket::full(now, rate))
    }
}

/// The network whose addresses count as one source: an IPv4 address alone, or the /64 of an IPv6
/// address, in which every host can choose its addresses freely.
pub(crate) fn source_network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Rate = Rate {
        per_second: 1,
        burst: 2,
    };
    const MANY: Rate = Rate {
        per_second: 1000,
        burst: 1000,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn count(limiter: &mut RateLimiter, seconds: u64, source: &str) -> usize {
        (0..10)
            .filter(|_| limiter.admits(Duration::from_secs(seconds), ip(source)))
            .count()
    }

    #[test]
    fn one_source_is_limited_and_others_are_not() {
        let mut limiter = RateLimiter::new(Duration::ZERO, FEW, MANY);
        assert_eq!(count(&mut limiter, 1, "10.0.0.1"), 2);
        assert_eq!(count(&mut limiter, 1, "10.0.0.2"), 2);
        assert_eq!(count(&mut limiter, 2, "10.0.0.1"), 1);
        assert_eq!(
            limiter.take(Duration::from_secs(2), ip("10.0.0.1")),
            Err(Exceeded::Source)
        );
    }

    #[test]
    fn all_sources_together_are_limited() {
        let mut limiter = RateLimiter::new(Duration::ZERO, MANY, FEW);
        assert_eq!(
            count(&mut limiter, 1, "10.0.0.1") + count(&mut limiter, 1, "10.0.0.2"),
            2
        );
        assert_eq!(
            limiter.take(Duration::from_secs(1), ip("10.0.0.3")),
            Err(Exceeded::All)
        );
    }

    #[test]
    fn frequent_refused_messages_do_not_delay_the_next_token() {
        let rate = Rate {
            per_second: 1,
            burst: 1,
        };
        let mut limiter = RateLimiter::new(Duration::ZERO, rate, MANY);
        let admitted = (0..2000_u64)
            .map(|step| Duration::from_micros(step * 1999))
            .filter(|at| limiter.admits(*at, ip("10.0.0.1")))
            .count();
        assert_eq!(admitted, 4, "one token in each of four seconds");
    }

    #[test]
    fn memory_is_bounded_for_many_forged_sources() {
        let mut limiter = RateLimiter::new(Duration::ZERO, FEW, MANY);
        for index in 0..20_000_u32 {
            limiter.admits(
                Duration::from_millis(u64::from(index / 10)),
                IpAddr::from(index.to_be_bytes()),
            );
        }
        assert!(limiter.sources.len() <= MAX_SOURCES);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_count_as_one_source() {
        let network = |text: &str| source_network(ip(text));
        assert_eq!(network("2001:db8::1"), network("2001:db8::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("::ffff:10.0.0.1"), ip("10.0.0.1"));
    }
}
