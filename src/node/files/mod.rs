//! Files of a running node: notices out, what nodes report, and how far each push is.

mod held;
mod push;
mod terminals;

use std::net::SocketAddr;

use tokio::sync::mpsc;

pub(super) use held::Held;
pub(super) use push::{PushEvent, Pushes};

use super::Node;
use super::views;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Request, Response};
use crate::api::view::{AcceptView, ChangeKind, OfferView};
use crate::model::NodeId;
use crate::registry;
use crate::transfer::puller::Command;
use crate::transfer::{FileEvent, Handles, offers, show};
use crate::wire::session::Report;
use crate::wire::v1::Notice;

/// What a node knows of files: its ends of the transfer's queues, what others hold, and its pushes.
pub(super) struct Files {
    pub(super) transfer: Handles,
    pub(super) held: Held,
    pub(super) pushes: Pushes,
    /// Where what was begun for a push says how it went.
    push_events: mpsc::Sender<PushEvent>,
}

/// Pushes' events that wait: two for each that may run.
const PUSH_EVENTS: usize = 64;

impl Files {
    /// Nothing is held or pushed yet; what is begun for a push comes out of the queue.
    pub(super) fn new(transfer: Handles) -> (Self, mpsc::Receiver<PushEvent>) {
        let (push_events, events) = mpsc::channel(PUSH_EVENTS);
        (
            Self {
                transfer,
                held: Held::default(),
                pushes: Pushes::default(),
                push_events,
            },
            events,
        )
    }
}

impl Node {
    /// Passes a notice on; one that does not fit is made good by the next visit.
    pub(super) fn noticed(&mut self, notice: Notice, from: SocketAddr) {
        tracing::debug!(file = %notice.name, generation = notice.generation, %from, "a notice came");
        if let Some(puller) = &self.files.transfer.puller {
            let _ = puller.try_send(Command::Notice(notice));
        }
    }

    /// Has the puller ask its servers, as one of them offers other files than before.
    pub(super) fn files_changed(&self) {
        if let Some(puller) = &self.files.transfer.puller {
            // One that does not fit is made good by the next visit.
            let _ = puller.try_send(Command::Changed);
        }
    }

    /// Has the puller pull now.
    pub(super) fn pull(&mut self, call: Call) {
        let refused = match (&call.request, &self.files.transfer.puller) {
            (Request::Pull { name }, Some(puller)) => {
                let now = Command::Now {
                    name: name.as_deref().map(Into::into),
                    reply: call.reply.clone(),
                };
                puller
                    .try_send(now)
                    .err()
                    .map(|_| (ErrorKind::Busy, "the node is busy: try again"))
            }
            _ => Some((
                ErrorKind::NotFound,
                "this node takes no files (files.accept is empty)",
            )),
        };
        if let Some((kind, message)) = refused {
            // Nobody waits for the answer any more: nothing to do.
            let _ = call.reply.try_send(Response::error(kind, message));
        }
    }

    /// Takes what sessions tell of files.
    pub(super) fn file_event(&mut self, event: FileEvent) {
        match event {
            FileEvent::Sending {
                node,
                name,
                generation,
                bytes,
            } => {
                // Whoever pulls takes the file, though it has not said what it holds yet.
                let known = self
                    .core
                    .table()
                    .filter(|table| table.by_id(&node).is_some())
                    .map(registry::Table::len);
                if let Some(nodes) =
                    known.filter(|_| self.files.held.generation(&node, &name).is_none())
                {
                    let report = Report {
                        name: name.clone(),
                        generation: 0,
                        error: None,
                        attempted: None,
                        again: false,
                    };
                    self.files
                        .held
                        .take(node, &report, self.clock.now().wall, nodes);
                }
                self.files.pushes.sending(&node, &name, generation, bytes);
            }
            FileEvent::Reported { node, report } => self.reported(node, report),
            FileEvent::Newer { name, generation } => {
                self.core.offers_changed(self.clock.now());
                self.tell_newer(&name, &generation);
            }
        }
    }

    /// Takes what became of a push's first steps.
    pub(super) fn push_event(&mut self, event: PushEvent) {
        match event {
            PushEvent::Refreshed(refreshed) => self.start_push(refreshed),
            PushEvent::Called(called) => self.files.pushes.called(called),
        }
    }

    fn reported(&mut self, node: NodeId, report: Report) {
        let now = self.clock.now();
        // Only of nodes that are known, and of files that are offered: so it is bounded.
        let Some(table) = self.core.table() else {
            return;
        };
        let Some(known) = table.by_id(&node) else {
            return;
        };
        if !self.files.transfer.offers.has(&report.name) {
            return;
        }
        let mut view = views::node(&known, now);
        let nodes = table.len();
        let news = self.files.held.take(node, &report, now.wall, nodes);
        self.files.pushes.reported(&node, &report);
        if news && !self.watchers.is_empty() {
            self.files.held.fill(&mut view);
            let (name, source) = (view.name.clone(), view.source);
            self.tell(ChangeKind::Reported, name, source, Some(view));
        }
    }

    /// Shows the puller which servers hold this node's record, where they are and what their clocks say.
    ///
    /// After every turn, as neither a move nor an acknowledgement is an event of its own.
    pub(super) fn show_servers(&self) {
        if self.files.transfer.puller.is_some() {
            let own = self.core.engine().own().id();
            let servers = self
                .core
                .engine()
                .servers()
                .iter()
                .filter(|server| server.id != own);
            show(
                &self.files.transfer.servers,
                servers.filter_map(|server| {
                    Some((
                        server.address,
                        server.id,
                        &server.name,
                        server.held.as_ref()?.clock_offset,
                    ))
                }),
            );
        }
    }

    /// The files that this node offers, for `status`.
    pub(super) fn offer_views(&self) -> Vec<OfferView> {
        let view = |(name, offered): (Box<str>, offers::Offered)| {
            let current = offered.current.as_ref();
            OfferView {
                name: name.into(),
                path: offered.path.display().to_string(),
                generation: current.map(|current| current.number),
                size: current.map(|current| current.snapshot.size()),
                digest: current
                    .map(|current| data_encoding::HEXLOWER.encode(current.snapshot.digest())),
                error: offered.error,
            }
        };
        self.files
            .transfer
            .offers
            .all()
            .into_iter()
            .map(view)
            .collect()
    }

    /// The files that this node takes, for `status`.
    pub(super) fn accept_views(&self) -> Vec<AcceptView> {
        self.files.transfer.accepts.views()
    }
}
