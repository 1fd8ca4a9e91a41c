//! Conditions that are awaited with a limit.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The limit for what takes a second on an idle machine: this one runs several fleets at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until the condition holds, and gives how long that took; fails with `what` after `limit`.
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
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until a value is the expected one; fails with both after `limit`.
pub(crate) async fn await_equal<T: PartialEq + Debug>(
    limit: Duration,
    what: &str,
    expected: T,
    mut look: impl AsyncFnMut() -> T,
) -> Duration {
    let start = Instant::now();
    loop {
        let seen = look().await;
        if seen == expected {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < limit,
            "after {limit:?}, {what}: {seen:?}, not {expected:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
