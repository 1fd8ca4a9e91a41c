//! Files on disk: what a server offers, and what a node takes. All but [`after`] and [`webhook`] blocks, and runs on threads for that.
//!
//! - [`offer`]: a file as it was at one moment, with its digest, as it is read for pulls;
//! - [`target`]: the place that a pulled file goes to, replaced as a whole or not at all;
//! - [`incoming`]: a file whose size and digest nobody said, on its way to that place;
//! - [`after`]: what is done after it was replaced, with [`webhook`] as the one way that uses the network;
//! - [`ledger`]: which generation of which file is offered or held, across restarts.
//!
//! **Digest.** BLAKE3: it needs no special instructions to be fast, so that hashing is not what limits a pull on a small ARM board
//! any more than on a server with SHA extensions. 32 bytes, as SHA-256.

pub mod after;
mod flusher;
pub mod incoming;
pub mod ledger;
pub mod offer;
pub mod target;
#[cfg(test)]
mod tests;
pub mod webhook;

/// The digest of a file: BLAKE3.
pub type Digest = [u8; 32];

/// How much of a file is read or written at once.
pub const BLOCK: usize = 1024 * 1024;

/// A digest as hexadecimal text.
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
