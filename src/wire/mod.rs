//! The bytes and types of all protocols. Pure.
//!
//! Each protocol version has a directory, frozen once released; modules that do not depend on the
//! version are beside them:
//!
//! - [`compat`]: the legacy protocols;
//! - [`keyring`]: from a channel's name and secrets to its keys;
//! - [`seal`]: a payload into a sealed datagram and back;
//! - [`identity`]: a node's signing key, and the key that a node and a server share for renewals;
//! - [`replay`]: which queries were answered already;
//! - [`stand_in`]: ids for unverified names;
//! - [`v1`]: the messages of datagrams and their bytes;
//! - [`session`]: the handshake, frames and messages of sessions over a stream.
//!
//! Nonces, seeds and times are arguments: nothing here reads a clock or draws randomness.

#![warn(missing_docs)]

pub mod compat;
pub mod identity;
pub mod keyring;
pub mod replay;
pub mod seal;
pub mod session;
pub mod stand_in;
pub mod v1;
mod xaes;

use std::fmt;

pub use identity::{Identity, IdentityError, RenewalKey};
pub use keyring::{ChannelKey, KeyRing, KeyRingError};

pub use crate::model::Secret;
pub use replay::{Freshness, ReplayWindow};
pub use seal::{Dropped, MAX_DATAGRAM, MAX_PAYLOAD, MIN_DATAGRAM, Opened, SealError};

/// Names a channel key in a datagram without revealing anything about the key.
///
/// The first 4 bytes of HKDF-Expand(channel key, "hereabouts/1 key id").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
