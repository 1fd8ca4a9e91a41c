//! The counters of all parts of the node, in groups.

use std::collections::BTreeMap;

use crate::api::view::Counters;
use crate::node::core::Core;
use crate::publish::mdns::Mdns;
use crate::registry::{self, Table};
use crate::remote::SessionCounters;

/// All counters that are not zero, in groups.
pub(in crate::node) fn counters(core: &Core, mdns: &Mdns, sessions: &SessionCounters) -> Counters {
    let mut groups = Counters::new();
    let mut add = |group: &str, name: &str, count| {
        let group = groups.entry(group.to_owned()).or_default();
        group.insert(name.to_owned(), count);
    };
    for (name, count) in sessions.all() {
        add("sessions", name, count);
    }
    for (name, count) in core.counters().all() {
        let (group, name) = name.split_once('.').unwrap_or(("datagrams", name.as_str()));
        add(group, name, count);
    }
    if mdns.floods() > 0 {
        add("mdns", "floods", mdns.floods());
    }
    if let Some(table) = core.table() {
        let counts = of_registry(table);
        if !counts.is_empty() {
            groups.insert("registry".to_owned(), counts);
        }
    }
    groups
}

fn of_registry(table: &Table) -> BTreeMap<String, u64> {
    let registry::Counters {
        name_conflicts,
        clones,
        outdated,
        full,
        evicted,
        intervals_dropped,
        names_dropped,
        expired,
        registered,
        renewed,
        load_conflicts,
        unverified_accepted,
        unverified_owned,
        unverified_full,
    } = table.counters();
    let counts = [
        ("name_conflicts", name_conflicts),
        ("clones", clones),
        ("outdated", outdated),
        ("full", full),
        ("evicted", evicted),
        ("intervals_dropped", intervals_dropped),
        ("names_dropped", names_dropped),
        ("expired", expired),
        ("registered", registered),
        ("renewed", renewed),
        ("load_conflicts", load_conflicts),
        ("unverified_accepted", unverified_accepted),
        ("unverified_owned", unverified_owned),
        ("unverified_full", unverified_full),
    ];
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}
