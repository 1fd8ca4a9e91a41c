//! Conditions that are awaited with a limit.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The limit for what takes a second on an idle machine: this one runs several fleets at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Checks until the condition holds, and returns how long that took; fails with `what` after `limit`.
pub(crate) async fn await_that(
    limit: Duration,
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        if holds().await {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < limit,
            "after {limit:?} it still does not hold that {what}"
        );
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// Reads a value until it is the expected one; fails with both after `limit`.
pub(crate) async fn await_equal<T: PartialEq + Debug>(
    limit: Duration,
    what: &str,
    expected: T,
    mut read: impl AsyncFnMut() -> T,
) -> Duration {
    let start = Instant::now();
    loop {
        let seen = read().await;
        if seen == expected {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < limit,
            "after {limit:?}, {what}: {seen:?}, not {expected:?}"
        );
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}
