//! The requests of the control socket, and of sessions, that the running node answers.
//!
//! A request is answered at once where the registry or the node's own state is enough. Otherwise the call waits in the node:
//! for the store ([`Change`]), for the servers ([`Reannounce`]), or in a task that queries the network.

mod lookup;
mod status;

use std::time::Duration;

use tracing::Instrument as _;

use super::parts::Node;
use super::pending::{Change, Reannounce};
use super::reply::{fail, finish};
use super::views;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Item, Request, Response};
use crate::api::view::{AnnouncedView, ChangeKind};
use crate::discovery::{Server, explain_refusal};
use crate::lookup::Requester;
use crate::model::{NodeName, Now, Timestamp};
use crate::settings;
use crate::wire::v1::Want;

/// How long `announce` waits for the servers.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(3);
/// The time limit of a look-up on behalf of a command.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(1);
/// The limit of `announce` calls that wait for the servers.
const WAITING: usize = 64;
/// The error of requests that only a server can answer.
const NO_REGISTRY: &str = "this node keeps no registry";

impl Node {
    /// Answers a call now, or keeps it until it can be answered.
    pub(super) fn call(&mut self, call: Call) {
        let now = self.clock.now();
        match &call.request {
            Request::Status => finish(&call, [Response::from(self.status(now))]),
            Request::Health => finish(&call, [Response::from(self.health(now))]),
            Request::Nodes { .. }
            | Request::Node { .. }
            | Request::Holder { .. }
            | Request::History { .. } => match self.core.table() {
                Some(table) => lookup::look_up(&call, table, &self.files.held, now),
                None => fail(&call, ErrorKind::NotServer, NO_REGISTRY),
            },
            Request::Push { .. } => self.push(call),
            Request::Pull { .. } => self.pull(call),
            Request::Watch => match self.core.table() {
                Some(_) => self.watchers.add(call),
                None => fail(&call, ErrorKind::NotServer, NO_REGISTRY),
            },
            Request::Forget { name } => {
                let name = name.clone();
                self.forget(now, &name, call);
            }
            Request::Import { protocol, records } => {
                let protocol = *protocol;
                let records = records.clone();
                self.import(now, protocol, &records, call);
            }
            Request::Announce => self.announce(now, call),
            Request::Lookup { name } => {
                let want = Want::Name(name.clone());
                self.query_network(call, want);
            }
            Request::LookupHolder { address } => {
                let want = Want::Holder(*address);
                self.query_network(call, want);
            }
        }
    }

    /// Frees a name; the call is answered when that is durable.
    fn forget(&mut self, now: Now, name: &NodeName, call: Call) {
        let Some(table) = self.core.table() else {
            return fail(&call, ErrorKind::NotServer, NO_REGISTRY);
        };
        if self.core.engine().own().record().name == *name {
            return fail(
                &call,
                ErrorKind::BadRequest,
                "this is the server's own record: it can't be forgotten while the server runs",
            );
        }
        let Some(view) = table.by_name(name).map(|node| views::node(&node, now)) else {
            return fail(
                &call,
                ErrorKind::NotFound,
                format!("no node called '{name}' is known here"),
            );
        };
        self.core.forget(name);
        tracing::info!(%name, node = %view.node_id.short(), "forgot a node and freed its name");
        self.notify(
            ChangeKind::Forgotten,
            name.clone(),
            None,
            Some(view.clone()),
        );
        self.answer_when_durable(view.into(), call);
    }

    /// Keeps a call until the last change is durable.
    pub(super) fn answer_when_durable(&mut self, item: Item, call: Call) {
        let ticket = self.core.last_ticket();
        self.changes.push_back(Change { ticket, item, call });
    }

    /// Answers the calls whose changes are durable.
    pub(super) fn answer_changes(&mut self, durable: u64) {
        while self
            .changes
            .front()
            .is_some_and(|change| change.ticket <= durable)
        {
            if let Some(Change { item, call, .. }) = self.changes.pop_front() {
                finish(&call, [Response::from(item)]);
            }
        }
    }

    /// Registers with every server again; the call is answered when all have answered.
    fn announce(&mut self, now: Now, call: Call) {
        if self.reannounces.len() >= WAITING {
            return fail(
                &call,
                ErrorKind::Busy,
                "too many commands wait for the servers already: try again",
            );
        }
        self.core.register_now(now);
        self.reannounces.push(Reannounce {
            deadline: now.elapsed + ANNOUNCE_LIMIT,
            since: now.wall,
            call,
        });
    }

    /// Answers the `announce` calls whose servers have all answered, or whose time is over.
    pub(super) fn answer_reannounces(&mut self, now: Now) {
        let servers = self.core.engine().servers();
        let ready = |waiting: &mut Reannounce| {
            waiting.deadline <= now.elapsed
                || (!servers.is_empty()
                    && servers
                        .iter()
                        .all(|server| has_answered(server, waiting.since)))
        };
        for Reannounce { since, call, .. } in self.reannounces.extract_if(.., ready) {
            let items: Vec<_> = servers
                .iter()
                .map(|server| Response::from(announced(server, since)))
                .collect();
            finish(&call, items);
        }
    }

    /// Queries the network on behalf of a command, in a task of its own.
    fn query_network(&self, call: Call, want: Want) {
        let known: Vec<_> = self
            .core
            .engine()
            .servers()
            .iter()
            .map(|server| server.address)
            .collect();
        let settings = settings::lookup(&self.config, self.traffic.key_ring.clone());
        let span = tracing::debug_span!("lookup", ?want);
        let look_up = async move {
            let found = match Requester::open(settings).await {
                Ok(requester) => requester.look_up(want, &known, LOOK_UP_LIMIT).await,
                Err(error) => return fail(&call, ErrorKind::Failed, error.to_string()),
            };
            match (found, &call.request) {
                (Some(found), Request::LookupHolder { address }) => {
                    finish(&call, [Response::from(found.holder(*address))]);
                }
                (Some(found), _) => finish(&call, [Response::from(found.node)]),
                (None, _) => fail(
                    &call,
                    ErrorKind::NotFound,
                    "no node on the network knows it",
                ),
            }
        };
        tokio::spawn(look_up.instrument(span));
    }
}

/// Whether a server has acknowledged or refused this node since a time.
fn has_answered(server: &Server, since: Timestamp) -> bool {
    server.refusal.is_some()
        || server
            .held
            .as_ref()
            .is_some_and(|held| held.acknowledged >= since)
}

/// What a server answered to an `announce`.
fn announced(server: &Server, since: Timestamp) -> AnnouncedView {
    let held = server
        .held
        .as_ref()
        .filter(|held| held.acknowledged >= since);
    let error = match (held, &server.refusal) {
        (Some(_), None) => None,
        (_, Some(refusal)) => Some(explain_refusal(refusal)),
        (None, None) => Some(format!("no answer within {} s", ANNOUNCE_LIMIT.as_secs())),
    };
    AnnouncedView {
        server: server.address,
        name: Some(server.name.clone()),
        node_id: Some(server.id),
        seen: held.map(|held| held.seen),
        lease_seconds: held.map(|held| held.lease.0),
        error,
    }
}
