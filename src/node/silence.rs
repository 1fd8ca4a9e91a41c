//! When memberships are joined again though nothing seems to be wrong. Pure.
//!
//! A switch, an access point or the kernel may drop a membership without notice. The only sign is that nothing arrives any
//! more. So a group in which nothing was received for three query intervals is joined again. That also renews the entry
//! that a snooping switch without a querier would let expire (RFC 4541 §2.1.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Now;
use crate::net::Family;

/// How long a group may be silent: three query intervals of a node that looks for a server.
const MAX_SILENCE: Duration = Duration::from_secs(3 * 30);
/// One family on one interface.
pub(super) type Place = (u32, Family);

/// When each joined group last received a datagram.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last_received: BTreeMap<Place, Duration>,
}

impl Silence {
    /// Follows the memberships: a new one counts as if it had received a datagram just now, one that was left is forgotten.
    pub(super) fn follow(&mut self, now: Now, joined: &[Place]) {
        self.last_received.retain(|place, _| joined.contains(place));
        for place in joined {
            self.last_received.entry(*place).or_insert(now.elapsed);
        }
    }

    /// Whether a datagram of this group needs to be noted now: twice a second is enough.
    pub(super) fn wants(&self, now: Now, place: Place) -> bool {
        self.last_received
            .get(&place)
            .is_some_and(|last| now.elapsed >= *last + Duration::from_millis(500))
    }

    /// Notes that another node sent to the group.
    pub(super) fn received(&mut self, now: Now, place: Place) {
        if let Some(last) = self.last_received.get_mut(&place) {
            *last = now.elapsed;
        }
    }

    /// When [`Silence::due`] next returns a group.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.last_received
            .values()
            .min()
            .map(|last| *last + MAX_SILENCE)
    }

    /// The groups that have been silent for too long; the time of each begins again now.
    pub(super) fn due(&mut self, now: Now) -> Vec<Place> {
        let silent = |last: Duration| now.elapsed >= last + MAX_SILENCE;
        let due: Vec<_> = self
            .last_received
            .iter()
            .filter(|(_, last)| silent(**last))
            .map(|(place, _)| *place)
            .collect();
        due.iter().for_each(|place| self.received(now, *place));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const ETH0: Place = (2, Family::Ipv4);
    const ETH0_IPV6: Place = (2, Family::Ipv6);
    const ETH1: Place = (3, Family::Ipv4);

    fn at(seconds: u64) -> Now {
        Now {
            elapsed: Duration::from_secs(seconds),
            wall: Timestamp(1_000_000_000 + seconds * 1000),
        }
    }

    #[test]
    fn group_is_due_after_three_silent_intervals_and_again_after_three_more() {
        let mut silence = Silence::default();
        assert_eq!(silence.deadline(), None);
        silence.follow(at(0), &[ETH0]);
        assert_eq!(silence.deadline(), Some(MAX_SILENCE));
        assert!(silence.due(at(89)).is_empty());
        assert_eq!(silence.due(at(90)), [ETH0]);
        assert!(silence.due(at(90)).is_empty());
        assert_eq!(silence.due(at(180)), [ETH0]);
    }

    #[test]
    fn interfaces_and_families_are_timed_independently() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0, ETH0_IPV6, ETH1]);
        silence.received(at(60), ETH0);
        assert_eq!(silence.due(at(90)), [ETH0_IPV6, ETH1]);
        assert_eq!(silence.due(at(150)), [ETH0]);
    }

    #[test]
    fn group_that_was_left_is_forgotten_and_begins_again_when_joined() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0, ETH1]);
        silence.follow(at(30), &[ETH0]);
        silence.follow(at(60), &[ETH0, ETH1]);
        assert_eq!(silence.due(at(90)), [ETH0]);
        assert_eq!(silence.deadline(), Some(Duration::from_secs(150)));
        silence.received(at(100), (9, Family::Ipv4));
        assert_eq!(silence.due(at(150)), [ETH1]);
    }

    #[test]
    fn traffic_is_noted_twice_a_second() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0]);
        assert!(
            !silence.wants(at(0), ETH0)
                && silence.wants(at(1), ETH0)
                && !silence.wants(at(1), ETH1)
        );
    }
}
