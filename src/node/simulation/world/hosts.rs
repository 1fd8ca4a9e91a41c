//! Hosts that are added, started, stopped, crashed, wiped, copied and moved.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Disk, Host, LEASE, PORT, World, identity, stored_nodes};
use crate::discovery::{
    Engine, EngineSettings, OwnRecord, OwnSettings, Responder, ResponderSettings,
};
use crate::model::{Address, Labels, NodeName, Origin, Role};
use crate::node::{Core, CoreSettings};
use crate::registry::{self, Table};

impl World {
    /// Adds a host that is switched off.
    pub(in super::super) fn add(&mut self, name: &str, role: Role) -> usize {
        let index = self.hosts.len();
        let number = u8::try_from(index + 1).unwrap();
        self.hosts.push(Host {
            name: NodeName::parse(name).unwrap(),
            role,
            address: SocketAddr::new(Ipv4Addr::new(10, 0, 0, number).into(), PORT),
            core: None,
            configured: Vec::new(),
            skew_millis: 0,
            part: 0,
            link: 0,
            browsing: false,
            identity: number,
            disk: Disk::default(),
            unsynced: VecDeque::new(),
            incarnation: 0,
            started: Duration::ZERO,
            stopped: Duration::ZERO,
        });
        index
    }

    /// Switches a host on: from its disk, as after a crash.
    pub(in super::super) fn start(&mut self, index: usize) {
        let now = self.now(index);
        let seed = self.rng.u64(..);
        let boot = self.rng.u64(..);
        let release_after = self.release_after;
        let keys: Vec<_> = self.key_ring.ids().collect();
        let key = self.key_ring.first().id();
        let host = &mut self.hosts[index];
        assert!(host.core.is_none(), "a host is started once");
        host.incarnation += 1;
        host.browsing = false;
        host.started = self.elapsed;
        host.disk.epoch += 1;
        let own = OwnSettings {
            name: host.name.clone(),
            epoch: host.disk.epoch,
            boot,
            lease: LEASE,
            port: PORT,
            role: host.role,
            labels: Labels::default(),
        };
        let own = OwnRecord::new(identity(host.identity), key, own);
        let settings = EngineSettings {
            registers: host.role.registers(),
            methods: self.methods.clone(),
            fallback_after: Duration::from_secs(3),
            max_servers: 4,
            configured: host.configured.len(),
            keys: keys.clone(),
            seed,
        };
        let engine = Engine::new(now, settings, own);
        let responder = Responder::new(
            now,
            ResponderSettings::new(seed ^ 1),
            host.name.clone(),
            host.role,
        );
        let table = host.role.serves().then(|| {
            let settings = registry::Settings {
                max_lease: LEASE,
                release_after,
                ..registry::Settings::default()
            };
            let mut table = Table::new(settings);
            for stored in stored_nodes(&host.disk) {
                table.load(now, stored);
            }
            table
        });
        let settings = CoreSettings {
            info: Labels::default(),
            keys,
            accepts: Vec::new(),
        };
        host.core = Some(Core::new(now, engine, responder, table, settings));
        self.set_address(index, self.hosts[index].address.ip());
        self.drain_outputs(index);
    }

    /// Switches a host off without a goodbye; changes that were not synced are lost.
    pub(in super::super) fn crash(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.core.take().is_some() {
            host.unsynced.clear();
            host.incarnation += 1;
            host.stopped = self.elapsed;
            self.stats.crashes += 1;
        }
    }

    /// Stops a host in order: it says goodbye, and syncs all changes.
    pub(in super::super) fn stop(&mut self, index: usize) {
        let now = self.now(index);
        if let Some(core) = &mut self.hosts[index].core {
            core.stop(now);
            self.drain_outputs(index);
            let host = &mut self.hosts[index];
            while let Some((_, batch)) = host.unsynced.pop_front() {
                host.disk.apply(batch);
            }
            host.core = None;
            host.incarnation += 1;
            host.stopped = self.elapsed;
        }
    }

    /// Wipes a host's disk: the host comes back as another node of the same name.
    pub(in super::super) fn wipe(&mut self, index: usize, identity: u8) {
        assert!(
            self.hosts[index].core.is_none(),
            "a running host keeps its disk"
        );
        self.hosts[index].disk = Disk::default();
        self.hosts[index].identity = identity;
    }

    /// Makes a host's disk a copy of another's.
    pub(in super::super) fn clone_disk(&mut self, from: usize, to: usize) {
        self.hosts[to].disk = Disk {
            epoch: self.hosts[from].disk.epoch,
            ..Disk::default()
        };
        self.hosts[to].identity = self.hosts[from].identity;
    }

    /// Gives a host another address.
    pub(in super::super) fn set_address(&mut self, index: usize, ip: IpAddr) {
        let now = self.now(index);
        self.hosts[index].address.set_ip(ip);
        if let Some(core) = &mut self.hosts[index].core {
            core.set_addresses(
                now,
                vec![Address {
                    ip,
                    interface: None,
                    origin: Origin::Interface,
                }],
            );
            core.network_changed(now);
            self.drain_outputs(index);
        }
    }
}
