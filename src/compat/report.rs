//! The part of `status` about the legacy protocols: views, publications, sockets and counters.

use super::Compat;
use crate::api::view::{
    CompatView, Counters, PublicationState, PublicationView, PydiscoverView, SocketView,
};
use crate::publish::Target;

impl Compat {
    /// Each legacy protocol in each role.
    pub(crate) fn views(&self) -> Vec<CompatView> {
        let known = self.tally.known();
        let views = self.parts.iter().map(|part| CompatView {
            protocol: part.protocol.to_owned(),
            side: part.side.to_owned(),
            target: part.target.clone(),
            weakness: part.weakness.to_owned(),
            last_error: known
                .failures
                .get(part.target.as_deref().unwrap_or(part.protocol))
                .cloned(),
        });
        views.collect()
    }

    /// The node's name at each DynIP server. DynIP acknowledges nothing, so no publication is ever confirmed.
    pub(crate) fn publications(&self) -> Vec<PublicationView> {
        let known = self.tally.known();
        let clients = self
            .parts
            .iter()
            .filter(|part| part.protocol == "dynip" && part.side == "client");
        let mut views = Vec::new();
        for (configured, (part, wanted)) in clients.zip(&self.dynip).enumerate() {
            let name = part.target.clone().unwrap_or_default();
            let reason = known.failures.get(&name).cloned();
            let state = match (&*wanted.borrow(), &reason) {
                (None, _) => PublicationState::Waiting,
                (Some(_), Some(_)) => PublicationState::Failed,
                (Some(_), None) if known.sent.contains(&name) => PublicationState::Sent,
                (Some(_), None) => PublicationState::Waiting,
            };
            views.push(PublicationView {
                target: Target::Dynip { configured }.to_string(),
                name,
                interface: None,
                state,
                addresses: Vec::new(),
                reason,
            });
        }
        views
    }

    /// The PyDiscover servers that answered.
    pub(crate) fn servers(&self) -> Vec<PydiscoverView> {
        let known = self.tally.known();
        let views = known.servers.iter().map(|(source, server)| PydiscoverView {
            source: *source,
            info: server.info.clone(),
            last_time: server.last,
        });
        views.collect()
    }

    /// The sockets that are bound.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = SocketView> {
        self.parts.iter().flat_map(|part| {
            let purpose = format!("{} {}", part.protocol, part.side);
            part.sockets.iter().map(move |address| SocketView {
                purpose: purpose.clone(),
                address: *address,
                interface: None,
            })
        })
    }

    /// Adds the counters, one group for each protocol.
    pub(crate) fn count(&self, counters: &mut Counters) {
        for (name, count) in &self.tally.known().counts {
            let (group, name) = name.split_once('.').unwrap_or(("compat", name));
            counters
                .entry(group.to_owned())
                .or_default()
                .insert(name.to_owned(), *count);
        }
    }
}
