//! Sessions, version 1: the bytes that two nodes exchange over one stream. Frozen once released.
//!
//! This module is pure: it seals, opens, encodes and decodes. The streams and their time limits are
//! in [`crate::session`]; it must not know what a request about the registry means.
//!
//! **Handshake.** Noise `NNpsk0_25519_AESGCM_SHA256` (<https://noiseprotocol.org/noise.html>,
//! revision 34). The pre-shared key is
//! [`ChannelKey::session_psk`](super::ChannelKey::session_psk); the prologue is
//! "hereabouts/1 session", the first five bytes of the hello, and the name of the channel.
//!
//! ```text
//! hello   byte 0        version = 1
//!         bytes 1..5    key id
//!         bytes 5..61   first Noise message; its payload is the caller's clock, milliseconds since
//!                       1970, big-endian
//! reply   bytes 0..48   second Noise message, without a payload
//! ```
//!
//! The server sends nothing before the hello opened under a key of its key ring. A recorded hello
//! opens again, so the server must check the clock and the ephemeral key as it does for a query:
//! [`Hello`].
//!
//! **Frames.** After the handshake each side sends frames: the length of the sealed bytes (16 bits,
//! big-endian), then one Noise transport message of [`TAG`] + 1 to 65,535 bytes. So no frame can be
//! dropped, doubled or moved without being noticed. A stream that ends before the last message of
//! an answer is a failure.
//!
//! **Messages.** Each frame holds one message in the CBOR of [`super::v1::codec`]:
//! `[type, {field: value, …}]`. The caller sends a [`Request`]; the answer is any number of items
//! and then one [`Answer::End`] or [`Answer::Failed`]. Then the next request may follow.
//! [`Answer::Alive`] may be sent between the items of a slow answer. [`Request::Introduce`] binds
//! the session to a node: its signature covers the hash of the handshake, so it proves nothing on
//! another session.
//!
//! Requests about the registry and the items that answer them are texts, which this module carries
//! without reading them ([`Request::Registry`], [`Answer::Item`]): `crate::api::session` encodes
//! and decodes them.

mod codec;
mod handshake;
mod message;
mod resolver;
#[cfg(test)]
mod tests;

pub use codec::content_frame;
pub use handshake::{Established, HELLO, HandshakeError, Hello, Initiator, REPLY, TransportError};
pub use message::{Answer, ErrorKind, Report, Request, verify_introduction};

/// Bytes that sealing adds to the message of a frame.
pub const TAG: usize = 16;
/// Limit of a sealed frame without its length, in bytes: the longest message of Noise.
pub const MAX_SEALED: usize = 65_535;
/// Limit of a message, in bytes.
pub const MAX_MESSAGE: usize = MAX_SEALED - TAG;
/// The bytes of the length of a frame.
pub const LENGTH: usize = 2;
/// Limit of the bytes of a file in one [`Answer::Content`].
pub const MAX_CONTENT: usize = 65_504;
/// Limit of the text of a [`Request::Registry`] or an [`Answer::Item`], in bytes: what a message
/// holds beside its type and the length of the text.
pub const MAX_TEXT: usize = MAX_MESSAGE - 5;
