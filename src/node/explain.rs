//! Events and refusals as one sentence each, for the log and for `status`.

use super::core::Event;
use crate::discovery;
use crate::wire::v1::Refusal;

/// Why a server refused, and what mends it.
pub(super) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Clock { clock } => format!("the clocks differ too much; the server's says {clock}"),
        Refusal::NameHeld { holder } => format!(
            "the name is held by another node ({}): choose another node.name, or free it on the server with 'hereabouts forget'",
            holder.short()
        ),
        Refusal::Rate { wait } => {
            format!("too many requests, or the registry is full; to be tried again in {} s", wait.as_secs().max(1))
        }
        Refusal::Outdated { epoch, .. } => format!("the server has a newer record of this node (epoch {epoch})"),
        Refusal::UnknownRecord => "the server does not have this node's record".to_owned(),
        Refusal::Cloned => "another machine uses the same node id: one is a copy of the other's disk. \
                            Delete identity.key in the state directory of the copy"
            .to_owned(),
        Refusal::Channel { name } => format!("the server's channel is called {name:?}"),
    }
}

/// Logs an event: one line for each thing an operator wants to know.
pub(super) fn log(event: &Event) {
    match event {
        Event::Discovery(event) => discovery(event),
        Event::Arrived { name, source } => tracing::info!(%name, %source, "node arrived"),
        Event::Changed { name, source } => tracing::info!(%name, %source, "node's addresses changed"),
        Event::Hearsay { name, wire, source, arrived: true } => {
            tracing::info!(%name, %source, %wire, "a name arrived by an ancestor's wire, unauthenticated");
        }
        Event::Hearsay { name, wire, source, arrived: false } => {
            tracing::info!(%name, %source, %wire, "a name has another address by an ancestor's wire, unauthenticated");
        }
        Event::Departed { name } => tracing::info!(%name, "node left"),
        Event::Expired { name } => tracing::info!(%name, "node expired: its lease ran out without a renewal"),
        Event::NameConflict(conflict) => tracing::warn!(
            name = %conflict.name,
            holder = %conflict.holder.short(),
            claimant = %conflict.claimant.short(),
            source = %conflict.source,
            "a node was refused: another one holds its name. If the claimant is right, free the name with 'hereabouts forget {}'",
            conflict.name
        ),
        Event::Cloned { node, name, source } => tracing::warn!(
            node = %node.short(), %name, %source,
            "two machines use one node id: one is a copy of the other's disk. Delete identity.key in the state directory of the copy"
        ),
    }
}

fn discovery(event: &discovery::Event) {
    match event {
        discovery::Event::Registered { server, address, found_by, seen } => {
            tracing::info!(%server, %address, %found_by, %seen, "registered with a server");
        }
        discovery::Event::SeenElsewhere { server, seen } => {
            tracing::info!(%server, %seen, "a server sees this node at another address");
        }
        discovery::Event::NewerFiles { server } => {
            tracing::debug!(%server, "a renewal's answer says that the server offers other files than before");
        }
        discovery::Event::Refused { server, refusal: why } => {
            tracing::warn!(%server, "a server refused this node: {}", refusal(why));
        }
        discovery::Event::Lost { server, address, goodbye: true } => {
            tracing::info!(%server, %address, "a server said goodbye; looking for another");
        }
        discovery::Event::Lost { server, address, goodbye: false } => {
            tracing::warn!(%server, %address, "lost a server: it did not answer for a whole lease");
        }
        discovery::Event::Fallback { method } => {
            tracing::info!(%method, "the methods so far brought no server; trying the next one");
        }
        discovery::Event::ClockDiffers { from, millis } => tracing::warn!(
            server = %from,
            "this machine's clock and the server's differ by {} s: going on with the server's; set one of them right",
            millis / 1000
        ),
        discovery::Event::OtherChannel { from, name } => tracing::warn!(
            server = %from, channel = %name,
            "a server holds our key, but its channel has another name: set channel.name alike on both"
        ),
        discovery::Event::EpochRaised { epoch } => {
            tracing::info!(epoch, "a server knows a later start of this node; going on from there");
        }
    }
}
