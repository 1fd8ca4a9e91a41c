//! What the running node answers on its control socket.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::event_loop::Node;
use super::files::Held;
use super::views;
use crate::api::control::Call;
use crate::api::request::{ErrorKind, Item, PAGE, Request, Response};
use crate::api::view::{
    AnnouncedView, ChangeKind, ConfigView, ConflictView, HealthView, OwnView, RegistryView,
    SocketView, StatusView, StoreView,
};
use crate::discovery::explain_refusal;
use crate::lookup::Requester;
use crate::model::{NodeName, Now, State, Timestamp};
use crate::net::{self, InterfaceSource};
use crate::publish::Target;
use crate::registry::{Filter, NodeRef, Table};
use crate::settings;
use crate::wire::v1::Want;

/// How long `announce` waits for the servers.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(3);
/// How long a look-up on behalf of a command takes at most.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(1);
/// Nodes looked at for one page: with a label that few have, a page may be short or empty, and others get their turn.
const LOOKED_AT: usize = 10 * PAGE;
/// Commands that wait for the network or the store at a time.
const WAITING: usize = 64;
/// How long the oldest change may wait for the store before the node counts as not ready.
const STORE_LAG: Duration = Duration::from_secs(10);

/// A change that waits until it is synced.
pub(super) struct Change {
    pub(super) ticket: u64,
    pub(super) item: Item,
    pub(super) call: Call,
}

/// An `announce` that waits for the servers.
pub(super) struct Reannounce {
    pub(super) deadline: Duration,
    since: Timestamp,
    call: Call,
}

impl Node {
    /// Answers a call now, or notes it for later.
    pub(super) fn call(&mut self, call: Call) {
        let now = self.clock.now();
        match &call.request {
            Request::Status => finish(&call, [Response::from(self.status(now))]),
            Request::Health => finish(&call, [Response::from(self.health(now))]),
            Request::Nodes { .. }
            | Request::Node { .. }
            | Request::Holder { .. }
            | Request::History { .. } => match self.core.table() {
                Some(table) => look_up(&call, table, &self.files.held, now),
                None => fail(&call, ErrorKind::NotServer, "this node keeps no registry"),
            },
            Request::Push { .. } => self.push(call),
            Request::Pull { .. } => self.pull(call),
            Request::Watch => match self.core.table() {
                Some(_) => self.watchers.add(call),
                None => fail(&call, ErrorKind::NotServer, "this node keeps no registry"),
            },
            Request::Forget { name } => {
                let name = name.clone();
                self.forget(now, &name, call);
            }
            Request::Import { protocol, records } => {
                let (protocol, records) = (*protocol, records.clone());
                self.import(now, protocol, &records, call);
            }
            Request::Announce => {
                if self.reannounces.len() >= WAITING {
                    return fail(
                        &call,
                        ErrorKind::Busy,
                        "too many commands wait for the servers already",
                    );
                }
                self.core.register_now(now);
                let deadline = now.elapsed + ANNOUNCE_LIMIT;
                self.reannounces.push(Reannounce {
                    deadline,
                    since: now.wall,
                    call,
                });
            }
            Request::Lookup { name } => {
                let want = Want::Name(name.clone());
                self.ask_network(call, want);
            }
            Request::LookupHolder { address } => {
                let want = Want::Holder(*address);
                self.ask_network(call, want);
            }
        }
    }

    fn forget(&mut self, now: Now, name: &NodeName, call: Call) {
        let Some(table) = self.core.table() else {
            return fail(&call, ErrorKind::NotServer, "this node keeps no registry");
        };
        if self.core.engine().own().record().name == *name {
            return fail(
                &call,
                ErrorKind::BadRequest,
                "this is the server's own record: it can't be forgotten while it runs",
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
        self.tell(
            ChangeKind::Forgotten,
            name.clone(),
            None,
            Some(view.clone()),
        );
        let ticket = self.core.last_ticket();
        self.changes.push_back(Change {
            ticket,
            item: view.into(),
            call,
        });
    }

    /// Answers the changes that are durable.
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

    /// Answers the `announce`s whose servers have all spoken, or whose time is over.
    pub(super) fn answer_reannounces(&mut self, now: Now) {
        let servers = self.core.engine().servers();
        let answered = |waiting: &Reannounce| {
            let spoke = |server: &crate::discovery::Server| {
                server.refusal.is_some()
                    || server
                        .held
                        .as_ref()
                        .is_some_and(|held| held.acknowledged >= waiting.since)
            };
            waiting.deadline <= now.elapsed || (!servers.is_empty() && servers.iter().all(spoke))
        };
        for Reannounce { since, call, .. } in
            self.reannounces.extract_if(.., |waiting| answered(waiting))
        {
            let items = servers.iter().map(|server| {
                let held = server
                    .held
                    .as_ref()
                    .filter(|held| held.acknowledged >= since);
                let error = match (held, &server.refusal) {
                    (Some(_), None) => None,
                    (_, Some(refusal)) => Some(explain_refusal(refusal)),
                    (None, None) => {
                        Some(format!("no answer within {} s", ANNOUNCE_LIMIT.as_secs()))
                    }
                };
                Response::from(AnnouncedView {
                    server: server.address,
                    name: Some(server.name.clone()),
                    node_id: Some(server.id),
                    seen: held.map(|held| held.seen),
                    lease_seconds: held.map(|held| held.lease.0),
                    error,
                })
            });
            finish(&call, items.collect::<Vec<_>>());
        }
    }

    fn ask_network(&self, call: Call, want: Want) {
        let known: Vec<_> = self
            .core
            .engine()
            .servers()
            .iter()
            .map(|server| server.address)
            .collect();
        let settings = settings::lookup(&self.config, self.traffic.key_ring.clone());
        tokio::spawn(async move {
            let asked = Requester::open(settings).await;
            let found = match asked {
                Ok(requester) => requester.look_up(want, &known, LOOK_UP_LIMIT).await,
                Err(error) => return fail(&call, ErrorKind::Failed, error.to_string()),
            };
            match (found, &call.request) {
                (Some(found), Request::LookupHolder { address }) => {
                    finish(&call, [Response::from(found.holder(*address))]);
                }
                (Some(found), _) => finish(&call, [Response::from(found.node)]),
                (None, _) => fail(&call, ErrorKind::NotFound, "nobody on the network knows it"),
            }
        });
    }

    fn health(&self, now: Now) -> HealthView {
        let mut reasons = Vec::new();
        if let Some(store) = &self.store {
            let progress = store.progress.borrow();
            if let Some(failure) = &progress.failure {
                reasons.push(format!("the registry can't be written: {}", failure.reason));
            } else if store
                .waiting_since
                .is_some_and(|since| now.elapsed.saturating_sub(since) > STORE_LAG)
            {
                reasons.push("the registry's store does not keep up".to_owned());
            }
        }
        let engine = self.core.engine();
        if self.core.table().is_none()
            && !engine.servers().iter().any(|server| server.held.is_some())
        {
            reasons.push(
                "no server has acknowledged this node yet ('hereabouts status' says why)"
                    .to_owned(),
            );
        }
        HealthView {
            ready: reasons.is_empty(),
            reasons,
        }
    }

    fn status(&self, now: Now) -> StatusView {
        let own = self.core.engine().own();
        let record = own.record();
        let node = OwnView {
            name: record.name.clone(),
            node_id: own.id(),
            role: record.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            channel: self.config.channel.name.as_str().to_owned(),
            key_ids: self
                .traffic
                .key_ring
                .ids()
                .map(|id| id.to_string())
                .collect(),
            epoch: record.epoch,
            labels: record.labels.clone(),
            addresses: views::addresses(record),
            pid: std::process::id(),
            started: self.started,
            uptime_seconds: now.elapsed.as_secs(),
        };
        let socket = |purpose: &str, address| SocketView {
            purpose: purpose.to_owned(),
            address,
            interface: None,
        };
        let datagrams = self
            .addresses()
            .into_iter()
            .map(|address| socket("datagrams (UDP)", address));
        let sessions = self
            .tcp_address
            .map(|address| socket("sessions (TCP)", address));
        let groups = views::group_sockets(&self.interfaces, &self.traffic.sockets);
        let mdns = |interface| SocketView {
            purpose: "mdns".to_owned(),
            address: (Ipv4Addr::UNSPECIFIED, net::mdns::PORT).into(),
            interface: Some(interface),
        };
        let mdns = self.mdns.speaking().map(mdns);
        let conflicts = self.core.conflicts().map(|conflict| ConflictView {
            name: conflict.name.clone(),
            holder: conflict.holder,
            claimant: conflict.claimant,
            source: conflict.source,
            last_time: conflict.at,
        });
        let mut counters = views::counters(&self.core, &self.mdns, &self.session_counters);
        self.compat.count(&mut counters);
        StatusView {
            node,
            config: ConfigView {
                file: self.source.as_ref().map(|file| file.display().to_string()),
                state_dir: self.state.path().display().to_string(),
            },
            health: self.health(now),
            sockets: datagrams
                .chain(sessions)
                .chain(groups)
                .chain(mdns)
                .chain(self.compat.sockets())
                .collect(),
            methods: views::methods(&self.core, now, &self.servers, &self.lookup_failures),
            publications: views::publications(
                &self.core,
                self.intent().wants(Target::Servers),
                &self.mdns,
                &self.compat,
            ),
            interfaces: views::interfaces(
                &self.interfaces,
                &self.traffic.policy,
                &self.traffic.fanout,
            ),
            interfaces_polled: self.interface_source == InterfaceSource::Polled,
            servers: views::servers(&self.core),
            registry: self.registry(now),
            offers: self.offer_views(),
            accepts: self.accept_views(),
            counters,
            conflicts: conflicts.collect(),
            clones: views::clones(&self.core),
            compat: self.compat.views(),
            pydiscover: self.compat.servers(),
        }
    }

    fn registry(&self, now: Now) -> Option<RegistryView> {
        let (table, store) = (self.core.table()?, self.store.as_ref()?);
        let gone = table.nodes(
            Filter {
                present: false,
                absent: true,
            },
            None,
        );
        let left = gone.filter(|node| node.state() == State::Left).count() as u64;
        let (present, total) = (table.present() as u64, table.len() as u64);
        let lag = store
            .waiting_since
            .map_or(Duration::ZERO, |since| now.elapsed.saturating_sub(since));
        Some(RegistryView {
            present,
            expired: total.saturating_sub(present + left),
            left,
            total,
            unauthenticated: table.unverified() as u64,
            capacity: table.capacity() as u64,
            durable_lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            store: StoreView {
                path: store.path.display().to_string(),
                size_bytes: std::fs::metadata(&store.path).ok().map(|file| file.len()),
                last_error: store
                    .progress
                    .borrow()
                    .failure
                    .as_ref()
                    .map(|failure| failure.reason.clone()),
            },
        })
    }
}

/// Answers what the registry's table knows at once.
fn look_up(call: &Call, table: &Table, held: &Held, now: Now) {
    let view = |node: &NodeRef<'_>| {
        let mut view = views::node(node, now);
        held.fill(&mut view);
        view
    };
    match &call.request {
        Request::Nodes {
            labels,
            absent,
            after,
        } => {
            let after = match after.as_deref().map(NodeName::parse).transpose() {
                Ok(after) => after,
                Err(error) => {
                    return fail(
                        call,
                        ErrorKind::BadRequest,
                        format!("'after' is no name: {error}"),
                    );
                }
            };
            let filter = Filter {
                present: true,
                absent: *absent,
            };
            let fits = |node: &NodeRef<'_>| {
                let has = |(key, value): (&String, &String)| {
                    node.record().labels.value(key) == Some(value)
                };
                labels.is_empty() || labels.iter().all(has)
            };
            let mut page = Vec::new();
            let (mut last, mut next) = (None, None);
            for (looked_at, node) in table.nodes(filter, after.as_ref()).enumerate() {
                if page.len() == PAGE || looked_at == LOOKED_AT {
                    next = last.map(NodeName::to_string);
                    break;
                }
                last = Some(node.name());
                if fits(&node) {
                    page.push(view(&node));
                }
            }
            send(call, page.into_iter().map(Response::from), next);
        }
        Request::Node { name, at: None } => match table.by_name(name) {
            Some(node) => finish(call, [Response::from(view(&node))]),
            None => fail(
                call,
                ErrorKind::NotFound,
                format!("no node called '{name}' is known here"),
            ),
        },
        Request::Node { name, at: Some(at) } => {
            let found = table
                .at(name, *at)
                .take(PAGE)
                .map(|(node, interval)| views::history(&node, &interval));
            found_or_not(call, found.map(Response::from).collect(), || {
                format!("where '{name}' was at {at} is not known")
            });
        }
        Request::Holder { address, at } => {
            let address: IpAddr = address.to_canonical();
            let mut found: Vec<_> = table.holders(address, *at).take(PAGE).collect();
            found.sort_by_key(|(_, interval)| {
                std::cmp::Reverse((interval.to.is_none(), interval.to, interval.from))
            });
            let views = found
                .iter()
                .map(|(node, interval)| Response::from(views::holder(node, interval, now)));
            found_or_not(call, views.collect(), || {
                format!("nobody known here has or had {address}")
            });
        }
        Request::History { name, after } => {
            let skip = match after.as_deref().map(str::parse::<usize>).transpose() {
                Ok(skip) => skip.unwrap_or(0),
                Err(_) => return fail(call, ErrorKind::BadRequest, "'after' is no number"),
            };
            let mut all: Vec<_> = table.history(name).collect();
            if all.is_empty() && table.by_name(name).is_none() {
                return fail(
                    call,
                    ErrorKind::NotFound,
                    format!("no node called '{name}' is known here"),
                );
            }
            all.sort_by_key(|(_, interval)| {
                std::cmp::Reverse((interval.to.is_none(), interval.from))
            });
            let page: Vec<_> = all
                .iter()
                .skip(skip)
                .take(PAGE)
                .map(|(node, interval)| Response::from(views::history(node, interval)))
                .collect();
            let next = (skip + page.len() < all.len()).then(|| (skip + page.len()).to_string());
            send(call, page, next);
        }
        _ => fail(
            call,
            ErrorKind::Failed,
            "this request is not for the registry: this is a bug",
        ),
    }
}

fn found_or_not(call: &Call, items: Vec<Response>, message: impl FnOnce() -> String) {
    if items.is_empty() {
        fail(call, ErrorKind::NotFound, message())
    } else {
        finish(call, items)
    }
}

pub(super) fn finish(call: &Call, items: impl IntoIterator<Item = Response>) {
    send(call, items, None);
}

/// Sends an answer; whoever does not listen any more, or not fast enough, gets none.
fn send(call: &Call, items: impl IntoIterator<Item = Response>, next: Option<String>) {
    for response in items.into_iter().chain([Response::End { next }]) {
        if call.reply.try_send(response).is_err() {
            return;
        }
    }
}

pub(super) fn fail(call: &Call, kind: ErrorKind, message: impl Into<String>) {
    // Nobody waits for the answer any more: nothing to do.
    let _ = call.reply.try_send(Response::error(kind, message));
}
