//! What happens by time alone.

use std::time::Duration;

use super::admit::CLONE_LEASES;
use super::cold::NEVER;
use super::hot::Presence;
use super::{Table, millis, now_ms};
use crate::model::{NodeId, Now};

/// Wakes of one call: keeps a call in the milliseconds when a million leases end at once. The rest is due at once again.
const WAKES_PER_CALL: usize = 10_000;
/// The shortest wait for old history, in ms: it goes by the minute, not by the interval.
const PRUNE_GRAIN: i64 = 60_000;

impl Table {
    /// When [`Self::expire`] has work, by the monotonic clock.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.wakes
            .first()
            .map(|(at, _)| Duration::from_millis(u64::try_from(*at).unwrap_or(0)))
    }

    /// Does what is due, and tells whose lease ran out: at most ten thousand of them, so call it again while
    /// [`Self::next_deadline`] is not later than now.
    pub fn expire(&mut self, now: Now) -> Vec<NodeId> {
        let mut expired = Vec::new();
        for _ in 0..WAKES_PER_CALL {
            match self.wakes.first() {
                Some(&(at, slot)) if at <= now_ms(now) => {
                    if self.wake(now, slot) {
                        expired.push(self.hot(slot).id);
                    }
                    self.settle(now, slot);
                }
                _ => break,
            }
        }
        expired
    }

    /// Gives everybody who is present a fresh lease: this server was away and could not take their renewals, which says
    /// nothing of them, as after its start ([`Self::load`]).
    pub fn refresh_leases(&mut self, now: Now) {
        for hot in self
            .hot
            .iter_mut()
            .filter(|hot| hot.presence == Presence::Present)
        {
            // The wake of the old end finds the new one.
            hot.expires = now_ms(now).saturating_add(millis(hot.lease.duration()));
        }
    }

    /// Does what is due at one node; whether its lease ran out.
    fn wake(&mut self, now: Now, slot: u32) -> bool {
        let hot = self.hot(slot);
        let (expires, quiet) = (
            hot.expires,
            millis(hot.lease.duration()).saturating_mul(i64::from(CLONE_LEASES)),
        );
        let expired = hot.presence == Presence::Present && expires <= now_ms(now);
        if expired {
            self.counters.expired += 1;
            let confirmed = self.seen.entry(slot).last_seen;
            self.end(now, slot, Presence::Expired, expires, confirmed);
        }
        let clone_sighting = &mut self.cold_mut(slot).clone_sighting;
        if clone_sighting
            .as_ref()
            .is_some_and(|clone_sighting| clone_sighting.heard.saturating_add(quiet) <= now_ms(now))
        {
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

    /// Drops a node that nothing is to be kept of, or sets its next wake.
    fn settle(&mut self, now: Now, slot: u32) {
        let cold = self.cold(slot);
        let released = cold
            .ended
            .saturating_add(millis(self.settings.release_after))
            <= now_ms(now);
        if !self.is_present(slot) && cold.history.is_empty() && cold.former.is_empty() && released {
            self.remove(slot);
        } else {
            self.plan(now, slot);
        }
    }

    /// Sets a node's next wake.
    pub(super) fn plan(&mut self, now: Now, slot: u32) {
        let (hot, cold) = (self.hot(slot), self.cold(slot));
        let now_at = now_ms(now);
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
            next = next.min(clone_sighting.heard.saturating_add(quiet));
        }
        if let Some(at) = self.prune_at(now, cold) {
            next = next.min(at.max(now_at.saturating_add(PRUNE_GRAIN)));
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
