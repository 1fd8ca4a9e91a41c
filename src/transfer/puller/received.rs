//! A file that an old base delivered. The puller replaces it, so that no pull of our own protocol collides with it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{State, action_failed, now};
use crate::files::incoming::Incoming;
use crate::files::replacement::Replacement;

/// A file of a legacy protocol, whose sender is unverified.
#[derive(Debug)]
pub(crate) struct Received {
    /// The name in `files.accept`.
    pub(crate) name: Arc<str>,
    /// The content; `None` only checks whether a file would be accepted.
    pub(crate) file: Option<Incoming>,
    /// The answer: whether the target changed, or why the file is refused.
    pub(crate) reply: oneshot::Sender<Result<bool, String>>,
}

impl State {
    /// Replaces the target by a received file, and runs the action if the content changed.
    pub(super) async fn on_received(&mut self, received: Received) {
        let Received { name, file, reply } = received;
        let outcome = self.replace(&name, file).await;
        self.settings
            .accepts
            .set_attempt(&name, now(), outcome.as_ref().err().cloned());
        // If the sender has stopped, no one needs the answer.
        let _ = reply.send(outcome);
    }

    async fn replace(&mut self, name: &str, file: Option<Incoming>) -> Result<bool, String> {
        self.require_ledger().await?;
        let accepted = self
            .settings
            .accepted
            .iter()
            .find(|accepted| *accepted.name == *name)
            .ok_or_else(|| format!("files.accept has no file named \"{name}\""))?;
        // A server proved with its key that the file is its own, so an unverified sender must not change it.
        if let Some(server) = accepted
            .server
            .or(self.ledger.get(name).map(|entry| entry.server))
        {
            return Err(format!(
                "it is the file of the server {server}, which proved it; a file of an old base is not accepted any more"
            ));
        }
        let Some(file) = file else { return Ok(false) };
        let size = file.held();
        let digest = file.digest();
        let changed = tokio::task::spawn_blocking(move || file.commit())
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let time = now();
        self.settings
            .accepts
            .set_received(name, size, &digest, changed.then_some(time));
        if changed && let Some(after) = &accepted.after {
            let replacement = Replacement {
                name,
                // The legacy protocol has no generations.
                generation: 0,
                size,
                digest,
                node: &self.settings.node,
                path: &accepted.path,
                time,
            };
            after
                .run(&replacement)
                .await
                .map_err(|error| action_failed(&error.to_string()))?;
        }
        Ok(changed)
    }
}
