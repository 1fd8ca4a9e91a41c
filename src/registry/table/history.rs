//! History: which address a node had, from when and until when.

use std::net::{IpAddr, SocketAddr};

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

/// An [`Interval`] in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) ip: [u8; 16],
    /// When the interval began; the highest bit is set for an observed address.
    from: u64,
    /// When the interval ended; [`Span::OPEN`] while it is open.
    to: u64,
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
        Self {
            ip: packed(interval.ip),
            from: from | kind,
            to,
        }
    }

    pub(super) fn interval(self) -> Interval {
        Interval {
            ip: unpacked(self.ip),
            evidence: self.seen(),
            from: self.from(),
            to: (!self.is_open()).then_some(Timestamp(self.to)),
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

    pub(super) fn covers(self, at: Timestamp) -> bool {
        self.from() <= at && (self.is_open() || at.0 <= self.to)
    }

    pub(super) fn key(self, slot: u32) -> AddressKey {
        AddressKey::new(self.ip, self.seen(), slot)
    }

    fn close(&mut self, at: Timestamp) {
        self.to = at.0.min(Self::OPEN - 1).max(self.from().0);
    }
}

impl Table {
    /// Makes the open intervals those of a record and a source. Intervals of other addresses end at
    /// `confirmed`.
    ///
    /// Returns whether any interval was opened or closed.
    pub(super) fn follow_addresses(
        &mut self,
        now: Now,
        slot: u32,
        addresses: &[Address],
        source: SocketAddr,
        confirmed: Timestamp,
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
                span.close(confirmed);
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
    pub(super) fn follow_source(
        &mut self,
        now: Now,
        slot: u32,
        source: IpAddr,
        confirmed: Timestamp,
    ) {
        let ip = packed(source.to_canonical());
        for span in &mut self.cold_mut(slot).history {
            if span.is_open() && span.seen() == Evidence::Observed && span.ip != ip {
                span.close(confirmed);
            }
        }
        self.open(now, slot, ip, Evidence::Observed);
        self.prune(now, slot);
    }

    /// Closes all open intervals.
    pub(super) fn close_all(&mut self, now: Now, slot: u32, confirmed: Timestamp) {
        self.cold_mut(slot)
            .history
            .iter_mut()
            .filter(|span| span.is_open())
            .for_each(|span| span.close(confirmed));
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
