//! Whether this node paused: the machine slept, or the process or its virtual machine was stopped. Pure.
//!
//! During a pause leases run out, switches forget memberships, and networks change. There are three signs of it, which are
//! checked every [`EVERY`]:
//!
//! - The kernel counted time in suspend: the difference of `CLOCK_BOOTTIME` and `CLOCK_MONOTONIC`. No step of the wall clock
//!   looks like that.
//! - A check comes late though all clocks ran on: `SIGSTOP`, a frozen container, a paused virtual machine.
//! - The wall clock was set forward. That is the sign when a virtual machine was paused with all of its clocks, or restored
//!   from a snapshot. A clock that is only corrected looks the same; the actions that follow are harmless, and happen at
//!   most once in [`STEPS`].

use std::time::Duration;

use crate::model::Now;

/// How often the clocks are compared.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How much a clock may gain, or a check be late, before that counts as a pause.
const TOLERANCE: Duration = Duration::from_secs(10);
/// How often a wall clock that is set forward counts at most.
const STEPS: Duration = Duration::from_secs(60);

/// Why and for how long this node paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The machine was suspended.
    Suspended(Duration),
    /// The process did not run.
    Stopped(Duration),
    /// The wall clock was set forward by this much.
    ClockSet(Duration),
}

/// The clocks at the last check.
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

    /// Whether this node paused since the last call; `suspended` is the time in suspend since the machine's start.
    pub(super) fn noticed(&mut self, now: Now, suspended: Duration) -> Option<Pause> {
        let (last, suspended_before) = self.last.replace((now, suspended))?;
        let ran = now.elapsed.saturating_sub(last.elapsed);
        let slept = suspended.saturating_sub(suspended_before);
        if slept > TOLERANCE {
            return Some(Pause::Suspended(slept));
        }
        if ran > EVERY + TOLERANCE {
            return Some(Pause::Stopped(ran));
        }
        let set = now.wall.since(last.wall).saturating_sub(ran + slept);
        if set > TOLERANCE
            && self
                .stepped
                .is_none_or(|stepped| now.elapsed >= stepped + STEPS)
        {
            self.stepped = Some(now.elapsed);
            return Some(Pause::ClockSet(set));
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

    /// Checked once, after 100 s.
    fn checked() -> Sleep {
        let mut sleep = Sleep::default();
        assert_eq!(sleep.deadline(), None);
        assert_eq!(sleep.noticed(at(100, 100), NEVER), None);
        assert_eq!(sleep.deadline(), Some(Duration::from_secs(105)));
        sleep
    }

    #[test]
    fn checks_in_time_notice_nothing() {
        let mut sleep = checked();
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
    fn suspend_is_noticed_by_the_kernels_count_with_any_wall_clock() {
        let hour = Duration::from_secs(3600);
        for wall in [3705, 105, 5, 999_999] {
            let mut sleep = checked();
            assert_eq!(
                sleep.noticed(at(105, wall), hour),
                Some(Pause::Suspended(hour))
            );
            assert_eq!(
                sleep.noticed(at(106, wall + 1), hour),
                None,
                "it is noticed once"
            );
        }
        assert_eq!(
            checked().noticed(at(105, 115), Duration::from_secs(10)),
            None,
            "a nap"
        );
    }

    #[test]
    fn stop_is_noticed_by_a_late_check() {
        let mut sleep = checked();
        assert_eq!(
            sleep.noticed(at(160, 160), NEVER),
            Some(Pause::Stopped(Duration::from_secs(60)))
        );
        assert_eq!(sleep.noticed(at(161, 161), NEVER), None);
    }

    #[test]
    fn pause_of_all_clocks_is_noticed_when_the_wall_clock_is_corrected() {
        let mut sleep = checked();
        assert_eq!(
            sleep.noticed(at(105, 3705), NEVER),
            Some(Pause::ClockSet(Duration::from_secs(3600)))
        );
        assert_eq!(sleep.noticed(at(110, 3710), NEVER), None);
    }

    #[test]
    fn clock_that_is_set_repeatedly_counts_once_a_minute() {
        let mut sleep = checked();
        let noticed = (1..=600).filter(|second| {
            let wall = if second % 2 == 0 { 1_000_000 } else { 1000 };
            sleep.noticed(at(100 + second, wall), NEVER).is_some()
        });
        assert_eq!(noticed.count(), 10);
    }

    #[test]
    fn clock_that_is_set_back_is_not_a_pause() {
        assert_eq!(checked().noticed(at(105, 5), NEVER), None);
    }
}
