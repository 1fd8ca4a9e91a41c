//! Whether a host name may be shown on a link. Pure.
//!
//! A name is asked for first, for as long as the link works: a link that can't hear answers wins nothing. If nobody else
//! answers, it is shown; if somebody answers with an address that is not of
//! this host, that is a conflict: what was shown is taken back, whoever has the name is told of with its addresses, and
//! the name is asked for again later. It is never shown under another name. Both sides of a conflict that arises later,
//! as when two networks are joined, come here the same way; each tries again at a random moment, so one gets the name.
//!
//! Answers with addresses of this host are no conflict: they are its own, come back by a loop, a reflector or another
//! interface on the same link, or those of another responder on this host, such as avahi-daemon. That one has the name
//! already, and would take every address that it does not announce itself for a conflict; so beside it only addresses that
//! it announces, too, are shown. It may end at any time: the name is asked for again when one of its addresses goes, when
//! this host's change, and now and then while it keeps something from being shown.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::Now;

/// How long a name is asked for before it is shown; a responder answers a question for its own name at once.
const ASK: Duration = Duration::from_millis(1300);
/// How long after a conflict the name is asked for again, at least; at most twice as long.
const AGAIN: Duration = Duration::from_secs(30);
/// How long after a name was won beside another responder it is asked for again, at least; at most twice as long.
const BESIDE: Duration = Duration::from_secs(600);
/// Foreign addresses kept for the report.
const REPORTED: usize = 8;

/// Whose an address is that was answered for the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This host's, and no other link of this node shows it.
    Ours,
    /// This node's on another link, or this host's until lately: its own word come back, and nobody else's.
    Elsewhere,
    /// Another host's.
    Foreign,
}

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
    /// Whether to probe once the name is won.
    probes: bool,
    contested: bool,
    rng: fastrand::Rng,
}

impl Claim {
    /// Asks as soon as the link has begun; `seed` spreads the moments of trying again.
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            state: ClaimState::Asking,
            until: None,
            beside: Vec::new(),
            probes: true,
            contested: false,
            rng,
        }
    }

    /// How it stands.
    pub fn state(&self) -> &ClaimState {
        &self.state
    }

    /// When [`Claim::advance`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.until
    }

    /// Whether the names are to be probed for when they are shown (RFC 6762 §8.1).
    ///
    /// Not where the probes would meet this node's own word, or that of a responder beside it.
    pub fn probes(&self) -> bool {
        self.probes && !matches!(self.state, ClaimState::Held { beside: Some(_) })
    }

    /// The link works, and what is heard from now on is heard anew: a question that is still open has its whole time.
    pub fn begun(&mut self, now: Now) {
        if self.state == ClaimState::Asking {
            self.until = Some(now.elapsed + ASK);
            self.beside.clear();
        }
    }

    /// Begins anew: nothing is shown until the name was asked for on a link that works.
    ///
    /// A conflict stays one until it is asked again.
    pub fn ask_again(&mut self) {
        if !matches!(self.state, ClaimState::Contested { .. }) {
            self.probes = true;
            self.ask();
        }
    }

    /// The same where the name is shown beside another responder, which may have gone or changed; whether it was.
    pub fn ask_beside(&mut self) -> bool {
        let beside = matches!(self.state, ClaimState::Held { beside: Some(_) });
        if beside {
            self.ask_again();
        }
        beside
    }

    fn ask(&mut self) {
        self.state = ClaimState::Asking;
        self.until = None;
        self.beside.clear();
    }

    /// Takes the addresses that are answered for the name, and whose each is.
    pub fn heard(
        &mut self,
        now: Now,
        answered: &[IpAddr],
        whose: impl Fn(IpAddr) -> Whose,
    ) -> Option<ClaimEvent> {
        let mut foreign: Vec<IpAddr> = answered
            .iter()
            .copied()
            .filter(|ip| whose(*ip) == Whose::Foreign)
            .collect();
        foreign.sort_unstable();
        foreign.truncate(REPORTED);
        if foreign.is_empty() {
            if self.state == ClaimState::Asking {
                self.beside = answered
                    .iter()
                    .copied()
                    .filter(|ip| whose(*ip) == Whose::Ours)
                    .collect();
                self.probes &= answered.iter().all(|ip| whose(*ip) != Whose::Elsewhere);
            }
            return None;
        }
        let told = matches!(&self.state, ClaimState::Contested { by, .. } if *by == foreign);
        if told {
            self.state = ClaimState::Contested {
                by: foreign,
                at: now,
            };
            return None;
        }
        Some(self.lose(now, foreign))
    }

    /// Takes that these addresses are not answered for the name any more.
    pub fn gone(&mut self, addresses: &[IpAddr]) -> Option<ClaimEvent> {
        self.beside.retain(|ip| !addresses.contains(ip));
        let was_beside = match &self.state {
            ClaimState::Held {
                beside: Some(beside),
            } => addresses.iter().any(|ip| beside.contains(ip)),
            _ => false,
        };
        (was_beside && self.ask_beside()).then_some(ClaimEvent::AskAgain)
    }

    /// Takes that the name was met on the link while it was probed for.
    ///
    /// By whom, the probes don't tell: it may be this node itself on another interface of the same link. Whoever it was
    /// answers a question; if that is nobody else, the name is shown without probes.
    pub fn renamed(&mut self) -> Option<ClaimEvent> {
        // It is said for each record; by the second time it is asked for already.
        matches!(self.state, ClaimState::Held { .. }).then(|| {
            self.ask();
            self.probes = false;
            ClaimEvent::AskAgain
        })
    }

    fn lose(&mut self, now: Now, by: Vec<IpAddr>) -> ClaimEvent {
        self.state = ClaimState::Contested {
            by: by.clone(),
            at: now,
        };
        self.contested = true;
        self.until = Some(self.later(now, AGAIN));
        ClaimEvent::Lost(by)
    }

    /// Does what became due; `partly` says whether the responder beside it keeps addresses from being shown.
    pub fn advance(&mut self, now: Now, partly: bool) -> Option<ClaimEvent> {
        if self.until.is_none_or(|until| now.elapsed < until) {
            return None;
        }
        match &self.state {
            ClaimState::Asking => {
                let beside = std::mem::take(&mut self.beside);
                self.until = (!beside.is_empty()).then(|| self.later(now, BESIDE));
                self.state = ClaimState::Held {
                    beside: (!beside.is_empty()).then_some(beside),
                };
                Some(ClaimEvent::Won {
                    again: std::mem::take(&mut self.contested),
                })
            }
            ClaimState::Held { beside: Some(_) } if !partly => {
                self.until = Some(self.later(now, BESIDE));
                None
            }
            ClaimState::Held { beside: None } => {
                self.until = None;
                None
            }
            ClaimState::Held { .. } | ClaimState::Contested { .. } => {
                self.probes = true;
                self.ask();
                Some(ClaimEvent::AskAgain)
            }
        }
    }

    fn later(&mut self, now: Now, least: Duration) -> Duration {
        now.elapsed + least.mul_f64(1.0 + self.rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));
    const THEIRS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(millis: u64) -> Now {
        Now {
            elapsed: Duration::from_millis(millis),
            wall: Timestamp(1_795_150_000_000 + millis),
        }
    }

    fn whose(ip: IpAddr) -> Whose {
        match ip {
            OURS => Whose::Ours,
            ELSEWHERE => Whose::Elsewhere,
            _ => Whose::Foreign,
        }
    }

    /// A claim on a link that has begun.
    fn asking(seed: u64) -> Claim {
        let mut claim = Claim::new(seed);
        claim.begun(at(0));
        claim
    }

    fn held() -> Claim {
        let mut claim = asking(1);
        assert_eq!(
            claim.advance(at(1300), false),
            Some(ClaimEvent::Won { again: false })
        );
        claim
    }

    /// A claim that is held beside a responder with these addresses.
    fn beside(addresses: &[IpAddr]) -> Claim {
        let mut claim = asking(1);
        assert_eq!(claim.heard(at(100), addresses, whose), None);
        assert_eq!(
            claim.advance(at(1300), false),
            Some(ClaimEvent::Won { again: false })
        );
        claim
    }

    #[test]
    fn a_name_that_nobody_answers_for_is_won() {
        let mut claim = asking(1);
        assert_eq!(claim.advance(at(1299), false), None);
        assert_eq!(claim.deadline(), Some(at(1300).elapsed));
        assert_eq!(
            claim.advance(at(1300), false),
            Some(ClaimEvent::Won { again: false })
        );
        assert_eq!(claim.state(), &ClaimState::Held { beside: None });
        assert!(claim.probes());
        assert_eq!(claim.deadline(), None);
    }

    #[test]
    fn a_name_is_not_won_on_a_link_that_has_not_begun() {
        let mut claim = Claim::new(1);
        assert_eq!(claim.deadline(), None);
        assert_eq!(claim.advance(at(60_000), false), None);
        assert_eq!(claim.state(), &ClaimState::Asking);
    }

    #[test]
    fn a_link_that_stops_hearing_puts_the_claim_back_to_the_question() {
        for mut claim in [asking(1), held()] {
            claim.ask_again();
            assert_eq!(
                (claim.state(), claim.deadline()),
                (&ClaimState::Asking, None)
            );
            claim.begun(at(9000));
            assert_eq!(
                claim.heard(at(9100), &[THEIRS], whose),
                Some(ClaimEvent::Lost(vec![THEIRS]))
            );
        }
    }

    #[test]
    fn a_conflict_is_asked_about_again_only_at_its_time() {
        let mut claim = held();
        claim.heard(at(2000), &[THEIRS], whose);
        claim.ask_again();
        assert!(matches!(claim.state(), ClaimState::Contested { .. }));
        claim.begun(at(3000));
        assert!(claim.deadline() > Some(at(30_000).elapsed));
    }

    #[test]
    fn a_name_that_somebody_has_is_reported_by_address_and_asked_for_again() {
        let mut claim = asking(1);
        assert_eq!(
            claim.heard(at(100), &[OURS, THEIRS], whose),
            Some(ClaimEvent::Lost(vec![THEIRS]))
        );
        assert_eq!(
            claim.heard(at(200), &[THEIRS], whose),
            None,
            "it is said once"
        );
        let again = claim.deadline().unwrap();
        assert!((30_100..=60_100).contains(&again.as_millis()), "{again:?}");
        let later = Now {
            elapsed: again,
            ..at(0)
        };
        assert_eq!(claim.advance(later, false), Some(ClaimEvent::AskAgain));
        assert_eq!(
            (claim.state(), claim.deadline()),
            (&ClaimState::Asking, None),
            "it counts from the link's beginning"
        );
        claim.begun(later);
        let end = Now {
            elapsed: claim.deadline().unwrap(),
            ..at(0)
        };
        assert_eq!(
            claim.advance(end, false),
            Some(ClaimEvent::Won { again: true })
        );
    }

    #[test]
    fn a_conflict_that_comes_later_takes_the_name_back() {
        let mut claim = held();
        assert_eq!(
            claim.heard(at(5000), &[OURS], whose),
            None,
            "our own announcement comes back"
        );
        assert_eq!(
            claim.heard(at(6000), &[OURS, THEIRS], whose),
            Some(ClaimEvent::Lost(vec![THEIRS]))
        );
        assert!(matches!(claim.state(), ClaimState::Contested { by, .. } if *by == [THEIRS]));
    }

    #[test]
    fn a_responder_of_this_host_is_no_conflict_and_bounds_what_is_shown() {
        let claim = beside(&[OURS]);
        assert_eq!(
            claim.state(),
            &ClaimState::Held {
                beside: Some(vec![OURS])
            }
        );
        assert!(!claim.probes());
    }

    #[test]
    fn the_nodes_own_word_on_another_link_is_neither_a_conflict_nor_a_responder_beside_it() {
        let claim = beside(&[ELSEWHERE]);
        assert_eq!(claim.state(), &ClaimState::Held { beside: None });
        assert!(!claim.probes(), "a probe would meet it, and rename");
        assert_eq!(
            beside(&[OURS, ELSEWHERE]).state(),
            &ClaimState::Held {
                beside: Some(vec![OURS])
            }
        );
    }

    #[test]
    fn a_name_beside_another_responder_is_asked_for_again_when_that_goes_or_addresses_change() {
        assert_eq!(beside(&[OURS]).gone(&[OURS]), Some(ClaimEvent::AskAgain));
        assert_eq!(beside(&[OURS]).gone(&[ELSEWHERE]), None);
        assert_eq!(
            held().gone(&[OURS]),
            None,
            "our own word before a change of addresses"
        );
        assert!(!held().ask_beside());
        let mut claim = asking(1);
        claim.heard(at(100), &[OURS], whose);
        assert_eq!(claim.gone(&[OURS]), None);
        claim.advance(at(1300), false);
        assert_eq!(
            claim.state(),
            &ClaimState::Held { beside: None },
            "it went while the name was asked for"
        );
        let mut claim = beside(&[OURS]);
        assert!(claim.ask_beside());
        claim.begun(at(5000));
        claim.advance(at(6300), false);
        assert_eq!(claim.state(), &ClaimState::Held { beside: None });
    }

    #[test]
    fn a_responder_that_keeps_addresses_from_being_shown_is_looked_for_now_and_then() {
        let mut claim = beside(&[OURS]);
        let again = claim.deadline().unwrap();
        assert!(
            (601_300..=1_201_300).contains(&again.as_millis()),
            "{again:?}"
        );
        assert_eq!(
            claim.advance(
                Now {
                    elapsed: again,
                    ..at(0)
                },
                false
            ),
            None,
            "all is shown: nothing is withdrawn"
        );
        let again = claim.deadline().unwrap();
        assert_eq!(
            claim.advance(
                Now {
                    elapsed: again,
                    ..at(0)
                },
                true
            ),
            Some(ClaimEvent::AskAgain)
        );
        assert_eq!(claim.state(), &ClaimState::Asking);
    }

    #[test]
    fn a_link_that_begins_anew_gives_the_question_its_whole_time() {
        let mut claim = asking(1);
        claim.begun(at(1000));
        assert_eq!(claim.advance(at(1300), false), None);
        assert_eq!(
            claim.advance(at(2300), false),
            Some(ClaimEvent::Won { again: false })
        );
        claim.begun(at(5000));
        assert_eq!(claim.deadline(), None, "what is held is not asked for");
    }

    #[test]
    fn a_name_that_was_met_while_it_was_probed_for_is_asked_for_before_anybody_is_accused() {
        let mut claim = held();
        assert_eq!(claim.renamed(), Some(ClaimEvent::AskAgain));
        assert_eq!(claim.renamed(), None, "it is said for each record");
        assert_eq!(
            (claim.state(), claim.deadline()),
            (&ClaimState::Asking, None)
        );
        claim.begun(at(2000));
        let mut other = claim.clone();
        assert_eq!(
            other.heard(at(2100), &[THEIRS], whose),
            Some(ClaimEvent::Lost(vec![THEIRS]))
        );
        claim.heard(at(2100), &[ELSEWHERE], whose);
        assert_eq!(
            claim.advance(at(3300), false),
            Some(ClaimEvent::Won { again: false })
        );
        assert!(!claim.probes(), "it would be met again");
        claim.ask_again();
        assert!(claim.probes());
    }

    #[test]
    fn two_that_lost_to_each_other_try_again_at_different_moments() {
        let (mut one, mut two) = (held(), asking(2));
        two.advance(at(1300), false);
        one.heard(at(5000), &[THEIRS], whose);
        two.heard(at(5000), &[THEIRS], whose);
        let apart = one.deadline().unwrap().abs_diff(two.deadline().unwrap());
        assert!(apart > ASK, "{apart:?}");
    }
}
