//! Reports to the service manager: that the node serves, that it lives, that it stops
//! (sd_notify(3)).
//!
//! Without `$NOTIFY_SOCKET`, that is, without a service manager, nothing is sent. A report that
//! fails never stops the node.

use std::future::Future;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

/// Below this, half of the interval is too short for a timer to keep.
const MIN_WATCHDOG: Duration = Duration::from_millis(2);

/// Reports once that the node serves on these addresses.
pub(super) fn report_ready(addresses: &str) {
    let status = format!("listening on {addresses}");
    log_failure(sd_notify::notify(&[
        NotifyState::Ready,
        NotifyState::Status(&status),
    ]));
}

/// Reports once that the node stops.
pub(super) fn report_stopping() {
    log_failure(sd_notify::notify(&[NotifyState::Stopping]));
}

/// Waits for `stop`, and sends a sign of life at half the interval that the service manager asks
/// for (`WatchdogSec=`).
///
/// The node polls this future where it polls its sockets, so that a loop that hangs sends no sign
/// of life.
pub(super) async fn alive_until(stop: impl Future<Output = ()>) {
    match sd_notify::watchdog_enabled() {
        Some(limit) if limit >= MIN_WATCHDOG => {
            beat_until(stop, limit / 2, || {
                log_failure(sd_notify::notify(&[NotifyState::Watchdog]));
            })
            .await;
        }
        Some(_) | None => stop.await,
    }
}

async fn beat_until(stop: impl Future<Output = ()>, every: Duration, mut beat: impl FnMut()) {
    let mut ticks = tokio::time::interval(every);
    // After a machine has slept, one sign of life is as good as many.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = ticks.tick() => beat(),
        }
    }
}

fn log_failure(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "failed to notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_sent_at_once_and_at_each_interval_until_the_stop() {
        let mut beats = 0;
        let stop = tokio::time::sleep(Duration::from_millis(3500));
        beat_until(stop, Duration::from_secs(1), || beats += 1).await;
        assert_eq!(beats, 4);
    }
}
