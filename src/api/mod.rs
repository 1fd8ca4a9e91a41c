//! What other programs on this machine can ask a running node: the control socket.
//!
//! - [`view`]: what a node tells, as types with a stable JSON shape. The command line prints the same shapes.
//! - [`request`]: what can be asked, and the lines that answer it.
//! - [`control`]: the Unix socket: its server shell and its client.

#![warn(missing_docs)]

pub mod control;
pub mod request;
pub mod view;
