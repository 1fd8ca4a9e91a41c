//! Whether a host name may be shown on a link. Pure.
//!
//! A name is asked for first. If nobody else answers, it is shown; if somebody answers with an address that is not of
//! this host, that is a conflict: what was shown is taken back, whoever has the name is told of with its addresses, and
//! the name is asked for again later. It is never shown under another name. Both sides of a conflict that arises later,
//! as when two networks are joined, come here the same way; each tries again at a random moment, so one gets the name.
//!
//! Answers with addresses of this host are no conflict: they are its own, come back by a loop or a reflector, or those
//! of another responder on this host, such as avahi-daemon. That one has the name already, and would take every address
//! that it does not announce itself for a conflict; so beside it only addresses that it announces, too, are shown.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::Now;

/// How long a name is asked for before it is shown; a responder answers a question for its own name at once.
const ASK: Duration = Duration::from_millis(1300);
/// How long after a conflict the name is asked for again, at least; at most twice as long.
const AGAIN: Duration = Duration::from_secs(30);
/// Foreign addresses kept for the report.
const REPORTED: usize = 8;

/// How a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimState {
    /// The name is asked for.
    Asking,
    /// It may be shown; with these addresses alone, if another responder of this host shows it, too.
    Held {
        /// What the other responder shows.
        beside: Option<Vec<IpAddr>>,
    },
    /// Somebody else has it.
    Contested {
        /// At these addresses.
        by: Vec<IpAddr>,
        /// When it was said last.
        at: Now,
    },
}

/// What a claim leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimEvent {
    /// The name may be shown from now on.
    Won {
        /// Whether it was contested before.
        again: bool,
    },
    /// The name must not be shown any more: somebody else has it, at these addresses.
    Lost(Vec<IpAddr>),
    /// The name is to be asked for again: what was answered before does not count.
    AskAgain,
}

/// A claim to one name on one link.
#[derive(Debug, Clone)]
pub struct Claim {
    state: ClaimState,
    until: Option<Duration>,
    /// Addresses of this host that another responder answered with while nothing of ours was shown.
    beside: Vec<IpAddr>,
    contested: bool,
    dice: fastrand::Rng,
}

impl Claim {
    /// Begins to ask at `now`; `seed` spreads the moments of trying again.
    pub fn new(now: Now, seed: u64) -> Self {
        let until = Some(now.elapsed + ASK);
        let dice = fastrand::Rng::with_seed(seed);
        Self { state: ClaimState::Asking, until, beside: Vec::new(), contested: false, dice }
    }

    /// How it stands.
    pub fn state(&self) -> &ClaimState {
        &self.state
    }

    /// When [`Claim::advance`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.until
    }

    /// What is heard from now on is heard anew: a question that is still open has its whole time again.
    pub fn begun(&mut self, now: Now) {
        if self.state == ClaimState::Asking {
            self.until = Some(now.elapsed + ASK);
        }
    }

    /// Takes the addresses that are answered for the name; `ours` says which are of this host, or were lately.
    pub fn heard(&mut self, now: Now, answered: &[IpAddr], ours: impl Fn(IpAddr) -> bool) -> Option<ClaimEvent> {
        let mut foreign: Vec<IpAddr> = answered.iter().copied().filter(|ip| !ours(*ip)).collect();
        foreign.sort_unstable();
        foreign.truncate(REPORTED);
        if foreign.is_empty() {
            if self.state == ClaimState::Asking {
                self.beside = answered.to_vec();
            }
            return None;
        }
        let told = matches!(&self.state, ClaimState::Contested { by, .. } if *by == foreign);
        if told {
            self.state = ClaimState::Contested { by: foreign, at: now };
            return None;
        }
        Some(self.lose(now, foreign))
    }

    /// Somebody took the name between the question and the announcement.
    pub fn taken(&mut self, now: Now) -> ClaimEvent {
        self.lose(now, Vec::new())
    }

    fn lose(&mut self, now: Now, by: Vec<IpAddr>) -> ClaimEvent {
        self.state = ClaimState::Contested { by: by.clone(), at: now };
        self.contested = true;
        self.until = Some(now.elapsed + AGAIN.mul_f64(1.0 + self.dice.f64()));
        ClaimEvent::Lost(by)
    }

    /// Does what became due.
    pub fn advance(&mut self, now: Now) -> Option<ClaimEvent> {
        if self.until.is_none_or(|until| now.elapsed < until) {
            return None;
        }
        match &self.state {
            ClaimState::Asking => {
                self.until = None;
                let beside = std::mem::take(&mut self.beside);
                self.state = ClaimState::Held { beside: (!beside.is_empty()).then_some(beside) };
                Some(ClaimEvent::Won { again: std::mem::take(&mut self.contested) })
            }
            ClaimState::Contested { .. } => {
                self.state = ClaimState::Asking;
                self.until = Some(now.elapsed + ASK);
                self.beside.clear();
                Some(ClaimEvent::AskAgain)
            }
            ClaimState::Held { .. } => {
                self.until = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THEIRS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(millis: u64) -> Now {
        Now { elapsed: Duration::from_millis(millis), wall: Timestamp(1_795_150_000_000 + millis) }
    }

    fn ours(ip: IpAddr) -> bool {
        ip == OURS
    }

    fn held() -> Claim {
        let mut claim = Claim::new(at(0), 1);
        assert_eq!(claim.advance(at(1300)), Some(ClaimEvent::Won { again: false }));
        claim
    }

    #[test]
    fn a_name_that_nobody_answers_for_is_won() {
        let mut claim = Claim::new(at(0), 1);
        assert_eq!(claim.advance(at(1299)), None);
        assert_eq!(claim.deadline(), Some(at(1300).elapsed));
        assert_eq!(claim.advance(at(1300)), Some(ClaimEvent::Won { again: false }));
        assert_eq!(claim.state(), &ClaimState::Held { beside: None });
        assert_eq!(claim.deadline(), None);
    }

    #[test]
    fn a_name_that_somebody_has_is_reported_by_address_and_asked_for_again() {
        let mut claim = Claim::new(at(0), 1);
        assert_eq!(claim.heard(at(100), &[OURS, THEIRS], ours), Some(ClaimEvent::Lost(vec![THEIRS])));
        assert_eq!(claim.heard(at(200), &[THEIRS], ours), None, "it is said once");
        let again = claim.deadline().unwrap();
        assert!((30_100..=60_100).contains(&again.as_millis()), "{again:?}");
        let later = Now { elapsed: again, ..at(0) };
        assert_eq!(claim.advance(later), Some(ClaimEvent::AskAgain));
        assert_eq!(claim.state(), &ClaimState::Asking);
        let end = Now { elapsed: claim.deadline().unwrap(), ..at(0) };
        assert_eq!(claim.advance(end), Some(ClaimEvent::Won { again: true }));
    }

    #[test]
    fn a_conflict_that_comes_later_takes_the_name_back() {
        let mut claim = held();
        assert_eq!(claim.heard(at(5000), &[OURS], ours), None, "our own announcement comes back");
        assert_eq!(claim.heard(at(6000), &[OURS, THEIRS], ours), Some(ClaimEvent::Lost(vec![THEIRS])));
        assert!(matches!(claim.state(), ClaimState::Contested { by, .. } if *by == [THEIRS]));
    }

    #[test]
    fn a_responder_of_this_host_is_no_conflict_and_bounds_what_is_shown() {
        let mut claim = Claim::new(at(0), 1);
        assert_eq!(claim.heard(at(100), &[OURS], ours), None);
        claim.advance(at(1300));
        assert_eq!(claim.state(), &ClaimState::Held { beside: Some(vec![OURS]) });
    }

    #[test]
    fn a_link_that_begins_anew_gives_the_question_its_whole_time() {
        let mut claim = Claim::new(at(0), 1);
        claim.begun(at(1000));
        assert_eq!(claim.advance(at(1300)), None);
        assert_eq!(claim.advance(at(2300)), Some(ClaimEvent::Won { again: false }));
        claim.begun(at(5000));
        assert_eq!(claim.deadline(), None, "what is held is not asked for");
    }

    #[test]
    fn a_name_taken_during_the_announcement_is_lost() {
        let mut claim = held();
        assert_eq!(claim.taken(at(2000)), ClaimEvent::Lost(Vec::new()));
        assert!(claim.deadline().is_some());
    }

    #[test]
    fn two_that_lost_to_each_other_try_again_at_different_moments() {
        let (mut one, mut two) = (held(), Claim::new(at(0), 2));
        two.advance(at(1300));
        one.heard(at(5000), &[THEIRS], ours);
        two.heard(at(5000), &[THEIRS], ours);
        let apart = one.deadline().unwrap().abs_diff(two.deadline().unwrap());
        assert!(apart > ASK, "{apart:?}");
    }
}
