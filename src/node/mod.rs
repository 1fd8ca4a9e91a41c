//! The running node: the event loop and the parts that need it.
//!
//! [`Core`] decides, and is pure. [`Node`] is its event loop over sockets, timer, kernel events, store and commands: it
//! hands each input to the core, and does what the core asks for. Everything that needs no `&mut Node` belongs to a room
//! below this one.

#![allow(
    missing_docs,
    reason = "a room of the program, not a library: names and types say what most fields are"
)]

mod bind;
mod claims;
mod control;
mod core;
mod event_loop;
mod explain;
mod export;
mod exporting;
mod files;
mod import;
mod log_limiter;
mod lookups;
mod memberships;
mod notify;
mod parts;
mod pending;
mod publishing;
mod reply;
mod silence;
#[cfg(test)]
mod simulation;
mod sleep;
mod stop;
mod store;
mod storing;
mod views;
mod watchers;

use crate::compat::CompatError;
use crate::config::Unavailable;
use crate::settings::SettingsError;
use crate::state_dir::StateError;

pub use self::core::{Conflict, Core, CoreSettings, Datagram, Event, Output};
pub use parts::Node;

/// Why a node can't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration uses a feature that this version does not have.
    #[error("the configuration uses features that this version does not have yet:{}", list(.0))]
    Unavailable(Vec<Unavailable>),
    /// The configuration, or a file that it names, can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The state directory can't be used.
    #[error("failed to {0}")]
    State(#[from] StateError),
    /// No UDP socket could be bound.
    #[error("failed to {0}")]
    Bind(#[from] crate::net::BindError),
    /// The TCP port of the sessions can't be bound.
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
    /// A socket of a legacy protocol can't be bound.
    #[error(transparent)]
    Compat(#[from] CompatError),
    /// Receiving fails again and again.
    #[error("failed to receive: {0}")]
    Receive(#[source] std::io::Error),
}

fn list(parts: &[Unavailable]) -> String {
    parts.iter().map(|part| format!("\n  {part}")).collect()
}
