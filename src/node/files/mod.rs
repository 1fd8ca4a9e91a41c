//! Files of a running node: the notices that it sends, the reports of other nodes, and the progress of each push.
//!
//! The files themselves are read and written on the thread of the sessions ([`crate::transfer`]).

pub(super) mod held;
pub(super) mod held_and_pushed;
pub(super) mod push;
mod terminals;

use std::net::SocketAddr;

use push::PushEvent;

use super::parts::Node;
use super::reply::fail;
use super::views;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Request};
use crate::api::view::{AcceptView, ChangeKind, OfferView};
use crate::model::NodeId;
use crate::transfer::puller::Command;
use crate::transfer::{FileEvent, offers, publish_servers};
use crate::wire::session::Report;
use crate::wire::v1::Notice;

impl Node {
    /// Hands a notice to the puller. If its queue is full, the next regular visit pulls the file.
    pub(super) fn on_notice(&mut self, notice: Notice, from: SocketAddr) {
        tracing::debug!(file = %notice.name, generation = notice.generation, %from, "notice received");
        if let Some(puller) = &self.files.transfer.puller {
            let _ = puller.try_send(Command::Notice(notice));
        }
    }

    /// Makes the puller check its servers, as the files of one of them changed.
    pub(super) fn check_servers_files(&self) {
        if let Some(puller) = &self.files.transfer.puller {
            // If the queue is full, the next regular visit pulls the files.
            let _ = puller.try_send(Command::Changed);
        }
    }

    /// Makes the puller pull now; the puller answers the call.
    pub(super) fn pull(&mut self, call: Call) {
        let (Request::Pull { name }, Some(puller)) = (&call.request, &self.files.transfer.puller)
        else {
            return fail(
                &call,
                ErrorKind::NotFound,
                "this node accepts no files (files.accept is empty)",
            );
        };
        let now = Command::Now {
            name: name.as_deref().map(Into::into),
            reply: call.reply.clone(),
        };
        if puller.try_send(now).is_err() {
            fail(&call, ErrorKind::Busy, "the node is busy: try again");
        }
    }

    /// Handles an event of the transfer of files.
    pub(super) fn on_file_event(&mut self, event: FileEvent) {
        match event {
            FileEvent::Sending {
                node,
                name,
                generation,
                bytes,
            } => {
                self.note_puller(node, &name);
                self.files
                    .pushes
                    .on_sending(&node, &name, generation, bytes);
            }
            FileEvent::Reported { node, report } => self.on_report(node, report),
            FileEvent::Newer { name, generation } => {
                tracing::debug!(file = %name, generation = generation.number, "a file has a newer generation");
                self.core.offers_changed(self.clock.now());
                self.announce_generation(&name, &generation);
            }
        }
    }

    /// Notes that a known node accepts a file, as it pulls it, though it has not reported what it holds yet.
    fn note_puller(&mut self, node: NodeId, name: &str) {
        let Some(table) = self.core.table() else {
            return;
        };
        if table.by_id(&node).is_none() || self.files.held.generation(&node, name).is_some() {
            return;
        }
        let report = Report {
            name: name.into(),
            generation: 0,
            error: None,
            attempted: None,
            again: false,
        };
        let now = self.clock.now().wall;
        let nodes = table.len();
        self.files.held.on_report(node, &report, now, nodes);
    }

    /// Handles the result of a task that ran for a push.
    pub(super) fn on_push_event(&mut self, event: PushEvent) {
        match event {
            PushEvent::Refreshed(refreshed) => self.start_push(refreshed),
            PushEvent::Called(called) => self.files.pushes.on_called(called),
        }
    }

    /// Keeps a node's report on a file, and notifies watchers if it changes anything.
    fn on_report(&mut self, node: NodeId, report: Report) {
        let now = self.clock.now();
        // Only reports of known nodes on offered files are kept, so memory is bounded.
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
        let changed = self.files.held.on_report(node, &report, now.wall, nodes);
        tracing::debug!(node = %view.node_id.short(), file = %report.name, generation = report.generation, error = report.error.as_deref(), "report received");
        self.files.pushes.on_report(&node, &report);
        if changed && !self.watchers.is_empty() {
            self.files.held.fill(&mut view);
            let name = view.name.clone();
            let source = view.source;
            self.notify(ChangeKind::Reported, name, source, Some(view));
        }
    }

    /// Shows the puller which servers hold this node's record, with their addresses and clocks.
    ///
    /// Called after every turn of the loop, as neither a move nor an acknowledgement is an event of its own.
    pub(super) fn show_servers(&self) {
        if self.files.transfer.puller.is_none() {
            return;
        }
        let engine = self.core.engine();
        let own = engine.own().id();
        let others = engine.servers().iter().filter(|server| server.id != own);
        let servers = others.filter_map(|server| {
            let held = server.held.as_ref()?;
            Some((server.address, server.id, &server.name, held.clock_offset))
        });
        publish_servers(&self.files.transfer.servers, servers);
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

    /// The files that this node accepts, for `status`.
    pub(super) fn accept_views(&self) -> Vec<AcceptView> {
        self.files.transfer.accepts.views()
    }
}
