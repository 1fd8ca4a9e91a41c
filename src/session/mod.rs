//! Sealed streams: the frames of [`crate::wire::session`] over TCP.
//!
//! - [`Session`]: one side of an established session, with its buffers;
//! - [`connect`]: the caller's side up to there;
//! - [`accept`]: the server's side up to there.
//!
//! What a session is used for stands above, in `node`. No function here waits without a limit but [`Session::receive`] and
//! [`Session::flush`], whose callers set it.

mod handshake;
mod peer;
mod stream;
#[cfg(test)]
mod tests;

pub use handshake::{AcceptError, CONNECT_LIMIT, HANDSHAKE_LIMIT, accept, call, connect};
pub use peer::Peer;
pub use stream::{MAX_REQUEST, Session, SessionError};
