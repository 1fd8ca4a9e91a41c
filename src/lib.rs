//! hereabouts: where are my machines right now, and where were they before?
//!
//! One program runs as client, server or both. The library is layered, and imports point downward only;
//! siblings in braces never import each other, [`node`] joins them.
//!
//! ```text
//! main → cli → node → api → { discovery | registry | publish | files } → session → net → wire → model
//!                                     (config → model; read by everything above wire)
//! ```
//!
//! Invariants that hold everywhere:
//!
//! - A module marked *pure* has no tokio, no socket, no clock, no lock and no randomness of its own. It takes
//!   [`model::Now`] and inputs, and gives outputs and the next deadline.
//! - Nothing that comes from the network, a file or a flag can panic, hang, or grow memory without a limit.
//! - A change is acknowledged only after the store has synced it.
//! - `unsafe` stands in `net/sys.rs` alone.

pub mod api;
pub mod cli;
pub mod client;
pub(crate) mod compat;
pub mod config;
pub mod discovery;
pub mod doctor;
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
