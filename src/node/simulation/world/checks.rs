//! The invariants of every step, and the questions of the tests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::{LEASE, World, stored_nodes};
use crate::model::{NodeName, Role, State};
use crate::node::Core;
use crate::registry::Filter;

impl World {
    /// Checks that an acknowledged record is on the disk.
    pub(super) fn check_acknowledged(&self, server: usize, node: SocketAddr, sequence: u64) {
        let Some(node) = self.hosts.iter().find(|host| host.address == node) else {
            return;
        };
        let (id, server) = (node.id(), &self.hosts[server]);
        let on_disk = stored_nodes(&server.disk)
            .any(|stored| stored.record.sequence <= sequence && stored.signed.node == id);
        assert!(
            on_disk,
            "{} acknowledged {} of {} before it was synced",
            server.name, sequence, node.name
        );
    }

    /// Checks the invariants of every step.
    pub(super) fn check(&self) {
        let slack = Duration::from_secs(1);
        for server in &self.hosts {
            let Some(table) = server.core.as_ref().and_then(Core::table) else {
                continue;
            };
            let mut names = BTreeSet::new();
            for node in table.nodes(Filter::ALL, None) {
                if node.is_bound() {
                    assert!(
                        names.insert(node.name().clone()),
                        "{} has two owners at {}",
                        node.name(),
                        server.name
                    );
                }
                let alive = self
                    .hosts
                    .iter()
                    .any(|host| host.id() == node.id() && host.core.is_some());
                if node.state() == State::Present && !alive {
                    let died = self
                        .hosts
                        .iter()
                        .filter(|host| host.id() == node.id())
                        .map(|host| host.stopped)
                        .max();
                    let since = died.unwrap_or_default().max(server.started);
                    let limit = LEASE.duration() + self.faults.delay + slack;
                    assert!(
                        self.elapsed <= since + limit,
                        "{} is dead and still present at {}",
                        node.name(),
                        server.name
                    );
                }
            }
        }
    }

    /// Whether every server knows every running host at its address, and every host is registered with a server.
    pub(in super::super) fn agrees(&self) -> bool {
        let running = || {
            self.hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| host.core.is_some())
        };
        let servers = || {
            running()
                .map(|(_, host)| host)
                .filter(|host| host.role.serves())
        };
        running().all(|(index, host)| {
            let known = servers().all(|server| {
                let table = server.core.as_ref().and_then(Core::table);
                let node = table.and_then(|table| table.by_name(&host.name));
                node.is_some_and(|node| {
                    let addresses = node.record().addresses;
                    node.state() == State::Present
                        && node.id() == host.id()
                        && addresses
                            .first()
                            .is_some_and(|address| address.ip == host.address.ip())
                })
            });
            let alone = !servers().any(|server| server.address != host.address);
            let held = self.holds_a_server(index);
            let registers = host.role.registers() && !alone;
            (known || (host.role == Role::Server && servers().count() > 1)) && (held || !registers)
        })
    }

    /// Whether a host is registered with any server.
    pub(in super::super) fn holds_a_server(&self, host: usize) -> bool {
        let core = self.hosts[host].core.as_ref();
        core.is_some_and(|core| {
            core.engine()
                .servers()
                .iter()
                .any(|server| server.held.is_some())
        })
    }

    pub(in super::super) fn state_of(&self, server: usize, name: &str) -> Option<State> {
        let table = self.hosts[server].core.as_ref().and_then(Core::table)?;
        table
            .by_name(&NodeName::parse(name).unwrap())
            .map(|node| node.state())
    }

    /// The names on a server's disk.
    pub(in super::super) fn on_disk(&self, server: usize) -> Vec<NodeName> {
        stored_nodes(&self.hosts[server].disk)
            .map(|stored| stored.record.name)
            .collect()
    }
}
