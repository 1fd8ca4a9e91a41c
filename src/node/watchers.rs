//! Clients that watch the registry: each gets every change as it happens.

use tokio::sync::mpsc::error::TrySendError;

use super::reply::fail;
use crate::api::control::Call;
use crate::api::request::ErrorKind;
use crate::api::view::ChangeView;

/// The limit of watchers at a time.
const MAX_WATCHERS: usize = 256;

/// Calls that wait for changes.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    call: Call,
    /// Changes that were dropped since the last one it got, as it reads too slowly.
    missed: u64,
}

impl Watchers {
    /// Adds a call, which gets changes for as long as its client listens.
    pub(super) fn add(&mut self, call: Call) {
        self.0.retain(|watcher| !watcher.call.reply.is_closed());
        if self.0.len() >= MAX_WATCHERS {
            return fail(
                &call,
                ErrorKind::Busy,
                "too many commands watch already: end one of them",
            );
        }
        self.0.push(Watcher { call, missed: 0 });
    }

    /// Whether no client watches.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notifies all watchers. A watcher that reads too slowly misses the change; the next one that it gets says how many it
    /// missed.
    pub(super) fn notify(&mut self, change: &ChangeView) {
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::api::request::{Item, Request, Response};
    use crate::api::view::ChangeKind;
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

    fn received(receiver: &mut mpsc::Receiver<Response>) -> (u64, u64) {
        match receiver.try_recv().unwrap() {
            Response::Item {
                item: Item::Change(view),
            } => (view.time.0, view.missed),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slow_watcher_is_notified_how_many_changes_it_missed() {
        let mut watchers = Watchers::default();
        let (reply, mut slow) = mpsc::channel(1);
        watchers.add(Call {
            request: Request::Watch,
            reply,
        });
        (1..=4).for_each(|time| watchers.notify(&change(time)));
        assert_eq!(received(&mut slow), (1, 0));
        watchers.notify(&change(5));
        assert_eq!(received(&mut slow), (5, 3));
        drop(slow);
        watchers.notify(&change(6));
        assert!(watchers.is_empty(), "a watcher that left is removed");
    }

    #[test]
    fn watcher_above_the_limit_gets_an_error() {
        let mut watchers = Watchers::default();
        let mut receivers = Vec::new();
        for _ in 0..=MAX_WATCHERS {
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
