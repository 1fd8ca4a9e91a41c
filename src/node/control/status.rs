//! The answers to `status` and `health`: a snapshot of the node, made from its parts.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::api::view::{
    ConfigView, ConflictView, HealthView, OwnView, RegistryView, SocketView, StatusView, StoreView,
};
use crate::model::{Now, State};
use crate::net::{self, InterfaceSource};
use crate::node::parts::Node;
use crate::node::views;
use crate::publish::Target;
use crate::registry::Filter;

/// How long the oldest change may wait for the store before the node counts as not ready.
const STORE_LAG: Duration = Duration::from_secs(10);

impl Node {
    pub(super) fn health(&self, now: Now) -> HealthView {
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

    pub(super) fn status(&self, now: Now) -> StatusView {
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
            node: self.own_view(now),
            config: ConfigView {
                file: self.source.as_ref().map(|file| file.display().to_string()),
                state_dir: self.state.path().display().to_string(),
            },
            health: self.health(now),
            sockets: self.socket_views(),
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
            registry: self.registry_view(now),
            offers: self.offer_views(),
            accepts: self.accept_views(),
            counters,
            conflicts: conflicts.collect(),
            clones: views::clones(&self.core),
            compat: self.compat.views(),
            pydiscover: self.compat.servers(),
        }
    }

    fn own_view(&self, now: Now) -> OwnView {
        let own = self.core.engine().own();
        let record = own.record();
        let key_ids = self.traffic.key_ring.ids();
        OwnView {
            name: record.name.clone(),
            node_id: own.id(),
            role: record.role,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            channel: self.config.channel.name.as_str().to_owned(),
            key_ids: key_ids.map(|id| id.to_string()).collect(),
            epoch: record.epoch,
            labels: record.labels.clone(),
            addresses: views::addresses(record),
            pid: std::process::id(),
            started: self.started,
            uptime_seconds: now.elapsed.as_secs(),
        }
    }

    fn socket_views(&self) -> Vec<SocketView> {
        let socket = |purpose: &str, address, interface| SocketView {
            purpose: purpose.to_owned(),
            address,
            interface,
        };
        let datagrams = self.addresses().into_iter();
        let mut views: Vec<_> = datagrams
            .map(|address| socket("datagrams (UDP)", address, None))
            .collect();
        views.extend(
            self.tcp_address
                .map(|address| socket("sessions (TCP)", address, None)),
        );
        views.extend(views::group_sockets(
            &self.interfaces,
            &self.traffic.sockets,
        ));
        let mdns = (Ipv4Addr::UNSPECIFIED, net::mdns::PORT).into();
        let links = self.mdns.active_interfaces();
        views.extend(links.map(|interface| socket("mdns", mdns, Some(interface))));
        views.extend(self.compat.sockets());
        views
    }

    fn registry_view(&self, now: Now) -> Option<RegistryView> {
        let table = self.core.table()?;
        let store = self.store.as_ref()?;
        let absent = table.nodes(
            Filter {
                present: false,
                absent: true,
            },
            None,
        );
        let left = absent.filter(|node| node.state() == State::Left).count() as u64;
        let present = table.present() as u64;
        let total = table.len() as u64;
        let lag = store
            .waiting_since
            .map_or(Duration::ZERO, |since| now.elapsed.saturating_sub(since));
        let progress = store.progress.borrow();
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
                last_error: progress
                    .failure
                    .as_ref()
                    .map(|failure| failure.reason.clone()),
            },
        })
    }
}
