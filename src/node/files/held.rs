//! Which files nodes hold, as they reported. In memory: after a restart of the server they report again within a minute.
//! Pure.

use std::collections::{BTreeMap, HashMap};

use crate::api::view::{FileView, NodeView};
use crate::model::{NodeId, Timestamp};
use crate::wire::session::Report;

/// Files by the node that holds them, and by name.
#[derive(Debug, Default)]
pub(in crate::node) struct Held(HashMap<NodeId, BTreeMap<Box<str>, FileView>>);

impl Held {
    /// Keeps the report of a known node on an offered file, and returns whether it changes anything. `nodes` is the number
    /// of known nodes.
    pub(in crate::node) fn on_report(
        &mut self,
        node: NodeId,
        report: &Report,
        now: Timestamp,
        nodes: usize,
    ) -> bool {
        // Entries of forgotten nodes remain: with more of these than there are nodes, the map starts again.
        if self.0.len() > nodes.saturating_mul(2).max(64) {
            self.0.clear();
        }
        let view = FileView {
            name: report.name.as_ref().to_owned(),
            generation: report.generation,
            reported: now,
            error: report.error.as_deref().map(str::to_owned),
        };
        let files = self.0.entry(node).or_default();
        let before = files.insert(report.name.clone(), view);
        let new = |before: FileView| {
            before.generation != report.generation
                || before.error.as_deref() != report.error.as_deref()
        };
        before.is_none_or(new)
    }

    /// The generation of a file that a node holds; `None` if it reported nothing of the file.
    pub(in crate::node) fn generation(&self, node: &NodeId, name: &str) -> Option<u64> {
        self.0.get(node)?.get(name).map(|view| view.generation)
    }

    /// Whether a node reported that it holds exactly this generation, without an error.
    pub(in crate::node) fn has(&self, node: &NodeId, name: &str, generation: u64) -> bool {
        let view = self.0.get(node).and_then(|files| files.get(name));
        view.is_some_and(|view| view.generation == generation && view.error.is_none())
    }

    /// Adds the files that a node holds to its view.
    pub(in crate::node) fn fill(&self, view: &mut NodeView) {
        if let Some(files) = self.0.get(&view.node_id) {
            view.files = files.values().cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, generation: u64) -> Report {
        Report {
            name: name.into(),
            generation,
            error: None,
            attempted: None,
            again: false,
        }
    }

    #[test]
    fn repeated_report_changes_nothing() {
        let mut held = Held::default();
        let node = NodeId([1; 32]);
        assert!(held.on_report(node, &report("a", 1), Timestamp(1), 1));
        assert!(!held.on_report(node, &report("a", 1), Timestamp(2), 1));
        assert!(held.on_report(node, &report("a", 2), Timestamp(3), 1));
        assert!(held.on_report(
            node,
            &Report {
                error: Some("full".into()),
                ..report("a", 2)
            },
            Timestamp(4),
            1
        ));
        assert!(!held.has(&node, "a", 2), "its last report has an error");
        held.on_report(node, &report("a", 2), Timestamp(5), 1);
        assert_eq!(
            [1, 2, 3].map(|generation| held.has(&node, "a", generation)),
            [false, true, false]
        );
        assert_eq!(
            (held.generation(&node, "a"), held.generation(&node, "b")),
            (Some(2), None)
        );
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_nodes() {
        let mut held = Held::default();
        for number in 0..10_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            held.on_report(NodeId(id), &report("a", 1), Timestamp(1), 10);
            assert!(held.0.len() <= 65);
        }
    }
}
