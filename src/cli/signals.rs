//! The signals of a running node.
//!
//! SIGINT and SIGTERM stop it. SIGHUP, SIGUSR1, SIGUSR2 and SIGALRM, whose default is to end a
//! process without a goodbye, are ignored. As PID 1, the node reaps the orphans that come to it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::files::children;

/// The time between two searches for orphans at least: many that end together cost one search.
const REAP_PAUSE: Duration = Duration::from_millis(100);

/// Handles the signals from now on. The returned future ends with the first one that stops the
/// node.
///
/// A signal is ignored by a handler and not by `SIG_IGN`, which the commands of
/// `files.accept[].after` would inherit.
pub(super) fn handle() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(log_hangups(signal(SignalKind::hangup())?));
    for ignored in [
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
    ] {
        // The handler stays when the stream is dropped.
        drop(signal(ignored)?);
    }
    if std::process::id() == 1 {
        tokio::spawn(reap_orphans(signal(SignalKind::child())?));
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn log_hangups(mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        tracing::warn!(
            "SIGHUP is ignored, and the node goes on with the configuration that it started with: \
             restart it to apply a changed one"
        );
    }
}

async fn reap_orphans(mut ended: Signal) {
    loop {
        match spawn_blocking(children::reap_orphans).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "/proc: failed to look for ended orphans"),
            Err(error) => tracing::warn!(%error, "failed to look for ended orphans"),
        }
        tokio::time::sleep(REAP_PAUSE).await;
        if ended.recv().await.is_none() {
            return;
        }
    }
}
