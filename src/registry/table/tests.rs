use super::*;
use crate::model::{State, Timestamp};
use crate::registry::fixture::{self, START, changed, ip, name, node_id, now, registration};
use crate::registry::{Interval, Seen, row};

fn table() -> Table {
    Table::new(Settings::default())
}

fn accepted(outcome: Outcome) -> Change {
    match outcome {
        Outcome::Accepted {
            change, changed, ..
        } => {
            assert_eq!(changed, change != Change::Same);
            change
        }
        Outcome::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        accepted => panic!("{accepted:?}"),
    }
}

fn expire_all(table: &mut Table, at: u64) -> usize {
    let mut count = 0;
    for _ in 0..100 {
        if table
            .next_deadline()
            .is_none_or(|deadline| deadline > now(at).elapsed)
        {
            return count;
        }
        count += table.expire(now(at)).len();
    }
    panic!("deadlines never end");
}

fn goodbye(index: u32, epoch: u64, sequence: u64) -> Registration {
    changed(index, epoch, sequence, |record| record.lease = Lease::ZERO)
}

#[test]
fn lease_is_the_smaller_of_wish_and_limit() {
    let mut table = table();
    for (index, wish, granted) in [(0, 30, 30), (1, 90, 90), (2, 4_000_000_000, 90)] {
        let outcome = table.register(
            now(0),
            changed(index, 1, 1, |record| record.lease = Lease(wish)),
        );
        assert!(
            matches!(outcome, Outcome::Accepted { lease, .. } if lease == Lease(granted)),
            "{outcome:?}"
        );
    }
}

#[test]
fn expired_node_is_kept_as_gone_and_comes_back() {
    let mut table = table();
    assert_eq!(
        accepted(table.register(now(0), registration(1, 1, 1))),
        Change::Joined
    );
    assert_eq!(table.next_deadline(), Some(Duration::from_secs(90)));
    assert_eq!(expire_all(&mut table, 89), 0);
    assert_eq!(table.present(), 1);
    assert_eq!(table.expire(now(90)), [node_id(1)]);
    assert_eq!((table.present(), table.len()), (0, 1));
    let node = table.by_name(&name("node-1")).unwrap();
    assert_eq!(
        (node.state(), node.last_seen(), node.ended()),
        (State::Expired, START, Some(now(90).wall))
    );
    assert!(node.history().all(|interval| interval.to == Some(START)));
    assert_eq!(
        accepted(table.register(now(100), registration(1, 1, 2))),
        Change::Returned
    );
    assert_eq!(
        table
            .by_id(&node_id(1))
            .unwrap()
            .history()
            .filter(|interval| interval.to.is_none())
            .count(),
        2
    );
}

#[test]
fn renewal_extends_the_lease_without_touching_the_time_index() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let renewed = table.renew(now(60), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    assert_eq!(
        renewed,
        RenewOutcome::Renewed {
            lease: Lease(90),
            changed: false
        }
    );
    assert_eq!(table.next_deadline(), Some(Duration::from_secs(90)));
    assert_eq!(expire_all(&mut table, 149), 0);
    assert_eq!(table.next_deadline(), Some(Duration::from_secs(150)));
    assert_eq!(table.by_id(&node_id(1)).unwrap().last_seen(), now(60).wall);
    assert_eq!(expire_all(&mut table, 150), 1);
}

#[test]
fn renewal_that_does_not_fit_is_told_why() {
    let mut table = table();
    let source = (ip(1), 24373).into();
    assert_eq!(
        table.renew(now(0), &node_id(1), 1, 1, 2, source),
        RenewOutcome::Unknown
    );
    table.register(now(0), registration(1, 5, 3));
    let outdated = RenewOutcome::Outdated {
        epoch: 5,
        sequence: 3,
    };
    for ((epoch, base, sequence), expected) in [
        ((5, 4, 9), RenewOutcome::Unknown),
        ((6, 3, 9), RenewOutcome::Unknown),
        ((5, 2, 9), outdated),
        ((4, 3, 9), outdated),
        ((5, 3, 3), outdated),
        ((5, 3, 2), outdated),
    ] {
        assert_eq!(
            table.renew(now(1), &node_id(1), epoch, base, sequence, source),
            expected
        );
    }
    assert_eq!(table.counters().outdated, 4);
}

#[test]
fn repeated_messages_are_acknowledged_again_but_extend_nothing() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    assert_eq!(
        accepted(table.register(now(50), registration(1, 1, 1))),
        Change::Same
    );
    let source = (ip(1), 24373).into();
    table.renew(now(60), &node_id(1), 1, 1, 2, source);
    let elsewhere = (ip(99), 1).into();
    let again = table.renew(now(80), &node_id(1), 1, 1, 2, elsewhere);
    assert_eq!(
        again,
        RenewOutcome::Renewed {
            lease: Lease(90),
            changed: false
        }
    );
    assert_eq!(
        table.by_id(&node_id(1)).unwrap().source(),
        source,
        "a replay moves nothing"
    );
    assert_eq!(expire_all(&mut table, 150), 1);
    assert_eq!(
        refused(table.register(now(151), registration(1, 1, 1))),
        Refusal::Outdated {
            epoch: 1,
            sequence: 2
        }
    );
    let dead = table.renew(now(152), &node_id(1), 1, 1, 2, source);
    assert_eq!(
        dead,
        RenewOutcome::Outdated {
            epoch: 1,
            sequence: 2
        }
    );
    assert_eq!(table.present(), 0);
}

#[test]
fn renewal_after_expiry_begins_new_intervals() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    expire_all(&mut table, 95);
    let renewed = table.renew(now(100), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    assert_eq!(
        renewed,
        RenewOutcome::Renewed {
            lease: Lease(90),
            changed: true
        }
    );
    let history: Vec<_> = table
        .history(&name("node-1"))
        .map(|(_, interval)| interval)
        .collect();
    assert_eq!(history.len(), 4);
    assert_eq!(
        history
            .iter()
            .filter(|interval| interval.from == now(100).wall && interval.to.is_none())
            .count(),
        2
    );
    assert_eq!(table.present(), 1);
}

#[test]
fn changed_source_is_history_and_no_impostor() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.renew(now(10), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    let renewed = table.renew(now(20), &node_id(1), 1, 1, 3, (ip(77), 999).into());
    assert_eq!(
        renewed,
        RenewOutcome::Renewed {
            lease: Lease(90),
            changed: true
        }
    );
    let observed: Vec<_> = table
        .by_id(&node_id(1))
        .unwrap()
        .history()
        .filter(|interval| interval.seen == Seen::Observed)
        .collect();
    let first = Interval {
        ip: ip(1),
        seen: Seen::Observed,
        from: START,
        to: Some(now(10).wall),
    };
    let second = Interval {
        ip: ip(77),
        seen: Seen::Observed,
        from: now(20).wall,
        to: None,
    };
    assert_eq!(observed, [first, second]);
    assert_eq!(table.holder(ip(77)).unwrap().id(), node_id(1));
    assert_eq!(table.holders(ip(1), Some(now(5).wall)).count(), 2);
}

#[test]
fn goodbye_closes_history_and_ends_renewals() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    assert_eq!(
        accepted(table.goodbye(now(30), goodbye(1, 1, 2))),
        Change::Left
    );
    assert_eq!(
        accepted(table.register(now(31), goodbye(1, 1, 2))),
        Change::Same
    );
    let node = table.by_name(&name("node-1")).unwrap();
    assert_eq!(node.state(), State::Left);
    assert_eq!(
        node.record().addresses.len(),
        1,
        "the last full record stays"
    );
    assert!(
        node.history()
            .all(|interval| interval.to == Some(now(30).wall))
    );
    let source = (ip(1), 24373).into();
    assert!(!matches!(
        table.renew(now(32), &node_id(1), 1, 1, 3, source),
        RenewOutcome::Renewed { .. }
    ));
    assert_eq!(
        table.renew(now(32), &node_id(1), 1, 2, 3, source),
        RenewOutcome::Unknown
    );
    assert_eq!(
        refused(table.goodbye(now(33), goodbye(2, 1, 1))),
        Refusal::UnknownRecord
    );
}

#[test]
fn name_stays_with_its_first_node_until_released() {
    let mut table = Table::new(Settings {
        release_after: Duration::from_secs(1000),
        ..Settings::default()
    });
    let claim = |sequence| changed(2, 1, sequence, |record| record.name = name("node-1"));
    table.register(now(0), registration(1, 1, 1));
    assert_eq!(
        refused(table.register(now(1), claim(1))),
        Refusal::NameHeld { holder: node_id(1) }
    );
    expire_all(&mut table, 90);
    assert_eq!(
        refused(table.register(now(1089), claim(1))),
        Refusal::NameHeld { holder: node_id(1) }
    );
    assert_eq!(table.counters().name_conflicts, 2);
    assert_eq!(
        accepted(table.register(now(1090), claim(1))),
        Change::Joined
    );
    assert_eq!(table.by_name(&name("node-1")).unwrap().id(), node_id(2));
    assert!(!table.by_id(&node_id(1)).unwrap().is_bound());
    let before: Vec<_> = table
        .at(&name("node-1"), START)
        .map(|(node, _)| node.id())
        .collect();
    assert!(
        before.contains(&node_id(1)),
        "history of the one before is still found"
    );
    assert_eq!(
        refused(table.register(now(1091), registration(1, 1, 2))),
        Refusal::NameHeld { holder: node_id(2) }
    );
}

#[test]
fn name_is_free_at_once_without_release_time() {
    let mut table = Table::new(Settings {
        release_after: Duration::ZERO,
        ..Settings::default()
    });
    table.register(now(0), registration(1, 1, 1));
    let claim = || changed(2, 1, 1, |record| record.name = name("node-1"));
    assert_eq!(
        refused(table.register(now(1), claim())),
        Refusal::NameHeld { holder: node_id(1) }
    );
    table.goodbye(now(2), goodbye(1, 1, 2));
    assert_eq!(accepted(table.register(now(2), claim())), Change::Joined);
}

#[test]
fn renamed_node_keeps_its_old_name_for_a_while() {
    let mut table = Table::new(Settings {
        release_after: Duration::from_secs(1000),
        ..Settings::default()
    });
    table.register(now(0), registration(1, 1, 1));
    let renamed = changed(1, 1, 2, |record| record.name = name("other"));
    assert_eq!(accepted(table.register(now(10), renamed)), Change::Moved);
    let claim = || changed(2, 1, 1, |record| record.name = name("node-1"));
    assert_eq!(
        refused(table.register(now(1009), claim())),
        Refusal::NameHeld { holder: node_id(1) }
    );
    assert_eq!(table.by_name(&name("node-1")).unwrap().id(), node_id(1));
    assert_eq!(
        table.nodes(Filter::ALL, None).count(),
        1,
        "listed once, by its current name"
    );
    assert_eq!(table.at(&name("node-1"), now(5).wall).count(), 2);
    assert_eq!(
        table.at(&name("node-1"), now(15).wall).count(),
        0,
        "it had another name by then"
    );
    assert_eq!(accepted(table.register(now(1010), claim())), Change::Joined);
    assert_eq!(
        table
            .history(&name("node-1"))
            .filter(|(node, _)| node.id() == node_id(1))
            .count(),
        2
    );
}

#[test]
fn nobody_hoards_names() {
    let mut table = table();
    for sequence in 1..=20 {
        let next = changed(1, 1, sequence, |record| {
            record.name = name(&format!("name-{sequence}"))
        });
        table.register(now(sequence), next);
    }
    assert_eq!(table.names.len(), 1 + MAX_FORMER);
    assert_eq!(table.past_names.len(), MAX_FORMER);
    assert_eq!(table.counters().names_dropped, 19 - MAX_FORMER as u64);
    assert!(table.by_name(&name("name-2")).is_none());
    assert!(table.by_name(&name("name-19")).is_some());
}

#[test]
fn node_that_takes_its_old_name_again_has_it_once() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(now(1), changed(1, 1, 2, |record| record.name = name("b")));
    table.register(now(2), registration(1, 1, 3));
    let former: Vec<_> = table
        .by_id(&node_id(1))
        .unwrap()
        .former_names()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(former, ["b"]);
    assert_eq!(
        table.by_name(&name("node-1")).unwrap().name(),
        &name("node-1")
    );
}

#[test]
fn restart_with_a_higher_epoch_is_taken() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 50));
    assert_eq!(
        accepted(table.register(now(5), registration(1, 2, 1))),
        Change::Updated
    );
    assert_eq!(
        refused(table.register(now(6), registration(1, 1, 51))),
        Refusal::Outdated {
            epoch: 2,
            sequence: 1
        }
    );
    assert!(table.by_id(&node_id(1)).unwrap().clone_sighting().is_none());
}

#[test]
fn two_machines_with_one_id_are_named_as_such() {
    let boot = |epoch, boot, at: u32| {
        let mut clone_sighting = changed(1, epoch, 1, |record| record.boot = boot);
        clone_sighting.source = (ip(at), 1).into();
        clone_sighting
    };
    let mut table = table();
    accepted(table.register(now(0), boot(1, 111, 1)));
    // The copy starts: as far as a server can tell, a restart.
    accepted(table.register(now(10), boot(2, 222, 2)));
    // The first machine, told that it is outdated, comes with a higher epoch: it never stopped.
    assert_eq!(
        refused(table.register(now(20), boot(3, 111, 1))),
        Refusal::Cloned
    );
    let clone_sighting = table.by_id(&node_id(1)).unwrap().clone_sighting().unwrap();
    assert_eq!(
        (
            clone_sighting.source,
            clone_sighting.refused,
            clone_sighting.since
        ),
        ((ip(2), 1).into(), (ip(1), 1).into(), now(20).wall)
    );
    assert_eq!(table.clone_sightings().count(), 1);
    assert_eq!(table.counters().clones, 1);
    // A replay of the refused record does not keep the mark.
    table.renew(now(90), &node_id(1), 2, 1, 2, (ip(2), 1).into());
    table.renew(now(170), &node_id(1), 2, 1, 3, (ip(2), 1).into());
    table.renew(now(250), &node_id(1), 2, 1, 4, (ip(2), 1).into());
    assert_eq!(
        refused(table.register(now(200), boot(3, 111, 1))),
        Refusal::Cloned
    );
    expire_all(&mut table, 289);
    assert!(table.by_id(&node_id(1)).unwrap().clone_sighting().is_some());
    expire_all(&mut table, 290);
    assert!(
        table.by_id(&node_id(1)).unwrap().clone_sighting().is_none(),
        "one boot alone for three leases"
    );
}

#[test]
fn the_machine_that_stays_takes_over_from_a_silent_copy() {
    let boot = |epoch, boot| changed(1, epoch, 1, |record| record.boot = boot);
    let mut table = table();
    accepted(table.register(now(0), boot(1, 111)));
    accepted(table.register(now(10), boot(2, 222)));
    assert_eq!(
        refused(table.register(now(20), boot(3, 111))),
        Refusal::Cloned
    );
    assert_eq!(
        refused(table.register(now(279), boot(4, 111))),
        Refusal::Cloned
    );
    accepted(table.register(now(280), boot(5, 111)));
    assert!(table.by_id(&node_id(1)).unwrap().clone_sighting().is_none());
}

#[test]
fn replay_of_an_old_boot_names_nobody_a_clone() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(now(1), registration(1, 2, 1));
    assert_eq!(
        refused(table.register(now(2), registration(1, 1, 1))),
        Refusal::Outdated {
            epoch: 2,
            sequence: 1
        }
    );
    assert_eq!(table.counters().clones, 0);
}

#[test]
fn full_table_evicts_nobody_present_and_no_kept_name() {
    let settings = Settings {
        max_nodes: 2,
        release_after: Duration::from_secs(100),
        ..Settings::default()
    };
    let mut table = Table::new(settings);
    table.register(now(0), registration(1, 1, 1));
    table.register(now(0), registration(2, 1, 1));
    assert!(matches!(
        refused(table.register(now(1), registration(3, 1, 1))),
        Refusal::Rate { .. }
    ));
    table.goodbye(now(10), goodbye(1, 1, 2));
    assert!(matches!(
        refused(table.register(now(109), registration(3, 1, 1))),
        Refusal::Rate { .. }
    ));
    assert_eq!(
        accepted(table.register(now(110), registration(3, 1, 1))),
        Change::Joined
    );
    assert!(table.by_id(&node_id(1)).is_none());
    assert!(table.by_id(&node_id(2)).is_some());
    let counters = table.counters();
    assert_eq!((counters.full, counters.evicted), (2, 1));
}

#[test]
fn jump_of_the_wall_clock_expires_nobody_and_keeps_intervals_in_order() {
    let mut table = table();
    table.register(now(1000), registration(1, 1, 1));
    for (elapsed, wall, sequence) in [
        (1010, 5_000_000_000, 2),
        (1020, 0, 3),
        (1030, 10, 4),
        (1040, 2_000_000, 5),
    ] {
        let now = Now {
            elapsed: Duration::from_secs(elapsed),
            wall: Timestamp(START.0 + wall * 1000),
        };
        assert!(table.expire(now).is_empty());
        accepted(table.register(
            now,
            changed(1, 1, sequence, |record| {
                record.addresses[0].ip = ip(sequence as u32 % 2)
            }),
        ));
        assert_eq!(table.present(), 1);
    }
    check(&table);
}

#[test]
fn old_history_goes_and_then_the_node() {
    let settings = Settings {
        history: Duration::from_secs(1000),
        release_after: Duration::from_secs(500),
        ..Settings::default()
    };
    let mut table = Table::new(settings);
    table.register(now(0), registration(1, 1, 1));
    table.register(
        now(100),
        changed(1, 1, 2, |record| record.addresses[0].ip = ip(50)),
    );
    expire_all(&mut table, 190);
    assert!(table.holder(ip(1)).is_some());
    expire_all(&mut table, 1001);
    assert_eq!(table.by_id(&node_id(1)).unwrap().history().count(), 2);
    expire_all(&mut table, 1200);
    assert!(table.is_empty());
    assert!(
        table.addresses.is_empty()
            && table.names.is_empty()
            && table.wakes.is_empty()
            && table.absent.is_empty()
    );
    assert_eq!(table.next_deadline(), None);
    let deleted = table.take_dirty();
    assert_eq!(
        deleted.rows,
        [Row {
            slot: 0,
            value: None
        }]
    );
}

#[test]
fn no_history_is_kept_where_none_is_wanted() {
    let mut table = Table::new(Settings {
        history: Duration::ZERO,
        ..Settings::default()
    });
    table.register(now(0), registration(1, 1, 1));
    table.register(
        now(1),
        changed(1, 1, 2, |record| record.addresses[0].ip = ip(50)),
    );
    assert!(
        table
            .by_id(&node_id(1))
            .unwrap()
            .history()
            .all(|interval| interval.to.is_none())
    );
    expire_all(&mut table, 100);
    let node = table.by_name(&name("node-1")).unwrap();
    assert_eq!(
        (node.history().count(), node.record().addresses[0].ip),
        (0, ip(50))
    );
}

#[test]
fn intervals_of_one_node_are_limited() {
    let mut table = Table::new(Settings {
        max_intervals_per_node: 8,
        ..Settings::default()
    });
    for sequence in 1..=100 {
        table.register(
            now(sequence),
            changed(1, 1, sequence, |record| {
                record.addresses[0].ip = ip(sequence as u32)
            }),
        );
    }
    assert_eq!(table.by_id(&node_id(1)).unwrap().history().count(), 8);
    assert_eq!(table.counters().intervals_dropped, 101 - 8);
    assert!(table.holder(ip(2)).is_none());
    assert!(table.holder(ip(99)).is_some());
    check(&table);
}

#[test]
fn holder_is_the_one_present_else_the_newest() {
    let mut table = table();
    let at = |index, sequence| {
        changed(index, 1, sequence, |record| {
            record.addresses[0].ip = ip(200)
        })
    };
    table.register(now(0), at(1, 1));
    table.goodbye(now(10), goodbye(1, 1, 2));
    table.register(now(20), at(2, 1));
    assert_eq!(table.holder(ip(200)).unwrap().id(), node_id(2));
    table.goodbye(now(30), goodbye(2, 1, 2));
    assert_eq!(table.holder(ip(200)).unwrap().id(), node_id(2));
    assert_eq!(
        table
            .holders(ip(200), Some(now(5).wall))
            .map(|(node, _)| node.id())
            .collect::<Vec<_>>(),
        [node_id(1)]
    );
    assert_eq!(table.holders(ip(200), None).count(), 0);
    assert!(table.holder(ip(201)).is_none());
}

#[test]
fn listing_is_in_name_order_and_goes_on_after_a_name() {
    let mut table = table();
    for index in [3, 1, 2] {
        table.register(now(0), registration(index, 1, 1));
    }
    table.goodbye(now(1), goodbye(2, 1, 2));
    let names = |filter, after: Option<&str>| -> Vec<String> {
        let after = after.map(name);
        table
            .nodes(filter, after.as_ref())
            .map(|node| node.name().to_string())
            .collect()
    };
    assert_eq!(names(Filter::ALL, None), ["node-1", "node-2", "node-3"]);
    assert_eq!(names(Filter::PRESENT, None), ["node-1", "node-3"]);
    assert_eq!(names(Filter::ALL, Some("node-1")), ["node-2", "node-3"]);
    assert_eq!(names(Filter::ALL, Some("node-3")), [""; 0]);
}

#[test]
fn forgotten_node_frees_name_slot_and_key() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    assert!(table.set_renewal_key(&node_id(1), [5; 32]));
    assert_eq!(table.renewal_key(&node_id(1)), Some(&[5; 32]));
    assert_eq!(
        table.forget(&name("node-1")),
        Some(Forgotten {
            node: node_id(1),
            record: true
        })
    );
    assert_eq!(table.forget(&name("node-1")), None);
    assert_eq!(table.renewal_key(&node_id(1)), None);
    accepted(table.register(
        now(1),
        changed(2, 1, 1, |record| record.name = name("node-1")),
    ));
    let node = table.by_id(&node_id(2)).unwrap();
    assert_eq!(node.slot(), 0);
    assert_eq!(
        table.renewal_key(&node_id(2)),
        None,
        "the key of the one before is gone"
    );
    assert_eq!(table.take_dirty().rows.len(), 1);
}

#[test]
fn former_name_can_be_forgotten_alone() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(now(1), changed(1, 1, 2, |record| record.name = name("b")));
    assert_eq!(
        table.forget(&name("node-1")),
        Some(Forgotten {
            node: node_id(1),
            record: false
        })
    );
    assert!(table.by_name(&name("node-1")).is_none());
    assert!(table.by_name(&name("b")).is_some());
}

#[test]
fn renewals_leave_rows_alone_and_mark_pages() {
    let mut table = table();
    for index in 0..600 {
        table.register(now(0), registration(index, 1, 1));
    }
    assert_eq!(table.take_dirty().rows.len(), 600);
    assert_eq!(table.take_seen().seen.len(), 3);
    table.renew(now(1), &node_id(300), 1, 1, 2, (ip(300), 24373).into());
    assert!(!table.is_dirty());
    let pages = table.take_seen();
    assert_eq!(
        pages.seen.iter().map(|page| page.page).collect::<Vec<_>>(),
        [1]
    );
    table.put_back(pages);
    assert_eq!(table.take_seen().seen.len(), 1);
    assert!(table.take_seen().is_empty());
}

#[test]
fn batch_that_is_put_back_comes_again() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let batch = table.take_dirty();
    table.put_back(batch.clone());
    assert_eq!(table.take_dirty(), batch);
}

/// What a store would hand out after all that was taken from `table`.
fn dump(table: &mut Table) -> Vec<crate::registry::StoredNode> {
    for slot in 0..table.hot.len() as u32 {
        table.mark(slot);
    }
    let mut rows = Vec::new();
    while table.is_dirty() {
        rows.extend(table.take_dirty().rows);
    }
    rows.sort_by_key(|row| row.slot);
    rows.into_iter()
        .filter_map(|row| Some(row::decode(row.slot, &row.value?).unwrap()))
        .collect()
}

#[test]
fn short_outage_of_the_server_cuts_no_history() {
    let mut before = table();
    before.register(now(0), registration(1, 1, 1));
    before.renew(now(60), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    let stored = dump(&mut before);
    let mut after = table();
    // The monotonic clock of the new process starts again.
    let restart = Now {
        elapsed: Duration::from_secs(3),
        wall: now(200).wall,
    };
    stored
        .into_iter()
        .for_each(|node| after.load(restart, node));
    assert_eq!(after.next_deadline(), Some(Duration::from_secs(93)));
    let node = after.by_id(&node_id(1)).unwrap();
    assert_eq!(
        (node.state(), node.last_seen()),
        (State::Present, now(60).wall)
    );
    assert!(node.history().all(|interval| interval.to.is_none()));
    let renewed = after.renew(restart, &node_id(1), 1, 1, 3, (ip(1), 24373).into());
    assert_eq!(
        renewed,
        RenewOutcome::Renewed {
            lease: Lease(90),
            changed: false
        }
    );
}

#[test]
fn server_that_was_away_expires_nobody_before_a_whole_lease_has_passed() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(now(0), registration(2, 1, 1));
    table.goodbye(now(10), goodbye(2, 1, 2));
    table.refresh_leases(now(5000));
    assert_eq!(expire_all(&mut table, 5089), 0);
    assert!(
        table
            .by_id(&node_id(1))
            .unwrap()
            .history()
            .all(|interval| interval.to.is_none())
    );
    assert_eq!(
        table.by_id(&node_id(2)).unwrap().state(),
        State::Left,
        "who said goodbye is gone"
    );
    assert_eq!(table.next_deadline(), Some(Duration::from_secs(5090)));
    assert_eq!(table.expire(now(5090)), [node_id(1)]);
}

#[test]
fn node_gone_before_a_restart_loses_its_name_in_due_time() {
    let settings = Settings {
        release_after: Duration::from_secs(1000),
        ..Settings::default()
    };
    let mut before = Table::new(settings.clone());
    before.register(now(0), registration(1, 1, 1));
    before.goodbye(now(10), goodbye(1, 1, 2));
    let mut after = Table::new(settings);
    let restart = |wall: u64| Now {
        elapsed: Duration::from_secs(wall - 500),
        wall: now(wall).wall,
    };
    dump(&mut before)
        .into_iter()
        .for_each(|node| after.load(restart(500), node));
    let claim = || changed(2, 1, 1, |record| record.name = name("node-1"));
    assert!(matches!(
        refused(after.register(restart(1009), claim())),
        Refusal::NameHeld { .. }
    ));
    assert_eq!(
        accepted(after.register(restart(1010), claim())),
        Change::Joined
    );
}

#[test]
fn rows_that_do_not_fit_each_other_are_mended() {
    let mut first = table();
    first.register(now(0), registration(1, 1, 1));
    let mut second = table();
    second.register(
        now(0),
        changed(2, 1, 1, |record| record.name = name("node-1")),
    );
    let mut rows = dump(&mut first);
    rows.extend(dump(&mut first));
    rows.extend(dump(&mut second));
    let mut table = table();
    rows.into_iter().for_each(|node| table.load(now(1), node));
    assert_eq!(table.len(), 2, "one node id twice is one node");
    assert_eq!(table.by_name(&name("node-1")).unwrap().id(), node_id(1));
    assert_eq!(table.counters().load_conflicts, 3);
    check(&table);
}

#[test]
fn renewal_times_of_another_user_of_the_slot_count_for_nothing() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let stale = table.take_seen();
    table.forget(&name("node-1"));
    table.register(now(0), registration(2, 1, 1));
    let mut node = dump(&mut table).remove(0);
    let before = node.clone();
    merge_seen(&mut node, &stale.seen[0].entries);
    assert_eq!(node, before);
    table.renew(now(5), &node_id(2), 1, 1, 9, (ip(2), 24373).into());
    merge_seen(&mut node, &table.take_seen().seen[0].entries);
    assert_eq!((node.last_seen, node.sequence), (now(5).wall, 9));
}

#[test]
fn mass_expiry_is_done_in_portions() {
    let mut table = table();
    for index in 0..10_050 {
        table.register(now(0), registration(index, 1, 1));
    }
    assert_eq!(table.expire(now(90)).len(), 10_000);
    assert!(table.next_deadline().unwrap() <= now(90).elapsed);
    assert_eq!(expire_all(&mut table, 90), 50);
    assert_eq!(table.present(), 0);
}

/// Invariants that hold after every operation.
fn check(table: &Table) {
    let mut present = 0;
    for (slot, cold) in table.cold.iter().enumerate() {
        let slot = slot as u32;
        let Some(cold) = cold else {
            assert!(table.free.contains(&slot));
            continue;
        };
        assert_eq!(table.slot_of(&table.hot(slot).id), Some(slot));
        present += usize::from(table.is_present(slot));
        assert_eq!(
            table.absent.contains(&(cold.ended, slot)),
            !table.is_present(slot)
        );
        assert_eq!(table.names.get(&cold.name) == Some(&slot), cold.bound);
        assert!(
            cold.wake != cold::NEVER,
            "every node is looked at again some day"
        );
        assert!(table.wakes.contains(&(cold.wake, slot)));
        assert!(cold.former.len() <= MAX_FORMER);
        assert!(
            cold.history.len()
                <= table
                    .settings
                    .max_intervals_per_node
                    .max(Record::MAX_ADDRESSES + 1)
        );
        for (index, a) in cold.history.iter().enumerate() {
            assert!(table.addresses.contains(&a.key(slot)));
            assert!(table.is_present(slot) || !a.is_open());
            let a = a.interval();
            assert!(a.to.is_none_or(|to| a.from <= to));
            for b in cold
                .history
                .iter()
                .skip(index + 1)
                .map(|span| span.interval())
            {
                let apart =
                    a.to.is_some_and(|to| to <= b.from) || b.to.is_some_and(|to| to <= a.from);
                assert!((a.ip, a.seen) != (b.ip, b.seen) || apart, "{a:?} {b:?}");
            }
        }
    }
    assert_eq!(table.present(), present);
    let used = table.cold.iter().flatten().count();
    assert_eq!(
        (used, table.free.len()),
        (table.len(), table.cold.len() - used)
    );
    assert_eq!(table.wakes.len(), used);
    for key in &table.addresses {
        let spans = &table.cold(key.slot()).history;
        assert!(spans.iter().any(|span| span.key(key.slot()) == *key));
    }
    for (name, slot) in &table.past_names {
        let cold = table.cold(*slot);
        assert!(cold.name == *name || cold.former.iter().any(|former| former.name == *name));
    }
    for (name, slot) in &table.names {
        let cold = table.cold(*slot);
        assert!(
            cold.name == *name
                || cold
                    .former
                    .iter()
                    .any(|former| former.name == *name && former.bound)
        );
    }
}

mod model {
    //! Random operations against a model that a person can check by reading.

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Register {
            node: u32,
            name: u32,
            epoch: u64,
            sequence: u64,
            address: u32,
            source: u32,
            lease: u32,
        },
        Renew {
            node: u32,
            ahead: u64,
            source: u32,
        },
        Goodbye {
            node: u32,
        },
        Forget {
            name: u32,
        },
        Restart,
        WallJump(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u64..120).prop_map(Step::Wait),
            6 => (0u32..4, 0u32..4, 1u64..4, 1u64..30, 0u32..4, 0u32..3, 0u32..100).prop_map(
                |(node, name, epoch, sequence, address, source, lease)| Step::Register {
                    node, name, epoch, sequence, address, source, lease
                }
            ),
            5 => (0u32..4, 0u64..3, 0u32..3).prop_map(|(node, ahead, source)| Step::Renew { node, ahead, source }),
            1 => (0u32..4).prop_map(|node| Step::Goodbye { node }),
            1 => (0u32..4).prop_map(|name| Step::Forget { name }),
            1 => Just(Step::Restart),
            1 => (-100_000i64..100_000).prop_map(Step::WallJump),
        ]
    }

    /// What a node must look like.
    struct Known {
        order: (u64, u64),
        base: u64,
        ends: u64,
        lease: u32,
        present: bool,
    }

    fn settings(max_nodes: usize) -> Settings {
        Settings {
            release_after: Duration::from_secs(150),
            history: Duration::from_secs(400),
            max_intervals_per_node: 20,
            max_nodes,
            ..Settings::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn table_follows_the_model(steps in prop::collection::vec(step(), 1..120), max_nodes in 2usize..6) {
            let mut table = Table::new(settings(max_nodes));
            let mut known: HashMap<NodeId, Known> = HashMap::new();
            let (mut elapsed, mut wall) = (1_000u64, START.0 / 1000);
            for step in steps {
                let mut moment = Now { elapsed: Duration::from_secs(elapsed), wall: Timestamp(wall * 1000) };
                match step {
                    Step::Wait(seconds) => {
                        elapsed += seconds;
                        wall += seconds;
                        moment = Now { elapsed: Duration::from_secs(elapsed), wall: Timestamp(wall * 1000) };
                    }
                    Step::WallJump(by) => wall = wall.saturating_add_signed(by),
                    Step::Register { node, name: text, epoch, sequence, address, source, lease } => {
                        let mut registration = changed(node, epoch, sequence, |record| {
                            record.name = name(&format!("name-{text}"));
                            record.addresses[0].ip = ip(address);
                            record.lease = Lease(lease + 1);
                        });
                        registration.source = (ip(source), 1).into();
                        let id = node_id(node);
                        let before = table.by_id(&id).map(|node| node.order());
                        if let Outcome::Accepted { change, lease, .. } = table.register(moment, registration)
                            && change != Change::Same
                        {
                            prop_assert!(before.is_none_or(|order| order < (epoch, sequence)));
                            let ends = elapsed + u64::from(lease.0);
                            let order = (epoch, sequence);
                            known.insert(id, Known { order, base: sequence, ends, lease: lease.0, present: true });
                            let wanted = name(&format!("name-{text}"));
                            prop_assert_eq!(table.by_name(&wanted).unwrap().id(), id);
                        }
                    }
                    Step::Renew { node, ahead, source } => {
                        let id = node_id(node);
                        if let Some(entry) = known.get_mut(&id) {
                            let sequence = entry.order.1 + ahead;
                            let (epoch, base) = (entry.order.0, entry.base);
                            let outcome = table.renew(moment, &id, epoch, base, sequence, (ip(source), 1).into());
                            if let (RenewOutcome::Renewed { .. }, true) = (outcome, ahead > 0) {
                                entry.order.1 = sequence;
                                entry.ends = elapsed + u64::from(entry.lease);
                                entry.present = true;
                            }
                        }
                    }
                    Step::Goodbye { node } => {
                        let id = node_id(node);
                        if let Some(entry) = known.get_mut(&id) {
                            let order = (entry.order.0, entry.order.1 + 1);
                            let outcome = table.goodbye(moment, goodbye(node, order.0, order.1));
                            let taken = matches!(outcome, Outcome::Accepted { changed: true, .. });
                            if taken {
                                (entry.order, entry.base, entry.present) = (order, order.1, false);
                            }
                        }
                    }
                    Step::Forget { name: text } => {
                        if let Some(Forgotten { node, record: true }) = table.forget(&name(&format!("name-{text}"))) {
                            known.remove(&node);
                        }
                    }
                    Step::Restart => {
                        let stored = dump(&mut table);
                        let mut next = Table::new(settings(max_nodes));
                        stored.iter().cloned().for_each(|node| next.load(moment, node));
                        prop_assert_eq!(next.counters().load_conflicts, 0);
                        prop_assert_eq!(dump(&mut next), stored, "what is loaded is what was stored");
                        table = next;
                        for entry in known.values_mut().filter(|entry| entry.present) {
                            entry.ends = elapsed + u64::from(entry.lease);
                        }
                    }
                }
                for _ in 0..20 {
                    table.expire(moment);
                }
                for (id, entry) in &mut known {
                    entry.present &= entry.ends > elapsed;
                    if entry.present {
                        let node = table.by_id(id).expect("who is present is known");
                        prop_assert_eq!(node.state(), State::Present);
                        prop_assert_eq!(node.order(), entry.order);
                    } else if let Some(node) = table.by_id(id) {
                        prop_assert_ne!(node.state(), State::Present);
                    }
                }
                known.retain(|id, _| table.by_id(id).is_some());
                prop_assert!(table.len() <= max_nodes);
                check(&table);
            }
        }
    }
}

#[test]
fn fixture_bodies_differ_with_the_record() {
    assert_ne!(
        registration(1, 1, 1).signed.body,
        registration(1, 1, 2).signed.body
    );
    assert_eq!(fixture::now(0).wall, START);
}
