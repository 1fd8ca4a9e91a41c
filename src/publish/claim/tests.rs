use super::*;
use crate::model::Timestamp;

const THIS_HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const THIS_NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));
const OTHER_HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

fn at(millis: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(millis),
        wall: Timestamp(1_795_150_000_000 + millis),
    }
}

fn owner(ip: IpAddr) -> AddressOwner {
    match ip {
        THIS_HOST => AddressOwner::ThisHost,
        THIS_NODE => AddressOwner::ThisNode,
        _ => AddressOwner::OtherHost,
    }
}

/// A claim on a link that works.
fn asking(seed: u64) -> Claim {
    let mut claim = Claim::new(seed);
    claim.on_link_started(at(0));
    claim
}

fn held() -> Claim {
    let mut claim = asking(1);
    assert_eq!(
        claim.advance(at(1300), false),
        Some(ClaimEvent::Won {
            after_conflict: false
        })
    );
    claim
}

/// A claim that is held beside a responder of this host with these addresses.
fn beside_responder(addresses: &[IpAddr]) -> Claim {
    let mut claim = asking(1);
    assert_eq!(claim.on_answers(at(100), addresses, owner), None);
    assert_eq!(
        claim.advance(at(1300), false),
        Some(ClaimEvent::Won {
            after_conflict: false
        })
    );
    claim
}

#[test]
fn unanswered_name_is_won() {
    let mut claim = asking(1);
    assert_eq!(claim.advance(at(1299), false), None);
    assert_eq!(claim.deadline(), Some(at(1300).elapsed));
    assert_eq!(
        claim.advance(at(1300), false),
        Some(ClaimEvent::Won {
            after_conflict: false
        })
    );
    assert_eq!(claim.state(), &ClaimState::Held { responder: None });
    assert!(claim.probes());
    assert_eq!(claim.deadline(), None);
}

#[test]
fn name_is_not_won_before_the_link_works() {
    let mut claim = Claim::new(1);
    assert_eq!(claim.deadline(), None);
    assert_eq!(claim.advance(at(60_000), false), None);
    assert_eq!(claim.state(), &ClaimState::Asking);
}

#[test]
fn restart_returns_to_the_query() {
    for mut claim in [asking(1), held()] {
        claim.restart();
        assert_eq!(
            (claim.state(), claim.deadline()),
            (&ClaimState::Asking, None)
        );
        claim.on_link_started(at(9000));
        assert_eq!(
            claim.on_answers(at(9100), &[OTHER_HOST], owner),
            Some(ClaimEvent::Lost(vec![OTHER_HOST]))
        );
    }
}

#[test]
fn restart_does_not_shorten_a_conflict() {
    let mut claim = held();
    claim.on_answers(at(2000), &[OTHER_HOST], owner);
    claim.restart();
    assert!(matches!(claim.state(), ClaimState::Conflict { .. }));
    claim.on_link_started(at(3000));
    assert!(claim.deadline() > Some(at(30_000).elapsed));
}

#[test]
fn conflict_is_reported_by_address_and_retried() {
    let mut claim = asking(1);
    assert_eq!(
        claim.on_answers(at(100), &[THIS_HOST, OTHER_HOST], owner),
        Some(ClaimEvent::Lost(vec![OTHER_HOST]))
    );
    assert_eq!(
        claim.on_answers(at(200), &[OTHER_HOST], owner),
        None,
        "the same conflict is reported once"
    );
    let again = claim.deadline().unwrap();
    assert!((30_100..=60_100).contains(&again.as_millis()), "{again:?}");
    let later = Now {
        elapsed: again,
        ..at(0)
    };
    assert_eq!(claim.advance(later, false), Some(ClaimEvent::Restart));
    assert_eq!(
        (claim.state(), claim.deadline()),
        (&ClaimState::Asking, None),
        "the period starts when the link works"
    );
    claim.on_link_started(later);
    let end = Now {
        elapsed: claim.deadline().unwrap(),
        ..at(0)
    };
    assert_eq!(
        claim.advance(end, false),
        Some(ClaimEvent::Won {
            after_conflict: true
        })
    );
}

#[test]
fn later_conflict_withdraws_the_name() {
    let mut claim = held();
    assert_eq!(
        claim.on_answers(at(5000), &[THIS_HOST], owner),
        None,
        "our own announcement was received again"
    );
    assert_eq!(
        claim.on_answers(at(6000), &[THIS_HOST, OTHER_HOST], owner),
        Some(ClaimEvent::Lost(vec![OTHER_HOST]))
    );
    assert!(
        matches!(claim.state(), ClaimState::Conflict { addresses } if *addresses == [OTHER_HOST])
    );
}

#[test]
fn responder_of_this_host_is_no_conflict_and_limits_the_addresses() {
    let claim = beside_responder(&[THIS_HOST]);
    assert_eq!(
        claim.state(),
        &ClaimState::Held {
            responder: Some(vec![THIS_HOST])
        }
    );
    assert!(!claim.probes());
}

#[test]
fn own_records_of_another_link_are_no_conflict_and_no_responder() {
    let claim = beside_responder(&[THIS_NODE]);
    assert_eq!(claim.state(), &ClaimState::Held { responder: None });
    assert!(
        !claim.probes(),
        "a probe would collide with our own records"
    );
    assert_eq!(
        beside_responder(&[THIS_HOST, THIS_NODE]).state(),
        &ClaimState::Held {
            responder: Some(vec![THIS_HOST])
        }
    );
}

#[test]
fn claim_restarts_when_the_other_responder_ends_or_addresses_change() {
    assert_eq!(
        beside_responder(&[THIS_HOST]).on_expired(&[THIS_HOST]),
        Some(ClaimEvent::Restart)
    );
    assert_eq!(
        beside_responder(&[THIS_HOST]).on_expired(&[THIS_NODE]),
        None
    );
    assert_eq!(
        held().on_expired(&[THIS_HOST]),
        None,
        "our own records from before a change of addresses"
    );
    assert!(!held().recheck_responder());
    let mut claim = asking(1);
    claim.on_answers(at(100), &[THIS_HOST], owner);
    assert_eq!(claim.on_expired(&[THIS_HOST]), None);
    claim.advance(at(1300), false);
    assert_eq!(
        claim.state(),
        &ClaimState::Held { responder: None },
        "the responder ended during the query"
    );
    let mut claim = beside_responder(&[THIS_HOST]);
    assert!(claim.recheck_responder());
    claim.on_link_started(at(5000));
    claim.advance(at(6300), false);
    assert_eq!(claim.state(), &ClaimState::Held { responder: None });
}

#[test]
fn responder_that_withholds_addresses_is_checked_again() {
    let mut claim = beside_responder(&[THIS_HOST]);
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
        "all addresses are announced: nothing is withdrawn"
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
        Some(ClaimEvent::Restart)
    );
    assert_eq!(claim.state(), &ClaimState::Asking);
}

#[test]
fn restarted_link_gives_the_query_its_whole_period() {
    let mut claim = asking(1);
    claim.on_link_started(at(1000));
    assert_eq!(claim.advance(at(1300), false), None);
    assert_eq!(
        claim.advance(at(2300), false),
        Some(ClaimEvent::Won {
            after_conflict: false
        })
    );
    claim.on_link_started(at(5000));
    assert_eq!(claim.deadline(), None, "a held name is not queried");
}

#[test]
fn probe_conflict_is_verified_by_a_query() {
    let mut claim = held();
    assert_eq!(claim.on_probe_conflict(), Some(ClaimEvent::Restart));
    assert_eq!(
        claim.on_probe_conflict(),
        None,
        "the link reports each record"
    );
    assert_eq!(
        (claim.state(), claim.deadline()),
        (&ClaimState::Asking, None)
    );
    claim.on_link_started(at(2000));
    let mut other = claim.clone();
    assert_eq!(
        other.on_answers(at(2100), &[OTHER_HOST], owner),
        Some(ClaimEvent::Lost(vec![OTHER_HOST]))
    );
    claim.on_answers(at(2100), &[THIS_NODE], owner);
    assert_eq!(
        claim.advance(at(3300), false),
        Some(ClaimEvent::Won {
            after_conflict: false
        })
    );
    assert!(!claim.probes(), "a probe would collide again");
    claim.restart();
    assert!(claim.probes());
}

#[test]
fn two_hosts_in_conflict_retry_at_different_times() {
    let (mut one, mut two) = (held(), asking(2));
    two.advance(at(1300), false);
    one.on_answers(at(5000), &[OTHER_HOST], owner);
    two.on_answers(at(5000), &[OTHER_HOST], owner);
    let apart = one.deadline().unwrap().abs_diff(two.deadline().unwrap());
    assert!(apart > QUERY_PERIOD, "{apart:?}");
}
