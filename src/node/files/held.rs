//! What nodes said they hold. In memory: after a restart of the server they say it again within a minute. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::api::view::{FileView, NodeView};
use crate::model::{NodeId, Timestamp};
use crate::wire::session::Report;

/// What nodes said they hold, by node and file.
#[derive(Debug, Default)]
pub(in crate::node) struct Held(HashMap<NodeId, BTreeMap<Box<str>, FileView>>);

impl Held {
    /// Takes what a known node says of an offered file; whether that is news. `nodes` are how many are known at all.
    pub(in crate::node) fn take(
        &mut self,
        node: NodeId,
        report: &Report,
        now: Timestamp,
        nodes: usize,
    ) -> bool {
        // Nodes that were forgotten leave something behind: with more of them than there are nodes, all begins anew.
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

    /// Whether a node said anything of a file, and which generation it holds.
    pub(in crate::node) fn generation(&self, node: &NodeId, name: &str) -> Option<u64> {
        self.0.get(node)?.get(name).map(|view| view.generation)
    }

    /// Whether a node said that it holds just this generation, and nothing went wrong with it.
    pub(in crate::node) fn has(&self, node: &NodeId, name: &str, generation: u64) -> bool {
        let view = self.0.get(node).and_then(|files| files.get(name));
        view.is_some_and(|view| view.generation == generation && view.error.is_none())
    }

    /// Puts what a node holds into its view.
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
    fn the_same_again_is_no_news() {
        let mut held = Held::default();
        let node = NodeId([1; 32]);
        assert!(held.take(node, &report("a", 1), Timestamp(1), 1));
        assert!(!held.take(node, &report("a", 1), Timestamp(2), 1));
        assert!(held.take(node, &report("a", 2), Timestamp(3), 1));
        assert!(held.take(
            node,
            &Report {
                error: Some("full".into()),
                ..report("a", 2)
            },
            Timestamp(4),
            1
        ));
        assert!(!held.has(&node, "a", 2), "something is wrong with it");
        held.take(node, &report("a", 2), Timestamp(5), 1);
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
    fn memory_follows_the_number_of_nodes() {
        let mut held = Held::default();
        for number in 0..10_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            held.take(NodeId(id), &report("a", 1), Timestamp(1), 10);
            assert!(held.0.len() <= 65);
        }
    }
}
