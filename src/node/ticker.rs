//! The clocks of a running node, read in one place.

use std::time::{Duration, Instant, SystemTime};

use crate::model::{Now, Timestamp};

/// A start on the monotonic clock, from which all times are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticker {
    start: Instant,
}

impl Ticker {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// This moment by both clocks.
    pub(super) fn now(&self) -> Now {
        Now { elapsed: self.start.elapsed(), wall: Timestamp::from_system(SystemTime::now()) }
    }

    /// A moment counted from the start, for a timer; a far one if there is none.
    pub(super) fn instant(&self, elapsed: Option<Duration>) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let at = elapsed.and_then(|elapsed| self.start.checked_add(elapsed));
        at.unwrap_or_else(|| Instant::now() + FAR).into()
    }
}
