//! What `status` tells of the ancestors' wires.

use tokio::sync::watch;

use super::Compat;
use crate::api::view::{
    CompatView, Counters, PublicationState, PublicationView, PydiscoverView, SocketView,
};
use crate::model::NodeName;
use crate::publish::Target;

impl Compat {
    /// Each wire in each role.
    pub(crate) fn views(&self) -> Vec<CompatView> {
        let known = self.tally.known();
        let view = |part: &super::Part| CompatView {
            protocol: part.protocol.to_owned(),
            side: part.side.to_owned(),
            target: part.target.clone(),
            weakness: part.weakness.to_owned(),
            last_error: known
                .failures
                .get(part.target.as_deref().unwrap_or(part.protocol))
                .cloned(),
        };
        self.parts.iter().map(view).collect()
    }

    /// The node's name at each DynIP server. It acknowledges nothing, so it is never known to stand there.
    pub(crate) fn publications(&self) -> Vec<PublicationView> {
        let known = self.tally.known();
        let clients = self
            .parts
            .iter()
            .filter(|part| part.protocol == "dynip" && part.side == "client");
        let view = |(configured, (part, wanted)): (
            usize,
            (&super::Part, &watch::Sender<Option<NodeName>>),
        )| {
            let name = part.target.clone().unwrap_or_default();
            let reason = known.failures.get(&name).cloned();
            let state = match (&*wanted.borrow(), &reason) {
                (None, _) => PublicationState::Waiting,
                (Some(_), Some(_)) => PublicationState::Failed,
                (Some(_), None) if known.told.contains(&name) => PublicationState::Sent,
                (Some(_), None) => PublicationState::Waiting,
            };
            let target = Target::Dynip { configured }.to_string();
            PublicationView {
                target,
                name,
                interface: None,
                state,
                addresses: Vec::new(),
                reason,
            }
        };
        clients.zip(&self.dynip).enumerate().map(view).collect()
    }

    /// The PyDiscover servers that answered.
    pub(crate) fn servers(&self) -> Vec<PydiscoverView> {
        let known = self.tally.known();
        let view =
            |(source, server): (&std::net::SocketAddr, &super::tally::Server)| PydiscoverView {
                source: *source,
                info: server.info.clone(),
                last_time: server.last,
            };
        known.servers.iter().map(view).collect()
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

    /// Adds what was counted, one group for each wire.
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
