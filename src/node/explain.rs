//! Events as one sentence each, for the log.

use super::core::Event;
use crate::discovery::{self, explain_refusal};

/// Logs an event in one line.
pub(super) fn log(event: &Event) {
    match event {
        Event::Discovery(event) => discovery(event),
        Event::Arrived { name, source } => tracing::info!(%name, %source, "node arrived"),
        Event::Changed { name, source } => {
            tracing::info!(%name, %source, "node's addresses changed")
        }
        // The addresses of this node have a line of their own.
        Event::OwnChanged { name } => tracing::debug!(%name, "own entry in the registry changed"),
        Event::UnverifiedClaim {
            name,
            protocol,
            source,
            arrived: true,
        } => {
            tracing::info!(%name, %source, %protocol, "a name arrived by a legacy protocol; it is unverified");
        }
        Event::UnverifiedClaim {
            name,
            protocol,
            source,
            arrived: false,
        } => {
            tracing::info!(%name, %source, %protocol, "a name has another address by a legacy protocol; it is unverified");
        }
        Event::Departed { name } => tracing::info!(%name, "node left"),
        Event::Expired { name } => {
            tracing::info!(%name, "node expired: its lease ran out without a renewal")
        }
        Event::NameConflict(conflict) => tracing::warn!(
            name = %conflict.name,
            holder = %conflict.holder.short(),
            claimant = %conflict.claimant.short(),
            source = %conflict.source,
            "a node was refused: another node holds its name. If the claimant is right, free the name with 'hereabouts forget {}'",
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
        discovery::Event::Registered {
            server,
            address,
            found_by,
            seen,
        } => {
            tracing::info!(%server, %address, %found_by, %seen, "registered with a server");
        }
        discovery::Event::SeenElsewhere { server, seen } => {
            tracing::info!(%server, %seen, "a server sees this node at another address");
        }
        discovery::Event::NewerFiles { server } => {
            tracing::debug!(%server, "the answer to a renewal says that the files of the server changed");
        }
        discovery::Event::Refused { server, refusal } => {
            tracing::warn!(%server, "a server refused this node: {}", explain_refusal(refusal));
        }
        discovery::Event::Lost {
            server,
            address,
            goodbye: true,
        } => {
            tracing::info!(%server, %address, "a server said goodbye; looking for another");
        }
        discovery::Event::Lost {
            server,
            address,
            goodbye: false,
        } => {
            tracing::warn!(%server, %address, "lost a server: it did not answer for a whole lease");
        }
        discovery::Event::Fallback { method } => {
            tracing::info!(%method, "the methods so far found no server; trying the next one");
        }
        discovery::Event::ClockDiffers { from, millis } => tracing::warn!(
            server = %from,
            "this machine's clock and the server's differ by {} s: using the server's time; correct one of the clocks",
            millis / 1000
        ),
        discovery::Event::OtherChannel { from, name } => tracing::warn!(
            server = %from, channel = %name,
            "a server holds our key, but its channel has another name: set the same channel.name on both"
        ),
        discovery::Event::EpochRaised { epoch } => {
            tracing::info!(
                epoch,
                "a server knows a later start of this node: continuing from its number"
            );
        }
    }
}
