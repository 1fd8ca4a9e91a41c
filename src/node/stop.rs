//! The stop of a node: it says goodbye, and brings the last changes to the disk.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::parts::Node;
use super::parts::Resolution;
use super::store::{Store, changed};
use crate::registry::Progress;

/// How long a stop waits for goodbyes to leave and for the store.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

impl Node {
    /// Says goodbye, waits until it has left, and brings the last changes to the disk.
    pub(super) async fn drain(
        &mut self,
        resolutions: &mpsc::Sender<Resolution>,
        progress: &mut Option<watch::Receiver<Progress>>,
    ) {
        tracing::info!("stopping: saying goodbye");
        let deadline = Instant::now() + DRAIN_LIMIT;
        self.core.stop(self.clock.now());
        self.drain_outputs(resolutions).await;
        self.mdns.stop().await;
        while self.core.in_flight() > 0 {
            if timeout_at(deadline, changed(progress)).await.is_err() {
                tracing::warn!(
                    "the store did not finish in time; changes that were not acknowledged may be lost"
                );
                break;
            }
            self.on_store_progress();
            self.drain_outputs(resolutions).await;
        }
        self.write_export(self.clock.now());
        if let Some(Store { writer, .. }) = self.store.take() {
            let closed = tokio::task::spawn_blocking(move || writer.shutdown());
            match timeout_at(deadline, closed).await {
                Ok(Ok(Err(error))) => tracing::error!("failed to {error}"),
                Ok(_) => {}
                Err(_) => tracing::warn!("the store did not close in time"),
            }
        }
    }
}
