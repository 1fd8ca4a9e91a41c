//! A server's own entry in its registry.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Conflict, Core, Event};
use crate::discovery;
use crate::model::{Now, Record};
use crate::registry::{Change, Outcome, Registration, RenewOutcome};
use crate::wire::v1::Refusal;

/// The time in which a starting node reads its interfaces. A node that can't read them by then registers in its own
/// table without addresses.
pub(super) const ADDRESSES_WITHIN: Duration = Duration::from_secs(2);

impl Core {
    /// Registers a server's own record in its registry, like any other record.
    pub(super) fn register_own(&mut self, now: Now) {
        // No other node runs with this state directory: an earlier start of this node used this epoch, or a later one.
        let earlier = match self.enter_own(now) {
            Some(Refusal::Outdated { epoch, .. }) => Some(epoch),
            Some(Refusal::Cloned) => Some(self.engine.own().record().epoch),
            _ => None,
        };
        if earlier.is_some_and(|epoch| self.engine.begin_epoch(epoch)) {
            self.enter_own(now);
        }
        self.own_registered = true;
        self.renew_own_at = now.elapsed + discovery::renew_after(self.engine.own().record().lease);
    }

    /// Registers the own record as it is signed now, and returns the refusal, if any.
    fn enter_own(&mut self, now: Now) -> Option<Refusal> {
        let table = self.table.as_mut()?;
        let own = self.engine.own();
        let record = own.record().clone();
        let claimant = own.id();
        let name = record.name.clone();
        let source = own_source(&record);
        let registration = Registration {
            record,
            signed: own.signed().clone(),
            source,
            key: own.signed().key,
        };
        let refusal = match table.register(now, registration) {
            Outcome::Accepted { change, .. } => {
                if matches!(change, Change::Joined | Change::Returned | Change::Moved) {
                    self.event(Event::OwnChanged { name });
                }
                return None;
            }
            Outcome::Refused(refusal) => refusal,
        };
        if let Refusal::NameHeld { holder } = refusal {
            self.conflict(Conflict {
                name,
                holder,
                claimant,
                source,
                at: now.wall,
            });
        }
        Some(refusal)
    }

    pub(super) fn renew_own(&mut self, now: Now) {
        if !self.own_registered {
            self.register_own(now);
            return;
        }
        let Some(table) = &mut self.table else { return };
        let sequence = self.engine.next_sequence();
        let own = self.engine.own();
        let record = own.record();
        let renewed = table.renew(
            now,
            &own.id(),
            record.epoch,
            record.sequence,
            sequence,
            own_source(record),
        );
        self.renew_own_at = now.elapsed + discovery::renew_after(record.lease);
        if !matches!(renewed, RenewOutcome::Renewed { .. }) {
            self.engine.sign_again();
            self.register_own(now);
        }
    }
}

/// The source address of a server's own entry: its best address.
pub(super) fn own_source(record: &Record) -> SocketAddr {
    let ip = record
        .addresses
        .first()
        .map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip);
    SocketAddr::new(ip, record.port)
}
