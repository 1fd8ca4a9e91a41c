//! When memberships are joined again though nothing seems to be wrong. Pure.
//!
//! A switch, an access point or the kernel may drop a membership without a word. It shows only in what does not arrive: so
//! a group where nothing was heard for three query intervals is joined again. That also renews the entry that a snooping
//! switch without a querier would let run out (RFC 4541 §2.1.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Now;
use crate::net::Family;

/// How long a group may be silent: three query intervals of a node that looks for a server.
pub(super) const LONGEST: Duration = Duration::from_secs(3 * 30);
/// One family on one interface.
pub(super) type Place = (u32, Family);

/// When each joined group was last heard.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard: BTreeMap<Place, Duration>,
}

impl Silence {
    /// Follows what is joined now: what is new counts as heard just now, what is gone is forgotten.
    pub(super) fn follow(&mut self, now: Now, joined: &[Place]) {
        self.heard.retain(|place, _| joined.contains(place));
        for place in joined {
            self.heard.entry(*place).or_insert(now.elapsed);
        }
    }

    /// Whether a datagram of this group that comes now would change anything: twice a second is enough.
    pub(super) fn listens(&self, now: Now, place: Place) -> bool {
        self.heard
            .get(&place)
            .is_some_and(|last| now.elapsed >= *last + Duration::from_millis(500))
    }

    /// Somebody else was heard in the group.
    pub(super) fn heard(&mut self, now: Now, place: Place) {
        if let Some(last) = self.heard.get_mut(&place) {
            *last = now.elapsed;
        }
    }

    /// When [`Silence::due`] gives something at the latest.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.heard.values().min().map(|last| *last + LONGEST)
    }

    /// The groups that have been silent for too long; each has its whole time again from now on.
    pub(super) fn due(&mut self, now: Now) -> Vec<Place> {
        let silent = |last: Duration| now.elapsed >= last + LONGEST;
        let due: Vec<_> = self
            .heard
            .iter()
            .filter(|(_, last)| silent(**last))
            .map(|(place, _)| *place)
            .collect();
        due.iter().for_each(|place| self.heard(now, *place));
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
    fn a_group_is_due_after_three_silent_intervals_and_again_after_three_more() {
        let mut silence = Silence::default();
        assert_eq!(silence.deadline(), None);
        silence.follow(at(0), &[ETH0]);
        assert_eq!(silence.deadline(), Some(LONGEST));
        assert!(silence.due(at(89)).is_empty());
        assert_eq!(silence.due(at(90)), [ETH0]);
        assert!(silence.due(at(90)).is_empty());
        assert_eq!(silence.due(at(180)), [ETH0]);
    }

    #[test]
    fn each_interface_and_family_has_a_silence_of_its_own() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0, ETH0_IPV6, ETH1]);
        silence.heard(at(60), ETH0);
        assert_eq!(silence.due(at(90)), [ETH0_IPV6, ETH1]);
        assert_eq!(silence.due(at(150)), [ETH0]);
    }

    #[test]
    fn what_is_left_is_forgotten_and_what_comes_back_begins_anew() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0, ETH1]);
        silence.follow(at(30), &[ETH0]);
        silence.follow(at(60), &[ETH0, ETH1]);
        assert_eq!(silence.due(at(90)), [ETH0]);
        assert_eq!(silence.deadline(), Some(Duration::from_secs(150)));
        silence.heard(at(100), (9, Family::Ipv4));
        assert_eq!(silence.due(at(150)), [ETH1]);
    }

    #[test]
    fn a_storm_is_noted_twice_a_second() {
        let mut silence = Silence::default();
        silence.follow(at(0), &[ETH0]);
        assert!(
            !silence.listens(at(0), ETH0)
                && silence.listens(at(1), ETH0)
                && !silence.listens(at(1), ETH1)
        );
    }
}
