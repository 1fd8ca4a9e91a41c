//! What came from an old base: replaced here, as by one hand, so that no pull of our own protocol is crossed.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{State, follows_failed, now};
use crate::files::after::Taken;
use crate::files::incoming::Incoming;

/// A file that came by a wire that proves nothing.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its name in `files.accept`.
    pub(crate) name: Arc<str>,
    /// What came; `None` to ask only whether it would be taken.
    pub(crate) file: Option<Incoming>,
    /// What became of it: whether the target changed.
    pub(crate) reply: oneshot::Sender<Result<bool, String>>,
}

impl State {
    /// Takes what came, and does what follows if that changed anything.
    pub(super) async fn received(&mut self, received: Received) {
        let Received { name, file, reply } = received;
        let outcome = self.replace(&name, file).await;
        self.settings
            .accepts
            .tried(&name, now(), outcome.as_ref().err().cloned());
        // Nobody waits any more: nothing to do.
        let _ = reply.send(outcome);
    }

    async fn replace(&mut self, name: &str, file: Option<Incoming>) -> Result<bool, String> {
        self.know_whose().await?;
        let accepted = self
            .settings
            .accepted
            .iter()
            .find(|accepted| *accepted.name == *name);
        let accepted =
            accepted.ok_or_else(|| format!("files.accept has no file named \"{name}\""))?;
        // Whoever holds the key proved that it is its file: a wire that proves nothing can't change it.
        if let Some(server) = accepted
            .server
            .or(self.ledger.get(name).map(|entry| entry.server))
        {
            return Err(format!(
                "it is the file of the server {server}, which proved it; what an old base has is not taken any more"
            ));
        }
        let Some(file) = file else { return Ok(false) };
        let (size, digest) = (file.held(), file.digest());
        let changed = tokio::task::spawn_blocking(move || file.commit())
            .await
            .map_err(|error| error.to_string())?;
        let changed = changed.map_err(|error| error.to_string())?;
        let time = now();
        self.settings
            .accepts
            .received(name, size, &digest, changed.then_some(time));
        if let Some(after) = accepted.after.as_ref().filter(|_| changed) {
            // This wire knows no generations.
            let (node, path) = (&self.settings.node, accepted.path.as_path());
            let done = after
                .run(&Taken {
                    name,
                    generation: 0,
                    size,
                    digest,
                    node,
                    path,
                    time,
                })
                .await;
            done.map_err(|error| follows_failed(&error.to_string()))?;
        }
        Ok(changed)
    }
}
