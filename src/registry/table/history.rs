//! History: which address a node had, from when and until when.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::hot::{packed, unpacked};
use super::{Table, millis, now_ms};
use crate::model::{Address, Evidence, Now, Timestamp};
use crate::registry::row::Interval;

/// An address, how it is known, and a slot that has or had it. Announced addresses sort before
/// observed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressKey([u8; 21]);

impl AddressKey {
    pub(super) fn new(ip: [u8; 16], seen: Evidence, slot: u32) -> Self {
        let mut key = [0; 21];
        key[..16].copy_from_slice(&ip);
        key[16] = u8::from(seen == Evidence::Observed);
        key[17..].copy_from_slice(&slot.to_be_bytes());
        Self(key)
    }

    pub(super) fn slot(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// When an address ended, as far as the server knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The node certainly had the address until then.
    last: Timestamp,
    /// From then on it certainly had it no longer.
    by: Timestamp,
}

impl End {
    /// A message reported the end at this time.
    pub(super) fn reported(at: Timestamp) -> Self {
        Self { last: at, by: at }
    }

    /// The last message came at `last`, and at `by` the address was gone.
    pub(super) fn between(last: Timestamp, by: Timestamp) -> Self {
        Self { last, by }
    }
}

/// An [`Interval`] in 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) ip: [u8; 16],
    /// When the interval began; the highest bit is set for an observed address.
    from: u64,
    /// When the interval ended; [`Span::OPEN`] while it is open.
    to: u64,
    /// How long after `to` the end is certain, in whole seconds.
    unsure: u32,
}

impl Span {
    const OBSERVED: u64 = 1 << 63;
    const OPEN: u64 = u64::MAX;

    pub(super) fn of(interval: Interval) -> Self {
        let kind = if interval.evidence == Evidence::Observed {
            Self::OBSERVED
        } else {
            0
        };
        let from = interval.from.0 & !Self::OBSERVED;
        let to = interval
            .to
            .map_or(Self::OPEN, |to| to.0.min(Self::OPEN - 1).max(from));
        let unsure = interval
            .lost_by
            .map_or(0, |lost_by| seconds(lost_by.since(Timestamp(to))));
        Self {
            ip: packed(interval.ip),
            from: from | kind,
            to,
            unsure,
        }
    }

    pub(super) fn interval(self) -> Interval {
        Interval {
            ip: unpacked(self.ip),
            evidence: self.seen(),
            from: self.from(),
            to: self.to(),
            lost_by: self.lost_by(),
        }
    }

    pub(super) fn seen(self) -> Evidence {
        if self.from & Self::OBSERVED == 0 {
            Evidence::Announced
        } else {
            Evidence::Observed
        }
    }

    pub(super) fn from(self) -> Timestamp {
        Timestamp(self.from & !Self::OBSERVED)
    }

    pub(super) fn is_open(self) -> bool {
        self.to == Self::OPEN
    }

    pub(super) fn to(self) -> Option<Timestamp> {
        (!self.is_open()).then_some(Timestamp(self.to))
    }

    pub(super) fn is(self, ip: [u8; 16], seen: Evidence) -> bool {
        self.ip == ip && self.seen() == seen
    }

    fn lost_by(self) -> Option<Timestamp> {
        let unsure = Duration::from_secs(u64::from(self.unsure));
        (self.unsure > 0).then(|| Timestamp(self.to).plus(unsure))
    }

    pub(super) fn key(self, slot: u32) -> AddressKey {
        AddressKey::new(self.ip, self.seen(), slot)
    }

    fn close(&mut self, end: End) {
        self.to = end.last.0.min(Self::OPEN - 1).max(self.from().0);
        self.unsure = seconds(end.by.since(Timestamp(self.to)));
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

impl Table {
    /// The end of the addresses that a message, which came now, no longer has.
    ///
    /// A node reports a change at once, so it had them until now. Where this server received
    /// nothing for longer than the lease, it was away itself, and the change may be as old.
    pub(super) fn end_by_message(&self, now: Now, slot: u32) -> End {
        let last_seen = self.seen.entry(slot).last_seen;
        if now.wall.since(last_seen) > self.hot(slot).lease.duration() {
            return End::between(last_seen, now.wall);
        }
        // If the wall clock was set back, the interval still covers the time of the last message.
        End::reported(now.wall.max(last_seen))
    }

    /// Makes the open intervals those of a record and a source. Intervals of other addresses end
    /// with `end`.
    ///
    /// Returns whether any interval was opened or closed.
    pub(super) fn follow_addresses(
        &mut self,
        now: Now,
        slot: u32,
        addresses: &[Address],
        source: SocketAddr,
        end: End,
    ) -> bool {
        let source = packed(source.ip().to_canonical());
        let mut changed = false;
        for span in &mut self.cold_mut(slot).history {
            let held = match span.seen() {
                Evidence::Announced => addresses
                    .iter()
                    .any(|address| packed(address.ip) == span.ip),
                Evidence::Observed => span.ip == source,
            };
            if span.is_open() && !held {
                span.close(end);
                changed = true;
            }
        }
        for address in addresses {
            changed |= self.open(now, slot, packed(address.ip), Evidence::Announced);
        }
        changed |= self.open(now, slot, source, Evidence::Observed);
        if changed {
            self.prune(now, slot);
        }
        changed
    }

    /// Makes the open observed interval that of a source address, which changed.
    pub(super) fn follow_source(&mut self, now: Now, slot: u32, source: IpAddr, end: End) {
        let ip = packed(source.to_canonical());
        for span in &mut self.cold_mut(slot).history {
            if span.is_open() && span.seen() == Evidence::Observed && span.ip != ip {
                span.close(end);
            }
        }
        self.open(now, slot, ip, Evidence::Observed);
        self.prune(now, slot);
    }

    /// Closes all open intervals.
    pub(super) fn close_all(&mut self, now: Now, slot: u32, end: End) {
        self.cold_mut(slot)
            .history
            .iter_mut()
            .filter(|span| span.is_open())
            .for_each(|span| span.close(end));
        self.prune(now, slot);
    }

    /// Opens an interval, unless one is open for this address. Returns whether it was opened.
    pub(super) fn open(&mut self, now: Now, slot: u32, ip: [u8; 16], seen: Evidence) -> bool {
        let cold = self.cold_mut(slot);
        // If the wall clock was set back, the new interval begins where the last one ended, so that
        // they do not overlap.
        let mut from = now.wall.0 & !Span::OBSERVED;
        for span in cold.history.iter().filter(|span| span.is(ip, seen)) {
            match span.to() {
                None => return false,
                Some(to) => from = from.max(to.0.min(Span::OBSERVED - 1)),
            }
        }
        let span = Span {
            ip,
            from: from
                | if seen == Evidence::Observed {
                    Span::OBSERVED
                } else {
                    0
                },
            to: Span::OPEN,
            unsure: 0,
        };
        cold.history.push(span);
        self.addresses.insert(span.key(slot));
        true
    }

    /// Drops closed intervals of one node that are too old or too many. Returns whether any was
    /// dropped.
    pub(super) fn prune(&mut self, now: Now, slot: u32) -> bool {
        let keep = self.settings.history;
        let before = self.cold(slot).history.len();
        let mut dropped: Vec<Span> = self
            .cold_mut(slot)
            .history
            .extract_if(.., |span| {
                span.to()
                    .is_some_and(|to| keep.is_zero() || to.plus(keep) <= now.wall)
            })
            .collect();
        let limit = self.settings.max_intervals_per_node;
        while self.cold(slot).history.len() > limit {
            let Some(oldest) = self.oldest_closed(slot) else {
                break;
            };
            dropped.push(self.cold_mut(slot).history.remove(oldest));
            self.counters.intervals_dropped += 1;
        }
        for span in &dropped {
            let history = &self.cold(slot).history;
            if !history.iter().any(|other| other.is(span.ip, span.seen())) {
                self.addresses.remove(&span.key(slot));
            }
        }
        self.cold(slot).history.len() != before
    }

    fn oldest_closed(&self, slot: u32) -> Option<usize> {
        let closed = self
            .cold(slot)
            .history
            .iter()
            .enumerate()
            .filter_map(|(index, span)| Some((span.to()?, index)));
        closed.min().map(|(_, index)| index)
    }

    /// When the oldest closed interval is old enough to be dropped, in ms by the monotonic clock.
    pub(super) fn prune_at(&self, now: Now, history: &[Span]) -> Option<i64> {
        let oldest = history.iter().filter_map(|span| span.to()).min()?;
        let wait = oldest.plus(self.settings.history).since(now.wall);
        Some(now_ms(now).saturating_add(millis(wait)))
    }
}
