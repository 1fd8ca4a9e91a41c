//! `hereabouts push`: the pushes that run, and the progress of each node.
//!
//! A push ends for a node when the node reports that it holds the file, or that it failed for good, or when the time of the
//! push is over.

mod start;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use super::terminals::Called;
use crate::api::control::Call;
use crate::api::request::{Item, Response};
use crate::api::view::{Progress, PushView};
use crate::model::{NodeId, NodeName};
use crate::transfer::offers::Generation;
use crate::wire::session::Report;
use crate::wire::v1::Message;

/// How soon last lines are tried again for which the client had no room.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// The result of a task that ran for a push.
pub(in crate::node) enum PushEvent {
    /// The file was checked for a newer generation.
    Refreshed(Refreshed),
    /// Old terminals were called.
    Called(Called),
}

/// A file to push was checked for a newer generation.
pub(in crate::node) struct Refreshed {
    call: Call,
    outcome: Result<Arc<Generation>, String>,
}

/// The pushes that run, and the notices that wait to be sent.
#[derive(Default)]
pub(in crate::node) struct Pushes {
    running: Vec<Push>,
    /// Notices to all nodes, which are sent next.
    multicast: Vec<Arc<Message>>,
    unicast: VecDeque<(SocketAddr, Arc<Message>)>,
    /// When last lines are tried again for which the client had no room.
    flush_at: Option<Duration>,
}

struct Push {
    call: Call,
    name: Box<str>,
    generation: u64,
    size: u64,
    /// Nodes that neither hold the file nor failed.
    waiting: Vec<Waiting>,
    /// Last lines of nodes that the client has no room for yet: unlike progress, these are never dropped.
    last: VecDeque<PushView>,
    deadline: Duration,
}

/// A node that the push waits for.
struct Waiting {
    id: NodeId,
    name: NodeName,
    /// Its last error, while it tries again.
    last_error: Option<Box<str>>,
}

impl Push {
    fn view(&self, node: &Waiting, state: Progress, bytes: u64) -> PushView {
        PushView {
            node: node.name.clone(),
            node_id: node.id,
            state,
            generation: self.generation,
            bytes,
            size: self.size,
            error: None,
        }
    }

    /// The last line of a node after a report; `None` if the report does not end the wait for the node.
    fn outcome(&self, node: &Waiting, report: &Report) -> Option<PushView> {
        let has_it = report.generation >= self.generation;
        let done = || self.view(node, Progress::Done, self.size);
        let Some(error) = report.error.as_deref() else {
            return has_it.then(done);
        };
        match report.attempted {
            // The report is about a visit that began before this push: another visit follows.
            Some(attempted) if attempted < self.generation => None,
            // The node holds this generation, and a later one failed.
            Some(attempted) if attempted > self.generation && has_it => Some(done()),
            _ if report.again => None,
            _ => {
                // The action after the pull may have failed though the node holds the file.
                let bytes = if has_it { self.size } else { 0 };
                let generation = if has_it {
                    self.generation
                } else {
                    report.generation
                };
                let error = Some(error.to_owned());
                Some(PushView {
                    generation,
                    error,
                    ..self.view(node, Progress::Failed, bytes)
                })
            }
        }
    }

    /// Sends the progress of a node; a client that reads too slowly gets fewer of these lines.
    fn report_progress(&self, view: PushView) {
        if self.last.is_empty() {
            let _ = self.call.reply.try_send(view.into());
        }
    }

    /// Sends last lines while the client has room. Returns whether the push is over.
    fn flush(&mut self) -> bool {
        while let Some(view) = self.last.pop_front() {
            match self.call.reply.try_send(view.into()) {
                Ok(()) => {}
                Err(TrySendError::Full(Response::Item {
                    item: Item::Pushed(view),
                })) => {
                    self.last.push_front(view);
                    return false;
                }
                Err(_) => return true,
            }
        }
        if !self.waiting.is_empty() {
            return self.call.reply.is_closed();
        }
        !matches!(
            self.call.reply.try_send(Response::END),
            Err(TrySendError::Full(_))
        )
    }
}

impl Pushes {
    /// Reports that bytes are on their way to a node.
    pub(super) fn on_sending(&mut self, node: &NodeId, name: &str, generation: u64, bytes: u64) {
        for push in self
            .running
            .iter()
            .filter(|push| *push.name == *name && push.generation == generation)
        {
            if let Some(waiting) = push.waiting.iter().find(|waiting| waiting.id == *node) {
                push.report_progress(push.view(waiting, Progress::Pulling, bytes));
            }
        }
    }

    /// Handles a node's report on a file.
    pub(super) fn on_report(&mut self, node: &NodeId, report: &Report) {
        for push in self
            .running
            .iter_mut()
            .filter(|push| push.name == report.name)
        {
            let Some(place) = push.waiting.iter().position(|waiting| waiting.id == *node) else {
                continue;
            };
            match push.outcome(&push.waiting[place], report) {
                Some(view) => {
                    push.waiting.swap_remove(place);
                    push.last.push_back(view);
                }
                None => push.waiting[place].last_error.clone_from(&report.error),
            }
        }
        self.flush_at = Some(Duration::ZERO);
    }

    /// Ends the wait for old terminals that were called.
    pub(super) fn on_called(&mut self, Called { name, terminals }: Called) {
        for (id, outcome) in terminals {
            for push in self.running.iter_mut().filter(|push| push.name == name) {
                let Some(place) = push.waiting.iter().position(|waiting| waiting.id == id) else {
                    continue;
                };
                let node = push.waiting.swap_remove(place);
                let view = match &outcome {
                    Ok(()) => push.view(&node, Progress::Sent, 0),
                    Err(error) => PushView {
                        error: Some(format!("it could not be called: {error}")),
                        ..push.view(&node, Progress::Failed, 0)
                    },
                };
                push.last.push_back(view);
            }
        }
        self.flush_at = Some(Duration::ZERO);
    }

    /// Ends pushes that wait for no node any more, or whose time is over.
    pub(in crate::node) fn advance(&mut self, now: Duration) {
        for push in self.running.iter_mut().filter(|push| push.deadline <= now) {
            for node in std::mem::take(&mut push.waiting) {
                let mut error = "it did not report in time that it holds the file".to_owned();
                if let Some(last_error) = &node.last_error {
                    error = format!("{error}; its last error: {last_error}");
                }
                let view = PushView {
                    error: Some(error),
                    ..push.view(&node, Progress::Failed, 0)
                };
                push.last.push_back(view);
            }
            push.deadline = Duration::MAX;
        }
        self.running.retain_mut(|push| !push.flush());
        let slow = self
            .running
            .iter()
            .any(|push| !push.last.is_empty() || push.waiting.is_empty());
        self.flush_at = slow.then(|| now + FLUSH_EVERY);
    }

    /// When [`Self::advance`] or [`Node::send_notices`] is to be called at the latest.
    pub(in crate::node) fn deadline(&self) -> Option<Duration> {
        if self.unicast.is_empty() {
            self.running
                .iter()
                .map(|push| push.deadline)
                .chain(self.flush_at)
                .min()
        } else {
            Some(Duration::ZERO)
        }
    }
}

#[cfg(test)]
mod tests;
