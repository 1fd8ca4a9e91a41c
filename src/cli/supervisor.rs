//! What the service manager is told: that the node serves, that it lives, that it stops.
//!
//! Nothing is sent where no `$NOTIFY_SOCKET` is set, that is, anywhere but under a service manager.

use std::future::Future;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

/// Told once: the node serves on these addresses.
pub(super) fn ready(addresses: &str) {
    let status = format!("listening on {addresses}");
    report(sd_notify::notify(&[
        NotifyState::Ready,
        NotifyState::Status(&status),
    ]));
}

/// Told once: the node says goodbye.
pub(super) fn stopping() {
    report(sd_notify::notify(&[NotifyState::Stopping]));
}

/// Waits for `stop`, with a sign of life at half the interval that the service manager asks for (`WatchdogSec=`).
///
/// The node polls this future where it polls its sockets, so that a loop that hangs gives no sign.
pub(super) async fn alive_until(stop: impl Future<Output = ()>) {
    match sd_notify::watchdog_enabled() {
        Some(limit) if limit >= SHORTEST_WATCHDOG => {
            beat_until(stop, limit / 2, || {
                report(sd_notify::notify(&[NotifyState::Watchdog]))
            })
            .await;
        }
        Some(_) | None => stop.await,
    }
}

/// Below this, half of the interval is no time that a timer keeps.
const SHORTEST_WATCHDOG: Duration = Duration::from_millis(2);

async fn beat_until(stop: impl Future<Output = ()>, every: Duration, mut beat: impl FnMut()) {
    let mut ticks = tokio::time::interval(every);
    // After a machine has slept, one sign is as good as many.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = ticks.tick() => beat(),
        }
    }
}

fn report(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "failed to notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_at_once_and_at_each_interval_until_the_stop() {
        let mut beats = 0;
        let stop = tokio::time::sleep(Duration::from_millis(3500));
        beat_until(stop, Duration::from_secs(1), || beats += 1).await;
        assert_eq!(beats, 4);
    }
}
