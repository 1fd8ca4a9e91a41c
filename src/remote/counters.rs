//! Counters of sessions: their thread counts, and the thread of the node reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    /// Callers that proved that they hold the key.
    pub opened: AtomicU64,
    /// Connections closed because too many were open.
    pub turned_away: AtomicU64,
    /// Connections closed without a byte: no hello in time, another key, a wrong clock, or a
    /// replay.
    pub unauthenticated: AtomicU64,
    /// Requests received.
    pub requests: AtomicU64,
    /// Sessions closed because the caller was idle, or did not read its answer.
    pub idle: AtomicU64,
    /// Sessions closed because a frame could not be opened or decoded.
    pub broken: AtomicU64,
    /// Pulls begun.
    pub pulls: AtomicU64,
    /// Bytes of files sent.
    pub content_bytes: AtomicU64,
}

impl SessionCounters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts that are not zero, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            opened,
            turned_away,
            unauthenticated,
            requests,
            idle,
            broken,
            pulls,
            content_bytes,
        } = self;
        let counters = [
            ("opened", opened),
            ("turned_away", turned_away),
            ("unauthenticated", unauthenticated),
            ("requests", requests),
            ("idle", idle),
            ("broken", broken),
            ("pulls", pulls),
            ("content_bytes", content_bytes),
        ];
        let counts = counters.map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        counts.into_iter().filter(|(_, count)| *count > 0)
    }
}
