use super::*;
use crate::model::Evidence;

#[test]
fn changed_source_is_recorded_in_the_history() {
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
        .filter(|interval| interval.evidence == Evidence::Observed)
        .collect();
    let first = Interval {
        ip: ip(1),
        evidence: Evidence::Observed,
        from: START,
        to: Some(now(20).wall),
        lost_by: None,
    };
    let second = Interval {
        ip: ip(77),
        evidence: Evidence::Observed,
        from: now(20).wall,
        to: None,
        lost_by: None,
    };
    assert_eq!(observed, [first, second]);
    assert_eq!(table.holder(ip(77)).unwrap().id(), node_id(1));
    assert_eq!(table.holders(ip(1), Some(now(5).wall)).count(), 2);
}

/// The only announced interval of node 1 at its first address.
fn first_interval(table: &Table) -> Interval {
    let node = table.by_id(&node_id(1)).unwrap();
    let mut found = node
        .history()
        .filter(|interval| interval.ip == ip(1) && interval.evidence == Evidence::Announced);
    let interval = found.next().unwrap();
    assert_eq!(found.next(), None);
    interval
}

#[test]
fn interval_ends_when_the_change_is_reported() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(
        now(33),
        changed(1, 1, 2, |record| record.addresses[0].ip = ip(50)),
    );
    let interval = first_interval(&table);
    assert_eq!(
        (interval.from, interval.to, interval.lost_by),
        (START, Some(now(33).wall), None)
    );
    let held: Vec<_> = table
        .at(&name("node-1"), now(32).wall)
        .map(|(_, interval)| (interval.ip, interval.covers(now(32).wall)))
        .collect();
    assert_eq!(held, [(ip(1), true), (ip(1), true)]);
}

#[test]
fn lost_node_had_its_address_probably_until_its_lease_ended() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.renew(now(30), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    // The lease ended at 120 s, and the table is called later.
    expire_all(&mut table, 125);
    let interval = first_interval(&table);
    assert_eq!(
        (interval.to, interval.lost_by),
        (Some(now(30).wall), Some(now(120).wall))
    );
    let found = |seconds: u64| {
        let at = now(seconds).wall;
        let mut found = table.holders(ip(1), Some(at));
        found.next().map(|(_, interval)| interval.covers(at))
    };
    assert_eq!(found(30), Some(true));
    assert_eq!(found(31), Some(false), "probably");
    assert_eq!(found(120), Some(false), "probably");
    assert_eq!(found(121), None);
}

#[test]
fn change_while_the_server_was_away_may_be_as_old_as_the_last_message() {
    let mut before = table();
    before.register(now(0), registration(1, 1, 1));
    before.renew(now(60), &node_id(1), 1, 1, 2, (ip(1), 24373).into());
    let mut after = table();
    dump(&mut before)
        .into_iter()
        .for_each(|node| after.load(now(5000), node));
    after.register(
        now(5002),
        changed(1, 1, 3, |record| record.addresses[0].ip = ip(50)),
    );
    let interval = first_interval(&after);
    assert_eq!(
        (interval.to, interval.lost_by),
        (Some(now(60).wall), Some(now(5002).wall))
    );
}

#[test]
fn uncertain_end_survives_a_restart() {
    let mut before = table();
    before.register(now(0), registration(1, 1, 1));
    expire_all(&mut before, 200);
    let stored = dump(&mut before);
    let mut after = table();
    stored
        .into_iter()
        .for_each(|node| after.load(now(300), node));
    assert_eq!(first_interval(&after), first_interval(&before));
    assert_eq!(first_interval(&after).lost_by, Some(now(90).wall));
}

#[test]
fn jump_of_the_wall_clock_expires_no_node_and_keeps_intervals_in_order() {
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
fn old_history_is_dropped_and_then_the_node() {
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
    assert!(table.len() == 0);
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
fn no_history_is_kept_if_the_setting_is_zero() {
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
fn holder_is_the_present_node_or_else_the_newest() {
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
