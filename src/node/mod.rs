//! The composition root: everything a running node is made of.
//!
//! [`Core`] decides, purely; [`Node`] is its one shell: a loop over sockets, timer, kernel events, store and commands.
//! [`ask`] is what commands need of the network without a running node.

pub mod ask;
mod compat;
mod control;
mod core;
mod counters;
mod damper;
pub mod doctor;
mod explain;
mod export;
mod files;
mod mdns;
mod memberships;
mod publishing;
pub mod session;
mod shell;
mod silence;
#[cfg(test)]
mod simulation;
mod sleep;
mod state_dir;
mod ticker;
mod traffic;
mod views;
mod watchers;
mod wiring;

use crate::config::Unavailable;

pub use self::core::{Conflict, Core, CoreSettings, Datagram, Event, Output, Via};
pub use counters::Counters;
pub use shell::Node;
pub use state_dir::{StateDir, StateError};

/// Why a node can't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration asks for what this version does not have.
    #[error("the configuration uses what this version does not have yet:{}", list(.0))]
    Unavailable(Vec<Unavailable>),
    /// The channel's keys can't be read.
    #[error("{}", lines(.0))]
    Secret(Vec<crate::config::SecretError>),
    /// The channel's keys can't be used.
    #[error("failed to {0}")]
    KeyRing(#[from] crate::wire::keyring::KeyRingError),
    /// The state directory can't be used.
    #[error("failed to {0}")]
    State(#[from] StateError),
    /// Nothing is known of the network.
    #[error("failed to read the interfaces: nothing was announced, as it would replace what is known; try again")]
    Interfaces,
    /// No socket could be bound.
    #[error("failed to {0}")]
    Bind(#[from] crate::net::BindError),
    /// The sessions' port can't be had.
    #[error("failed to {0}")]
    Listen(#[from] crate::net::TcpBindError),
    /// The thread that serves sessions can't be started.
    #[error("failed to serve sessions: {0}")]
    Sessions(#[source] std::io::Error),
    /// The registry's store can't be used.
    #[error("failed to {0}")]
    Store(#[from] crate::registry::StoreError),
    /// The control socket can't be bound.
    #[error("failed to {0}")]
    Control(#[from] crate::api::control::BindError),
    /// An ancestor's wire can't be used as configured.
    #[error("{setting}: {reason}")]
    Compat {
        /// The setting, or what was to be done.
        setting: &'static str,
        /// Why, and how to mend it.
        reason: String,
    },
    /// A webhook can't be called as configured.
    #[error("the webhook of the file \"{file}\" in files.accept: {reason}")]
    Webhook {
        /// The file's name.
        file: String,
        /// Why.
        reason: String,
    },
    /// Nothing can be received any more.
    #[error("failed to receive: {0}")]
    Receive(#[source] std::io::Error),
}

fn lines(errors: &[crate::config::SecretError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn list(parts: &[Unavailable]) -> String {
    parts.iter().map(|part| format!("\n  {part}")).collect()
}
