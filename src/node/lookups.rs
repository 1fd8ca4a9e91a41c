//! Look-ups of the configured servers' names, and the servers that multicast DNS finds.

use tokio::sync::mpsc;

use super::parts::{Node, Resolution};
use crate::discovery::Method;
use crate::net;
use crate::net::mdns::LinkEvent;

impl Node {
    /// Begins to look up a configured server.
    pub(super) fn resolve(&self, configured: usize, resolutions: mpsc::Sender<Resolution>) {
        let Some(server) = self.servers.get(configured).cloned() else {
            return;
        };
        tokio::spawn(async move {
            let result = net::resolve(&server)
                .await
                .map_err(|error| format!("failed to {error}"));
            tracing::debug!(%server, ?result, "looked up a configured server");
            // The receiver is closed only when the node stops.
            let _ = resolutions.send(Resolution { configured, result }).await;
        });
    }

    pub(super) fn on_resolution(&mut self, Resolution { configured, result }: Resolution) {
        let now = self.clock.now();
        let (addresses, failure) = match result {
            Ok(addresses) => (addresses, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        if let Some(last) = self.lookup_failures.get_mut(configured) {
            if let (Some(failure), None) = (&failure, &last) {
                tracing::warn!("{failure}; tried again, at last every 30 s");
            }
            *last = failure;
        }
        self.core.resolved(now, configured, addresses);
    }

    /// Hands a message of multicast DNS on, and the servers that it shows to the core.
    pub(super) fn on_mdns(&mut self, event: LinkEvent) {
        let now = self.clock.now();
        for candidate in self.mdns.on_event(now, event) {
            tracing::debug!(server = %candidate, "multicast DNS shows a server");
            self.core.candidate(now, candidate);
        }
        self.core.sent(Method::Mdns, self.mdns.failure());
    }
}
