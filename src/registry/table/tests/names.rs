use super::*;

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
        "the history of the earlier holder is still found"
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
        "the node had another name at that time"
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
fn node_keeps_a_limited_number_of_former_names() {
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
    assert_eq!(node.slot, 0);
    assert_eq!(
        table.renewal_key(&node_id(2)),
        None,
        "the key of the removed node is not used"
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
fn listing_is_in_name_order_and_continues_after_a_name() {
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
    let present = Filter {
        present: true,
        absent: false,
    };
    assert_eq!(names(Filter::ALL, None), ["node-1", "node-2", "node-3"]);
    assert_eq!(names(present, None), ["node-1", "node-3"]);
    assert_eq!(names(Filter::ALL, Some("node-1")), ["node-2", "node-3"]);
    assert_eq!(names(Filter::ALL, Some("node-3")), [""; 0]);
}
