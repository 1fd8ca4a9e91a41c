//! The start of a push, and the notices that it sends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::super::held::Held;
use super::super::terminals::{self, Terminal};
use super::{Push, PushEvent, Refreshed, Waiting};
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Request};
use crate::api::view::Progress;
use crate::compat::Caller;
use crate::model::{NodeName, Protocol, State};
use crate::node::parts::Node;
use crate::node::reply::fail;
use crate::registry::{Filter, NodeRef, Table};
use crate::settings;
use crate::transfer::offers::{Generation, Refresh};
use crate::wire::v1::{Message, Notice};

/// The limit of pushes at a time.
const MAX_PUSHES: usize = 16;
/// The limit of notices to all that wait: one for each file that can be offered.
const MAX_MULTICASTS: usize = 64;
/// Unicast notices sent in one turn of the loop; queries have their turn in between.
const NOTICES_IN_A_ROW: usize = 256;
/// The limit of the time that nodes get.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long the check of a file may take: a terabyte from a slow disk.
const REFRESH_LIMIT: Duration = Duration::from_secs(3600);

/// The nodes that a push is for.
#[derive(Default)]
struct Recipients<'t> {
    nodes: Vec<NodeRef<'t>>,
    terminals: Vec<Terminal>,
}

impl Node {
    /// Checks the file for a newer generation, in a task of its own; the push starts when that is done.
    pub(in crate::node) fn push(&mut self, call: Call) {
        let Request::Push { name, .. } = &call.request else {
            return;
        };
        let Some(refreshes) = self.files.transfer.refreshes.clone() else {
            return fail(
                &call,
                ErrorKind::NotServer,
                "this node offers no files (files.offer is empty)",
            );
        };
        if self.files.pushes.running.len() >= MAX_PUSHES {
            return fail(
                &call,
                ErrorKind::Busy,
                "too many pushes run already: try again when one has ended",
            );
        }
        let (done, outcome) = oneshot::channel();
        let name: Box<str> = name.as_str().into();
        let events = self.files.push_events.clone();
        let span = tracing::debug_span!("push", file = %name);
        let check = async move {
            let refreshed = async {
                refreshes.send(Refresh { name, done }).await.ok()?;
                outcome.await.ok()
            };
            let outcome = match tokio::time::timeout(REFRESH_LIMIT, refreshed).await {
                Ok(Some(outcome)) => outcome,
                _ => Err("the file could not be read in time".to_owned()),
            };
            // The receiver is closed only when the node stops.
            let _ = events
                .send(PushEvent::Refreshed(Refreshed { call, outcome }))
                .await;
        };
        tokio::spawn(check.instrument(span));
    }

    /// Notifies the nodes, and begins to wait for them.
    pub(in crate::node::files) fn start_push(&mut self, Refreshed { call, outcome }: Refreshed) {
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
            Err(error) => return fail(&call, ErrorKind::Failed, error),
        };
        let Some(table) = self.core.table() else {
            return fail(&call, ErrorKind::NotServer, "this node keeps no registry");
        };
        let caller = self.compat.caller(name);
        let all = to.is_empty();
        let recipients = match self.recipients(table, to, caller.is_some()) {
            Ok(recipients) => recipients,
            Err((kind, message)) => return fail(&call, kind, message),
        };
        let Some(message) = self.signed_notice(name, &generation) else {
            let message = format!("'{name}' can't be the name of an offer");
            return fail(&call, ErrorKind::BadRequest, message);
        };
        let now = self.clock.now().elapsed;
        let mut push = Push {
            name: name.as_str().into(),
            generation: generation.number,
            size: generation.snapshot.size(),
            waiting: Vec::new(),
            last: VecDeque::new(),
            deadline: now + Duration::from_millis(*timeout_ms).min(MAX_TIMEOUT),
            call,
        };
        let unicast = &mut self.files.pushes.unicast;
        for node in &recipients.nodes {
            unicast.push_back((node.source(), message.clone()));
        }
        push.add_nodes(&recipients.nodes, &self.files.held, all);
        let terminals = recipients.terminals;
        push.add_terminals(&terminals);
        tracing::info!(file = %push.name, generation = push.generation, nodes = push.waiting.len(), "pushing");
        if let Some(caller) = caller
            && (all || !terminals.is_empty())
        {
            self.call_terminals(caller, push.name.clone(), terminals, all);
        }
        self.files.pushes.running.push(push);
        self.files.pushes.advance(now);
        if all {
            self.multicast(message);
        }
    }

    /// Calls terminals for a file, in a task of its own.
    fn call_terminals(&self, caller: Caller, file: Box<str>, terminals: Vec<Terminal>, all: bool) {
        let events = self.files.push_events.clone();
        let called = terminals::call(caller, file, terminals, all);
        tokio::spawn(async move {
            // The receiver is closed only when the node stops.
            let _ = events.send(PushEvent::Called(called.await)).await;
        });
    }

    /// The nodes that a push is for: those of the names, or all if there are no names.
    fn recipients<'t>(
        &self,
        table: &'t Table,
        names: &[NodeName],
        calls_terminals: bool,
    ) -> Result<Recipients<'t>, (ErrorKind, String)> {
        if names.is_empty() {
            Ok(self.all_recipients(table, calls_terminals))
        } else {
            named_recipients(table, names, calls_terminals)
        }
    }

    /// All present nodes but this one, and all old terminals if these can be called for the file.
    fn all_recipients<'t>(&self, table: &'t Table, calls_terminals: bool) -> Recipients<'t> {
        let own = self.core.engine().own().id();
        let present = Filter {
            present: true,
            absent: false,
        };
        let mut recipients = Recipients::default();
        for node in table.nodes(present, None) {
            if node.id() == own {
                continue;
            }
            match node.protocol() {
                protocol if protocol.is_authenticated() => recipients.nodes.push(node),
                Protocol::Terminals if calls_terminals => {
                    recipients.terminals.push(Terminal::from(&node));
                }
                _ => {}
            }
        }
        recipients
    }

    /// Notifies all nodes that a file has a newer generation; the server waits for no node.
    pub(in crate::node::files) fn announce_generation(
        &mut self,
        name: &str,
        generation: &Generation,
    ) {
        if let Some(message) = self.signed_notice(name, generation) {
            self.multicast(message);
        }
    }

    /// The notice of a generation; `None` if the name can't be the name of an offer.
    fn signed_notice(&self, name: &str, generation: &Generation) -> Option<Arc<Message>> {
        let notice = Notice::sign(
            self.core.engine().own().identity(),
            self.traffic.key_ring.first().id(),
            name,
            generation.number,
            generation.snapshot.size(),
            *generation.snapshot.digest(),
        );
        Some(Arc::new(Message::Notice(notice.ok()?)))
    }

    fn multicast(&mut self, message: Arc<Message>) {
        if self.files.pushes.multicast.len() < MAX_MULTICASTS {
            self.files.pushes.multicast.push(message);
        }
    }

    /// Sends notices that wait, up to a limit for one turn of the loop.
    pub(in crate::node) async fn send_notices(&mut self) {
        for message in std::mem::take(&mut self.files.pushes.multicast) {
            for method in settings::methods(&self.config) {
                if let Err(error) = self
                    .traffic
                    .send_to_all(method, &message, self.core.counters_mut())
                    .await
                {
                    tracing::debug!(%method, error, "failed to send a notice to all");
                }
            }
        }
        for _ in 0..NOTICES_IN_A_ROW {
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

impl Push {
    /// Adds the nodes that were notified. A push to all waits only for nodes that accept the file; a push to named nodes
    /// waits for each of them.
    fn add_nodes(&mut self, nodes: &[NodeRef<'_>], held: &Held, all: bool) {
        for node in nodes {
            let entry = Waiting {
                id: node.id(),
                name: node.name().clone(),
                last_error: None,
            };
            if all && held.generation(&entry.id, &self.name).is_none() {
                continue;
            }
            if held.has(&entry.id, &self.name, self.generation) {
                let view = self.view(&entry, Progress::Done, self.size);
                self.last.push_back(view);
            } else {
                self.wait_for(entry);
            }
        }
    }

    fn add_terminals(&mut self, terminals: &[Terminal]) {
        for terminal in terminals {
            self.wait_for(Waiting {
                id: terminal.id,
                name: terminal.name.clone(),
                last_error: None,
            });
        }
    }

    /// Reports that a node was notified, and waits for it.
    fn wait_for(&mut self, node: Waiting) {
        self.report_progress(self.view(&node, Progress::Notified, 0));
        self.waiting.push(node);
    }
}

/// The nodes of these names; an error if one of them can't get the file.
fn named_recipients<'t>(
    table: &'t Table,
    names: &[NodeName],
    calls_terminals: bool,
) -> Result<Recipients<'t>, (ErrorKind, String)> {
    let mut recipients = Recipients::default();
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            continue;
        }
        let Some(node) = table.by_name(name) else {
            let message = format!("no node called '{name}' is known here");
            return Err((ErrorKind::NotFound, message));
        };
        match node.protocol() {
            protocol if protocol.is_authenticated() => {
                if node.state() != State::Present {
                    let message = format!("'{name}' is not present now");
                    return Err((ErrorKind::Failed, message));
                }
                recipients.nodes.push(node);
            }
            Protocol::Terminals if calls_terminals => {
                recipients.terminals.push(Terminal::from(&node));
            }
            Protocol::Terminals => {
                let message = format!(
                    "'{name}' is an old terminal, which gets only the file of compat.terminals.file"
                );
                return Err((ErrorKind::Failed, message));
            }
            protocol => {
                let message = format!(
                    "'{name}' is known by {protocol} only: it is unverified, and accepts no files"
                );
                return Err((ErrorKind::Failed, message));
            }
        }
    }
    Ok(recipients)
}
