//! What the tests use: an image, networks, nodes, a capture, and conditions that are awaited.

mod await_that;
mod capture;
mod docker;
mod fleet;
mod network;
mod node;

pub(crate) use await_that::{SOON, await_equal, await_that};
pub(crate) use capture::Capture;
pub(crate) use docker::run;
pub(crate) use fleet::{Fleet, KEY_FILE, STATE_DIR, Setup, State};
pub(crate) use network::{Network, Volume};
pub(crate) use node::{Node, Ran};

/// The UDP port of a node.
pub(crate) const PORT: u16 = 24373;
/// The numeric user of the image.
pub(crate) const UID: u32 = 65532;
