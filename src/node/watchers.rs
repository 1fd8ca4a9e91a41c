//! Who is told of changes as they happen.

use std::net::SocketAddr;

use tokio::sync::mpsc::error::TrySendError;

use super::core::Event;
use super::event_loop::Node;
use super::views;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Response};
use crate::api::view::{ChangeKind, ChangeView, NodeView};
use crate::model::NodeName;

/// The most watchers at a time.
const WATCHERS: usize = 256;

/// Calls that wait for changes.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    call: Call,
    /// Changes that it was too slow for since the last that it got.
    missed: u64,
}

impl Watchers {
    /// Takes a call that is answered for as long as somebody listens.
    pub(super) fn add(&mut self, call: Call) {
        self.0.retain(|watcher| !watcher.call.reply.is_closed());
        if self.0.len() >= WATCHERS {
            // Nobody waits for the answer any more: nothing to do.
            let _ = call
                .reply
                .try_send(Response::error(ErrorKind::Busy, "too many watch already"));
            return;
        }
        self.0.push(Watcher { call, missed: 0 });
    }

    /// Whether nobody is to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells everybody; whoever reads too slowly misses it, and is told how many it missed.
    pub(super) fn tell(&mut self, change: &ChangeView) {
        self.0.retain_mut(|Watcher { call, missed }| {
            let change = ChangeView {
                missed: *missed,
                ..change.clone()
            };
            match call.reply.try_send(change.into()) {
                Ok(()) => *missed = 0,
                Err(TrySendError::Full(_)) => *missed += 1,
                Err(TrySendError::Closed(_)) => return false,
            }
            true
        });
    }
}

impl Node {
    /// Tells watchers what the core said, as far as it is about the registry.
    pub(super) fn tell_event(&mut self, event: &Event) {
        if self.watchers.is_empty() {
            return;
        }
        let (kind, name, source) = match event {
            Event::Discovery(_) => return,
            Event::Arrived { name, source } => (ChangeKind::Arrived, name, Some(*source)),
            Event::Changed { name, source } => (ChangeKind::Changed, name, Some(*source)),
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
        self.tell(kind, name.clone(), source, node);
    }

    /// Tells watchers of a change.
    pub(super) fn tell(
        &mut self,
        change: ChangeKind,
        name: NodeName,
        source: Option<SocketAddr>,
        node: Option<NodeView>,
    ) {
        let time = self.clock.now().wall;
        self.watchers.tell(&ChangeView {
            time,
            change,
            name,
            source,
            node,
            missed: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::api::request::{Item, Request};
    use crate::model::Timestamp;

    fn change(time: u64) -> ChangeView {
        let name = "laptop".parse().unwrap();
        ChangeView {
            time: Timestamp(time),
            change: ChangeKind::Left,
            name,
            source: None,
            node: None,
            missed: 0,
        }
    }

    fn told(receiver: &mut mpsc::Receiver<Response>) -> (u64, u64) {
        match receiver.try_recv().unwrap() {
            Response::Item {
                item: Item::Change(view),
            } => (view.time.0, view.missed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slow_watchers_learn_how_much_they_missed() {
        let mut watchers = Watchers::default();
        let (reply, mut slow) = mpsc::channel(1);
        watchers.add(Call {
            request: Request::Watch,
            reply,
        });
        (1..=4).for_each(|time| watchers.tell(&change(time)));
        assert_eq!(told(&mut slow), (1, 0));
        watchers.tell(&change(5));
        assert_eq!(told(&mut slow), (5, 3));
        drop(slow);
        watchers.tell(&change(6));
        assert!(watchers.is_empty(), "whoever left is forgotten");
    }

    #[test]
    fn one_watcher_too_many_is_told_so() {
        let mut watchers = Watchers::default();
        let mut receivers = Vec::new();
        for _ in 0..=WATCHERS {
            let (reply, receiver) = mpsc::channel(1);
            watchers.add(Call {
                request: Request::Watch,
                reply,
            });
            receivers.push(receiver);
        }
        let last = receivers.last_mut().unwrap().try_recv().unwrap();
        assert!(matches!(
            last,
            Response::Error {
                kind: ErrorKind::Busy,
                ..
            }
        ));
    }
}
