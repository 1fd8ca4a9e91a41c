//! The clocks of a running node, read in one place.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::model::{Now, Timestamp};

/// How far off a timer is that has no deadline.
const NO_DEADLINE: Duration = Duration::from_secs(3600);

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

    /// The present moment by both clocks.
    pub(crate) fn now(&self) -> Now {
        Now {
            elapsed: self.start.elapsed(),
            wall: Timestamp::from_system(SystemTime::now()),
        }
    }

    /// The time that the machine has spent in suspend since its start, in which the monotonic clock stands still.
    pub(crate) fn suspended() -> Duration {
        let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
        // The monotonic clock is read first, so that the time between the two reads does not make the difference
        // negative.
        let running = read(ClockId::Monotonic);
        read(ClockId::Boottime).saturating_sub(running)
    }

    /// A moment counted from the start, for a timer; one that is far off if there is no deadline.
    pub(crate) fn instant(&self, elapsed: Option<Duration>) -> tokio::time::Instant {
        let at = elapsed.and_then(|elapsed| self.start.checked_add(elapsed));
        at.unwrap_or_else(|| Instant::now() + NO_DEADLINE).into()
    }
}
