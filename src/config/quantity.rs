//! Durations and sizes in the form that people write: `3s`, `90d`, `64KiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::text_type;

/// A duration with its unit: `250ms`, `3s`, `5m`, `24h` or `90d`. A day has 24 hours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ConfigDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not a whole number followed by a known unit.
    #[error("a duration is a whole number with a unit: 250ms, 3s, 5m, 24h or 90d")]
    Form,
    /// The duration is longer than [`ConfigDuration::MAX`].
    #[error("the duration is too long: at most {} is allowed", ConfigDuration::MAX)]
    TooLong,
}

impl ConfigDuration {
    /// The longest duration, about a century, so that every sum with a time stays in range.
    pub const MAX: Self = Self(Duration::from_secs(36_500 * 86_400));
    const UNITS: [(&'static str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    const PATTERN: &'static str = "^[0-9]{1,12}(ms|s|m|h|d)$";

    /// The duration of a number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for ConfigDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (number, unit) = split_unit(text, 12).ok_or(DurationError::Form)?;
        let (_, millis) = Self::UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or(DurationError::Form)?;
        let duration = number
            .checked_mul(millis)
            .map(Duration::from_millis)
            .ok_or(DurationError::TooLong)?;
        if duration > Self::MAX.0 {
            Err(DurationError::TooLong)
        } else {
            Ok(Self(duration))
        }
    }
}

impl fmt::Display for ConfigDuration {
    /// Prints the greatest unit that gives a whole number, and drops parts of a millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let exact = Self::UNITS
            .into_iter()
            .find(|(_, unit)| millis.is_multiple_of(*unit));
        match exact {
            _ if millis == 0 => f.pad("0s"),
            Some((name, unit)) => f.pad(&format!("{}{name}", millis / unit)),
            None => f.pad(&format!("{millis}ms")),
        }
    }
}

/// A number of bytes with its unit: `512B`, `64KiB`, `10MiB` or `1GiB`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The text is not a whole number followed by a known unit.
    #[error("a size is a whole number with a unit: 512B, 64KiB, 10MiB or 1GiB")]
    Form,
    /// The size is greater than [`Size::MAX`].
    #[error("the size is too large: at most {} is allowed", Size::MAX)]
    TooLarge,
}

impl Size {
    /// The largest size. Offsets up to this size are valid in every file system.
    pub const MAX: Self = Self(1 << 50);
    const UNITS: [(&'static str, u64); 5] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    const PATTERN: &'static str = "^[0-9]{1,15}(B|KiB|MiB|GiB|TiB)$";
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let (number, unit) = split_unit(text, 15).ok_or(SizeError::Form)?;
        let (_, bytes) = Self::UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or(SizeError::Form)?;
        let size = number.checked_mul(bytes).ok_or(SizeError::TooLarge)?;
        if size > Self::MAX.0 {
            Err(SizeError::TooLarge)
        } else {
            Ok(Self(size))
        }
    }
}

impl fmt::Display for Size {
    /// Prints the greatest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::UNITS
            .into_iter()
            .find(|(_, unit)| self.0.is_multiple_of(*unit))
        {
            Some((name, unit)) if self.0 > 0 => f.pad(&format!("{}{name}", self.0 / unit)),
            _ => f.pad(&format!("{}B", self.0)),
        }
    }
}

/// Splits `90d` into 90 and `d`; `None` unless the text begins with 1 to `max_digits` digits.
fn split_unit(text: &str, max_digits: usize) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=max_digits).contains(&digits) {
        return None;
    }
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

text_type!(
    ConfigDuration,
    "Duration",
    "A duration with its unit: `250ms`, `3s`, `5m`, `24h` or `90d`. A day has 24 hours.",
    { "pattern": ConfigDuration::PATTERN }
);
text_type!(
    Size,
    "Size",
    "A number of bytes with its unit: `512B`, `64KiB`, `10MiB` or `1GiB`.",
    { "pattern": Size::PATTERN }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_prints_as_it_is_written() {
        for text in [
            "250ms", "3s", "5m", "24h", "90d", "0s", "1001ms", "61s", "36500d",
        ] {
            let expected = if text == "24h" { "1d" } else { text };
            assert_eq!(
                text.parse::<ConfigDuration>().unwrap().to_string(),
                expected
            );
        }
        assert_eq!("0d".parse::<ConfigDuration>().unwrap().to_string(), "0s");
    }

    #[test]
    fn duration_without_number_or_known_unit_is_refused() {
        for text in [
            "",
            "3",
            "s",
            "3 s",
            "3S",
            "-3s",
            "+3s",
            "3.5s",
            "1w",
            "3ss",
            "1234567890123s",
            "٣s",
        ] {
            assert_eq!(
                text.parse::<ConfigDuration>(),
                Err(DurationError::Form),
                "{text:?}"
            );
        }
        for text in ["36501d", "999999999999d"] {
            assert_eq!(
                text.parse::<ConfigDuration>(),
                Err(DurationError::TooLong),
                "{text:?}"
            );
        }
    }

    #[test]
    fn size_prints_as_it_is_written() {
        for text in ["0B", "512B", "64KiB", "10MiB", "1GiB", "1TiB", "1025B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["64", "64KB", "64 KiB", "64kib", "-1B"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError::Form), "{text:?}");
        }
        assert_eq!("2000TiB".parse::<Size>(), Err(SizeError::TooLarge));
    }
}
