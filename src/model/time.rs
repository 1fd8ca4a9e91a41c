//! Points in time, as inputs: nothing in the pure cores reads a clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// As text and in JSON: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last time that has a text form, 9999-12-30; later values are printed as this one.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// This moment by the system's clock; 1970 if the clock stands before it.
    pub fn from_system(time: SystemTime) -> Self {
        Self(
            time.duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The time `duration` later, at most the greatest.
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The time `duration` earlier, at least 1970.
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How far apart two times are, whichever is first.
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

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time: write 2026-11-20T18:00:00Z, 2026-11-20 18:00 (local time) or a time ago such as 2h"
)]
pub struct TimestampError {
    /// What was given.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Parses RFC 3339 with a zone.
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

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One moment by both clocks: `elapsed` drives every deadline and never jumps, `wall` is what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since an arbitrary start, from a monotonic clock.
    pub elapsed: Duration,
    /// The wall clock, which may jump either way.
    pub wall: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_rfc_3339_and_parse_back() {
        let time = Timestamp(1_795_200_000_123);
        assert_eq!(time.to_string(), "2026-11-20T18:40:00.123Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(Timestamp(u64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn arithmetic_stops_at_the_edges() {
        assert_eq!(Timestamp(5).minus(Duration::from_secs(1)), Timestamp(0));
        assert_eq!(Timestamp(u64::MAX).plus(Duration::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(1).since(Timestamp(2)), Duration::ZERO);
        assert_eq!(
            Timestamp(1).distance(Timestamp(2)),
            Duration::from_millis(1)
        );
    }
}
