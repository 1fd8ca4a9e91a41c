//! Which queries were answered already, so that a captured one played back gets no answer.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::seal::Nonce;

/// What the window knows of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Freshness {
    /// Not seen before; it is remembered now.
    Fresh,
    /// Seen before: a replay, or a datagram that the network doubled.
    Seen,
    /// Too many queries to remember: treat it as seen. See [`ReplayWindow`].
    Full,
}

/// Remembers the nonces of accepted queries for as long as their clocks would be accepted again.
///
/// A query's clock is accepted `window` before and after the own one, so a nonce is kept for twice that at least. Two
/// generations take turns: a nonce goes into the present one; a generation is forgotten as a whole when it is old. So a
/// nonce costs one insertion, and memory is reserved once: [`ReplayWindow::CAPACITY`] nonces, about 1.2 MiB.
///
/// When the window is full, queries are not answered: answering would let whoever recorded them play them back.
/// Only holders of the key can fill it, and only past the limits that each source has; an honest asker's later query,
/// with a new nonce, is answered as soon as a generation is forgotten.
///
/// Only nonces of datagrams that opened, and whose clock is inside the window, belong here: else anybody could fill it.
/// Time is the monotonic clock's. When the wall clock is set back, queries recorded before may become acceptable to it
/// again; they were forgotten here if that was longer ago than the window.
#[derive(Debug)]
pub struct ReplayWindow<S = RandomState> {
    keep: Duration,
    capacity: usize,
    since: Duration,
    present: HashSet<u64, S>,
    past: HashSet<u64, S>,
}

impl ReplayWindow {
    /// The most nonces remembered: with the default window of 20 s, at least 800 queries a second, for ever.
    pub const CAPACITY: usize = 65_536;
}

impl<S: BuildHasher + Clone> ReplayWindow<S> {
    /// A window that takes clocks `window` before and after the own one.
    ///
    /// `hasher` has a random key, so that nobody can choose nonces that meet in one place of the table.
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

    /// Asks for a nonce, and remembers it if it is fresh; `now` is the monotonic clock.
    pub fn check(&mut self, now: Duration, nonce: &Nonce) -> Freshness {
        self.forget(now);
        let nonce = fingerprint(nonce);
        if self.present.contains(&nonce) || self.past.contains(&nonce) {
            return Freshness::Seen;
        }
        if self.present.len() >= self.capacity {
            return Freshness::Full;
        }
        self.present.insert(nonce);
        Freshness::Fresh
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.present.len() + self.past.len()
    }

    /// Whether no nonce is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn forget(&mut self, now: Duration) {
        let age = now.saturating_sub(self.since);
        // Strictly older: a clock at the very edge of the window is still accepted.
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

/// Eight of the nonce's bytes: two honest nonces meet in them once in 2^48 full windows, and then one query is asked
/// again; a replay always does.
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
        assert_eq!(replay.len(), 2);
        assert_eq!(replay.check(9 * WINDOW, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.len(), 1);
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
    fn a_clock_that_stands_or_goes_back_forgets_nothing() {
        let mut replay = window(100);
        assert_eq!(replay.check(5 * WINDOW, &nonce(1)), Freshness::Fresh);
        assert_eq!(replay.check(Duration::ZERO, &nonce(1)), Freshness::Seen);
        assert_eq!(replay.check(Duration::MAX, &nonce(2)), Freshness::Fresh);
    }

    proptest! {
        /// Against a list of all nonces with their times: nothing is fresh twice within twice the window.
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
