//! Claims of the legacy protocols, on their way into the registry.

use std::time::Duration;

use tokio::sync::mpsc;

use super::core::ClaimResult;
use super::parts::Node;
use crate::model::{Now, Protocol};
use crate::registry::UnverifiedClaim;

/// Claims that are handled in a row before the loop turns to its other work.
const CLAIMS_IN_A_ROW: usize = 256;
/// How old the times in DynIP's export file may be.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// Handles a claim, and those that wait behind it.
    pub(super) fn on_claims(
        &mut self,
        first: &UnverifiedClaim,
        claims: &mut mpsc::Receiver<UnverifiedClaim>,
    ) {
        let now = self.clock.now();
        self.on_claim(now, first);
        for _ in 1..CLAIMS_IN_A_ROW {
            let Ok(claim) = claims.try_recv() else { break };
            self.on_claim(now, &claim);
        }
    }

    fn on_claim(&mut self, now: Now, claim: &UnverifiedClaim) {
        let UnverifiedClaim {
            name,
            protocol,
            source,
            ..
        } = claim;
        match self.core.on_claim(now, claim) {
            ClaimResult::Accepted { changed: true } => {}
            ClaimResult::Accepted { changed: false } if *protocol == Protocol::Dynip => {
                self.refresh_export(now, EXPORT_WITHIN)
            }
            ClaimResult::Accepted { changed: false } => {}
            ClaimResult::Owned { holder } if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %protocol, holder = %holder.short(),
                "an unverified claim was refused: a node of the channel holds the name"
            ),
            ClaimResult::Full if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %protocol,
                "an unverified claim was refused: there are too many unverified names, in all or from this address"
            ),
            ClaimResult::Owned { .. } | ClaimResult::Full => {}
        }
    }
}
