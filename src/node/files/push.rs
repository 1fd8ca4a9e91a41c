//! `hereabouts push`: notices out, and how far each node is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::terminals::{self, Called};
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Item, Request, Response};
use crate::api::view::{Progress, PushView};
use crate::model::{NodeId, NodeName, Protocol, State};
use crate::node::Node;
use crate::registry::Filter;
use crate::settings;
use crate::transfer::offers::{Generation, Refresh};
use crate::wire::session::Report;
use crate::wire::v1::{Message, Notice};

/// Pushes at a time.
const PUSHES: usize = 16;
/// Notices to all that wait: one for each file that can be offered.
const MULTICASTS: usize = 64;
/// Unicast notices sent in one go; queries have their turn in between.
const AT_ONCE: usize = 256;
/// The longest time that nodes get.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How soon last lines are tried again whose reader had no room.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// How long a file may take to be looked at: a terabyte from a slow disk.
const REFRESH_LIMIT: Duration = Duration::from_secs(3600);

/// What was begun for a push came to its end.
pub(in crate::node) enum PushEvent {
    /// The file was looked at.
    Refreshed(Refreshed),
    /// Old terminals were called.
    Called(Called),
}

/// A file that is to be pushed was looked at.
pub(in crate::node) struct Refreshed {
    call: Call,
    outcome: Result<Arc<Generation>, String>,
}

/// Pushes under way, and notices that still have to leave.
#[derive(Default)]
pub(in crate::node) struct Pushes {
    running: Vec<Push>,
    /// Notices to all that leave next.
    multicast: Vec<Arc<Message>>,
    unicast: VecDeque<(SocketAddr, Arc<Message>)>,
    /// When last lines are tried again whose reader had no room.
    flush_at: Option<Duration>,
}

struct Push {
    call: Call,
    name: Box<str>,
    generation: u64,
    size: u64,
    /// Nodes that neither have it nor failed.
    waiting: Vec<Waiting>,
    /// Last lines of nodes that the reader has no room for yet: those are never left out.
    last: VecDeque<PushView>,
    deadline: Duration,
}

/// A node that is waited for.
struct Waiting {
    id: NodeId,
    name: NodeName,
    /// What hindered it last, while it goes on trying.
    trouble: Option<Box<str>>,
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

    /// What a report says of this push; `None` if it does not end the wait for its node.
    fn outcome(&self, node: &Waiting, report: &Report) -> Option<PushView> {
        let has_it = report.generation >= self.generation;
        let done = || self.view(node, Progress::Done, self.size);
        let Some(error) = report.error.as_deref() else {
            return has_it.then(done);
        };
        match report.attempted {
            // Of a visit that began before this push: another one follows.
            Some(attempted) if attempted < self.generation => None,
            // This one is there, and a later one is in trouble.
            Some(attempted) if attempted > self.generation && has_it => Some(done()),
            _ if report.again => None,
            _ => {
                // What followed may have failed though it is there.
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

    /// Tells how far a node is; whoever reads too slowly sees fewer of these.
    fn tell(&self, view: PushView) {
        if self.last.is_empty() {
            let _ = self.call.reply.try_send(view.into());
        }
    }

    /// Passes last lines on as there is room; whether the push is over.
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
    /// Notes that bytes are on their way.
    pub(super) fn sending(&mut self, node: &NodeId, name: &str, generation: u64, bytes: u64) {
        for push in self
            .running
            .iter()
            .filter(|push| *push.name == *name && push.generation == generation)
        {
            if let Some(waiting) = push.waiting.iter().find(|waiting| waiting.id == *node) {
                push.tell(push.view(waiting, Progress::Pulling, bytes));
            }
        }
    }

    /// Notes what a node says it holds.
    pub(super) fn reported(&mut self, node: &NodeId, report: &Report) {
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
                None => push.waiting[place].trouble.clone_from(&report.error),
            }
        }
        self.flush_at = Some(Duration::ZERO);
    }

    /// Notes which old terminals were called.
    pub(super) fn called(&mut self, Called { name, terminals }: Called) {
        for (id, outcome) in terminals {
            for push in self.running.iter_mut().filter(|push| push.name == name) {
                let Some(place) = push.waiting.iter().position(|waiting| waiting.id == id) else {
                    continue;
                };
                let node = push.waiting.swap_remove(place);
                let view = match &outcome {
                    Ok(()) => push.view(&node, Progress::Sent, 0),
                    Err(error) => {
                        let error = Some(format!("it could not be called: {error}"));
                        PushView {
                            error,
                            ..push.view(&node, Progress::Failed, 0)
                        }
                    }
                };
                push.last.push_back(view);
            }
        }
        self.flush_at = Some(Duration::ZERO);
    }

    /// Ends pushes that nobody is waited for in, or whose time is over.
    pub(in crate::node) fn end(&mut self, now: Duration) {
        for push in self.running.iter_mut().filter(|push| push.deadline <= now) {
            for node in std::mem::take(&mut push.waiting) {
                let mut error = "it did not say in time that it has it".to_owned();
                if let Some(trouble) = &node.trouble {
                    error = format!("{error}; it said last: {trouble}");
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

    /// When [`Self::end`] or [`Node::send_notices`] is to be called at the latest.
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

fn refuse(call: &Call, kind: ErrorKind, message: impl Into<String>) {
    // Nobody waits for the answer any more: nothing to do.
    let _ = call.reply.try_send(Response::error(kind, message));
}

impl Node {
    /// Has the file looked at; the push starts when that is done.
    pub(in crate::node) fn push(&mut self, call: Call) {
        let Request::Push { name, .. } = &call.request else {
            return;
        };
        let Some(refreshes) = self.files.transfer.refreshes.clone() else {
            return refuse(
                &call,
                ErrorKind::NotServer,
                "this node offers no files (files.offer is empty)",
            );
        };
        if self.files.pushes.running.len() >= PUSHES {
            return refuse(&call, ErrorKind::Busy, "too many pushes run already");
        }
        let (done, outcome) = oneshot::channel();
        let (name, events) = (name.as_str().into(), self.files.push_events.clone());
        tokio::spawn(async move {
            let asked = async {
                refreshes.send(Refresh { name, done }).await.ok()?;
                outcome.await.ok()
            };
            let outcome = match tokio::time::timeout(REFRESH_LIMIT, asked).await {
                Ok(Some(outcome)) => outcome,
                _ => Err("the file could not be looked at in time".to_owned()),
            };
            // The node stops if nobody receives.
            let _ = events
                .send(PushEvent::Refreshed(Refreshed { call, outcome }))
                .await;
        });
    }

    /// Tells the nodes, and waits for them.
    pub(super) fn start_push(&mut self, Refreshed { call, outcome }: Refreshed) {
        let Request::Push {
            name,
            to,
            timeout_ms,
        } = &call.request
        else {
            return;
        };
        let generation = match outcome {
            Ok(generation) => generation,
            Err(error) => return refuse(&call, ErrorKind::Failed, error),
        };
        let Some(table) = self.core.table() else {
            return refuse(&call, ErrorKind::NotServer, "this node keeps no registry");
        };
        let own = self.core.engine().own();
        let caller = self.compat.caller(name);
        let (mut nodes, mut old) = (Vec::new(), Vec::new());
        for (place, wanted) in to.iter().enumerate() {
            if to[..place].contains(wanted) {
                continue;
            }
            match table.by_name(wanted) {
                Some(node) if !node.protocol().is_authenticated() => {
                    match (node.protocol(), &caller) {
                        (Protocol::Terminals, Some(_)) => {
                            old.push(terminals::Terminal::from(&node))
                        }
                        (Protocol::Terminals, None) => {
                            let reason = format!(
                                "'{wanted}' is an old terminal, and those get compat.terminals.file alone"
                            );
                            return refuse(&call, ErrorKind::Failed, reason);
                        }
                        (protocol, _) => {
                            let reason = format!(
                                "'{wanted}' is known by hearsay ({protocol}), and takes no files"
                            );
                            return refuse(&call, ErrorKind::Failed, reason);
                        }
                    }
                }
                Some(node) if node.state() == State::Present => nodes.push(node),
                Some(_) => {
                    return refuse(
                        &call,
                        ErrorKind::Failed,
                        format!("'{wanted}' is not present now"),
                    );
                }
                None => {
                    return refuse(
                        &call,
                        ErrorKind::NotFound,
                        format!("no node called '{wanted}' is known here"),
                    );
                }
            }
        }
        let all = to.is_empty();
        if all {
            for node in table
                .nodes(
                    Filter {
                        present: true,
                        absent: false,
                    },
                    None,
                )
                .filter(|node| node.id() != own.id())
            {
                match node.protocol() {
                    protocol if protocol.is_authenticated() => nodes.push(node),
                    Protocol::Terminals if caller.is_some() => {
                        old.push(terminals::Terminal::from(&node))
                    }
                    _ => {}
                }
            }
        }
        let key = self.traffic.key_ring.first().id();
        let (number, size) = (generation.number, generation.snapshot.size());
        let notice = Notice::sign(
            own.identity(),
            key,
            name,
            number,
            size,
            *generation.snapshot.digest(),
        );
        let Ok(notice) = notice else {
            return refuse(
                &call,
                ErrorKind::BadRequest,
                format!("'{name}' can't be the name of an offer"),
            );
        };
        let message = Arc::new(Message::Notice(notice));
        let now = self.clock.now().elapsed;
        let deadline = now + Duration::from_millis(*timeout_ms).min(LONGEST);
        let mut push = Push {
            name: name.as_str().into(),
            generation: number,
            size,
            waiting: Vec::new(),
            last: VecDeque::new(),
            deadline,
            call,
        };
        for node in nodes {
            self.files
                .pushes
                .unicast
                .push_back((node.source(), message.clone()));
            let entry = Waiting {
                id: node.id(),
                name: node.name().clone(),
                trouble: None,
            };
            // Of all nodes, only those that take the file are waited for; a node that is named is.
            if all && self.files.held.generation(&entry.id, &push.name).is_none() {
                continue;
            }
            if self.files.held.has(&entry.id, &push.name, number) {
                push.last.push_back(push.view(&entry, Progress::Done, size));
            } else {
                push.tell(push.view(&entry, Progress::Notified, 0));
                push.waiting.push(entry);
            }
        }
        for terminal in &old {
            let entry = Waiting {
                id: terminal.id,
                name: terminal.name.clone(),
                trouble: None,
            };
            push.tell(push.view(&entry, Progress::Notified, 0));
            push.waiting.push(entry);
        }
        tracing::info!(file = %push.name, generation = number, nodes = push.waiting.len(), "pushing");
        if let Some(caller) = caller.filter(|_| all || !old.is_empty()) {
            terminals::call(
                caller,
                push.name.clone(),
                old,
                all,
                self.files.push_events.clone(),
            );
        }
        self.files.pushes.running.push(push);
        self.files.pushes.end(now);
        if all {
            self.multicast(message);
        }
    }

    /// Tells everybody at once that a file changed; nobody is waited for.
    pub(super) fn tell_newer(&mut self, name: &str, generation: &Generation) {
        let (key, snapshot) = (self.traffic.key_ring.first().id(), &generation.snapshot);
        let identity = self.core.engine().own().identity();
        let notice = Notice::sign(
            identity,
            key,
            name,
            generation.number,
            snapshot.size(),
            *snapshot.digest(),
        );
        if let Ok(notice) = notice {
            self.multicast(Arc::new(Message::Notice(notice)));
        }
    }

    fn multicast(&mut self, message: Arc<Message>) {
        if self.files.pushes.multicast.len() < MULTICASTS {
            self.files.pushes.multicast.push(message);
        }
    }

    /// Sends notices that wait, as many as fit in between.
    pub(in crate::node) async fn send_notices(&mut self) {
        for message in std::mem::take(&mut self.files.pushes.multicast) {
            for method in settings::methods(&self.config) {
                if let Err(error) = self
                    .traffic
                    .send_to_all(method, &message, self.core.counters_mut())
                    .await
                {
                    tracing::debug!(%method, "a notice could not be sent to all: {error}");
                }
            }
        }
        for _ in 0..AT_ONCE {
            let Some((to, message)) = self.files.pushes.unicast.pop_front() else {
                break;
            };
            self.traffic
                .send(to, &message, self.core.counters_mut())
                .await;
        }
        self.traffic.flush(self.core.counters_mut()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    /// A push of generation 5 to one node, and what it tells.
    fn push() -> (Pushes, mpsc::Receiver<Response>) {
        let (reply, told) = mpsc::channel(16);
        let request = Request::Push {
            name: "a".into(),
            to: Vec::new(),
            timeout_ms: 1000,
        };
        let push = Push {
            call: Call { request, reply },
            name: "a".into(),
            generation: 5,
            size: 10,
            waiting: vec![Waiting {
                id: NODE,
                name: "kiosk".parse().unwrap(),
                trouble: None,
            }],
            last: VecDeque::new(),
            deadline: Duration::from_secs(1),
        };
        (
            Pushes {
                running: vec![push],
                ..Pushes::default()
            },
            told,
        )
    }

    fn report(generation: u64, error: Option<&str>, attempted: Option<u64>, again: bool) -> Report {
        Report {
            name: "a".into(),
            generation,
            error: error.map(Into::into),
            attempted,
            again,
        }
    }

    /// How a push ends for its node, if it ends, after these reports.
    fn ended(reports: &[Report]) -> Option<(Progress, u64, Option<String>)> {
        let (mut pushes, mut told) = push();
        reports
            .iter()
            .for_each(|report| pushes.reported(&NODE, report));
        pushes.end(Duration::ZERO);
        match told.try_recv().ok()? {
            Response::Item {
                item: Item::Pushed(view),
            } => Some((view.state, view.generation, view.error)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_is_done_when_it_has_what_is_pushed_and_failed_when_that_failed_for_good() {
        assert_eq!(ended(&[report(4, None, Some(4), false)]), None);
        assert_eq!(
            ended(&[report(5, None, Some(5), false)]),
            Some((Progress::Done, 5, None))
        );
        assert_eq!(
            ended(&[report(6, None, Some(6), false)]),
            Some((Progress::Done, 5, None))
        );
        let failed = |generation| Some((Progress::Failed, generation, Some("full".to_owned())));
        assert_eq!(ended(&[report(4, Some("full"), Some(5), false)]), failed(4));
        assert_eq!(
            ended(&[report(4, Some("full"), None, false)]),
            failed(4),
            "an older node does not say more"
        );
        assert_eq!(
            ended(&[report(5, Some("full"), Some(5), false)]),
            failed(5),
            "what follows failed"
        );
        assert_eq!(
            ended(&[report(9, Some("full"), Some(5), false)]),
            failed(5),
            "it keeps a later one"
        );
        assert_eq!(
            ended(&[report(5, Some("full"), Some(6), false)]),
            Some((Progress::Done, 5, None))
        );
    }

    #[test]
    fn a_push_waits_while_a_node_tries_again_and_for_a_visit_that_began_after_it() {
        let broken = report(4, Some("the line broke"), Some(5), true);
        assert_eq!(ended(std::slice::from_ref(&broken)), None);
        let earlier = report(4, Some("what follows failed"), Some(4), false);
        assert_eq!(ended(std::slice::from_ref(&earlier)), None);
        let done = report(5, None, Some(5), false);
        assert_eq!(
            ended(&[earlier, broken.clone(), done]),
            Some((Progress::Done, 5, None))
        );
        // When its own time is over it says what hindered the node.
        let (mut pushes, mut told) = push();
        pushes.reported(&NODE, &broken);
        pushes.end(Duration::from_secs(1));
        let Some(Response::Item {
            item: Item::Pushed(view),
        }) = told.try_recv().ok()
        else {
            panic!()
        };
        assert_eq!(view.state, Progress::Failed);
        assert!(view.error.unwrap().ends_with("the line broke"));
    }
}
