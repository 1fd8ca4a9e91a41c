//! Sessions, version 1: what two nodes say over one stream. Frozen once released.
//!
//! **Handshake.** Noise `NNpsk0_25519_AESGCM_SHA256` (<https://noiseprotocol.org/noise.html>, revision 34). The pre-shared
//! key is [`ChannelKey::session_psk`](super::ChannelKey::session_psk); the prologue is "hereabouts/1 session", the
//! hello's first five bytes, and the channel's name.
//!
//! ```text
//! hello   byte 0        version = 1
//!         bytes 1..5    key id
//!         bytes 5..61   first Noise message; its payload is the caller's clock, milliseconds since 1970, big-endian
//! reply   bytes 0..48   second Noise message, without a payload
//! ```
//!
//! Whoever answers sends nothing at all before the hello opened under a key of the ring. A recorded hello opens again, so
//! its clock and its ephemeral key are for the server to judge, as those of a query are: [`Hello`].
//!
//! **Frames.** After the handshake each side sends frames: the length of the sealed bytes (16 bits, big-endian), then one Noise
//! transport message of [`TAG`] + 1 to 65,535 bytes. So a frame can't be dropped, doubled or moved without being noticed; a
//! stream that ends before an answer's last message is a failure.
//!
//! **Messages.** Each frame holds one message in the CBOR of [`super::v1::codec`]: `[type, {field: value, …}]`. The caller sends a
//! [`Request`]; the answer is any number of items and then one [`Answer::End`] or [`Answer::Failed`]. Then the next request
//! may follow. [`Answer::Alive`] may stand between items of a slow answer. A request `Introduce` binds the session to a
//! node: its signature covers the handshake's hash, so it proves nothing on another session.

mod codec;
mod handshake;
mod message;
mod resolver;
#[cfg(test)]
mod tests;

pub use codec::content_frame;
pub use handshake::{Established, HELLO, HandshakeError, Hello, Initiator, REPLY, TransportError};
pub use message::{
    Answer, Change, ChangeKind, FailureKind, HeldFile, Holder, Interval, NodeEntry, Report,
    Request, SeenBy, verify_introduction,
};

/// Bytes that sealing adds to a frame's message.
pub const TAG: usize = 16;
/// The longest sealed frame, its length not counted: the longest message of Noise.
pub const MAX_SEALED: usize = 65_535;
/// The longest message.
pub const MAX_MESSAGE: usize = MAX_SEALED - TAG;
/// The bytes of a frame's length.
pub const LENGTH: usize = 2;
/// The most bytes of a file in one [`Answer::Content`].
pub const MAX_CONTENT: usize = 65_504;
