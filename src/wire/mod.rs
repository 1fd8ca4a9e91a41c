//! Everything on the wire as bytes and types. Pure.
//!
//! One folder per protocol version, frozen once released; what does not depend on the version stands beside them.

pub mod v1;

use std::fmt;

/// Names a channel key on the wire without telling anything of it.
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
