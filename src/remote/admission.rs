//! Which connections are taken. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Connections of one source that have not proved yet that they hold the key.
const STRANGERS_PER_SOURCE: usize = 16;
/// The same of all sources: what strangers from many addresses can hold at the most.
const STRANGERS: usize = 256;

/// How many sessions there may be, and how long they may be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one source address; of one /64 for IPv6, where every host has as many addresses as it likes.
    pub per_source: usize,
    /// How long a session may ask nothing, or take nothing of an answer.
    pub idle: Duration,
}

/// Counts connections.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    sources: HashMap<IpAddr, Count>,
    total: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    strangers: usize,
    known: usize,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sources: HashMap::new(),
            total: Count::default(),
        }
    }

    /// Takes a new connection; false if it is one too many.
    pub(super) fn admit(&mut self, source: IpAddr) -> bool {
        let count = self
            .sources
            .get(&network(source))
            .copied()
            .unwrap_or_default();
        let takes = self.total.strangers < STRANGERS
            && self.total.known < self.limits.sessions
            && count.strangers < STRANGERS_PER_SOURCE.min(self.limits.per_source)
            && count.known < self.limits.per_source;
        if takes {
            self.sources.entry(network(source)).or_default().strangers += 1;
            self.total.strangers += 1;
        }
        takes
    }

    /// Notes that a connection proved to hold the key; false if there is no room for one more session.
    pub(super) fn promote(&mut self, source: IpAddr) -> bool {
        let Some(count) = self.sources.get_mut(&network(source)) else {
            return false;
        };
        if count.known >= self.limits.per_source || self.total.known >= self.limits.sessions {
            return false;
        }
        for count in [count, &mut self.total] {
            count.strangers = count.strangers.saturating_sub(1);
            count.known += 1;
        }
        true
    }

    /// Notes that a connection ended; `known` if it was promoted.
    pub(super) fn release(&mut self, source: IpAddr, known: bool) {
        let network = network(source);
        if let Some(count) = self.sources.get_mut(&network) {
            for count in [&mut *count, &mut self.total] {
                let part = if known {
                    &mut count.known
                } else {
                    &mut count.strangers
                };
                *part = part.saturating_sub(1);
            }
            if count.strangers == 0 && count.known == 0 {
                self.sources.remove(&network);
            }
        }
    }
}

/// What counts as one source.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        sessions: 20,
        per_source: 10,
        idle: Duration::from_secs(1),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_takes_its_share_and_no_more() {
        let mut admission = Admission::new(LIMITS);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..10 {
            assert!(admission.admit(one) && admission.promote(one));
        }
        assert!(!admission.admit(one), "as an IPv4 address");
        assert!(
            !admission.admit(ip("::ffff:192.0.2.1")),
            "as the same address in IPv6"
        );
        for _ in 0..10 {
            assert!(admission.admit(other) && admission.promote(other));
        }
        assert!(!admission.admit(ip("192.0.2.3")), "the total is reached");
        admission.release(one, true);
        assert!(admission.admit(one));
    }

    #[test]
    fn strangers_do_not_take_the_room_of_sessions() {
        let mut admission = Admission::new(Limits {
            sessions: 1000,
            per_source: 100,
            ..LIMITS
        });
        let stranger = ip("2001:db8::1");
        let admitted = (0..50)
            .filter(|host| admission.admit(ip(&format!("2001:db8::{host}"))))
            .count();
        assert_eq!(admitted, STRANGERS_PER_SOURCE, "a /64 counts as one source");
        assert!(admission.admit(ip("192.0.2.1")) && admission.promote(ip("192.0.2.1")));
        for _ in 0..admitted {
            admission.release(stranger, false);
        }
        assert!(admission.admit(stranger));
    }

    #[test]
    fn nothing_is_remembered_of_who_left() {
        let mut admission = Admission::new(LIMITS);
        for host in 0..10_000_u32 {
            let source = IpAddr::from(host.to_be_bytes());
            assert!(admission.admit(source));
            let known = host % 2 == 0 && admission.promote(source);
            admission.release(source, known);
        }
        assert!(admission.sources.is_empty());
        assert_eq!((admission.total.known, admission.total.strangers), (0, 0));
    }

    #[test]
    fn a_promotion_beyond_the_limit_is_refused() {
        let mut admission = Admission::new(Limits {
            sessions: 1,
            ..LIMITS
        });
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert!(admission.admit(one) && admission.admit(other));
        assert!(admission.promote(one) && !admission.promote(other));
    }
}
