//! Claims by legacy protocols: a name and a source address without any proof.
//!
//! Such a row is identified by its name: its node id is a stand-in computed from the name
//! ([`stand_in`]), whichever legacy protocol the claim came by. The row
//!
//! - never takes a name from an authenticated node, as long as the name is reserved for that node;
//! - yields its name to such a node at once and expires then; its history is still found under the
//!   name;
//! - counts against a limit of its own, in total and for each source address, so that invented
//!   names displace no other node.

use std::net::{IpAddr, SocketAddr};

use tracing::debug;

use super::cold::{Cold, Packed};
use super::history::{End, Span};
use super::hot::{Hot, Presence, SeenEntry, Source, packed};
use super::{Change, Registration, Table, millis, now_ms};
use crate::model::{
    Evidence, Labels, Lease, NodeId, NodeName, Now, Protocol, Record, Role, Timestamp,
};
use crate::registry::row::Interval;
use crate::wire::KeyId;
use crate::wire::stand_in::stand_in;
use crate::wire::v1::SignedRecord;

/// The maximum number of names that one source address may have at a time: a home or an office
/// behind one router.
const MAX_NAMES_PER_SOURCE: usize = 64;

/// A claim by a legacy protocol: the name is at the source address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedClaim {
    pub name: NodeName,
    pub protocol: Protocol,
    pub source: SocketAddr,
    /// How long the name counts as present.
    pub lease: Lease,
}

/// The outcome of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The claim is accepted.
    Accepted(Change),
    /// An authenticated node holds the name.
    Owned { holder: NodeId },
    /// There are too many such names, in total or from this address.
    Full,
}

/// The outcome of a record imported from the file of a legacy program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The name was not known.
    Added,
    /// The record had a newer time, another address, or an interval that the history lacked.
    Updated,
    /// Everything was known, or the record is older than the history goes back.
    Same,
    /// An authenticated node holds the name.
    Owned,
    /// There are too many such names.
    Full,
}

impl Table {
    /// Processes a claim. If it repeats name and source address, it changes memory alone, as a
    /// renewal does.
    pub fn claim(&mut self, now: Now, claim: &UnverifiedClaim) -> ClaimOutcome {
        let id = stand_in(&claim.name);
        let known = self.slot_of(&id);
        if let Some(refusal) = self.check_claim(now, claim, known) {
            return refusal;
        }
        self.counters.unverified_accepted += 1;
        let slot = known.unwrap_or_else(|| self.add_unverified(id, claim, now.wall));
        let present = known.is_some() && self.is_present(slot);
        let end = self.end_by_message(now, slot);
        if !present && known.is_some() {
            let ended = self.cold(slot).ended;
            self.absent.remove(&(ended, slot));
        }
        let mut changed = !present;
        if !self.cold(slot).bound {
            self.bind(now, slot, &claim.name);
            changed = true;
        }
        changed |= self.set_protocol(slot, claim);
        let hot = self.hot_mut(slot);
        hot.source = Source::of(claim.source);
        hot.expires = now_ms(now).saturating_add(millis(claim.lease.duration()));
        hot.presence = Presence::Present;
        self.touch(now, slot);
        let moved = self.follow_addresses(now, slot, &[], claim.source, end);
        if changed || moved {
            self.mark(slot);
        }
        self.plan(now, slot);
        ClaimOutcome::Accepted(match (known, present, moved) {
            (None, ..) => Change::Joined,
            (Some(_), false, _) => Change::Returned,
            (Some(_), true, true) => Change::Moved,
            (Some(_), true, false) => Change::Same,
        })
    }

    /// Returns the refusal of a claim; `None` if it is to be accepted.
    fn check_claim(
        &mut self,
        now: Now,
        claim: &UnverifiedClaim,
        known: Option<u32>,
    ) -> Option<ClaimOutcome> {
        if let Some(holder) = self.authenticated_holder(now, &claim.name) {
            debug!(
                name = %claim.name,
                peer = %claim.source,
                protocol = %claim.protocol,
                ?holder,
                "an unverified claim is refused: an authenticated node holds the name"
            );
            self.counters.unverified_owned += 1;
            return Some(ClaimOutcome::Owned { holder });
        }
        let source = packed(claim.source.ip().to_canonical());
        let moves = known.is_none_or(|slot| self.hot(slot).source.ip != source);
        if (moves && self.source_has_too_many_names(claim.source.ip()))
            || (known.is_none() && !self.has_room_for_unverified(now))
        {
            debug!(
                name = %claim.name,
                peer = %claim.source,
                protocol = %claim.protocol,
                "an unverified claim is refused: too many names, in total or from this address"
            );
            self.counters.unverified_full += 1;
            return Some(ClaimOutcome::Full);
        }
        None
    }

    /// Imports a record from the file of a legacy program: the name was at an address at a time. A
    /// second import of the same record changes nothing.
    pub fn import(
        &mut self,
        now: Now,
        name: &NodeName,
        protocol: Protocol,
        ip: IpAddr,
        at: Timestamp,
        lease: Lease,
    ) -> Imported {
        if self.authenticated_holder(now, name).is_some() {
            return Imported::Owned;
        }
        let at = at.min(now.wall);
        let claim = UnverifiedClaim {
            name: name.clone(),
            protocol,
            source: SocketAddr::new(ip.to_canonical(), 0),
            lease,
        };
        let id = stand_in(name);
        let Some(slot) = self.slot_of(&id) else {
            if !self.has_room_for_unverified(now) {
                return Imported::Full;
            }
            let slot = self.add_unverified(id, &claim, at);
            self.bind(now, slot, name);
            self.set_seen(now, slot, &claim, at);
            self.note_interval(now, slot, ip, at);
            self.mark(slot);
            self.plan(now, slot);
            return Imported::Added;
        };
        let newer = at > self.seen.entry(slot).last_seen;
        let earlier = at < self.cold(slot).first_seen;
        if earlier {
            self.cold_mut(slot).first_seen = at;
        }
        if newer {
            if !self.is_present(slot) {
                let ended = self.cold(slot).ended;
                self.absent.remove(&(ended, slot));
            }
            let confirmed = self.seen.entry(slot).last_seen;
            self.close_all(now, slot, End::reported(confirmed));
            if !self.cold(slot).bound {
                self.bind(now, slot, name);
            }
            self.set_protocol(slot, &claim);
            self.set_seen(now, slot, &claim, at);
        }
        let noted = self.note_interval(now, slot, ip, at);
        if newer || earlier || noted {
            self.mark(slot);
            self.plan(now, slot);
            return Imported::Updated;
        }
        Imported::Same
    }

    /// The number of nodes that are known by a legacy protocol only.
    pub fn unverified(&self) -> usize {
        self.unverified.len()
    }

    /// Ends an unverified row whose name an authenticated node took over.
    pub(super) fn end_unverified(&mut self, now: Now, slot: u32) {
        if !self.is_authenticated(slot) && self.is_present(slot) {
            let end = End::between(self.seen.entry(slot).last_seen, now.wall);
            self.end(now, slot, Presence::Expired, now_ms(now), end);
        }
    }

    /// The holder of a name, if it is authenticated and the name is still reserved for it.
    fn authenticated_holder(&self, now: Now, name: &NodeName) -> Option<NodeId> {
        self.name_holder(now, None, name)
    }

    /// Whether so many names come from one address that no further one is accepted.
    fn source_has_too_many_names(&self, ip: IpAddr) -> bool {
        let wanted = packed(ip.to_canonical());
        self.unverified
            .iter()
            .filter(|&&slot| {
                !self.is_authenticated(slot)
                    && self.is_present(slot)
                    && self.hot(slot).source.ip == wanted
            })
            .nth(MAX_NAMES_PER_SOURCE - 1)
            .is_some()
    }

    /// Makes room for one more row. If the limit is reached, the row that is absent longest is
    /// removed. Returns false if there is no room.
    fn has_room_for_unverified(&mut self, now: Now) -> bool {
        if self.unverified.len() >= self.settings.max_unverified {
            let absent = self
                .unverified
                .iter()
                .filter(|slot| !self.is_present(**slot));
            let Some(slot) = absent.min_by_key(|slot| self.cold(**slot).ended).copied() else {
                return false;
            };
            self.counters.evicted += 1;
            self.remove(slot);
        }
        self.len() < self.capacity() || self.evict(now)
    }

    /// Adds a new row to the table, neither bound nor present yet.
    fn add_unverified(
        &mut self,
        id: NodeId,
        claim: &UnverifiedClaim,
        first_seen: Timestamp,
    ) -> u32 {
        let registration = unsigned_registration(id, claim);
        let hot = Hot {
            id,
            presence: Presence::Present,
            lease: claim.lease,
            ..Hot::free()
        };
        let cold = Cold {
            bound: false,
            protocol: claim.protocol,
            ..Cold::new(&registration, first_seen)
        };
        let slot = self.occupy(None, hot, cold);
        self.unverified.insert(slot);
        self.seen.begin(slot);
        self.hot_mut(slot).source = Source::of(claim.source);
        slot
    }

    /// Sets protocol and lease. Returns whether either changed.
    fn set_protocol(&mut self, slot: u32, claim: &UnverifiedClaim) -> bool {
        if self.cold(slot).protocol == claim.protocol && self.hot(slot).lease == claim.lease {
            return false;
        }
        let Registration { record, signed, .. } = unsigned_registration(self.hot(slot).id, claim);
        self.hot_mut(slot).lease = claim.lease;
        let cold = self.cold_mut(slot);
        cold.protocol = claim.protocol;
        cold.signed = Packed::new(&record, &signed);
        true
    }

    /// Sets the time and address of an imported record that is the newest. The node is present if
    /// its lease still runs.
    fn set_seen(&mut self, now: Now, slot: u32, claim: &UnverifiedClaim, at: Timestamp) {
        let left = claim.lease.duration().saturating_sub(now.wall.since(at));
        let present = !left.is_zero();
        let hot = self.hot_mut(slot);
        hot.source = Source::of(claim.source);
        hot.expires = now_ms(now).saturating_add(millis(left));
        hot.presence = if present {
            Presence::Present
        } else {
            Presence::Expired
        };
        let tag = self.seen.entry(slot).tag;
        self.seen.set(
            slot,
            SeenEntry {
                tag,
                last_seen: at,
                past_base: 0,
            },
        );
        if !present {
            // The name is reserved from the import on. Otherwise the rows of an old file would be
            // removed at once.
            let cold = self.cold_mut(slot);
            cold.ended = now_ms(now);
            cold.ended_at = now.wall;
            self.absent.insert((now_ms(now), slot));
        }
    }

    /// Inserts a moment into the history. Returns false if the history has it, or does not go back
    /// so far.
    fn note_interval(&mut self, now: Now, slot: u32, ip: IpAddr, at: Timestamp) -> bool {
        let keep = self.settings.history;
        let ip = ip.to_canonical();
        let runs = self.is_present(slot) && self.seen.entry(slot).last_seen == at;
        let is_old = !runs && (keep.is_zero() || at.plus(keep) <= now.wall);
        let history = &self.cold(slot).history;
        if is_old
            || history
                .iter()
                .any(|span| span.is(packed(ip), Evidence::Observed) && span.interval().covers(at))
        {
            return false;
        }
        let place = history.partition_point(|span| span.from() <= at);
        let span = Span::of(Interval {
            ip,
            evidence: Evidence::Observed,
            from: at,
            to: (!runs).then_some(at),
            lost_by: None,
        });
        self.cold_mut(slot).history.insert(place, span);
        self.addresses.insert(span.key(slot));
        self.prune(now, slot);
        true
    }
}

/// A record with a name and nothing else, which no node signed.
fn unsigned_registration(node: NodeId, claim: &UnverifiedClaim) -> Registration {
    let record = Record {
        name: claim.name.clone(),
        epoch: 0,
        sequence: 0,
        boot: 0,
        lease: claim.lease,
        addresses: Vec::new(),
        port: 0,
        role: Role::Client,
        labels: Labels::default(),
    };
    let key = KeyId([0; 4]);
    let signed = SignedRecord {
        node,
        key,
        body: Box::default(),
        signature: [0; 64],
    };
    Registration {
        record,
        signed,
        source: claim.source,
        key,
    }
}

#[cfg(test)]
mod tests;
