//! `hereabouts doctor`: finds what is wrong, and how to fix it.
//!
//! - `observe` checks this machine; it uses `environment` for the program's surroundings and
//!   `probe` for the network. Out come plain `observations`.
//! - `firewall` evaluates the rule set of nftables for the datagrams of discovery. Pure.
//! - `diagnose` turns the observations into findings. Pure, so that each finding has a test without
//!   a network.
//!
//! The doctor changes nothing. It generates no key, and it writes no state except a probe file or
//! directory that it removes at once.
//!
//! Where a node runs, the node's port is in use. So the doctor queries from a port of its own, and
//! the answers of the node of this machine show whether multicast comes back. Where no node runs,
//! the doctor binds the node's port for a moment, so that a firewall treats it as it would treat
//! the node.

mod diagnose;
mod environment;
mod firewall;
mod observations;
mod observe;
mod probe;

use std::path::PathBuf;

use crate::api::control::AskError;
use crate::api::view::{FindingView, StatusView};
use crate::config::Config;
use observations::NodeState;

/// Checks everything that can be wrong. Takes some three seconds, and at most ten where a resolver
/// hangs.
///
/// `running` is the answer of the control socket to a request for the status. `progress` is called
/// with what is checked next. Must be called within a tokio runtime.
pub async fn examine(
    config: &Config,
    source: Option<PathBuf>,
    running: Result<Box<StatusView>, AskError>,
    progress: &mut dyn FnMut(&str),
) -> Vec<FindingView> {
    let node = match running {
        Ok(status) => NodeState::Running(status),
        Err(AskError::NoNode { .. }) => NodeState::Absent,
        Err(error) => NodeState::Unreachable {
            reason: error.to_string(),
            remedy: remedy(&error),
            foreign: matches!(error, AskError::NoPermission { .. }),
        },
    };
    let observed = observe::observe(config, source, node, progress).await;
    progress("");
    diagnose::diagnose(&observed)
}

/// What to do about a node whose control socket does not answer as it should.
fn remedy(error: &AskError) -> &'static str {
    match error {
        AskError::NoPermission { .. } => {
            "run hereabouts doctor as the user that runs the node, or as root"
        }
        AskError::TimedOut { .. } => {
            "read its log, and restart it: it hangs, or its machine is too busy"
        }
        AskError::WrongAnswer { .. } => "restart the node with the version of this command",
        AskError::TooLong { .. } => "set node.state_dir to a shorter path",
        AskError::NoNode { .. } | AskError::Refused { .. } | AskError::Io(_) => {
            "read its log, and restart it"
        }
    }
}
