//! The registry's store as the event loop sees it: batches go in, tickets come back when they are durable.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::registry::{Progress, Writer};

/// The registry's store and its progress.
pub(super) struct Store {
    pub(super) writer: Writer,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) path: PathBuf,
    /// When the oldest batch was submitted that is not durable.
    pub(super) waiting_since: Option<Duration>,
}

/// Waits for progress of the store; for ever where there is no store, or none any more.
pub(super) async fn changed(progress: &mut Option<watch::Receiver<Progress>>) {
    match progress {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                *progress = None;
            }
        }
        None => std::future::pending().await,
    }
}
