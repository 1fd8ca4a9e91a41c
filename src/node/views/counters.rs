//! The counters of all parts of the node, in groups.

use crate::api::view::Counters;
use crate::node::core::Core;
use crate::publish::mdns::Mdns;
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
        for (name, count) in table.counters().all().filter(|(_, count)| *count > 0) {
            add("registry", name, count);
        }
    }
    groups
}
