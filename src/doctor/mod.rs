//! `hereabouts doctor`: which thing is wrong, and how to mend it.
//!
//! `observe` looks at this machine and asks the network, and gives plain `observations`; `judge` makes findings of
//! them, purely, so that each finding has a test without a network. Nothing that it does changes anything: no key is made,
//! no state is written but a probe file that is removed at once.
//!
//! Where a node runs, its own port is in use: the doctor asks from a port of its own, and whether multicast comes back is
//! told by whether the node of this machine answers. Where none runs, the doctor takes the node's port for a moment, so
//! that a firewall treats it as it would treat the node.

mod diagnose;
mod firewall;
mod observations;
mod observe;
mod probe;
mod surroundings;

use std::path::PathBuf;

use crate::api::control::AskError;
use crate::api::view::{FindingView, StatusView};
use crate::config::Config;
use observations::NodeSeen;

/// Looks at everything that can be wrong; takes some three seconds, and at most ten where a resolver hangs.
///
/// `running` is what the control socket said when it was asked for the status. `progress` hears what is looked at next.
/// Must be called within a tokio runtime.
pub async fn examine(
    config: &Config,
    source: Option<PathBuf>,
    running: Result<Box<StatusView>, AskError>,
    progress: &mut dyn FnMut(&str),
) -> Vec<FindingView> {
    let node = match running {
        Ok(status) => NodeSeen::Running(status),
        Err(AskError::NoNode { .. }) => NodeSeen::Absent,
        Err(error) => NodeSeen::Unreachable {
            why: error.to_string(),
            remedy: remedy(&error),
            foreign: matches!(error, AskError::NoPermission { .. }),
        },
    };
    let seen = observe::observe(config, source, node, progress).await;
    progress("");
    diagnose::diagnose(&seen)
}

/// What to do about a node that can't be asked.
fn remedy(error: &AskError) -> &'static str {
    match error {
        AskError::NoPermission { .. } => "run doctor as the user that runs the node, or as root",
        AskError::TimedOut { .. } => {
            "it hangs, or its machine is too busy: look into its log, and start it again"
        }
        AskError::WrongAnswer { .. } => "start the node again with the version of this command",
        AskError::TooLong { .. } => "set node.state_dir to a shorter path",
        AskError::NoNode { .. } | AskError::Refused { .. } | AskError::Io(_) => {
            "look into its log, and start it again"
        }
    }
}
