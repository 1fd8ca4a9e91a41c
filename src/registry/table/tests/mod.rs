mod clones;
mod history;
mod leases;
mod model;
mod names;
mod stored;

use super::*;
use crate::model::{Record, State, Timestamp};
use crate::registry::fixture::{self, START, changed, ip, name, node_id, now, registration};
use crate::registry::{Interval, row};
use crate::wire::v1::Refusal;

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

/// The nodes that a store would load after it stored all rows of `table`.
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

/// Checks the invariants that hold after every operation.
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
        assert!(cold.wake != cold::NEVER, "every node has a wake");
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
                assert!((a.ip, a.evidence) != (b.ip, b.evidence) || apart, "{a:?} {b:?}");
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
