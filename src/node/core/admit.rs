//! What nodes send to be kept: registers, renewals and goodbyes.

use std::net::SocketAddr;
use std::time::Duration;

use super::durability::{Acknowledgement, waiting_batches};
use super::{Conflict, Core, Datagram, Event, Output};
use crate::discovery::Ignored;
use crate::model::{Lease, Now, Record, State};
use crate::registry::{Change, Outcome, Registration, RenewOutcome};
use crate::transport::Via;
use crate::wire::identity::RenewalKey;
use crate::wire::v1::{Message, Refusal, Refused, Regarding, Renewal, SignedRecord};

/// Acknowledgements that wait for the store; with more, registers are refused for a while.
pub(super) const WAITING_ACKNOWLEDGEMENTS: usize = 65_536;
/// How long a node is to wait when the store can't keep up.
const STORE_BUSY: Duration = Duration::from_secs(2);
/// Name conflicts kept for `status`; the oldest goes first.
const CONFLICTS: usize = 64;

impl Core {
    pub(super) fn register(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let Datagram {
            from,
            via,
            key,
            length,
            ..
        } = datagram;
        let most = length.saturating_mul(3);
        let Some(table) = &mut self.table else {
            self.counters.ignored(Ignored::NotAsked.as_str());
            return;
        };
        if signed.node == self.engine.own().id() {
            // Its own datagram come back by a loop in the network, or a copy of this server's disk.
            self.counters.own_reflected += 1;
            return;
        }
        if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate.as_str());
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            self.counters.forged_records += 1;
            return;
        };
        let Record { sequence, .. } = record;
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            let refused = Refused {
                regarding: Regarding::Sequence(sequence),
                refusal: Refusal::Rate { wait: STORE_BUSY },
            };
            self.refuse(from, via, refused, most);
            return;
        }
        let name = record.name.clone();
        let node = signed.node;
        self.counters.registers += 1;
        match table.register(
            now,
            Registration {
                record,
                signed: signed.clone(),
                source: from,
                key,
            },
        ) {
            Outcome::Accepted { lease, change, .. } => {
                // A retransmitted register changes nothing, yet its first copy may still be on the way to the disk.
                let ticket = self.submitted + waiting_batches(table);
                if ticket <= self.durable {
                    self.acknowledge(now, from, via, sequence, lease, most);
                } else {
                    let waiting = Acknowledgement {
                        ticket,
                        to: from,
                        via,
                        sequence,
                        lease,
                        most,
                    };
                    self.acknowledgements.push_back(waiting);
                }
                match change {
                    Change::Joined | Change::Returned => {
                        self.event(Event::Arrived { name, source: from })
                    }
                    Change::Moved => self.event(Event::Changed { name, source: from }),
                    Change::Same | Change::Updated | Change::Left => {}
                }
            }
            Outcome::Refused(refusal) => {
                match &refusal {
                    Refusal::NameHeld { holder } => {
                        let holder = *holder;
                        self.conflict(Conflict {
                            name,
                            holder,
                            claimant: node,
                            source: from,
                            at: now.wall,
                        });
                    }
                    Refusal::Cloned => self.event(Event::Cloned {
                        node,
                        name,
                        source: from,
                    }),
                    _ => {}
                }
                let refused = Refused {
                    regarding: Regarding::Sequence(sequence),
                    refusal,
                };
                self.refuse(from, via, refused, most);
            }
        }
    }

    pub(super) fn renew(&mut self, now: Now, datagram: Datagram<'_>, renewal: &Renewal) {
        let Datagram {
            from, via, length, ..
        } = datagram;
        let most = length.saturating_mul(3);
        let own = self.engine.own().id();
        let Some(table) = &mut self.table else {
            self.counters.ignored(Ignored::NotAsked.as_str());
            return;
        };
        if !self.responder.admits(now, from) {
            self.counters.ignored(Ignored::Rate.as_str());
            return;
        }
        let regarding = Regarding::Sequence(renewal.sequence);
        if table.by_id(&renewal.node).is_none() {
            self.refuse(
                from,
                via,
                Refused {
                    regarding,
                    refusal: Refusal::UnknownRecord,
                },
                most,
            );
            return;
        }
        let genuine = match table.renewal_key(&renewal.node) {
            Some(key) => RenewalKey::from_bytes(*key).verify(renewal, &own),
            None => match self
                .engine
                .own()
                .identity()
                .renewal_key_of_node(&renewal.node)
            {
                Ok(key) => {
                    let genuine = key.verify(renewal, &own);
                    // Only a genuine renewal earns the memory.
                    if genuine {
                        table.set_renewal_key(&renewal.node, *key.bytes());
                    }
                    genuine
                }
                Err(_) => false,
            },
        };
        if !genuine {
            self.counters.forged_renewals += 1;
            return;
        }
        if self.acknowledgements.len() >= WAITING_ACKNOWLEDGEMENTS {
            // Most renewals wait for nothing, but whether this one does is known only once it is taken.
            self.refuse(
                from,
                via,
                Refused {
                    regarding,
                    refusal: Refusal::Rate { wait: STORE_BUSY },
                },
                most,
            );
            return;
        }
        self.counters.renewals += 1;
        match table.renew(
            now,
            &renewal.node,
            renewal.epoch,
            renewal.base,
            renewal.sequence,
            from,
        ) {
            // What acknowledges this renewal acknowledges the ones before it, too.
            RenewOutcome::Renewed {
                lease,
                changed: false,
            } if !self.moving.contains_key(&renewal.node) => {
                self.acknowledge(now, from, via, renewal.sequence, lease, most);
            }
            RenewOutcome::Renewed { lease, changed } => {
                let name = table.by_id(&renewal.node).map(|node| node.name().clone());
                let ticket = self.submitted + waiting_batches(table);
                let sequence = renewal.sequence;
                self.acknowledgements.push_back(Acknowledgement {
                    ticket,
                    to: from,
                    via,
                    sequence,
                    lease,
                    most,
                });
                if changed {
                    self.moving.insert(renewal.node, ticket);
                }
                if changed && let Some(name) = name {
                    self.event(Event::Changed { name, source: from });
                }
            }
            RenewOutcome::Unknown => {
                self.refuse(
                    from,
                    via,
                    Refused {
                        regarding,
                        refusal: Refusal::UnknownRecord,
                    },
                    most,
                );
            }
            RenewOutcome::Outdated { epoch, sequence } => {
                self.refuse(
                    from,
                    via,
                    Refused {
                        regarding,
                        refusal: Refusal::Outdated { epoch, sequence },
                    },
                    most,
                );
            }
        }
    }

    pub(super) fn goodbye(&mut self, now: Now, datagram: Datagram<'_>, signed: &SignedRecord) {
        let Some(table) = &mut self.table else { return };
        let known = table
            .by_id(&signed.node)
            .is_some_and(|node| node.state() == State::Present);
        if !known
            || signed.node == self.engine.own().id()
            || !self.responder.admits(now, datagram.from)
        {
            return;
        }
        let Ok(record) = signed.verify(|key| self.settings.keys.contains(&key)) else {
            self.counters.forged_records += 1;
            return;
        };
        if record.lease != Lease::ZERO {
            // A record that its node signed for something else, put into a goodbye by another member of the channel.
            self.counters.forged_records += 1;
            return;
        }
        let name = record.name.clone();
        let Datagram {
            from: source, key, ..
        } = datagram;
        let registration = Registration {
            record,
            signed: signed.clone(),
            source,
            key,
        };
        if let Outcome::Accepted {
            change: Change::Left,
            ..
        } = table.goodbye(now, registration)
        {
            self.event(Event::Departed { name });
        }
    }

    pub(super) fn refuse(&mut self, to: SocketAddr, via: Via, refused: Refused, most: usize) {
        self.counters.refused(&refused.refusal);
        self.output.push_back(Output::Reply {
            to,
            via,
            message: Message::Refused(refused),
            most,
        });
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
