//! Decides which connections are accepted, by counting them. Pure.
//!
//! A connection counts as unauthenticated until its peer proved that it holds the key; such
//! connections must never use up the room of sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::source_network;

/// Limit of the connections of one source that have not proved the key yet.
const UNAUTHENTICATED_PER_SOURCE: usize = 16;
/// Limit of the same of all sources.
const UNAUTHENTICATED: usize = 256;

/// How many sessions there may be, and how long they may be idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Limit of sessions in all.
    pub sessions: usize,
    /// Limit of sessions of one source address; for IPv6 of one /64, in which every host can choose
    /// its addresses freely.
    pub per_source: usize,
    /// How long a session may send no request, or read nothing of an answer.
    pub idle: Duration,
}

#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    sources: HashMap<IpAddr, Count>,
    total: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    unauthenticated: usize,
    authenticated: usize,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sources: HashMap::new(),
            total: Count::default(),
        }
    }

    /// Counts a new connection; false if there are too many.
    pub(super) fn admit(&mut self, source: IpAddr) -> bool {
        let count = self
            .sources
            .get(&source_network(source))
            .copied()
            .unwrap_or_default();
        let accepts = self.total.unauthenticated < UNAUTHENTICATED
            && self.total.authenticated < self.limits.sessions
            && count.unauthenticated < UNAUTHENTICATED_PER_SOURCE.min(self.limits.per_source)
            && count.authenticated < self.limits.per_source;
        if accepts {
            self.sources
                .entry(source_network(source))
                .or_default()
                .unauthenticated += 1;
            self.total.unauthenticated += 1;
        }
        accepts
    }

    /// Records that a connection proved that it holds the key; false if there is no room for
    /// another session.
    pub(super) fn promote(&mut self, source: IpAddr) -> bool {
        let Some(count) = self.sources.get_mut(&source_network(source)) else {
            return false;
        };
        if count.authenticated >= self.limits.per_source
            || self.total.authenticated >= self.limits.sessions
        {
            return false;
        }
        for count in [count, &mut self.total] {
            count.unauthenticated = count.unauthenticated.saturating_sub(1);
            count.authenticated += 1;
        }
        true
    }

    /// Records that a connection ended; `authenticated` if it was promoted.
    pub(super) fn release(&mut self, source: IpAddr, authenticated: bool) {
        let network = source_network(source);
        if let Some(count) = self.sources.get_mut(&network) {
            for count in [&mut *count, &mut self.total] {
                let part = if authenticated {
                    &mut count.authenticated
                } else {
                    &mut count.unauthenticated
                };
                *part = part.saturating_sub(1);
            }
            if count.unauthenticated == 0 && count.authenticated == 0 {
                self.sources.remove(&network);
            }
        }
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
    fn one_source_gets_at_most_its_share() {
        let mut admission = Admission::new(LIMITS);
        let one = ip("192.0.2.1");
        let other = ip("192.0.2.2");
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
    fn unauthenticated_connections_do_not_use_up_sessions() {
        let mut admission = Admission::new(Limits {
            sessions: 1000,
            per_source: 100,
            ..LIMITS
        });
        let source = ip("2001:db8::1");
        let admitted = (0..50)
            .filter(|host| admission.admit(ip(&format!("2001:db8::{host}"))))
            .count();
        assert_eq!(
            admitted, UNAUTHENTICATED_PER_SOURCE,
            "a /64 counts as one source"
        );
        assert!(admission.admit(ip("192.0.2.1")) && admission.promote(ip("192.0.2.1")));
        for _ in 0..admitted {
            admission.release(source, false);
        }
        assert!(admission.admit(source));
    }

    #[test]
    fn ended_connections_are_forgotten() {
        let mut admission = Admission::new(LIMITS);
        for host in 0..10_000_u32 {
            let source = IpAddr::from(host.to_be_bytes());
            assert!(admission.admit(source));
            let authenticated = host % 2 == 0 && admission.promote(source);
            admission.release(source, authenticated);
        }
        assert!(admission.sources.is_empty());
        assert_eq!(
            (
                admission.total.authenticated,
                admission.total.unauthenticated
            ),
            (0, 0)
        );
    }

    #[test]
    fn promotion_beyond_the_limit_is_refused() {
        let mut admission = Admission::new(Limits {
            sessions: 1,
            ..LIMITS
        });
        let one = ip("192.0.2.1");
        let other = ip("192.0.2.2");
        assert!(admission.admit(one) && admission.admit(other));
        assert!(admission.promote(one) && !admission.promote(other));
    }
}
