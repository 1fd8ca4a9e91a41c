//! Sealed streams: the frames of [`crate::wire::session`] over TCP.
//!
//! In: a TCP stream and the channel key. Out: messages that the other side sealed.
//!
//! - [`Session`]: one side of an established session, with its buffers;
//! - [`connect`]: from an address to a session, on the side of the caller;
//! - [`accept`]: from a stream to a session, on the side of the server.
//!
//! `remote` and `transfer` use sessions. Only [`Session::receive`] and [`Session::flush`] may wait
//! without a limit, which their callers set. A server must never send a byte before the caller
//! proved that it holds the key.

#![allow(
    missing_docs,
    reason = "only this program uses them: names and types say what the fields are"
)]

mod handshake;
mod peer;
mod stream;
#[cfg(test)]
mod tests;

pub use handshake::{AcceptError, CONNECT_LIMIT, HANDSHAKE_LIMIT, accept, call, connect};
pub use peer::Peer;
pub use stream::{MAX_REQUEST, Session, SessionError};
