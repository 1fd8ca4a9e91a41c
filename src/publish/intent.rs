//! What is to stand at each target, from the configuration and the network. Pure.

use std::collections::BTreeMap;

use super::plan::{Change, CurrentState, Publication, Target, Wanted, plan};
use crate::model::{Address, InterfaceName, Labels, NodeName, Role};

/// What the configuration wants made known, and where.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The node's name.
    pub name: NodeName,
    /// The port it listens on.
    pub port: u16,
    /// What it runs as.
    pub role: Role,
    /// Its labels.
    pub labels: Labels,
    /// Whether it registers with the servers of the channel.
    pub servers: bool,
    /// Whether its record is shown by multicast DNS.
    pub mdns: bool,
    /// How many DynIP servers the configuration names; they are spoken of by index.
    pub dynip: usize,
}

/// What the network gives to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The addresses that the channel is told, best first.
    pub addresses: Vec<Address>,
    /// The interfaces that multicast DNS is spoken on.
    pub links: Vec<LinkAddresses>,
}

/// One interface, and what is told on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddresses {
    /// The interface's index.
    pub index: u32,
    /// Its name.
    pub interface: InterfaceName,
    /// Its addresses, best first.
    pub addresses: Vec<Address>,
}

impl Intent {
    /// Whether the configuration wants something at a target, whatever the network gives.
    pub fn wants(&self, target: Target) -> bool {
        match target {
            Target::Channel => true,
            Target::Servers => self.servers,
            Target::Mdns { .. } => self.mdns,
            Target::Dynip { configured } => configured < self.dynip,
        }
    }

    /// What to do at each target; `None` where it is not known what the network gives.
    pub fn changes(
        &self,
        current_state: &BTreeMap<Target, CurrentState>,
        network: Option<&Network>,
    ) -> Vec<(Target, Change)> {
        plan(current_state, &self.wanted(current_state, network))
    }

    /// What is to stand at each target. Those that tell addresses are unknown with the network, and stay as they are.
    fn wanted(
        &self,
        current_state: &BTreeMap<Target, CurrentState>,
        network: Option<&Network>,
    ) -> BTreeMap<Target, Wanted> {
        let mut wanted = BTreeMap::new();
        for target in [Target::Channel, Target::Servers] {
            // A record without addresses is a record: the servers see where it comes from.
            wanted.insert(
                target,
                self.at(target, network.map(|network| network.addresses.as_slice())),
            );
        }
        match network {
            Some(network) => {
                for LinkAddresses {
                    index,
                    interface,
                    addresses,
                } in &network.links
                {
                    let target = Target::Mdns {
                        index: *index,
                        interface: *interface,
                    };
                    // There, a name without an address is nothing.
                    let shown = if addresses.is_empty() {
                        Wanted::Nothing
                    } else {
                        self.at(target, Some(addresses))
                    };
                    wanted.insert(target, shown);
                }
            }
            None => {
                let links = current_state
                    .keys()
                    .filter(|target| matches!(target, Target::Mdns { .. }));
                wanted.extend(links.map(|target| (*target, self.at(*target, None))));
            }
        }
        // It is told the name alone, so the network matters not.
        wanted.extend((0..self.dynip).map(|configured| {
            let (name, role) = (self.name.clone(), self.role);
            let named = Publication {
                name,
                port: 0,
                role,
                labels: Labels::default(),
                addresses: Vec::new(),
            };
            (Target::Dynip { configured }, Wanted::This(named))
        }));
        wanted
    }

    fn at(&self, target: Target, addresses: Option<&[Address]>) -> Wanted {
        match addresses {
            _ if !self.wants(target) => Wanted::Nothing,
            None => Wanted::Unknown,
            Some(addresses) => Wanted::This(Publication {
                name: self.name.clone(),
                port: self.port,
                role: self.role,
                labels: self.labels.clone(),
                addresses: addresses.to_vec(),
            }),
        }
    }
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
