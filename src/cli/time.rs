//! Times and durations on the command line. Pure, but for [`now`] and the time zone of this
//! machine.

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::model::{Timestamp, TimestampError};

/// The longest time limit: longer than this, no datagram is worth waiting for.
const MAX_LIMIT: Duration = Duration::from_secs(60);
/// The longest time limit of a command that waits for files.
const MAX_LONG_LIMIT: Duration = Duration::from_secs(86_400);

pub(super) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// A time for people, in local time: `2026-11-20 18:00:05`.
pub(super) fn local(time: Timestamp) -> String {
    local_in(time, &TimeZone::system())
}

fn local_in(time: Timestamp, zone: &TimeZone) -> String {
    let millis = i64::try_from(time.0.min(Timestamp::MAX.0)).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    zone.to_datetime(instant)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Parses `--at`: RFC 3339, a local time such as `2026-11-20 18:00`, or a time ago such as `2h`.
pub(super) fn at(text: &str) -> Result<Timestamp, TimestampError> {
    parse_at(text.trim(), now(), &TimeZone::system())
}

fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, TimestampError> {
    let error = || TimestampError {
        text: text.chars().take(64).collect(),
    };
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Ok(ago) = duration(text.strip_suffix("ago").unwrap_or(text).trim_end()) {
        return Ok(now.minus(ago));
    }
    // A date alone means its first moment. A text with a zone that is not RFC 3339 must not count
    // as local time.
    let local = match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => date.to_datetime(jiff::civil::Time::midnight()),
        _ if text.contains(['Z', 'z', '[', '+']) => return Err(error()),
        _ => text.parse::<DateTime>().map_err(|_| error())?,
    };
    let instant = local
        .to_zoned(zone.clone())
        .map_err(|_| error())?
        .timestamp();
    u64::try_from(instant.as_millisecond())
        .map(Timestamp)
        .map_err(|_| error())
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    #[error("write a number and ms, s, m, h, d or w, such as 500ms or 1h30m")]
    Form,
    #[error("a time limit is between 1ms and {}s", MAX_LIMIT.as_secs())]
    Limit,
    #[error("this time limit is between 1ms and {}h", MAX_LONG_LIMIT.as_secs() / 3600)]
    LongLimit,
}

/// Parses numbers with units in a row: `250ms`, `3s`, `1h30m`, `90d`.
pub(super) fn duration(text: &str) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(DurationError::Form)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| DurationError::Form)?;
        let letters = tail
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(DurationError::Form),
        };
        let part = Duration::from_millis(number.checked_mul(millis).ok_or(DurationError::Form)?);
        total = total.checked_add(part).ok_or(DurationError::Form)?;
        rest = tail;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// Parses `--timeout` of a command that waits for datagrams.
pub(super) fn limit(text: &str) -> Result<Duration, DurationError> {
    let limit = duration(text)?;
    if limit.is_zero() || limit > MAX_LIMIT {
        Err(DurationError::Limit)
    } else {
        Ok(limit)
    }
}

/// Parses `--timeout` of a command that waits for files.
pub(super) fn long_limit(text: &str) -> Result<Duration, DurationError> {
    let limit = duration(text)?;
    if limit.is_zero() || limit > MAX_LONG_LIMIT {
        Err(DurationError::LongLimit)
    } else {
        Ok(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rfc_3339_or_local_or_ago() {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, time) in [
            ("2026-11-20T17:00:00Z", "2026-11-20T17:00:00Z"),
            ("2026-11-20T17:00:00+01:00", "2026-11-20T16:00:00Z"),
            ("2026-11-20 18:00", "2026-11-20T16:00:00Z"),
            ("2026-11-20T18:00:30", "2026-11-20T16:00:30Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2h", "2026-11-20T16:00:00Z"),
            ("1h30m ago", "2026-11-20T16:30:00Z"),
            ("3 w", ""),
            ("yesterday", ""),
            ("2026-13-01", ""),
            ("2026-11-20 25:00", ""),
            ("1969-01-01", ""),
            ("", ""),
        ] {
            let expected = time.parse().ok();
            assert_eq!(parse_at(text, now, &zone).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn times_for_people_are_local() {
        let time = "2026-11-20T23:30:05.999Z".parse().unwrap();
        assert_eq!(
            local_in(time, &TimeZone::fixed(jiff::tz::offset(2))),
            "2026-11-21 01:30:05"
        );
    }

    #[test]
    fn duration_needs_a_unit_and_must_not_overflow() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1d2h"), Ok(Duration::from_secs(26 * 3_600)));
        for bad in [
            "",
            "5",
            "s",
            "5x",
            "-5s",
            "5 s",
            "99999999999999999999s",
            "18446744073709551615w",
            "1é",
        ] {
            assert_eq!(duration(bad), Err(DurationError::Form), "{bad:?}");
        }
        assert_eq!(limit("61s"), Err(DurationError::Limit));
        assert_eq!(limit("0s"), Err(DurationError::Limit));
    }
}
