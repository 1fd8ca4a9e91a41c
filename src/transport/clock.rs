//! The clocks of a running node, read in one place.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::model::{Now, Timestamp};

/// A start on the monotonic clock, from which all times are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// This moment by both clocks.
    pub(crate) fn now(&self) -> Now {
        Now {
            elapsed: self.start.elapsed(),
            wall: Timestamp::from_system(SystemTime::now()),
        }
    }

    /// The time that the machine has spent in suspend since its start, in which the monotonic clock stands still.
    pub(crate) fn suspended() -> Duration {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        // In this order, so that what passes in between does not make it negative.
        let running = read(ClockId::Monotonic);
        read(ClockId::Boottime).saturating_sub(running)
    }

    /// A moment counted from the start, for a timer; a far one if there is none.
    pub(crate) fn instant(&self, elapsed: Option<Duration>) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let at = elapsed.and_then(|elapsed| self.start.checked_add(elapsed));
        at.unwrap_or_else(|| Instant::now() + FAR).into()
    }
}
