//! Which queries were answered already, so that a captured query gets no answer when it is
//! replayed.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tracing::{debug, trace};

use super::seal::Nonce;

/// Whether the window has seen a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Freshness {
    /// Not seen before; the window remembers it now.
    Fresh,
    /// Seen before: a replay, or a datagram that the network duplicated.
    Seen,
    /// Too many queries to remember: treat it as seen. See [`ReplayWindow`].
    Full,
}

/// Remembers the nonces of accepted queries for as long as their clocks would be accepted again.
///
/// A query's clock is accepted `window` before and after this node's clock, so a nonce is kept for
/// at least twice that time. There are two generations: a nonce is added to the present one, and an
/// old generation is forgotten as a whole. So a nonce costs one insertion, and memory is reserved
/// once: [`ReplayWindow::CAPACITY`] nonces, about 1.2 MiB.
///
/// When the window is full, queries are not answered: otherwise an attacker who recorded them could
/// replay them. Only holders of the key can fill the window, and only beyond the limits of each
/// source; an honest client's later query, with a new nonce, is answered as soon as a generation is
/// forgotten.
///
/// Only nonces of datagrams that opened, and whose clock is inside the window, belong here:
/// otherwise any host could fill it. Time is that of the monotonic clock. When the wall clock is
/// set back, queries that were recorded before may become acceptable again; the window has
/// forgotten them if that was longer ago than the window.
#[derive(Debug)]
pub struct ReplayWindow<S = RandomState> {
    keep: Duration,
    capacity: usize,
    since: Duration,
    present: HashSet<u64, S>,
    past: HashSet<u64, S>,
}

impl ReplayWindow {
    /// The maximum number of nonces: with the default window of 20 s, at least 800 queries a second
    /// without an end.
    pub const CAPACITY: usize = 65_536;
}

impl<S: BuildHasher + Clone> ReplayWindow<S> {
    /// A window that accepts clocks `window` before and after this node's clock.
    ///
    /// `hasher` has a random key, so that an attacker can't choose nonces that collide in the
    /// table.
    pub fn new(window: Duration, hasher: S) -> Self {
        Self::with_capacity(window, hasher, ReplayWindow::CAPACITY)
    }

    fn with_capacity(window: Duration, hasher: S, capacity: usize) -> Self {
        let half = capacity / 2;
        Self {
            keep: window.saturating_mul(2),
            capacity: half,
            since: Duration::ZERO,
            present: HashSet::with_capacity_and_hasher(half, hasher.clone()),
            past: HashSet::with_capacity_and_hasher(half, hasher),
        }
    }

    /// Checks a nonce, and remembers it if it is fresh; `now` is the monotonic clock.
    pub fn check(&mut self, now: Duration, nonce: &Nonce) -> Freshness {
        self.forget(now);
        let nonce = fingerprint(nonce);
        if self.present.contains(&nonce) || self.past.contains(&nonce) {
            trace!("a query is a replay or a duplicate: it is not answered");
            return Freshness::Seen;
        }
        if self.present.len() >= self.capacity {
            debug!(
                capacity = self.capacity,
                "the replay window is full: queries are not answered"
            );
            return Freshness::Full;
        }
        self.present.insert(nonce);
        Freshness::Fresh
    }

    fn forget(&mut self, now: Duration) {
        let age = now.saturating_sub(self.since);
        // Strictly older: a clock exactly at the edge of the window is still accepted.
        if age <= self.keep {
            return;
        }
        std::mem::swap(&mut self.present, &mut self.past);
        self.present.clear();
        if age > self.keep.saturating_mul(2) {
            self.past.clear();
        }
        self.since = now;
    }
}

/// Eight of the nonce's bytes: two honest nonces share them once in 2^48 full windows, and then one
/// query is sent again. A replay always has the same bytes.
fn fingerprint(nonce: &Nonce) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *nonce;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(20);

    fn window(capacity: usize) -> ReplayWindow {
        ReplayWindow::with_capacity(WINDOW, RandomState::new(), capacity)
    }

    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    #[test]
    fn replay_is_seen_while_its_clock_would_be_accepted() {
        let mut replay = window(100);
        let start = Duration::from_secs(1000);
        assert_eq!(replay.check(start, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.check(start, &nonce(1)), Freshness::Seen);
        assert_eq!(replay.check(start + WINDOW, &nonce(2)), Freshness::Fresh);
        assert_eq!(replay.check(start + 2 * WINDOW, &nonce(1)), Freshness::Seen);
        assert_eq!(replay.check(start + 3 * WINDOW, &nonce(2)), Freshness::Seen);
    }

    #[test]
    fn old_nonces_are_forgotten() {
        let mut replay = window(100);
        assert_eq!(replay.check(WINDOW, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.check(4 * WINDOW, &nonce(2)), Freshness::Fresh);
        assert_eq!(replay.present.len() + replay.past.len(), 2);
        assert_eq!(replay.check(9 * WINDOW, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.present.len() + replay.past.len(), 1);
    }

    #[test]
    fn full_window_fails_closed_and_recovers_without_growing() {
        let mut replay = window(20);
        let reserved = replay.present.capacity() + replay.past.capacity();
        for number in 0..10 {
            assert_eq!(replay.check(WINDOW, &nonce(number)), Freshness::Fresh);
        }
        assert_eq!(replay.check(WINDOW, &nonce(10)), Freshness::Full);
        assert_eq!(replay.check(WINDOW, &nonce(3)), Freshness::Seen);
        assert_eq!(replay.check(4 * WINDOW, &nonce(10)), Freshness::Fresh);
        assert_eq!(replay.check(4 * WINDOW, &nonce(3)), Freshness::Seen);
        assert_eq!(replay.present.capacity() + replay.past.capacity(), reserved);
    }

    #[test]
    fn clock_that_stops_or_goes_back_forgets_nothing() {
        let mut replay = window(100);
        assert_eq!(replay.check(5 * WINDOW, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.check(Duration::ZERO, &nonce(1)), Freshness::Seen);
        assert_eq!(replay.check(Duration::MAX, &nonce(2)), Freshness::Fresh);
    }

    proptest! {
        /// Against a list of all nonces with their times: nothing is fresh twice within twice the
        /// window.
        #[test]
        fn no_nonce_is_fresh_twice_within_the_window(steps in prop::collection::vec((0u64..30_000, 0u64..20), 1..200)) {
            let mut replay = window(1000);
            let mut now = Duration::ZERO;
            let mut accepted = std::collections::HashMap::new();
            for (pause, number) in steps {
                now += Duration::from_millis(pause);
                match replay.check(now, &nonce(number)) {
                    Freshness::Fresh => {
                        let before = accepted.insert(number, now);
                        prop_assert!(before.is_none_or(|before| now - before > 2 * WINDOW));
                    }
                    Freshness::Seen => prop_assert!(now - accepted[&number] <= 6 * WINDOW),
                    Freshness::Full => prop_assert!(false, "twenty nonces fit"),
                }
            }
        }
    }
}
