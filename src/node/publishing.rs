//! Making the node's own record known: the plan is asked once per change, and each target's carrier does its part.

use std::collections::BTreeMap;

use super::event_loop::Node;
use crate::discovery::{Engine, OwnRecord, Server};
use crate::model::{Address, Now};
use crate::publish::{Change, CurrentState, Intent, Publication, Target};
use crate::settings;

impl Node {
    /// Does at each target what became due as the network changed.
    pub(super) fn publish(&mut self, now: Now) {
        let network = settings::network(&self.config, &self.traffic.policy, &self.interfaces);
        match &network {
            // A link that goes says goodbye: not because nothing could be read.
            Some(_) => self
                .mdns
                .update(now, &self.interfaces, &self.traffic.policy),
            None => tracing::debug!("the interfaces are not known: what is published stays"),
        }
        if network
            .as_ref()
            .is_none_or(|network| network.addresses.is_empty())
        {
            tracing::warn!(
                "no interface is taken: waiting for a network ('hereabouts status' says why each is left out)"
            );
        }
        for (target, change) in self
            .intent()
            .changes(&self.current_state(), network.as_ref())
        {
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
        settings::intent(&self.config, self.traffic.sockets.port())
    }

    /// What stands at each target, as far as it is known.
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

    /// Gives the engine what the record is to say: it announces and registers the change, and tries again by itself.
    fn tell_channel(&mut self, now: Now, change: Change) {
        // The plan never takes it back: the channel is always wanted, and where servers are not, the engine holds none. The
        // configuration does not change at run time, and a node leaves both as it stops, by the engine's goodbye.
        let Some(Publication { addresses, .. }) = change.into_wanted() else {
            return;
        };
        if self.core.engine().own().record().addresses != addresses {
            tracing::info!(addresses = %listed(&addresses), "this node's addresses");
        }
        self.core.set_addresses(now, addresses);
    }
}

/// What the servers hold, where all of them are known to hold the same.
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

/// What a server holds: what it was told before is not known to be what stands there now.
pub(super) fn at_server(server: &Server, own: &OwnRecord) -> CurrentState {
    match server.has_current(own) {
        true => CurrentState::This(Publication::from(own.record())),
        false => CurrentState::Unknown,
    }
}

fn listed(addresses: &[Address]) -> String {
    addresses
        .iter()
        .map(|address| address.ip.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}
