//! Counters of sessions: their thread counts, and the thread of the node reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the counters once, each with its comment; the name that users see is that of the field.
macro_rules! counters {
    ($($(#[$comment:meta])* $field:ident,)*) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub(crate) struct SessionCounters {
            $($(#[$comment])* pub $field: AtomicU64,)*
        }

        impl SessionCounters {
            /// All counts that are not zero, by name.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field.load(Ordering::Relaxed)),)*]
                    .into_iter()
                    .filter(|(_, count)| *count > 0)
            }
        }
    };
}

counters! {
    /// Callers that proved that they hold the key.
    opened,
    /// Connections closed because too many were open.
    turned_away,
    /// Connections closed without a byte: no hello in time, another key, a wrong clock, or a
    /// replay.
    unauthenticated,
    /// Requests received.
    requests,
    /// Sessions closed because the caller was idle, or did not read its answer.
    idle,
    /// Sessions closed because a frame could not be opened or decoded.
    broken,
    /// Pulls begun.
    pulls,
    /// Bytes of files sent.
    content_bytes,
}

impl SessionCounters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
