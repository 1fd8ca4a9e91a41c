//! What came by an ancestor's wire: a name and a source address, and nobody proved anything.
//!
//! A row of hearsay is its name: its node id is a stand-in made of the name ([`stand_in`]), whatever wire it came by. Such
//! a row
//!
//! - never takes a name from a node that proves who it is, as long as the name is kept for that node;
//! - gives its name to such a node at once, and is over then; its history is still found under the name;
//! - counts against a limit of its own, in all and for each source address, so that made-up names displace nobody else.

use std::net::{IpAddr, SocketAddr};

use super::cold::{Cold, Packed};
use super::history::Span;
use super::hot::{Hot, Presence, SeenEntry, Source, packed};
use super::{Change, Registration, Table, millis, now_ms};
use crate::model::{Labels, Lease, NodeId, NodeName, Now, Protocol, Record, Role, Timestamp};
use crate::registry::row::{Interval, Seen};
use crate::wire::KeyId;
use crate::wire::stand_in::stand_in;
use crate::wire::v1::SignedRecord;

/// Names that one source address may have at a time: a home or an office behind one router.
const NAMES_PER_SOURCE: usize = 64;

/// A claim that came by an ancestor's wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedClaim {
    /// The name.
    pub name: NodeName,
    /// The wire.
    pub protocol: Protocol,
    /// Where it came from.
    pub source: SocketAddr,
    /// How long it counts as present.
    pub lease: Lease,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// Taken.
    Taken(Change),
    /// A node that proves who it is holds the name.
    Owned {
        /// Which.
        holder: NodeId,
    },
    /// There are too many such names, in all or from this address.
    Full,
}

/// What became of a record of an ancestor's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The name was not known.
    Added,
    /// It brought a newer time, another address, or a piece of history.
    Updated,
    /// All of it was known, or it is older than what the history keeps.
    Same,
    /// A node that proves who it is holds the name.
    Owned,
    /// There are too many such names.
    Full,
}

impl Table {
    /// Takes a claim. One that repeats name and source address touches memory alone, as a renewal does.
    pub fn hear(&mut self, now: Now, heard: &UnverifiedClaim) -> ClaimOutcome {
        if let Some(holder) = self.owner(now, &heard.name) {
            self.counters.unverified_owned += 1;
            return ClaimOutcome::Owned { holder };
        }
        let id = stand_in(&heard.name);
        let known = self.slot_of(&id);
        let moves = known.is_none_or(|slot| {
            self.hot(slot).source.ip != packed(heard.source.ip().to_canonical())
        });
        if (moves && self.is_crowded(heard.source.ip()))
            || (known.is_none() && !self.has_room_for_unverified(now))
        {
            self.counters.unverified_full += 1;
            return ClaimOutcome::Full;
        }
        self.counters.unverified_taken += 1;
        let slot = known.unwrap_or_else(|| self.add_unverified(id, heard, now.wall));
        let (present, confirmed) = (
            known.is_some() && self.is_present(slot),
            self.seen.entry(slot).last_seen,
        );
        if !present && known.is_some() {
            let ended = self.cold(slot).ended;
            self.gone.remove(&(ended, slot));
        }
        let mut changed = !present;
        if !self.cold(slot).bound {
            self.bind(now, slot, &heard.name);
            changed = true;
        }
        changed |= self.set_wire(slot, heard);
        let hot = self.hot_mut(slot);
        hot.source = Source::of(heard.source);
        hot.expires = now_ms(now).saturating_add(millis(heard.lease.duration()));
        hot.presence = Presence::Present;
        self.touch(now, slot);
        let moved = self.follow_addresses(
            now,
            slot,
            &[],
            heard.source,
            if present { confirmed } else { now.wall },
        );
        if changed || moved {
            self.mark(slot);
        }
        self.plan(now, slot);
        ClaimOutcome::Taken(match (known, present, moved) {
            (None, ..) => Change::Joined,
            (Some(_), false, _) => Change::Returned,
            (Some(_), true, true) => Change::Moved,
            (Some(_), true, false) => Change::Same,
        })
    }

    /// Takes a record of an ancestor's file: the name was at an address at a time. Taking it again changes nothing.
    pub fn import(
        &mut self,
        now: Now,
        name: &NodeName,
        protocol: Protocol,
        ip: IpAddr,
        at: Timestamp,
        lease: Lease,
    ) -> Imported {
        if self.owner(now, name).is_some() {
            return Imported::Owned;
        }
        let at = at.min(now.wall);
        let heard = UnverifiedClaim {
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
            let slot = self.add_unverified(id, &heard, at);
            self.bind(now, slot, name);
            self.set_seen(now, slot, &heard, at);
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
                self.gone.remove(&(ended, slot));
            }
            let confirmed = self.seen.entry(slot).last_seen;
            self.close_all(now, slot, confirmed);
            if !self.cold(slot).bound {
                self.bind(now, slot, name);
            }
            self.set_wire(slot, &heard);
            self.set_seen(now, slot, &heard, at);
        }
        let noted = self.note_interval(now, slot, ip, at);
        if newer || earlier || noted {
            self.mark(slot);
            self.plan(now, slot);
            return Imported::Updated;
        }
        Imported::Same
    }

    /// How many nodes are known by an unauthenticated wire alone.
    pub fn unverified(&self) -> usize {
        self.unverified.len()
    }

    /// A row of hearsay whose name went to a node that proves who it is: it is over.
    pub(super) fn outrank(&mut self, now: Now, slot: u32) {
        if !self.proves_itself(slot) && self.is_present(slot) {
            let confirmed = self.seen.entry(slot).last_seen;
            self.end(now, slot, Presence::Expired, now_ms(now), confirmed);
        }
    }

    /// Who holds a name, if that node proves who it is and the name is still kept for it.
    fn owner(&self, now: Now, name: &NodeName) -> Option<NodeId> {
        self.name_holder(now, None, name)
    }

    /// Whether so many names come from one address that no further one is taken.
    fn is_crowded(&self, ip: IpAddr) -> bool {
        let wanted = packed(ip.to_canonical());
        let here = |slot: u32| {
            !self.proves_itself(slot) && self.is_present(slot) && self.hot(slot).source.ip == wanted
        };
        self.unverified
            .iter()
            .filter(|slot| here(**slot))
            .nth(NAMES_PER_SOURCE - 1)
            .is_some()
    }

    /// Makes room for one more row; whoever is gone longest goes.
    fn has_room_for_unverified(&mut self, now: Now) -> bool {
        if self.unverified.len() >= self.settings.max_unverified {
            let gone = self
                .unverified
                .iter()
                .filter(|slot| !self.is_present(**slot));
            let Some(slot) = gone.min_by_key(|slot| self.cold(**slot).ended).copied() else {
                return false;
            };
            self.counters.evicted += 1;
            self.remove(slot);
        }
        self.len() < self.capacity() || self.evict(now)
    }

    /// Puts a new row into the table, neither bound nor present yet.
    fn add_unverified(
        &mut self,
        id: NodeId,
        heard: &UnverifiedClaim,
        first_seen: Timestamp,
    ) -> u32 {
        let registration = unproved(id, heard);
        let hot = Hot {
            id,
            presence: Presence::Present,
            lease: heard.lease,
            ..Hot::free()
        };
        let cold = Cold {
            bound: false,
            protocol: heard.protocol,
            ..Cold::new(&registration, first_seen)
        };
        let slot = self.occupy(None, hot, cold);
        self.unverified.insert(slot);
        // Another tag than the last one who used the slot, so that times stored for that one are never taken for this.
        let tag = self.seen.entry(slot).tag.wrapping_add(1);
        self.seen.set(
            slot,
            SeenEntry {
                tag,
                ..SeenEntry::default()
            },
        );
        self.hot_mut(slot).source = Source::of(heard.source);
        slot
    }

    /// Takes wire and lease; whether either is another.
    fn set_wire(&mut self, slot: u32, heard: &UnverifiedClaim) -> bool {
        if self.cold(slot).protocol == heard.protocol && self.hot(slot).lease == heard.lease {
            return false;
        }
        let Registration { record, signed, .. } = unproved(self.hot(slot).id, heard);
        self.hot_mut(slot).lease = heard.lease;
        let cold = self.cold_mut(slot);
        cold.protocol = heard.protocol;
        cold.signed = Packed::new(&record, &signed);
        true
    }

    /// Takes the time and place of an imported record that is the newest: present if its lease still runs.
    fn set_seen(&mut self, now: Now, slot: u32, heard: &UnverifiedClaim, at: Timestamp) {
        let left = heard.lease.duration().saturating_sub(now.wall.since(at));
        let present = !left.is_zero();
        let hot = self.hot_mut(slot);
        hot.source = Source::of(heard.source);
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
            // Its name is kept from the import on: a file of years ago is not imported to be forgotten at once.
            let cold = self.cold_mut(slot);
            (cold.ended, cold.ended_at) = (now_ms(now), now.wall);
            self.gone.insert((now_ms(now), slot));
        }
    }

    /// Adds a moment to the history, in its place; false if the history has it, or does not reach back so far.
    fn note_interval(&mut self, now: Now, slot: u32, ip: IpAddr, at: Timestamp) -> bool {
        let keep = self.settings.history;
        let ip = ip.to_canonical();
        let runs = self.is_present(slot) && self.seen.entry(slot).last_seen == at;
        let is_old = !runs && (keep.is_zero() || at.plus(keep) <= now.wall);
        let history = &self.cold(slot).history;
        if is_old
            || history
                .iter()
                .any(|span| span.is(packed(ip), Seen::Observed) && span.covers(at))
        {
            return false;
        }
        let place = history.partition_point(|span| span.from() <= at);
        let span = Span::of(Interval {
            ip,
            seen: Seen::Observed,
            from: at,
            to: (!runs).then_some(at),
        });
        self.cold_mut(slot).history.insert(place, span);
        self.addresses.insert(span.key(slot));
        self.prune(now, slot);
        true
    }
}

/// A record with a name and nothing else, which nobody signed.
fn unproved(node: NodeId, heard: &UnverifiedClaim) -> Registration {
    let record = Record {
        name: heard.name.clone(),
        epoch: 0,
        sequence: 0,
        boot: 0,
        lease: heard.lease,
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
        source: heard.source,
        key,
    }
}

#[cfg(test)]
#[path = "unverified_tests.rs"]
mod tests;
