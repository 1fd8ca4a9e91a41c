//! Whether this node was away: the machine slept, or the process or its virtual machine was stopped. Pure.
//!
//! Meanwhile leases run out, switches forget memberships, and networks change. Three signs tell of it, looked at every
//! [`EVERY`]:
//!
//! - The kernel counted time in suspend, which is what `CLOCK_BOOTTIME` has over `CLOCK_MONOTONIC`. No step of the wall clock
//!   looks like it.
//! - A look comes late though all clocks ran on: `SIGSTOP`, a frozen container, a paused virtual machine.
//! - The wall clock was set forward. So it ends where a virtual machine was paused with all of its clocks, or restored from a
//!   snapshot. A clock that is only put right looks the same; what follows is harmless, and happens once in [`STEPS`] at most.

use std::time::Duration;

use crate::model::Now;

/// How often the clocks are compared.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How much a clock may gain, or a look be late, before that counts.
const SLEPT: Duration = Duration::from_secs(10);
/// How often a wall clock that is set forward counts.
const STEPS: Duration = Duration::from_secs(60);

/// Why and for how long this node was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// The machine was suspended.
    Suspended(Duration),
    /// The process did not run.
    Stopped(Duration),
    /// The wall clock was set forward by this much.
    Set(Duration),
}

/// Compares the clocks.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    last: Option<(Now, Duration)>,
    stepped: Option<Duration>,
}

impl Sleep {
    /// When [`Sleep::noticed`] is to be called at the latest; `None` before the first time.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.last.map(|(last, _)| last.elapsed + EVERY)
    }

    /// Whether this node was away since the last call; `suspended` is the time in suspend since the machine's start.
    pub(super) fn noticed(&mut self, now: Now, suspended: Duration) -> Option<Away> {
        let (last, suspended_before) = self.last.replace((now, suspended))?;
        let ran = now.elapsed.saturating_sub(last.elapsed);
        let slept = suspended.saturating_sub(suspended_before);
        if slept > SLEPT {
            return Some(Away::Suspended(slept));
        }
        if ran > EVERY + SLEPT {
            return Some(Away::Stopped(ran));
        }
        let set = now.wall.since(last.wall).saturating_sub(ran + slept);
        if set > SLEPT
            && self
                .stepped
                .is_none_or(|stepped| now.elapsed >= stepped + STEPS)
        {
            self.stepped = Some(now.elapsed);
            return Some(Away::Set(set));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const NEVER: Duration = Duration::ZERO;

    /// By the monotonic clock and the wall clock, in seconds since both began.
    fn at(elapsed: u64, wall: u64) -> Now {
        Now {
            elapsed: Duration::from_secs(elapsed),
            wall: Timestamp(1_000_000_000 + wall * 1000),
        }
    }

    /// Looked at once, after 100 s.
    fn looked() -> Sleep {
        let mut sleep = Sleep::default();
        assert_eq!(sleep.deadline(), None);
        assert_eq!(sleep.noticed(at(100, 100), NEVER), None);
        assert_eq!(sleep.deadline(), Some(Duration::from_secs(105)));
        sleep
    }

    #[test]
    fn looks_in_time_notice_nothing() {
        let mut sleep = looked();
        for second in (105..4000).step_by(5) {
            assert_eq!(sleep.noticed(at(second, second), NEVER), None);
        }
        assert_eq!(
            sleep.noticed(at(4010, 4010), NEVER),
            None,
            "a busy machine is late now and then"
        );
    }

    #[test]
    fn suspend_shows_in_what_the_kernel_counts_whatever_the_wall_clock_says() {
        let hour = Duration::from_secs(3600);
        for wall in [3705, 105, 5, 999_999] {
            let mut sleep = looked();
            assert_eq!(
                sleep.noticed(at(105, wall), hour),
                Some(Away::Suspended(hour))
            );
            assert_eq!(
                sleep.noticed(at(106, wall + 1), hour),
                None,
                "it is told once"
            );
        }
        assert_eq!(
            looked().noticed(at(105, 115), Duration::from_secs(10)),
            None,
            "a nap"
        );
    }

    #[test]
    fn stop_shows_in_a_late_look_where_all_clocks_ran_on() {
        let mut sleep = looked();
        assert_eq!(
            sleep.noticed(at(160, 160), NEVER),
            Some(Away::Stopped(Duration::from_secs(60)))
        );
        assert_eq!(sleep.noticed(at(161, 161), NEVER), None);
    }

    #[test]
    fn pause_with_all_clocks_shows_when_the_wall_clock_is_set_right() {
        let mut sleep = looked();
        assert_eq!(
            sleep.noticed(at(105, 3705), NEVER),
            Some(Away::Set(Duration::from_secs(3600)))
        );
        assert_eq!(sleep.noticed(at(110, 3710), NEVER), None);
    }

    #[test]
    fn clock_that_is_set_again_and_again_counts_once_a_minute() {
        let mut sleep = looked();
        let noticed = (1..=600).filter(|second| {
            let wall = if second % 2 == 0 { 1_000_000 } else { 1000 };
            sleep.noticed(at(100 + second, wall), NEVER).is_some()
        });
        assert_eq!(noticed.count(), 10);
    }

    #[test]
    fn clock_that_is_set_back_is_no_sleep() {
        assert_eq!(looked().noticed(at(105, 5), NEVER), None);
    }
}
