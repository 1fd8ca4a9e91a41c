//! History: which address a node had from when to when.

use std::net::{IpAddr, SocketAddr};

use super::cold::Cold;
use super::hot::{packed, unpacked};
use super::{Table, millis, now_ms};
use crate::model::{Address, Now, Timestamp};
use crate::registry::row::{Interval, Seen};

/// An address, how it is known, and a slot that has or had it; announced ones stand first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressKey([u8; 21]);

impl AddressKey {
    pub(super) fn new(ip: [u8; 16], seen: Seen, slot: u32) -> Self {
        let mut key = [0; 21];
        key[..16].copy_from_slice(&ip);
        key[16] = u8::from(seen == Seen::Observed);
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
    /// When it began; the highest bit tells an observed address.
    from: u64,
    /// When it ended; [`Span::OPEN`] while it runs.
    to: u64,
}

impl Span {
    const OBSERVED: u64 = 1 << 63;
    const OPEN: u64 = u64::MAX;

    pub(super) fn of(interval: Interval) -> Self {
        let kind = if interval.seen == Seen::Observed {
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
            seen: self.seen(),
            from: self.from(),
            to: (!self.is_open()).then_some(Timestamp(self.to)),
        }
    }

    pub(super) fn seen(self) -> Seen {
        if self.from & Self::OBSERVED == 0 {
            Seen::Announced
        } else {
            Seen::Observed
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

    pub(super) fn is(self, ip: [u8; 16], seen: Seen) -> bool {
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
    /// Makes the open intervals those of a record and a source; what is no longer held ends at `confirmed`.
    ///
    /// Returns whether anything was opened or closed.
    pub(super) fn follow_addresses(
        &mut self,
        now: Now,
        slot: u32,
        addresses: &[Address],
        source: SocketAddr,
        confirmed: Timestamp,
    ) -> bool {
        let source = packed(source.ip().to_canonical());
        let kept = |span: &Span| match span.seen() {
            Seen::Announced => addresses
                .iter()
                .any(|address| packed(address.ip) == span.ip),
            Seen::Observed => span.ip == source,
        };
        let mut changed = false;
        for span in self
            .cold_mut(slot)
            .history
            .iter_mut()
            .filter(|span| span.is_open() && !kept(span))
        {
            span.close(confirmed);
            changed = true;
        }
        for address in addresses {
            changed |= self.open(now, slot, packed(address.ip), Seen::Announced);
        }
        changed |= self.open(now, slot, source, Seen::Observed);
        if changed {
            self.prune(now, slot);
        }
        changed
    }

    /// A source address that is another than before.
    pub(super) fn follow_source(
        &mut self,
        now: Now,
        slot: u32,
        source: IpAddr,
        confirmed: Timestamp,
    ) {
        let ip = packed(source.to_canonical());
        for span in &mut self.cold_mut(slot).history {
            if span.is_open() && span.seen() == Seen::Observed && span.ip != ip {
                span.close(confirmed);
            }
        }
        self.open(now, slot, ip, Seen::Observed);
        self.prune(now, slot);
    }

    /// Closes all that is open.
    pub(super) fn close_all(&mut self, now: Now, slot: u32, confirmed: Timestamp) {
        self.cold_mut(slot)
            .history
            .iter_mut()
            .filter(|span| span.is_open())
            .for_each(|span| span.close(confirmed));
        self.prune(now, slot);
    }

    /// Opens the intervals again that a record had when its node was last present.
    pub(super) fn open(&mut self, now: Now, slot: u32, ip: [u8; 16], seen: Seen) -> bool {
        let cold = self.cold_mut(slot);
        // A wall clock that went back must not make intervals overlap: the new one begins where the last one ended.
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
                | if seen == Seen::Observed {
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

    /// Drops closed intervals that are too old or too many. Work on one node only.
    pub(super) fn prune(&mut self, now: Now, slot: u32) -> bool {
        let keep = self.settings.history;
        let before = self.cold(slot).history.len();
        let too_old = |span: &Span| {
            span.to()
                .is_some_and(|to| keep.is_zero() || to.plus(keep) <= now.wall)
        };
        let mut dropped: Vec<Span> = self
            .cold_mut(slot)
            .history
            .extract_if(.., |span| too_old(span))
            .collect();
        let most = self.settings.max_intervals_per_node;
        while self.cold(slot).history.len() > most {
            let Some(oldest) = self.oldest_closed(slot) else {
                break;
            };
            dropped.push(self.cold_mut(slot).history.remove(oldest));
            self.counters.intervals_dropped += 1;
        }
        for span in &dropped {
            let (ip, seen) = (span.ip, span.seen());
            if !self
                .cold(slot)
                .history
                .iter()
                .any(|other| other.is(ip, seen))
            {
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

    /// When the oldest closed interval is old enough to go, in ms by the monotonic clock.
    pub(super) fn prune_at(&self, now: Now, cold: &Cold) -> Option<i64> {
        let oldest = cold.history.iter().filter_map(|span| span.to()).min()?;
        let wait = oldest.plus(self.settings.history).since(now.wall);
        Some(now_ms(now).saturating_add(millis(wait)))
    }
}
