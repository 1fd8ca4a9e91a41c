//! hereabouts: where are my machines right now, and where were they before?
//!
//! One program runs as client, server or both. Its modules are rooms in layers: imports point downward only, and rooms of
//! one line never import each other. `tests/program/layers.rs` checks it; `docs/explanation/architecture.md` gives the
//! reasons.
//!
//! ```text
//! main → cli → { client | doctor | node } → settings → { compat | remote | lookup } → transfer → api
//!      → { discovery | registry | publish | files } → session → { transport | state_dir }
//!      → { wire | net | config | durable } → model
//! ```
//!
//! Invariants that hold everywhere:
//!
//! - A module marked *pure* has no tokio, no socket, no clock, no lock and no randomness of its own. It takes
//!   [`model::Now`] and inputs, and gives outputs and the next deadline.
//! - `node` is the event loop and nothing else: `impl Node` is in `node/` alone.
//! - `settings` turns the configuration into the settings of each room; no room below it reads the configuration.
//! - No input from the network, a file or a flag can cause a panic, a hang, or memory that grows without a limit.
//! - A change is acknowledged only after the store has synced it.
//! - `unsafe` is in `net/sys.rs` alone.

pub mod api;
pub mod cli;
pub mod client;
pub(crate) mod compat;
pub mod config;
pub mod discovery;
pub mod doctor;
pub(crate) mod durable;
pub mod files;
pub(crate) mod lookup;
pub mod model;
pub mod net;
pub mod node;
pub mod publish;
pub mod registry;
pub(crate) mod remote;
pub mod session;
pub(crate) mod settings;
pub mod state_dir;
pub(crate) mod transfer;
pub mod transport;
pub mod wire;
