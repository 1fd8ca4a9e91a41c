//! Files on disk: what a server offers, and what a node takes. No network here; everything blocks, and runs on threads for that.
//!
//! - [`offer`]: a file as it was at one moment, with its digest, as it is read for pulls;
//! - [`target`]: the place that a pulled file goes to, replaced as a whole or not at all;
//! - [`incoming`]: a file whose size and digest nobody said, on its way to that place;
//! - [`after`]: what is done after it was replaced;
//! - [`ledger`]: which generation of which file is offered or held, across restarts.
//!
//! **Digest.** BLAKE3: it needs no special instructions to be fast, so that hashing is not what limits a pull on a small ARM board
//! any more than on a server with SHA extensions, and it has no C in it. 32 bytes, as SHA-256.

pub mod after;
pub mod incoming;
pub mod ledger;
pub mod offer;
pub mod target;
#[cfg(test)]
mod tests;

/// The digest of a file: BLAKE3.
pub type Digest = [u8; 32];

/// How much of a file is read or written at once.
pub const BLOCK: usize = 1024 * 1024;
