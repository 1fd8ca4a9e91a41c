//! Token buckets, which limit how often something happens.

use std::time::Duration;

/// The size of a token bucket.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Tokens that are added each second.
    pub per_second: u32,
    /// The maximum number of tokens that the bucket holds.
    pub burst: u32,
}

/// A token bucket. It counts thousandths of a token, so that a rate below one token per millisecond
/// is exact.
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

    /// Takes a token. Returns false if there is none.
    pub(crate) fn take(&mut self, now: Duration, rate: Rate) -> bool {
        let level = self.level(now, rate);
        // A time step that is too short to add a thousandth must not be forgotten, or frequent
        // requests would add nothing.
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
