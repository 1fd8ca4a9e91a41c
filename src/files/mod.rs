//! Files on disk: the files that a server offers, and the files that a node accepts.
//!
//! In go paths, bytes and digests; out come snapshots to send, replaced files and the commands that follow a
//! replacement. Nothing here opens a session or knows which server a file is from. Every module but [`after`] and
//! [`webhook`] blocks, and must run on a thread for blocking work.
//!
//! - [`offer`]: a snapshot of an offered file with its digest, which pulls read;
//! - [`target`]: the place of a pulled file, replaced as a whole or not at all;
//! - [`incoming`]: a file of unknown size and digest, received by a legacy protocol for such a place;
//! - [`after`]: the action after a replacement; [`webhook`] is the action that uses the network;
//! - [`children`]: the processes that this program started, and the orphans that PID 1 gets;
//! - [`ledger`]: which generation of which file is offered or held, across restarts.
//!
//! **Digest.** BLAKE3 is fast without special instructions, so hashing does not limit a pull on a small ARM board
//! more than on a server with SHA extensions. A digest has 32 bytes, like SHA-256.

#![allow(
    missing_docs,
    reason = "names that say it all need no sentence; what is not obvious is documented"
)]

pub mod after;
pub mod children;
mod flusher;
pub mod incoming;
pub mod ledger;
pub mod offer;
pub mod replacement;
pub mod target;
#[cfg(test)]
mod tests;
pub mod webhook;

/// A BLAKE3 digest.
pub type Digest = [u8; 32];

/// How many bytes of a file are read or written at once.
pub const BLOCK: usize = 1024 * 1024;

/// Serializes a digest as hexadecimal text.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        digest: &super::Digest,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<super::Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .map_err(serde::de::Error::custom)?;
        bytes
            .try_into()
            .map_err(|_| serde::de::Error::custom("a digest has 32 bytes"))
    }
}
