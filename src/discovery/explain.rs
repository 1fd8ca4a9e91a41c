//! Refusals as one sentence each, for the log, for `status` and for commands.

use crate::wire::v1::Refusal;

/// Says why a server refused, and how to fix it.
pub(crate) fn explain_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Clock { clock } => {
            format!("the clocks differ too much; the server's clock shows {clock}")
        }
        Refusal::NameHeld { holder } => format!(
            "the name is held by another node ({}): choose another node.name, or free the name on the server with \
             'hereabouts forget'",
            holder.short()
        ),
        Refusal::Rate { wait } => {
            format!(
                "too many requests, or the registry is full; try again in {} s",
                wait.as_secs().max(1)
            )
        }
        Refusal::Outdated { epoch, .. } => {
            format!("the server has a newer record of this node (epoch {epoch})")
        }
        Refusal::UnknownRecord => "the server does not have this node's record".to_owned(),
        Refusal::Cloned => {
            "another machine uses the same node id: one is a copy of the other's disk. \
             Delete identity.key in the state directory of the copy"
                .to_owned()
        }
        Refusal::Channel { name } => format!("the server's channel is called {name:?}"),
    }
}
