//! Where the node's own record is published.

use std::collections::BTreeMap;

use crate::api::view::{PublicationState, PublicationView};
use crate::compat::Compat;
use crate::discovery::{Server, explain_refusal};
use crate::node::core::Core;
use crate::node::publishing::at_server;
use crate::publish::mdns::Mdns;
use crate::publish::{Publication, Target, Wanted, plan};

/// Where the own record is published, and whether it is current there.
pub(in crate::node) fn publications(
    core: &Core,
    registers: bool,
    mdns: &Mdns,
    compat: &Compat,
) -> Vec<PublicationView> {
    let own = core.engine().own();
    let wanted = Publication::from(own.record());
    let view = |server: &Server| {
        let changes = plan(
            &BTreeMap::from([(Target::Servers, at_server(server, own))]),
            &BTreeMap::from([(Target::Servers, Wanted::This(wanted.clone()))]),
        );
        let reason = server.refusal.as_ref().map(explain_refusal);
        let state = match (changes.is_empty(), &reason) {
            (_, Some(_)) => PublicationState::Failed,
            (true, None) => PublicationState::Published,
            (false, None) => PublicationState::Waiting,
        };
        let addresses = if state == PublicationState::Published {
            wanted.ips().collect()
        } else {
            Vec::new()
        };
        PublicationView {
            target: Target::Servers.to_string(),
            name: server.name.to_string(),
            interface: None,
            state,
            addresses,
            reason,
        }
    };
    let mut views = Vec::new();
    if registers {
        views.extend(core.engine().servers().iter().map(view));
    }
    views.extend(mdns.publications().into_iter().map(|link| PublicationView {
        target: link.target.to_string(),
        name: link.name,
        interface: Some(link.interface),
        state: link.state,
        addresses: link.addresses,
        reason: link.reason,
    }));
    views.extend(compat.publications());
    views
}
