//! The ledger of what is held: it says whose file each is, so nothing is taken while it can't be read.

use super::{State, now};
use crate::files::ledger;

impl State {
    /// Reads the ledger if that did not succeed yet, and does what a crash left undone. Whoever mended it need not restart the node.
    ///
    /// Without it, any member of the channel could put its own file in the place of another's; and the next note would overwrite what
    /// can be mended. So it is refused, as the registry's file is.
    pub(super) async fn read_ledger(&mut self) {
        let Some(before) = &self.unread else { return };
        match ledger::load(&self.settings.ledger_path) {
            Ok(ledger) => {
                ledger
                    .iter()
                    .for_each(|(name, entry)| self.settings.accepts.holds(name, entry));
                (self.ledger, self.unread) = (ledger, None);
                self.finish().await;
            }
            Err(error) => {
                let said = format!(
                    "{error}; it says which server each file is of, so no file is taken until it is restored, or moved away to trust \
                     whoever offers each first"
                );
                if *before != said {
                    tracing::error!("{said}");
                }
                for accepted in &self.settings.accepted {
                    self.settings
                        .accepts
                        .tried(&accepted.name, now(), Some(said.clone()));
                }
                self.unread = Some(said);
            }
        }
    }

    /// Refuses to take anything while it is not known whose files these are.
    pub(super) async fn know_whose(&mut self) -> Result<(), String> {
        self.read_ledger().await;
        self.unread.clone().map_or(Ok(()), Err)
    }
}
