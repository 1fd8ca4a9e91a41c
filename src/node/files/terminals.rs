//! `hereabouts push` to old terminals: they are called to fetch the file, and can't report the result.

use std::net::SocketAddr;

use crate::compat::Caller;
use crate::model::{NodeId, NodeName};
use crate::registry::NodeRef;

/// An old terminal to call.
pub(super) struct Terminal {
    pub(super) id: NodeId,
    pub(super) name: NodeName,
    address: SocketAddr,
}

impl From<&NodeRef<'_>> for Terminal {
    fn from(node: &NodeRef<'_>) -> Self {
        Self {
            id: node.id(),
            name: node.name().clone(),
            address: node.source(),
        }
    }
}

/// Terminals that were called for a file, each with its error.
pub(in crate::node) struct Called {
    pub(super) name: Box<str>,
    pub(super) terminals: Vec<(NodeId, Result<(), String>)>,
}

/// Calls all terminals by one broadcast, as the old base did, or only these.
pub(super) async fn call(
    caller: Caller,
    name: Box<str>,
    terminals: Vec<Terminal>,
    all: bool,
) -> Called {
    let mut called = Vec::with_capacity(terminals.len());
    let broadcast = if all {
        Some(caller.call_all().await)
    } else {
        None
    };
    if let Some(Err(error)) = &broadcast {
        tracing::warn!(file = %name, "the terminals could not be called: {error}");
    }
    for terminal in terminals {
        let outcome = match &broadcast {
            Some(outcome) => outcome.clone(),
            None => caller.call(terminal.address).await,
        };
        called.push((terminal.id, outcome));
    }
    Called {
        name,
        terminals: called,
    }
}
