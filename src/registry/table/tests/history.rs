use crate::model::Evidence;
use super::*;

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
        to: Some(now(10).wall),
    };
    let second = Interval {
        ip: ip(77),
        evidence: Evidence::Observed,
        from: now(20).wall,
        to: None,
    };
    assert_eq!(observed, [first, second]);
    assert_eq!(table.holder(ip(77)).unwrap().id(), node_id(1));
    assert_eq!(table.holders(ip(1), Some(now(5).wall)).count(), 2);
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
