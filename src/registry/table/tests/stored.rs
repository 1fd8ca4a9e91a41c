use super::*;

#[test]
fn renewals_change_no_rows_and_mark_pages() {
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
fn batch_that_is_put_back_is_taken_again() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let batch = table.take_dirty();
    table.put_back(batch.clone());
    assert_eq!(table.take_dirty(), batch);
}

#[test]
fn short_outage_of_the_server_interrupts_no_history() {
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
fn node_absent_before_a_restart_loses_its_name_in_due_time() {
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
fn rows_that_contradict_each_other_are_corrected() {
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
    assert_eq!(table.len(), 2, "a node id that occurs twice is one node");
    assert_eq!(table.by_name(&name("node-1")).unwrap().id(), node_id(1));
    assert_eq!(table.counters().load_conflicts, 3);
    check(&table);
}

#[test]
fn renewal_times_of_the_slots_earlier_node_are_ignored() {
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
fn fixture_bodies_differ_with_the_record() {
    assert_ne!(
        registration(1, 1, 1).signed.body,
        registration(1, 1, 2).signed.body
    );
    assert_eq!(fixture::now(0).wall, START);
}
