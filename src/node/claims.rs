//! Claims that came by an ancestor's wire, on their way into the registry.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Node;
use super::core::Heard;
use crate::model::{Now, Protocol};
use crate::registry::UnverifiedClaim;

/// Claims taken in a row before the loop turns to its other work.
const CLAIMS_IN_A_ROW: usize = 256;
/// How old the times in DynIP's export file may be.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// Takes a claim that an ancestor's wire brought, and those that wait behind it.
    pub(super) fn heard_claims(
        &mut self,
        first: &UnverifiedClaim,
        claims: &mut mpsc::Receiver<UnverifiedClaim>,
    ) {
        let now = self.clock.now();
        self.hear(now, first);
        for _ in 1..CLAIMS_IN_A_ROW {
            let Ok(claim) = claims.try_recv() else { break };
            self.hear(now, &claim);
        }
    }

    fn hear(&mut self, now: Now, claim: &UnverifiedClaim) {
        let UnverifiedClaim {
            name,
            protocol,
            source,
            ..
        } = claim;
        match self.core.hear(now, claim) {
            Heard::Taken { news: true } => {}
            Heard::Taken { news: false } if *protocol == Protocol::Dynip => {
                self.refresh_export(now, EXPORT_WITHIN)
            }
            Heard::Taken { news: false } => {}
            Heard::Owned { holder } if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %protocol, holder = %holder.short(),
                "an unauthenticated claim was refused: a node of the channel holds the name"
            ),
            Heard::Full if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %protocol,
                "an unauthenticated claim was refused: there are too many such names, in all or from this address"
            ),
            Heard::Owned { .. } | Heard::Full => {}
        }
    }
}
