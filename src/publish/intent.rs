//! What each target has to publish, derived from the configuration and the network. Pure.

use std::collections::BTreeMap;

use super::plan::{Change, CurrentState, Publication, Target, Wanted, plan};
use crate::model::{Address, InterfaceName, Labels, NodeName, Role};

/// What the configuration publishes, and where.
#[derive(Debug, Clone)]
pub struct Intent {
    pub name: NodeName,
    pub port: u16,
    pub role: Role,
    pub labels: Labels,
    /// Whether the node registers with the servers of the channel.
    pub servers: bool,
    /// Whether the node's record is published by multicast DNS.
    pub mdns: bool,
    /// How many DynIP servers the configuration names; a target has the index of one.
    pub dynip: usize,
}

/// The addresses that may be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The addresses for the channel, best first.
    pub addresses: Vec<Address>,
    /// The interfaces on which multicast DNS is used.
    pub links: Vec<LinkAddresses>,
}

/// One interface, and the addresses that may be published on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddresses {
    pub index: u32,
    pub interface: InterfaceName,
    /// Best first.
    pub addresses: Vec<Address>,
}

impl Intent {
    /// Whether the configuration publishes at a target, whatever the network is.
    pub fn wants(&self, target: Target) -> bool {
        match target {
            Target::Channel => true,
            Target::Servers => self.servers,
            Target::Mdns { .. } => self.mdns,
            Target::Dynip { configured } => configured < self.dynip,
        }
    }

    /// The changes at each target; `network` is `None` if it is not known.
    pub fn changes(
        &self,
        current_state: &BTreeMap<Target, CurrentState>,
        network: Option<&Network>,
    ) -> Vec<(Target, Change)> {
        let changes = plan(current_state, &self.wanted(current_state, network));
        for (target, change) in &changes {
            tracing::debug!(%target, ?change, "the publication changes");
        }
        changes
    }

    /// What each target has to publish. A target with addresses is unknown without the network, and
    /// stays as it is.
    fn wanted(
        &self,
        current_state: &BTreeMap<Target, CurrentState>,
        network: Option<&Network>,
    ) -> BTreeMap<Target, Wanted> {
        let mut wanted = BTreeMap::new();
        for target in [Target::Channel, Target::Servers] {
            // A record without addresses is still of use: the servers see its source address.
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
                    // A host name without an address would be of no use on a link.
                    let publication = if addresses.is_empty() {
                        Wanted::Nothing
                    } else {
                        self.at(target, Some(addresses))
                    };
                    wanted.insert(target, publication);
                }
            }
            None => {
                let links = current_state
                    .keys()
                    .filter(|target| matches!(target, Target::Mdns { .. }));
                wanted.extend(links.map(|target| (*target, self.at(*target, None))));
            }
        }
        // A DynIP server gets the name alone, so the network does not matter.
        wanted.extend((0..self.dynip).map(|configured| {
            let named = Publication {
                name: self.name.clone(),
                port: 0,
                role: self.role,
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
