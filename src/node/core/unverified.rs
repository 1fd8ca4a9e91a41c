//! Claims and records of the legacy protocols, on their way into the registry. They are unverified: no node has proved
//! that the name is its own.

use std::net::IpAddr;

use super::{Core, Event};
use crate::model::{Lease, NodeId, NodeName, Now, Protocol, Timestamp};
use crate::registry::{Change, ClaimOutcome, Imported, UnverifiedClaim};

/// The result of a claim that came by a legacy protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimResult {
    /// The registry accepted the claim.
    Accepted {
        /// Whether a look-up of the name gives another answer than before; otherwise only the time is new.
        changed: bool,
    },
    /// A verified node holds the name.
    Owned { holder: NodeId },
    /// There are too many unverified names.
    Full,
}

impl Core {
    /// Hands an unverified claim to the registry.
    pub fn on_claim(&mut self, now: Now, claim: &UnverifiedClaim) -> ClaimResult {
        let Some(table) = &mut self.table else {
            return ClaimResult::Full;
        };
        let change = match table.claim(now, claim) {
            ClaimOutcome::Owned { holder } => return ClaimResult::Owned { holder },
            ClaimOutcome::Full => return ClaimResult::Full,
            ClaimOutcome::Accepted(change) => change,
        };
        let changed = change != Change::Same;
        if changed {
            let UnverifiedClaim {
                name,
                protocol,
                source,
                ..
            } = claim.clone();
            let arrived = matches!(change, Change::Joined | Change::Returned);
            self.event(Event::UnverifiedClaim {
                name,
                protocol,
                source,
                arrived,
            });
            self.store();
        }
        ClaimResult::Accepted { changed }
    }

    /// Hands a record of a legacy program's file to the registry; `None` where no registry is kept.
    pub fn import(
        &mut self,
        now: Now,
        name: &NodeName,
        protocol: Protocol,
        address: IpAddr,
        at: Timestamp,
        lease: Lease,
    ) -> Option<Imported> {
        let table = self.table.as_mut()?;
        Some(table.import(now, name, protocol, address, at, lease))
    }
}
