//! Random operations on the table, compared with a model that is simple enough to check by reading.

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

/// The expected state of a node.
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
                        let accepted = matches!(outcome, Outcome::Accepted { changed: true, .. });
                        if accepted {
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
                    prop_assert_eq!(dump(&mut next), stored, "the loaded nodes are those that were stored");
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
                    let node = table.by_id(id).expect("a present node is known");
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
