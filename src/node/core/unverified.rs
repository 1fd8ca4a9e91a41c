//! What the ancestors' wires bring into the registry.

use std::net::IpAddr;

use super::{Core, Event};
use crate::model::{Lease, NodeId, NodeName, Now, Protocol, Timestamp};
use crate::registry::{Change, ClaimOutcome, Imported, UnverifiedClaim};

/// What became of a claim that came by an ancestor's wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The registry has it; whether anything but its time is new.
    Taken {
        /// Whether a look-up of the name now gives another answer.
        news: bool,
    },
    /// A node that proves who it is holds the name.
    Owned {
        /// Which.
        holder: NodeId,
    },
    /// There are too many such names.
    Full,
}

impl Core {
    /// Takes a claim that came by an ancestor's wire: nobody proved anything.
    pub fn hear(&mut self, now: Now, heard: &UnverifiedClaim) -> Heard {
        let Some(table) = &mut self.table else {
            return Heard::Full;
        };
        let change = match table.hear(now, heard) {
            ClaimOutcome::Owned { holder } => return Heard::Owned { holder },
            ClaimOutcome::Full => return Heard::Full,
            ClaimOutcome::Taken(change) => change,
        };
        let news = change != Change::Same;
        if news {
            let UnverifiedClaim {
                name,
                protocol,
                source,
                ..
            } = heard.clone();
            let arrived = matches!(change, Change::Joined | Change::Returned);
            self.event(Event::UnverifiedClaim {
                name,
                protocol,
                source,
                arrived,
            });
            self.store();
        }
        Heard::Taken { news }
    }

    /// Takes a record of an ancestor's file; `None` where no registry is kept.
    pub fn import(
        &mut self,
        now: Now,
        name: &NodeName,
        protocol: Protocol,
        address: IpAddr,
        at: Timestamp,
        lease: Lease,
    ) -> Option<Imported> {
        Some(
            self.table
                .as_mut()?
                .import(now, name, protocol, address, at, lease),
        )
    }
}
