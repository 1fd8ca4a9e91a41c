use super::*;

#[test]
fn two_machines_with_one_id_are_reported_as_clones() {
    let boot = |epoch, boot, at: u32| {
        let mut clone_sighting = changed(1, epoch, 1, |record| record.boot = boot);
        clone_sighting.source = (ip(at), 1).into();
        clone_sighting
    };
    let mut table = table();
    accepted(table.register(now(0), boot(1, 111, 1)));
    // The copy starts. For a server this looks like a restart.
    accepted(table.register(now(10), boot(2, 222, 2)));
    // The first machine was refused as outdated and registers with a higher epoch: it never
    // stopped.
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
    // A replay of the refused record does not prolong the sighting.
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
        "only one boot sent messages for three leases"
    );
}

#[test]
fn machine_that_still_runs_takes_over_from_a_silent_copy() {
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
fn replay_of_an_old_boot_reports_no_clone() {
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
