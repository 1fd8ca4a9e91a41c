//! The secret that the nodes of a channel share.

use std::fmt;

use zeroize::Zeroizing;

/// A secret of a channel, as configured.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// 32 random bytes, as `hereabouts keygen` prints them.
    Key(Zeroizing<[u8; 32]>),
    /// Words that people can remember; the key ring stretches it by Argon2id, once.
    Passphrase(Zeroizing<String>),
}

impl Secret {
    /// The secret of 32 random bytes.
    pub fn key(bytes: [u8; 32]) -> Self {
        Self::Key(Zeroizing::new(bytes))
    }

    /// The secret of a passphrase, byte for byte.
    #[cfg(test)]
    pub(crate) fn passphrase(text: impl Into<String>) -> Self {
        Self::Passphrase(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}
