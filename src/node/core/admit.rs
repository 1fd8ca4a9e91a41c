//! Registers, renewals and goodbyes: the messages that change the registry.

use std::time::Duration;

use super::durability::{Acknowledgement, waiting_batches};
use super::{Conflict, Core, Datagram, Event, Output};
use crate::discovery::Ignored;
use crate::model::{Lease, NodeId, NodeName, Now, State};
use crate::registry::{Change, Outcome, Registration, RenewOutcome};
use crate::transport::ReturnPath;
use crate::wire::identity::RenewalKey;
use crate::wire::v1::{Message, Refusal, Refused, Regarding, Renewal, SignedRecord};

/// The limit of acknowledgements that wait for the store; beyond it, registers and renewals are refused for a while.
pub(super) const WAITING_ACKNOWLEDGEMENTS: usize = 65_536;
/// How long a node is asked to wait when the store can't keep up.
const STORE_BUSY: Duration = Duration::from_secs(2);
/// Name conflicts that are kept for `status`; the oldest is dropped first.
const CONFLICTS: usize = 64;

impl Core {
    pub(super) fn on_register(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let path = datagram.path;
        let Some(table) = &mut self.table else {
            self.counters.ignored(Ignored::NotAsked.as_str());
            return;
        };
        if signed.node == self.engine.own().id() {
            // The server's own datagram came back by a loop in the network, or a copy of its disk is running.
            self.counters.own_reflected += 1;
            return;
        }
        if !self.responder.admits(now, path.to) {
            self.counters.ignored(Ignored::Rate.as_str());
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            tracing::debug!(peer = %path.to, node = %signed.node.short(), "register dropped: its signature or content is wrong");
            self.counters.forged_records += 1;
            return;
        };
        let sequence = record.sequence;
        let regarding = Regarding::Sequence(sequence);
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            self.refuse_busy(path, regarding);
            return;
        }
        let name = record.name.clone();
        let registration = Registration {
            record,
            signed: signed.clone(),
            source: path.to,
            key: datagram.key,
        };
        match table.register(now, registration) {
            Outcome::Accepted { lease, change, .. } => {
                self.counters.registers += 1;
                tracing::debug!(%name, peer = %path.to, sequence, ?change, "register accepted");
                // A retransmitted register changes nothing, yet the change of its first copy may not be durable yet.
                let ticket = self.submitted + waiting_batches(table);
                self.acknowledge_at(now, ticket, path, sequence, lease);
                self.on_registered(change, name, path);
            }
            Outcome::Refused(refusal) => {
                self.on_register_refused(now, signed.node, name, path, &refusal);
                self.refuse(path, Refused { regarding, refusal });
            }
        }
    }

    /// Acknowledges a change now if its batch is durable, otherwise when it is.
    fn acknowledge_at(
        &mut self,
        now: Now,
        ticket: u64,
        path: ReturnPath,
        sequence: u64,
        lease: Lease,
    ) {
        if ticket <= self.durable {
            self.acknowledge(now, path, sequence, lease);
        } else {
            self.acknowledgements.push_back(Acknowledgement {
                ticket,
                path,
                sequence,
                lease,
            });
        }
    }

    fn on_registered(&mut self, change: Change, name: NodeName, path: ReturnPath) {
        let source = path.to;
        match change {
            Change::Joined | Change::Returned => self.event(Event::Arrived { name, source }),
            Change::Moved => self.event(Event::Changed { name, source }),
            Change::Same | Change::Updated | Change::Left => {}
        }
    }

    fn on_register_refused(
        &mut self,
        now: Now,
        node: NodeId,
        name: NodeName,
        path: ReturnPath,
        refusal: &Refusal,
    ) {
        let source = path.to;
        match refusal {
            Refusal::NameHeld { holder } => self.conflict(Conflict {
                name,
                holder: *holder,
                claimant: node,
                source,
                at: now.wall,
            }),
            Refusal::Cloned => self.event(Event::Cloned { node, name, source }),
            _ => {}
        }
    }

    pub(super) fn on_renewal(&mut self, now: Now, datagram: Datagram<'_>, renewal: &Renewal) {
        let path = datagram.path;
        let Some(table) = &self.table else {
            self.counters.ignored(Ignored::NotAsked.as_str());
            return;
        };
        if !self.responder.admits(now, path.to) {
            self.counters.ignored(Ignored::Rate.as_str());
            return;
        }
        let regarding = Regarding::Sequence(renewal.sequence);
        if table.by_id(&renewal.node).is_none() {
            let refusal = Refusal::UnknownRecord;
            self.refuse(path, Refused { regarding, refusal });
            return;
        }
        if !self.is_genuine(renewal) {
            tracing::debug!(peer = %path.to, node = %renewal.node.short(), "renewal dropped: its proof is wrong");
            self.counters.forged_renewals += 1;
            return;
        }
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            // Few renewals wait for the store, but only the table can say whether this one does.
            self.refuse_busy(path, regarding);
            return;
        }
        self.renew(now, path, renewal);
    }

    /// Whether the node of a renewal, which the registry knows, made it.
    fn is_genuine(&mut self, renewal: &Renewal) -> bool {
        let own = self.engine.own();
        let Some(table) = &mut self.table else {
            return false;
        };
        if let Some(key) = table.renewal_key(&renewal.node) {
            return RenewalKey::from_bytes(*key).verify(renewal, &own.id());
        }
        let Ok(key) = own.identity().renewal_key_of_node(&renewal.node) else {
            return false;
        };
        let genuine = key.verify(renewal, &own.id());
        // Only a genuine renewal is worth the memory of its key.
        if genuine {
            table.set_renewal_key(&renewal.node, *key.bytes());
        }
        genuine
    }

    /// Renews the record of a known node whose proof is verified.
    fn renew(&mut self, now: Now, path: ReturnPath, renewal: &Renewal) {
        let Some(table) = &mut self.table else { return };
        let renewed = table.renew(
            now,
            &renewal.node,
            renewal.epoch,
            renewal.base,
            renewal.sequence,
            path.to,
        );
        let sequence = renewal.sequence;
        let refusal = match renewed {
            // An acknowledgement of this renewal acknowledges the ones before it, too. So it must not overtake a move of
            // this node that is not durable yet.
            RenewOutcome::Renewed {
                lease,
                changed: false,
            } if !self.moving.contains_key(&renewal.node) => {
                self.counters.renewals += 1;
                self.acknowledge(now, path, sequence, lease);
                return;
            }
            RenewOutcome::Renewed { lease, changed } => {
                self.counters.renewals += 1;
                let name = table.by_id(&renewal.node).map(|node| node.name().clone());
                let ticket = self.submitted + waiting_batches(table);
                self.acknowledgements.push_back(Acknowledgement {
                    ticket,
                    path,
                    sequence,
                    lease,
                });
                if changed {
                    self.moving.insert(renewal.node, ticket);
                }
                if changed && let Some(name) = name {
                    let source = path.to;
                    self.event(Event::Changed { name, source });
                }
                return;
            }
            RenewOutcome::Unknown => Refusal::UnknownRecord,
            RenewOutcome::Outdated { epoch, sequence } => Refusal::Outdated { epoch, sequence },
        };
        let regarding = Regarding::Sequence(sequence);
        self.refuse(path, Refused { regarding, refusal });
    }

    pub(super) fn on_goodbye(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let own = self.engine.own().id();
        let present = self
            .table
            .as_ref()
            .and_then(|table| table.by_id(&signed.node))
            .is_some_and(|node| node.state() == State::Present);
        if !present || signed.node == own {
            self.counters.taken("goodbye");
            return;
        }
        if !self.responder.admits(now, datagram.path.to) {
            self.counters.ignored(Ignored::Rate.as_str());
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            self.counters.forged_records += 1;
            return;
        };
        if record.lease != Lease::ZERO {
            // Its node signed the record for another message; another member of the channel put it into a goodbye.
            self.counters.forged_records += 1;
            return;
        }
        self.counters.taken("goodbye");
        let Some(table) = &mut self.table else { return };
        let name = record.name.clone();
        let registration = Registration {
            record,
            signed: signed.clone(),
            source: datagram.path.to,
            key: datagram.key,
        };
        if let Outcome::Accepted {
            change: Change::Left,
            ..
        } = table.goodbye(now, registration)
        {
            self.event(Event::Departed { name });
        }
    }

    pub(super) fn refuse(&mut self, path: ReturnPath, refused: Refused) {
        tracing::debug!(peer = %path.to, refusal = ?refused.refusal, "request refused");
        self.counters.refused(&refused.refusal);
        let message = Message::Refused(refused);
        self.output.push_back(Output::Reply { path, message });
    }

    /// Refuses a request for a while, as too many acknowledgements wait for the store.
    fn refuse_busy(&mut self, path: ReturnPath, regarding: Regarding) {
        let refusal = Refusal::Rate { wait: STORE_BUSY };
        self.refuse(path, Refused { regarding, refusal });
    }

    pub(super) fn conflict(&mut self, conflict: Conflict) {
        let known = self
            .conflicts
            .iter_mut()
            .find(|c| c.name == conflict.name && c.claimant == conflict.claimant);
        if let Some(known) = known {
            *known = conflict;
            return;
        }
        if self.conflicts.len() == CONFLICTS {
            self.conflicts.pop_front();
        }
        self.conflicts.push_back(conflict.clone());
        self.event(Event::NameConflict(conflict));
    }
}
