//! Making the node's own record known: the plan is asked once per change, and each target's carrier does its part.

use std::collections::BTreeMap;

use super::shell::Node;
use super::wiring;
use crate::config::Config;
use crate::discovery::{Engine, OwnRecord, Server};
use crate::model::{Address, Now, Role};
use crate::net::{Interface, Policy};
use crate::publish::{Change, Intent, Publication, Standing, Target};

impl Node {
    /// Does at each target what became due as the network changed.
    pub(super) fn publish(&mut self, now: Now) {
        let network = wiring::network(&self.config, &self.traffic.policy, &self.interfaces);
        match &network {
            // A link that goes says goodbye: not because nothing could be read.
            Some(_) => self.mdns.update(now, &self.interfaces, &self.traffic.policy),
            None => tracing::debug!("the interfaces are not known: what is published stays"),
        }
        if network.as_ref().is_none_or(|network| network.addresses.is_empty()) {
            tracing::warn!(
                "no interface is taken: waiting for a network ('hereabouts status' says why each is left out)"
            );
        }
        for (target, change) in self.intent().changes(&self.standing(), network.as_ref()) {
            tracing::debug!(?target, ?change, "publishing");
            match target {
                Target::Channel | Target::Servers => self.tell_channel(now, change),
                Target::Mdns { .. } => self.mdns.publish(target, change),
                Target::Dynip { configured } => self.compat.publish(configured, change),
            }
        }
        self.mdns.follow();
    }

    /// What the configuration wants made known.
    pub(super) fn intent(&self) -> Intent {
        wiring::intent(&self.config, self.traffic.sockets.port())
    }

    /// What stands at each target, as far as it is known.
    fn standing(&self) -> BTreeMap<Target, Standing> {
        let engine = self.core.engine();
        let channel = Standing::This(Publication::from(engine.own().record()));
        let mut standing = BTreeMap::from([(Target::Channel, channel), (Target::Servers, at_servers(engine))]);
        standing.extend(self.mdns.standing());
        standing.extend(self.compat.standing());
        standing
    }

    /// Gives the engine what the record is to say: it announces and registers the change, and tries again by itself.
    fn tell_channel(&mut self, now: Now, change: Change) {
        // The plan never takes it back: the channel is always wanted, and where servers are not, the engine holds none. The
        // configuration does not change at run time, and a node leaves both as it stops, by the engine's goodbye.
        let Some(Publication { addresses, .. }) = change.into_wanted() else { return };
        if self.core.engine().own().record().addresses != addresses {
            tracing::info!(addresses = %listed(&addresses), "this node's addresses");
        }
        self.core.set_addresses(now, addresses);
    }
}

/// What a command tells the servers once: it can't know what they hold, and nobody listens when it has left.
///
/// `None` where it is not known what the interfaces give: then nothing is told, as it would replace what is known.
pub(super) fn told_once(config: &Config, policy: &Policy, interfaces: &[Interface]) -> Option<Publication> {
    let intent = Intent { role: Role::Client, servers: true, mdns: false, dynip: 0, ..wiring::intent(config, 0) };
    let standing = BTreeMap::from([(Target::Servers, Standing::Unknown)]);
    let changes = intent.changes(&standing, wiring::network(config, policy, interfaces).as_ref());
    changes.into_iter().find(|(target, _)| *target == Target::Servers)?.1.into_wanted()
}

/// What the servers hold, where all of them are known to hold the same.
fn at_servers(engine: &Engine) -> Standing {
    let mut each = engine.servers().iter().map(|server| at_server(server, engine.own()));
    let Some(first) = each.next() else { return Standing::Nothing };
    if each.all(|other| other == first) { first } else { Standing::Unknown }
}

/// What a server holds: what it was told before is not known to be what stands there now.
pub(super) fn at_server(server: &Server, own: &OwnRecord) -> Standing {
    match server.has_current(own) {
        true => Standing::This(Publication::from(own.record())),
        false => Standing::Unknown,
    }
}

fn listed(addresses: &[Address]) -> String {
    addresses.iter().map(|address| address.ip.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InterfaceName;
    use crate::net::InterfaceAddress;
    use crate::publish::Network;

    fn loopback() -> Interface {
        Interface {
            index: 1,
            name: InterfaceName::parse("lo").unwrap(),
            up: true,
            loopback: true,
            multicast: false,
            broadcast: false,
            point_to_point: false,
            kind: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn empty_list_of_interfaces_is_unknown_and_one_without_addresses_is_not() {
        let config = Config::default();
        let policy = wiring::policy(&config);
        assert_eq!(wiring::network(&config, &policy, &[]), None);
        assert_eq!(wiring::network(&config, &policy, &[loopback()]), Some(Network::default()));
    }

    #[test]
    fn command_tells_nothing_where_the_interfaces_are_not_known() {
        // Whatever the node itself publishes: the command was asked to register.
        let config = Config { publish: Vec::new(), ..Config::default() };
        let policy = wiring::policy(&config);
        assert_eq!(told_once(&config, &policy, &[]), None);
        let addresses = vec![InterfaceAddress::new([10, 0, 0, 7].into(), 24)];
        let name = InterfaceName::parse("eth0").unwrap();
        let eth0 = Interface { index: 2, name, loopback: false, multicast: true, addresses, ..loopback() };
        let told = told_once(&config, &policy, &[loopback(), eth0]).unwrap();
        assert_eq!((told.role, told.port), (Role::Client, 0));
        assert_eq!(told.ips().collect::<Vec<_>>(), [std::net::IpAddr::from([10, 0, 0, 7])]);
        assert_eq!(told_once(&config, &policy, &[loopback()]).unwrap().addresses, [], "the servers see where it is");
    }
}
