//! A node's claim to its host name on one link, from the first query to the loss of the name. Pure.
//!
//! A claim decides *whether* `NAME.local` may be announced on a link. It sends nothing itself: the
//! caller feeds it what the link received and carries out the [`ClaimEvent`]s that come out. There
//! is one claim per link, and a name is never replaced by another one: it is published as
//! configured or not at all.
//!
//! ```text
//! Asking   → Held      no other host answered for 1.3 s
//! Asking   → Conflict  another host answered
//! Held     → Conflict  another host answered
//! Held     → Asking    the link restarted, a probe found the name in use, or another responder of
//!                      this host may have ended
//! Conflict → Asking    30 s to 60 s passed
//! ```
//!
//! - **Asking.** RFC 6762 §8.1 has a host probe for a name before it announces it. This claim first
//!   queries the name for [`QUERY_PERIOD`] and announces nothing meanwhile. The period starts when
//!   the link reports that it works, because a link that cannot receive answers must not win a
//!   name.
//! - **Held.** No other host answered, so the caller may probe (§8.1) and announce (§8.3). Any
//!   later answer with an address of another host is a conflict (§9), as when two networks are
//!   joined.
//! - **Conflict.** The caller withdraws the record and reports the addresses of the other host.
//!   Both hosts of a conflict lose the name this way. Each of them queries it again after a random
//!   time, so that one of them finds the name free.
//!
//! Answers with addresses of *this* host are no conflict. They are one of two things:
//!
//! - This node's own records, received again through a loop, a reflector or another interface of
//!   the same link ([`AddressOwner::ThisNode`]).
//! - Records of another responder on this host, such as avahi-daemon ([`AddressOwner::ThisHost`]).
//!   That responder already has the name, and it would treat any address that it does not announce
//!   itself as a conflict. So only the addresses that it announces as well may be announced beside
//!   it. It may end at any time. So the name is queried again when one of its addresses expires,
//!   when the addresses of this host change, and every [`RECHECK_AFTER`] or so while it keeps an
//!   address of this node from being announced.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::Now;

/// How long the name is queried before it is held. A responder answers for a name that it owns at
/// once (RFC 6762 §6).
const QUERY_PERIOD: Duration = Duration::from_millis(1300);
/// The shortest time between a conflict and the next query; the longest is twice that.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The shortest time until another responder of this host is checked again; the longest is twice
/// that.
const RECHECK_AFTER: Duration = Duration::from_secs(600);
/// How many addresses of another host are kept for the report.
const MAX_REPORTED: usize = 8;

/// Which host has an address that was answered for the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOwner {
    /// This host has it, and this node does not announce it on another link.
    ThisHost,
    /// This node announces it on another link, or did so a short while ago.
    ThisNode,
    /// Another host has it.
    OtherHost,
}

/// The state of a claim; the module comment has the transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimState {
    Asking,
    /// With `responder`, another responder of this host announces the name with these addresses,
    /// and no others may be announced.
    Held {
        responder: Option<Vec<IpAddr>>,
    },
    /// Another host has the name, at these addresses.
    Conflict {
        addresses: Vec<IpAddr>,
    },
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimEvent {
    /// Announce the name.
    Won { after_conflict: bool },
    /// Withdraw the name: another host has it, at these addresses.
    Lost(Vec<IpAddr>),
    /// Withdraw the name and query it again: earlier answers do not count.
    Restart,
}

/// A claim to one name on one link.
#[derive(Debug, Clone)]
pub struct Claim {
    state: ClaimState,
    deadline: Option<Duration>,
    /// Addresses that another responder of this host answered with during the current query.
    responder: Vec<IpAddr>,
    /// Whether to probe once the name is won.
    probes: bool,
    had_conflict: bool,
    rng: fastrand::Rng,
}

impl Claim {
    /// Starts in [`ClaimState::Asking`]. `seed` spreads the retries of different nodes.
    pub fn new(seed: u64) -> Self {
        Self {
            state: ClaimState::Asking,
            deadline: None,
            responder: Vec::new(),
            probes: true,
            had_conflict: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub fn state(&self) -> &ClaimState {
        &self.state
    }

    /// When [`Claim::advance`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Whether to probe for the names before they are announced (RFC 6762 §8.1).
    ///
    /// False where a probe would collide with this node's own records, or with those of another
    /// responder of this host.
    pub fn probes(&self) -> bool {
        let beside_responder = matches!(self.state, ClaimState::Held { responder: Some(_) });
        self.probes && !beside_responder
    }

    /// The link works from now on. A query that is open starts over, with its whole period.
    pub fn on_link_started(&mut self, now: Now) {
        if self.state == ClaimState::Asking {
            self.deadline = Some(now.elapsed + QUERY_PERIOD);
            self.responder.clear();
        }
    }

    /// Returns to the query: nothing is announced until the link works and the name was queried on
    /// it.
    ///
    /// A conflict stays a conflict until its retry is due.
    pub fn restart(&mut self) {
        if !matches!(self.state, ClaimState::Conflict { .. }) {
            self.probes = true;
            self.ask();
        }
    }

    /// Restarts if the name is held beside another responder, which may have ended or changed.
    /// Returns whether it was.
    pub fn recheck_responder(&mut self) -> bool {
        let beside_responder = matches!(self.state, ClaimState::Held { responder: Some(_) });
        if beside_responder {
            self.restart();
        }
        beside_responder
    }

    fn ask(&mut self) {
        self.state = ClaimState::Asking;
        self.deadline = None;
        self.responder.clear();
    }

    /// Takes all addresses that are answered for the name; `owner` says which host has each.
    pub fn on_answers(
        &mut self,
        now: Now,
        answered: &[IpAddr],
        owner: impl Fn(IpAddr) -> AddressOwner,
    ) -> Option<ClaimEvent> {
        let owner = &owner;
        let with_owner = |wanted: AddressOwner| {
            let owned = answered.iter().copied();
            owned.filter(move |ip| owner(*ip) == wanted)
        };
        let mut foreign: Vec<IpAddr> = with_owner(AddressOwner::OtherHost).collect();
        foreign.sort_unstable();
        foreign.truncate(MAX_REPORTED);
        if foreign.is_empty() {
            if self.state == ClaimState::Asking {
                self.responder = with_owner(AddressOwner::ThisHost).collect();
                self.probes &= with_owner(AddressOwner::ThisNode).next().is_none();
            }
            return None;
        }
        match &self.state {
            ClaimState::Conflict { addresses } if *addresses == foreign => None,
            _ => Some(self.lose(now, foreign)),
        }
    }

    /// Takes that these addresses are no longer answered for the name.
    pub fn on_expired(&mut self, addresses: &[IpAddr]) -> Option<ClaimEvent> {
        self.responder.retain(|ip| !addresses.contains(ip));
        let lost_responder = match &self.state {
            ClaimState::Held {
                responder: Some(announced),
            } => addresses.iter().any(|ip| announced.contains(ip)),
            _ => false,
        };
        (lost_responder && self.recheck_responder()).then_some(ClaimEvent::Restart)
    }

    /// Takes that a probe found the name in use.
    ///
    /// A probe does not say which host uses the name: it may be this node on another interface of
    /// the same link. So the name is queried again. If no other host answers, it is announced
    /// without probes.
    pub fn on_probe_conflict(&mut self) -> Option<ClaimEvent> {
        // The link reports each record of the name; only the first report finds the name held.
        if !matches!(self.state, ClaimState::Held { .. }) {
            return None;
        }
        self.ask();
        self.probes = false;
        Some(ClaimEvent::Restart)
    }

    fn lose(&mut self, now: Now, addresses: Vec<IpAddr>) -> ClaimEvent {
        tracing::trace!(?addresses, "the name is answered by another host");
        self.state = ClaimState::Conflict {
            addresses: addresses.clone(),
        };
        self.had_conflict = true;
        self.deadline = Some(self.later(now, RETRY_AFTER));
        ClaimEvent::Lost(addresses)
    }

    /// Does what is due. `partial` says that the other responder of this host keeps an address of
    /// this node from being announced.
    pub fn advance(&mut self, now: Now, partial: bool) -> Option<ClaimEvent> {
        if self.deadline.is_none_or(|deadline| now.elapsed < deadline) {
            return None;
        }
        match &self.state {
            ClaimState::Asking => {
                let responder = Some(std::mem::take(&mut self.responder))
                    .filter(|addresses| !addresses.is_empty());
                self.deadline = responder.as_ref().map(|_| self.later(now, RECHECK_AFTER));
                tracing::trace!(?responder, "no other host answered for the name");
                self.state = ClaimState::Held { responder };
                Some(ClaimEvent::Won {
                    after_conflict: std::mem::take(&mut self.had_conflict),
                })
            }
            ClaimState::Held { responder: Some(_) } if !partial => {
                self.deadline = Some(self.later(now, RECHECK_AFTER));
                None
            }
            ClaimState::Held { responder: None } => {
                self.deadline = None;
                None
            }
            ClaimState::Held { .. } | ClaimState::Conflict { .. } => {
                self.probes = true;
                self.ask();
                Some(ClaimEvent::Restart)
            }
        }
    }

    /// A random time from `shortest` to twice that after `now`.
    fn later(&mut self, now: Now, shortest: Duration) -> Duration {
        now.elapsed + shortest.mul_f64(1.0 + self.rng.f64())
    }
}

#[cfg(test)]
mod tests;
