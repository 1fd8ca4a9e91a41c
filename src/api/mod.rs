//! What programs can request from a running node: requests, their answers, and the control socket.
//!
//! - [`view`]: the answers, as types with a stable JSON form. The command line prints the same
//!   forms.
//! - [`request`]: the requests, and the lines that answer them.
//! - [`session`]: the requests and answers that sessions carry, as texts.
//! - [`control`]: the Unix socket: its server and its client.

#![warn(missing_docs)]

pub mod control;
pub mod request;
pub mod session;
pub mod view;
