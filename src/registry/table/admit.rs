//! Registers, renewals and goodbyes: whether they are accepted, and their effect.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, trace};

use super::cold::{CloneMark, Cold, Packed};
use super::history::End;
use super::hot::{Hot, Presence, SeenEntry, Source};
use super::{Change, Outcome, Registration, RenewOutcome, Table, millis, now_ms};
use crate::model::{Lease, NodeId, Now, Record};
use crate::wire::v1::Refusal;

/// How long a node waits that found the table full: a place becomes free when a node is removed,
/// which is rare.
const FULL_WAIT: Duration = Duration::from_secs(60);
/// After this many leases without a message, one of two machines that share a node id counts as
/// switched off.
pub(super) const CLONE_LEASES: u32 = 3;

impl Table {
    /// Registers a verified record; a record with lease 0 is a goodbye.
    pub fn register(&mut self, now: Now, registration: Registration) -> Outcome {
        let record = &registration.record;
        if record.lease == Lease::ZERO {
            return self.goodbye(now, registration);
        }
        let node = registration.signed.node;
        let outcome = match self.slot_of(&node) {
            Some(slot) => self.register_known(now, slot, &registration),
            None => self.register_new(now, &registration),
        };
        match outcome {
            Ok((slot, change)) => {
                self.counters.registered += 1;
                let lease = self.hot(slot).lease;
                trace!(?node, name = %record.name, ?change, %lease, "a register is accepted");
                Outcome::Accepted {
                    slot,
                    lease,
                    changed: change != Change::Same,
                    change,
                }
            }
            Err(refusal) => {
                debug!(
                    ?node,
                    name = %record.name,
                    peer = %registration.source,
                    ?refusal,
                    "a register is refused"
                );
                Outcome::Refused(refusal)
            }
        }
    }

    fn register_new(
        &mut self,
        now: Now,
        registration: &Registration,
    ) -> Result<(u32, Change), Refusal> {
        let record = &registration.record;
        self.check_name(now, None, record)?;
        if self.len() >= self.settings.max_nodes.min(super::MAX_SLOTS) && !self.evict(now) {
            self.counters.full += 1;
            return Err(Refusal::Rate { wait: FULL_WAIT });
        }
        let hot = Hot {
            id: registration.signed.node,
            presence: Presence::Present,
            ..Hot::free()
        };
        let slot = self.occupy(None, hot, Cold::new(registration, now.wall));
        self.seen.begin(slot);
        self.bind(now, slot, &record.name);
        self.set_registration(now, slot, registration);
        let end = End::reported(now.wall);
        self.follow_addresses(now, slot, &record.addresses, registration.source, end);
        self.plan(now, slot);
        Ok((slot, Change::Joined))
    }

    fn register_known(
        &mut self,
        now: Now,
        slot: u32,
        registration: &Registration,
    ) -> Result<(u32, Change), Refusal> {
        let record = &registration.record;
        let present = self.is_present(slot);
        // The acknowledgement of the held register was lost. The lease is not extended: this may be
        // a replay.
        if present && *self.cold(slot).signed.body() == *registration.signed.body {
            return Ok((slot, Change::Same));
        }
        self.check_clone(now, slot, registration)?;
        self.check_order(slot, record.order())?;
        self.check_name(now, Some(slot), record)?;

        let end = self.end_by_message(now, slot);
        let mut moved = self.hot(slot).source != Source::of(registration.source);
        if self.cold(slot).name != record.name {
            self.rename(now, slot, &record.name);
            moved = true;
        } else if !self.cold(slot).bound {
            self.bind(now, slot, &record.name);
        }
        let cold = self.cold_mut(slot);
        if cold.boot != record.boot {
            cold.previous_boot = Some(cold.boot);
            cold.boot = record.boot;
        }
        cold.signed = Packed::new(record, &registration.signed);
        cold.key = registration.key;
        if !present {
            let ended = cold.ended;
            self.absent.remove(&(ended, slot));
        }
        self.set_registration(now, slot, registration);
        moved |= self.follow_addresses(now, slot, &record.addresses, registration.source, end);
        self.plan(now, slot);
        let change = match (present, moved) {
            (false, _) => Change::Returned,
            (true, true) => Change::Moved,
            (true, false) => Change::Updated,
        };
        Ok((slot, change))
    }

    /// Sets the fields that every register changes.
    fn set_registration(&mut self, now: Now, slot: u32, registration: &Registration) {
        let record = &registration.record;
        let lease = record.lease.min(self.settings.max_lease);
        let hot = self.hot_mut(slot);
        hot.epoch = record.epoch;
        hot.base = record.sequence;
        hot.sequence = record.sequence;
        hot.source = Source::of(registration.source);
        hot.lease = lease;
        hot.expires = now_ms(now).saturating_add(millis(lease.duration()));
        hot.presence = Presence::Present;
        self.touch(now, slot);
        self.mark(slot);
    }

    /// Sets the time when a node was last seen to now.
    pub(super) fn touch(&mut self, now: Now, slot: u32) {
        let hot = self.hot(slot);
        let past_base = u32::try_from(hot.sequence.saturating_sub(hot.base)).unwrap_or(u32::MAX);
        let tag = self.seen.entry(slot).tag;
        self.seen.set(
            slot,
            SeenEntry {
                tag,
                last_seen: now.wall,
                past_base,
            },
        );
    }

    fn check_order(&mut self, slot: u32, order: (u64, u64)) -> Result<(), Refusal> {
        let hot = self.hot(slot);
        let epoch = hot.epoch;
        let sequence = hot.sequence;
        if order > (epoch, sequence) {
            return Ok(());
        }
        self.counters.outdated += 1;
        Err(Refusal::Outdated { epoch, sequence })
    }

    fn check_name(&mut self, now: Now, slot: Option<u32>, record: &Record) -> Result<(), Refusal> {
        match self.name_holder(now, slot, &record.name) {
            None => Ok(()),
            Some(holder) => {
                self.counters.name_conflicts += 1;
                Err(Refusal::NameHeld { holder })
            }
        }
    }

    /// Detects a second machine with the node's id.
    ///
    /// A restart has a new boot and a higher epoch. Two machines run at once if a superseded boot
    /// sends a newer message, or if two boots have the same epoch. A message that is not newer
    /// proves nothing, since it may be a replay.
    fn check_clone(
        &mut self,
        now: Now,
        slot: u32,
        registration: &Registration,
    ) -> Result<(), Refusal> {
        let record = &registration.record;
        let hot = self.hot(slot);
        let quiet = millis(hot.lease.duration()).saturating_mul(i64::from(CLONE_LEASES));
        let last_message = hot.expires.saturating_sub(millis(hot.lease.duration()));
        let present = self.is_present(slot);
        let newer = record.order() > (hot.epoch, hot.sequence);
        let same_epoch = record.epoch == hot.epoch;
        let cold = self.cold(slot);
        if record.boot == cold.boot || !newer {
            return Ok(());
        }
        let marked = cold
            .clone_sighting
            .as_ref()
            .is_some_and(|clone_sighting| clone_sighting.boot == record.boot);
        let crossed = marked || cold.previous_boot == Some(record.boot) || (same_epoch && present);
        if !crossed {
            return Ok(());
        }
        if now_ms(now) >= last_message.saturating_add(quiet) {
            // The machine that is held sent nothing for so long that only the other one still runs.
            self.cold_mut(slot).clone_sighting = None;
            return Ok(());
        }
        let since = cold
            .clone_sighting
            .as_ref()
            .map_or(now.wall, |clone_sighting| clone_sighting.since);
        let newer_sighting = cold.clone_sighting.as_ref().is_none_or(|clone_sighting| {
            clone_sighting.boot != record.boot || record.order() > clone_sighting.order
        });
        self.counters.clones += 1;
        if newer_sighting {
            self.cold_mut(slot).clone_sighting = Some(Box::new(CloneMark {
                boot: record.boot,
                source: registration.source,
                order: record.order(),
                last_refused: now_ms(now),
                since,
            }));
            self.plan(now, slot);
        }
        Err(Refusal::Cloned)
    }

    /// Removes the node that is absent longest, if its name is free. Returns whether a node was
    /// removed.
    pub(super) fn evict(&mut self, now: Now) -> bool {
        let Some(&(ended, slot)) = self.absent.first() else {
            return false;
        };
        if ended.saturating_add(millis(self.settings.release_after)) > now_ms(now) {
            return false;
        }
        debug!(node = ?self.hot(slot).id, "evicting an absent node: the table is full");
        self.counters.evicted += 1;
        self.remove(slot);
        true
    }

    /// Renews a lease; the proof of the renewal was checked before. It allocates nothing while
    /// neither source nor state changes.
    pub fn renew(
        &mut self,
        now: Now,
        node: &NodeId,
        epoch: u64,
        base: u64,
        sequence: u64,
        source: SocketAddr,
    ) -> RenewOutcome {
        let Some(slot) = self.slot_of(node) else {
            return RenewOutcome::Unknown;
        };
        let end = self.end_by_message(now, slot);
        let hot = &mut self.hot[slot as usize];
        if epoch > hot.epoch || (epoch == hot.epoch && base > hot.base) {
            return RenewOutcome::Unknown;
        }
        let present = hot.presence == Presence::Present;
        let repeated = present && sequence == hot.sequence && sequence > base;
        if (epoch, base) != (hot.epoch, hot.base)
            || sequence < hot.sequence
            || (sequence == hot.sequence && !repeated)
        {
            self.counters.outdated += 1;
            return RenewOutcome::Outdated {
                epoch: hot.epoch,
                sequence: hot.sequence,
            };
        }
        if hot.presence == Presence::Left {
            return RenewOutcome::Unknown;
        }
        let lease = hot.lease;
        if repeated {
            // The acknowledgement was lost, or this is a replay: neither the lease nor the source
            // changes.
            return RenewOutcome::Renewed {
                lease,
                changed: false,
            };
        }
        hot.sequence = sequence;
        hot.expires = now_ms(now).saturating_add(millis(lease.duration()));
        hot.presence = Presence::Present;
        let from = Source::of(source);
        let moved = std::mem::replace(&mut hot.source, from) != from;
        self.counters.renewed += 1;
        self.touch(now, slot);
        if !present {
            self.revive(now, slot);
        } else if moved {
            self.follow_source(now, slot, source.ip(), end);
            self.plan(now, slot);
        }
        let changed = moved || !present;
        if changed {
            self.mark(slot);
        }
        RenewOutcome::Renewed { lease, changed }
    }

    /// Makes a node present again whose renewal came after the end of its lease. New intervals
    /// begin.
    fn revive(&mut self, now: Now, slot: u32) {
        let ended = self.cold(slot).ended;
        self.absent.remove(&(ended, slot));
        let addresses = self.node(slot).record().addresses;
        let source = self.hot(slot).source.address();
        self.follow_addresses(now, slot, &addresses, source, End::reported(now.wall));
        self.plan(now, slot);
    }

    /// Processes a verified goodbye. The last full record stays for look-ups, but a renewal can't
    /// build on it any more.
    pub fn goodbye(&mut self, now: Now, registration: Registration) -> Outcome {
        let Some(slot) = self.slot_of(&registration.signed.node) else {
            return Outcome::Refused(Refusal::UnknownRecord);
        };
        let hot = self.hot(slot);
        let order = registration.record.order();
        if hot.presence == Presence::Left && order == (hot.epoch, hot.sequence) {
            return Outcome::Accepted {
                slot,
                lease: Lease::ZERO,
                changed: false,
                change: Change::Same,
            };
        }
        if let Err(refusal) = self
            .check_clone(now, slot, &registration)
            .and_then(|()| self.check_order(slot, order))
        {
            return Outcome::Refused(refusal);
        }
        trace!(
            node = ?registration.signed.node,
            name = %registration.record.name,
            "a goodbye is accepted"
        );
        let present = self.is_present(slot);
        let hot = self.hot_mut(slot);
        hot.epoch = registration.record.epoch;
        hot.base = registration.record.sequence;
        hot.sequence = registration.record.sequence;
        if present {
            self.touch(now, slot);
            let end = End::reported(now.wall);
            self.end(now, slot, Presence::Left, now_ms(now), end);
        } else {
            self.hot_mut(slot).presence = Presence::Left;
            self.mark(slot);
        }
        Outcome::Accepted {
            slot,
            lease: Lease::ZERO,
            changed: true,
            change: Change::Left,
        }
    }

    /// Makes a present node absent; its addresses end with `end`.
    pub(super) fn end(&mut self, now: Now, slot: u32, presence: Presence, ended: i64, end: End) {
        self.hot_mut(slot).presence = presence;
        let cold = self.cold_mut(slot);
        cold.ended = ended;
        cold.ended_at = now.wall;
        self.absent.insert((ended, slot));
        self.close_all(now, slot, end);
        self.mark(slot);
        self.plan(now, slot);
    }
}
