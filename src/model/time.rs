//! Points in time. They are inputs: no pure module reads a clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::text_type;

/// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// The text form, in JSON too, is RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last time that has a text form, 9999-12-30; later values are printed as this one.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// Converts a time of the system's clock; a time before 1970 becomes 1970.
    pub fn from_system(time: SystemTime) -> Self {
        Self(
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The time `duration` later; the greatest time if the sum is greater.
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The time `duration` earlier; 1970 if the result is earlier.
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this time is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The time between two times, in either order.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.min(Self::MAX.0)).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        f.pad(&format!("{time:.3}"))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time: write 2026-11-20T18:00:00Z, 2026-11-20 18:00 (local time) or a time ago such as 2h"
)]
pub struct TimestampError {
    /// The first 64 characters of the text.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Parses RFC 3339 with a zone; a time before 1970 is an error.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let error = || TimestampError {
            text: text.chars().take(64).collect(),
        };
        let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
        u64::try_from(time.as_millisecond())
            .map(Self)
            .map_err(|_| error())
    }
}

text_type!(Timestamp);

/// One moment by both clocks: `elapsed` drives every deadline and never jumps; `wall` is for
/// people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start, from a monotonic clock.
    pub elapsed: Duration,
    /// The wall-clock time, which may jump forwards and backwards.
    pub wall: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_prints_as_rfc_3339_and_parses_back() {
        let time = Timestamp(1_795_200_000_123);
        assert_eq!(time.to_string(), "2026-11-20T18:40:00.123Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(Timestamp(u64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(5).minus(Duration::from_secs(1)), Timestamp(0));
        assert_eq!(Timestamp(u64::MAX).plus(Duration::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(1).since(Timestamp(2)), Duration::ZERO);
        assert_eq!(
            Timestamp(1).distance(Timestamp(2)),
            Duration::from_millis(1)
        );
    }
}
