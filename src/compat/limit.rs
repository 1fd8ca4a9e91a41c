//! The rate limits of a legacy protocol: for each source, and for all sources together. Pure.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hashbrown::HashMap;

use crate::discovery::{Bucket, Rate};

/// How many sources have a bucket of their own. Further ones share one bucket, so forging many sources gains nothing.
const MAX_SOURCES: usize = 4096;
/// Between two sweeps of sources that have been quiet.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Token buckets: one for each source, one for sources beyond the limit, and one for all.
#[derive(Debug)]
pub(super) struct Limit {
    per_source: Rate,
    in_all: Rate,
    sources: HashMap<IpAddr, Bucket>,
    overflow: Bucket,
    all: Bucket,
    swept: Duration,
}

impl Limit {
    pub(super) fn new(now: Duration, per_source: Rate, in_all: Rate) -> Self {
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
    pub(super) fn admits(&mut self, now: Duration, source: IpAddr) -> bool {
        let rate = self.per_source;
        let source = network(source);
        if self.sources.len() >= MAX_SOURCES
            && !self.sources.contains_key(&source)
            && now >= self.swept + SWEEP_EVERY
        {
            // A source with a full bucket has been quiet long enough to be forgotten.
            self.sources.retain(|_, bucket| !bucket.is_full(now, rate));
            self.swept = now;
        }
        let bucket = if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            &mut self.overflow
        } else {
            self.sources
                .entry(source)
                .or_insert_with(|| Bucket::full(now, rate))
        };
        bucket.take(now, rate) && self.all.take(now, self.in_all)
    }
}

/// The identity of a source: an IPv4 address, or the /64 of an IPv6 address, as a host may use any address of its /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
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

    fn count(limit: &mut Limit, seconds: u64, source: &str) -> usize {
        let source: IpAddr = source.parse().unwrap();
        (0..10)
            .filter(|_| limit.admits(Duration::from_secs(seconds), source))
            .count()
    }

    #[test]
    fn one_source_is_limited_and_others_are_not() {
        let mut limit = Limit::new(Duration::ZERO, FEW, MANY);
        assert_eq!(count(&mut limit, 1, "10.0.0.1"), 2);
        assert_eq!(count(&mut limit, 1, "10.0.0.2"), 2);
        assert_eq!(count(&mut limit, 2, "10.0.0.1"), 1);
        assert_eq!(count(&mut limit, 2, "2001:db8::1"), 2);
        assert_eq!(count(&mut limit, 2, "2001:db8::2"), 0, "the same network");
        assert_eq!(count(&mut limit, 2, "2001:db8:0:1::2"), 2);
    }

    #[test]
    fn all_together_are_limited() {
        let mut limit = Limit::new(Duration::ZERO, MANY, FEW);
        assert_eq!(
            count(&mut limit, 1, "10.0.0.1") + count(&mut limit, 1, "10.0.0.2"),
            2
        );
    }

    #[test]
    fn memory_is_bounded_for_many_forged_sources() {
        let mut limit = Limit::new(Duration::ZERO, FEW, MANY);
        for index in 0..20_000_u32 {
            limit.admits(
                Duration::from_millis(u64::from(index / 10)),
                IpAddr::from(index.to_be_bytes()),
            );
        }
        assert!(limit.sources.len() <= MAX_SOURCES);
    }
}
