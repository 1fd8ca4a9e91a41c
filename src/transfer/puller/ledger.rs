//! The ledger of the files held. It stores whose each file is, so no file is pulled while it can't be read.

use super::{State, now};
use crate::files::ledger::{self, Entry};
use crate::transfer::write_ledger;

impl State {
    /// Reads the ledger unless it was read before, and then runs the actions that a crash prevented. A repaired ledger
    /// needs no restart of the node.
    ///
    /// Without the ledger, any member of the channel could replace another server's file, and the next entry would
    /// overwrite a ledger that can be repaired. So the node refuses to pull, as it refuses a damaged registry.
    pub(super) async fn read_ledger(&mut self) {
        let Some(before) = &self.unread else { return };
        match ledger::load(&self.settings.ledger_path) {
            Ok(ledger) => {
                for (name, entry) in &ledger {
                    self.settings.accepts.set_held(name, entry);
                }
                tracing::debug!(files = ledger.len(), "read the ledger");
                self.ledger = ledger;
                self.unread = None;
                self.run_unfinished_actions().await;
            }
            Err(error) => {
                let reason = format!(
                    "{error}; it stores which server each file is of, so no file is pulled until it is restored, or moved away to trust \
                     the first server that offers each file"
                );
                if *before != reason {
                    tracing::error!("{reason}");
                }
                for accepted in &self.settings.accepted {
                    self.settings
                        .accepts
                        .set_attempt(&accepted.name, now(), Some(reason.clone()));
                }
                self.unread = Some(reason);
            }
        }
    }

    /// Fails while it is unknown whose the files are.
    pub(super) async fn require_ledger(&mut self) -> Result<(), String> {
        self.read_ledger().await;
        self.unread.clone().map_or(Ok(()), Err)
    }

    /// Stores what is held now, durably.
    pub(super) async fn store(&mut self, name: &str, entry: Entry) -> Result<(), String> {
        self.settings.accepts.set_held(name, &entry);
        self.ledger.insert(name.to_owned(), entry);
        write_ledger(&self.settings.ledger_path, &self.ledger)
            .await
            .map_err(|error| format!("the ledger can't be stored: failed to {error}"))
    }
}
