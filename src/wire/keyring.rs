//! Derives a channel's keys from its name and its secrets.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::KeyId;
use super::xaes::Xaes;
use crate::model::Secret;

/// A key that seals and opens.
///
/// Cleared when dropped; its debug form shows the key id only.
#[derive(Clone)]
pub struct ChannelKey {
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
    xaes: Xaes,
}

impl ChannelKey {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut id = [0; 4];
        expand(&bytes, b"hereabouts/1 key id", &mut id);
        Self {
            id: KeyId(id),
            xaes: Xaes::new(&bytes),
            bytes,
        }
    }

    /// Its name in a datagram.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The pre-shared key of sessions: HKDF-Expand(channel key, "hereabouts/1 session"), so that
    /// sessions and datagrams share no key.
    pub fn session_psk(&self) -> Zeroizing<[u8; 32]> {
        let mut psk = Zeroizing::new([0; 32]);
        expand(&self.bytes, b"hereabouts/1 session", &mut *psk);
        psk
    }

    pub(super) fn xaes(&self) -> &Xaes {
        &self.xaes
    }
}

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelKey({})", self.id)
    }
}

/// The keys of one channel: the first seals, every one opens.
#[derive(Debug, Clone)]
pub struct KeyRing {
    /// Not empty; at most [`KeyRing::MAX_KEYS`].
    keys: Box<[ChannelKey]>,
    hints: Box<[ChannelKey]>,
}

/// Why secrets can't be the keys of a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The channel name has a wrong length, or has control characters.
    #[error("a channel name has 1 to {max} bytes and no control characters", max = KeyRing::MAX_CHANNEL)]
    Channel,
    /// No secret, or more than [`KeyRing::MAX_KEYS`].
    #[error("a channel has 1 to {max} keys, not {count}", max = KeyRing::MAX_KEYS)]
    Count {
        /// The number of secrets.
        count: usize,
    },
    /// A passphrase that is empty or longer than [`KeyRing::MAX_PASSPHRASE`].
    #[error("key {position} is a passphrase of {length} bytes: it needs 1 to {max}", max = KeyRing::MAX_PASSPHRASE)]
    Passphrase {
        /// The position of the key, counted from 1.
        position: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// Two secrets are the same.
    #[error("keys {first} and {second} are the same: remove one")]
    Duplicate {
        /// The position of the earlier one, counted from 1.
        first: usize,
        /// The position of the later one, counted from 1.
        second: usize,
    },
    /// Two secrets have the same key id by chance: the probability is one in four thousand million.
    #[error(
        "keys {first} and {second} have the same key id by chance: make another key with `hereabouts keygen`"
    )]
    Collision {
        /// The position of the earlier one, counted from 1.
        first: usize,
        /// The position of the later one, counted from 1.
        second: usize,
    },
    /// The memory that Argon2id needs is not available.
    #[error("stretching a passphrase needs {} MiB of memory for a moment", ARGON2_MEMORY_KIB / 1024)]
    Memory,
}

/// Argon2id's memory: the minimum that OWASP advises. More would kill a small pod at its start.
const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id's passes: OWASP advises 2 for a log-in. This runs once per start, and an attacker can
/// try guesses on a captured datagram without a limit, so the number is doubled.
const ARGON2_PASSES: u32 = 4;
/// Argon2id's lanes: one core, as a small machine has.
const ARGON2_LANES: u32 = 1;

impl KeyRing {
    /// The maximum number of keys: a rotation needs two; the others are for a fleet that rotates
    /// slowly.
    pub const MAX_KEYS: usize = 8;
    /// The longest channel name, in bytes: it must fit a datagram.
    pub const MAX_CHANNEL: usize = 64;
    /// The longest passphrase, in bytes: a longer one is a file that was named by mistake.
    pub const MAX_PASSPHRASE: usize = 1024;

    /// Derives the keys of a channel; each passphrase takes about 0.1 s and 19 MiB.
    pub fn new(channel: &str, secrets: &[Secret]) -> Result<Self, KeyRingError> {
        if !Self::is_channel_name(channel) {
            return Err(KeyRingError::Channel);
        }
        if !(1..=Self::MAX_KEYS).contains(&secrets.len()) {
            return Err(KeyRingError::Count {
                count: secrets.len(),
            });
        }
        let mut derived = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            derived.push(derive(channel, index + 1, secret)?);
        }
        refuse_same(&derived)?;
        let (keys, hints): (Vec<_>, Vec<_>) = derived.into_iter().unzip();
        Ok(Self {
            keys: keys.into(),
            hints: hints.into_iter().flatten().collect(),
        })
    }

    /// Whether a text can name a channel: 1 to [`KeyRing::MAX_CHANNEL`] bytes, no control
    /// characters.
    pub fn is_channel_name(text: &str) -> bool {
        (1..=Self::MAX_CHANNEL).contains(&text.len()) && !text.chars().any(char::is_control)
    }

    /// The key that seals.
    pub fn first(&self) -> &ChannelKey {
        &self.keys[0]
    }

    /// The key of that id.
    pub fn by_id(&self, id: KeyId) -> Option<&ChannelKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = KeyId> + '_ {
        self.keys.iter().map(ChannelKey::id)
    }

    /// Keys that are the same under every channel name, to tell a client that its channel's name
    /// differs.
    ///
    /// They are separate: [`super::seal::open`] never opens with one, [`super::seal::open_hint`]
    /// only with these. A passphrase has no hint key: its salt would have to be the same
    /// everywhere, and precomputed tables of guesses would be worthwhile.
    pub fn hint_keys(&self) -> &[ChannelKey] {
        &self.hints
    }
}

fn derive(
    channel: &str,
    position: usize,
    secret: &Secret,
) -> Result<(ChannelKey, Option<ChannelKey>), KeyRingError> {
    match secret {
        Secret::Key(key) => Ok((
            hkdf(key, channel.as_bytes(), b"hereabouts/1 channel"),
            Some(hkdf(key, b"", b"hereabouts/1 channel hint")),
        )),
        Secret::Passphrase(text) => {
            if !(1..=KeyRing::MAX_PASSPHRASE).contains(&text.len()) {
                return Err(KeyRingError::Passphrase {
                    position,
                    length: text.len(),
                });
            }
            Ok((
                hkdf(
                    &*stretch(channel, text)?,
                    channel.as_bytes(),
                    b"hereabouts/1 channel",
                ),
                None,
            ))
        }
    }
}

/// Argon2id with a salt made from the channel name.
fn stretch(channel: &str, passphrase: &str) -> Result<Zeroizing<[u8; 32]>, KeyRingError> {
    let salt = Sha256::new()
        .chain_update(b"hereabouts/1 passphrase")
        .chain_update(channel)
        .finalize();
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32));
    let params = params.map_err(|_| KeyRingError::Memory)?;
    let mut blocks = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| KeyRingError::Memory)?;
    blocks.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new([0; 32]);
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.as_bytes(), &salt, &mut *key, &mut blocks[..]);
    blocks.iter_mut().for_each(Zeroize::zeroize);
    // The lengths and costs above are valid, so only memory can be missing.
    done.map_err(|_| KeyRingError::Memory)?;
    Ok(key)
}

fn hkdf(key: &[u8; 32], salt: &[u8], info: &[u8]) -> ChannelKey {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&Hkdf::<Sha256>::new(Some(salt), key), info, &mut *bytes);
    ChannelKey::new(bytes)
}

/// HKDF-Expand with the key itself as pseudo-random key.
fn expand(key: &[u8; 32], info: &[u8], out: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "a pseudo-random key of SHA-256's own length is never refused"
    )]
    let hkdf = Hkdf::<Sha256>::from_prk(key).expect("32 bytes are a pseudo-random key of SHA-256");
    fill(&hkdf, info, out);
}

fn fill(hkdf: &Hkdf<Sha256>, info: &[u8], out: &mut [u8]) {
    #[expect(
        clippy::expect_used,
        reason = "every output here has a fixed length of at most 32 bytes"
    )]
    hkdf.expand(info, out)
        .expect("HKDF-SHA256 gives up to 8160 bytes");
}

fn refuse_same(derived: &[(ChannelKey, Option<ChannelKey>)]) -> Result<(), KeyRingError> {
    for (second, (key, hint)) in derived.iter().enumerate() {
        for (first, (other, other_hint)) in derived[..second].iter().enumerate() {
            let first = first + 1;
            let second = second + 1;
            if key.bytes == other.bytes {
                return Err(KeyRingError::Duplicate { first, second });
            }
            let ids = [Some(key), hint.as_ref()].map(|key| key.map(|key| key.id));
            let others = [Some(other), other_hint.as_ref()].map(|key| key.map(|key| key.id));
            if ids.iter().any(|id| id.is_some() && others.contains(id)) {
                return Err(KeyRingError::Collision { first, second });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
