//! Changes by time alone: leases end, names are released, old history is dropped, nodes are
//! removed.

use std::time::Duration;

use tracing::{debug, trace};

use super::admit::CLONE_LEASES;
use super::cold::NEVER;
use super::history::End;
use super::hot::Presence;
use super::{Table, millis, now_ms};
use crate::model::{NodeId, Now};

/// The maximum number of wakes of one call, so that a call takes milliseconds even when a million
/// leases end at once. Further wakes stay due.
const MAX_WAKES_PER_CALL: usize = 10_000;
/// The shortest wait before old history is dropped, in ms: intervals that end soon after each other
/// are dropped together.
const MIN_PRUNE_WAIT: i64 = 60_000;

impl Table {
    /// When [`Self::expire`] must be called, by the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.wakes
            .first()
            .map(|(at, _)| Duration::from_millis(u64::try_from(*at).unwrap_or(0)))
    }

    /// Does everything that is due, and returns the nodes whose lease ended. One call handles at
    /// most ten thousand nodes: call it again while [`Self::next_deadline`] is not later than now.
    pub fn expire(&mut self, now: Now) -> Vec<NodeId> {
        let mut expired = Vec::new();
        for _ in 0..MAX_WAKES_PER_CALL {
            match self.wakes.first() {
                Some(&(at, slot)) if at <= now_ms(now) => {
                    if self.wake(now, slot) {
                        expired.push(self.hot(slot).id);
                    }
                    self.remove_or_plan(now, slot);
                }
                _ => break,
            }
        }
        expired
    }

    /// Gives all present nodes a fresh lease. This server was suspended and could not receive their
    /// renewals, so missing renewals prove nothing, as after a start ([`Self::load`]).
    pub fn refresh_leases(&mut self, now: Now) {
        debug!(
            nodes = self.present(),
            "all present nodes get a fresh lease"
        );
        for hot in self
            .hot
            .iter_mut()
            .filter(|hot| hot.presence == Presence::Present)
        {
            // The time index is not changed: the wake at the old end finds the new one.
            hot.expires = now_ms(now).saturating_add(millis(hot.lease.duration()));
        }
    }

    /// Does everything that is due for one node. Returns whether its lease ended.
    fn wake(&mut self, now: Now, slot: u32) -> bool {
        let hot = self.hot(slot);
        let expires = hot.expires;
        let quiet = millis(hot.lease.duration()).saturating_mul(i64::from(CLONE_LEASES));
        let expired = hot.presence == Presence::Present && expires <= now_ms(now);
        if expired {
            trace!(
                node = ?hot.id,
                name = %self.cold(slot).name,
                lease = %hot.lease,
                "the lease of a node ended"
            );
            self.counters.expired += 1;
            let late = now_ms(now).saturating_sub(expires);
            let lost_by = now
                .wall
                .minus(Duration::from_millis(u64::try_from(late).unwrap_or(0)));
            let end = End::between(self.seen.entry(slot).last_seen, lost_by);
            self.end(now, slot, Presence::Expired, expires, end);
        }
        let clone_sighting = &mut self.cold_mut(slot).clone_sighting;
        if clone_sighting.as_ref().is_some_and(|clone_sighting| {
            clone_sighting.last_refused.saturating_add(quiet) <= now_ms(now)
        }) {
            *clone_sighting = None;
        }
        let mut pruned = self.prune(now, slot);
        let keep = millis(self.settings.release_after.max(self.settings.history));
        while self
            .cold(slot)
            .former
            .first()
            .is_some_and(|former| former.ended.saturating_add(keep) <= now_ms(now))
        {
            self.drop_former(slot, 0);
            pruned = true;
        }
        if pruned {
            self.mark(slot);
        }
        expired
    }

    /// Removes a node if neither its name nor its history is to be kept, or sets its next wake.
    fn remove_or_plan(&mut self, now: Now, slot: u32) {
        let cold = self.cold(slot);
        let released = cold
            .ended
            .saturating_add(millis(self.settings.release_after))
            <= now_ms(now);
        if !self.is_present(slot) && cold.history.is_empty() && cold.former.is_empty() && released {
            trace!(
                node = ?self.hot(slot).id,
                name = %self.cold(slot).name,
                "removing a node: its name is released and its history is too old"
            );
            self.remove(slot);
        } else {
            self.plan(now, slot);
        }
    }

    /// Sets a node's next wake.
    pub(super) fn plan(&mut self, now: Now, slot: u32) {
        let hot = self.hot(slot);
        let cold = self.cold(slot);
        let mut next = NEVER;
        if hot.presence == Presence::Present {
            next = hot.expires;
        } else if cold.history.is_empty() && cold.former.is_empty() {
            next = cold
                .ended
                .saturating_add(millis(self.settings.release_after));
        }
        if let Some(clone_sighting) = &cold.clone_sighting {
            let quiet = millis(hot.lease.duration()).saturating_mul(i64::from(CLONE_LEASES));
            next = next.min(clone_sighting.last_refused.saturating_add(quiet));
        }
        if let Some(at) = self.prune_at(now, &cold.history) {
            next = next.min(at.max(now_ms(now).saturating_add(MIN_PRUNE_WAIT)));
        }
        if let Some(former) = cold.former.first() {
            let keep = millis(self.settings.release_after.max(self.settings.history));
            next = next.min(former.ended.saturating_add(keep));
        }
        let before = cold.wake;
        if next != before {
            self.cold_mut(slot).wake = next;
            if before != NEVER {
                self.wakes.remove(&(before, slot));
            }
            if next != NEVER {
                self.wakes.insert((next, slot));
            }
        }
    }
}
