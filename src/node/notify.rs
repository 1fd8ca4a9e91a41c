//! Changes of the registry, as watchers are notified of them.

use std::net::SocketAddr;

use super::core::Event;
use super::parts::Node;
use super::views;
use crate::api::view::{ChangeKind, ChangeView, NodeView};
use crate::model::NodeName;

impl Node {
    /// Notifies watchers of an event of the core that is about the registry.
    pub(super) fn notify_event(&mut self, event: &Event) {
        if self.watchers.is_empty() {
            return;
        }
        let (kind, name, source) = match event {
            Event::Discovery(_) => return,
            Event::Arrived { name, source } => (ChangeKind::Arrived, name, Some(*source)),
            Event::Changed { name, source } => (ChangeKind::Changed, name, Some(*source)),
            Event::OwnChanged { name } => (ChangeKind::Changed, name, None),
            Event::UnverifiedClaim {
                name,
                source,
                arrived: true,
                ..
            } => (ChangeKind::Arrived, name, Some(*source)),
            Event::UnverifiedClaim {
                name,
                source,
                arrived: false,
                ..
            } => (ChangeKind::Changed, name, Some(*source)),
            Event::Departed { name } => (ChangeKind::Left, name, None),
            Event::Expired { name } => (ChangeKind::Expired, name, None),
            Event::NameConflict(conflict) => {
                (ChangeKind::Conflict, &conflict.name, Some(conflict.source))
            }
            Event::Cloned { name, source, .. } => (ChangeKind::Cloned, name, Some(*source)),
        };
        let now = self.clock.now();
        let node = self
            .core
            .table()
            .and_then(|table| table.by_name(name))
            .map(|node| views::node(&node, now));
        self.notify(kind, name.clone(), source, node);
    }

    /// Notifies watchers of a change.
    pub(super) fn notify(
        &mut self,
        change: ChangeKind,
        name: NodeName,
        source: Option<SocketAddr>,
        node: Option<NodeView>,
    ) {
        let time = self.clock.now().wall;
        self.watchers.notify(&ChangeView {
            time,
            change,
            name,
            source,
            node,
            missed: 0,
        });
    }
}
