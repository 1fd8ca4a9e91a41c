//! Publication of the node's own record: each change of the network makes one plan, and each target's carrier does its
//! part of it.

use std::collections::BTreeMap;

use super::parts::Node;
use crate::discovery::{Engine, OwnRecord, Server};
use crate::model::{Address, Now};
use crate::publish::{Change, CurrentState, Intent, Publication, Target};
use crate::settings;

impl Node {
    /// Publishes the own record at each target where the network's change makes that necessary.
    pub(super) fn publish(&mut self, now: Now) {
        let network = settings::network(&self.config, &self.traffic.policy, &self.interfaces);
        match &network {
            // The record is withdrawn from a link that is absent, but not when the interfaces could not be read.
            Some(_) => self
                .mdns
                .update(now, &self.interfaces, &self.traffic.policy),
            None => tracing::debug!("the interfaces are not known: publications stay as they are"),
        }
        if network
            .as_ref()
            .is_none_or(|network| network.addresses.is_empty())
        {
            tracing::warn!(
                "no interface is used: waiting for a network ('hereabouts status' says why each is not used)"
            );
        }
        for (target, change) in self
            .intent()
            .changes(&self.current_state(), network.as_ref())
        {
            tracing::debug!(?target, ?change, "publishing a change");
            match target {
                Target::Channel | Target::Servers => self.publish_to_channel(now, change),
                Target::Mdns { .. } => self.mdns.publish(target, change),
                Target::Dynip { configured } => self.compat.publish(configured, change),
            }
        }
        self.mdns.follow();
    }

    /// What the configuration wants to publish, and where.
    pub(super) fn intent(&self) -> Intent {
        settings::intent(&self.config, self.traffic.sockets.port())
    }

    /// The current state of each target, as far as it is known.
    fn current_state(&self) -> BTreeMap<Target, CurrentState> {
        let engine = self.core.engine();
        let channel = CurrentState::This(Publication::from(engine.own().record()));
        let mut current_state = BTreeMap::from([
            (Target::Channel, channel),
            (Target::Servers, at_servers(engine)),
        ]);
        current_state.extend(self.mdns.current_state());
        current_state.extend(self.compat.current_state());
        current_state
    }

    /// Hands the new addresses to the engine, which announces and registers the change, and repeats that by itself.
    fn publish_to_channel(&mut self, now: Now, change: Change) {
        // The plan never withdraws these publications: the channel is always wanted, and where servers are not wanted, the
        // engine holds none. The configuration does not change at run time, and a node that stops leaves both by the
        // engine's goodbye.
        let Some(Publication { addresses, .. }) = change.into_wanted() else {
            return;
        };
        if self.core.engine().own().record().addresses != addresses {
            tracing::info!(addresses = %listed(&addresses), "this node's addresses");
        }
        self.core.set_addresses(now, addresses);
    }
}

/// What all servers hold, if that is known to be the same.
fn at_servers(engine: &Engine) -> CurrentState {
    let mut each = engine
        .servers()
        .iter()
        .map(|server| at_server(server, engine.own()));
    let Some(first) = each.next() else {
        return CurrentState::Nothing;
    };
    if each.all(|other| other == first) {
        first
    } else {
        CurrentState::Unknown
    }
}

/// What a server holds. An older record of this node counts as unknown: the server may hold any of them.
pub(super) fn at_server(server: &Server, own: &OwnRecord) -> CurrentState {
    if server.has_current(own) {
        CurrentState::This(Publication::from(own.record()))
    } else {
        CurrentState::Unknown
    }
}

fn listed(addresses: &[Address]) -> String {
    addresses
        .iter()
        .map(|address| address.ip.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}
