use super::*;

#[test]
fn lease_is_the_smaller_of_request_and_limit() {
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
fn expired_node_is_kept_as_absent_and_comes_back() {
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
    assert_eq!((node.state(), node.last_seen()), (State::Expired, START));
    assert_eq!(table.cold(node.slot).ended_at, now(90).wall);
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
fn renewal_extends_the_lease_without_changing_the_time_index() {
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
fn renewal_that_does_not_fit_gets_the_reason() {
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
        "a replay changes no address"
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
fn restart_with_a_higher_epoch_is_accepted() {
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

#[test]
fn server_that_was_suspended_expires_no_node_before_a_whole_lease_has_passed() {
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
        "a node that sent a goodbye stays absent"
    );
    assert_eq!(table.next_deadline(), Some(Duration::from_secs(5090)));
    assert_eq!(table.expire(now(5090)), [node_id(1)]);
}

#[test]
fn full_table_evicts_no_present_node_and_no_reserved_name() {
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
