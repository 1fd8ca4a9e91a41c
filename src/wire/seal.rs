//! Sealed datagrams.
//!
//! ```text
//! byte 0        version = 1
//! bytes 1..5    key id
//! bytes 5..29   nonce, random
//! bytes 29..    ciphertext, then the 16-byte tag        associated data: bytes 0..29
//! ```
//!
//! (Ends are exclusive here.) The cipher is XAES-256-GCM. Neither direction allocates: a payload is
//! written at [`HEADER`] of the buffer that is sent, or read from the buffer that was received.

use tracing::trace;

use super::keyring::{ChannelKey, KeyRing};
use super::xaes::{NONCE, TAG};
use super::{KeyId, xaes::Xaes};

/// The version in the first byte.
pub const VERSION: u8 = 1;
/// The offset of the payload in a datagram, after version, key id and nonce.
pub const HEADER: usize = 1 + 4 + NONCE;
/// Bytes that sealing adds to a payload.
pub const OVERHEAD: usize = HEADER + TAG;
/// The longest datagram: with IPv6 and UDP headers it stays below IPv6's minimum MTU of 1280 (RFC
/// 8200 §5), so it is never fragmented.
pub const MAX_DATAGRAM: usize = 1200;
/// The longest payload.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - OVERHEAD;
/// The shortest datagram: one byte of payload.
pub const MIN_DATAGRAM: usize = OVERHEAD + 1;

/// A 24-byte nonce: drawn at random for every datagram.
pub type Nonce = [u8; NONCE];

/// Why a payload can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The payload is empty: no receiver accepts such a datagram.
    #[error("seal an empty payload")]
    Empty,
    /// More than [`MAX_PAYLOAD`], or more than the buffer holds.
    #[error("seal {length} bytes: at most {limit} fit")]
    TooLong {
        /// The payload's length, in bytes.
        length: usize,
        /// The longest payload that fits, in bytes.
        limit: usize,
    },
}

/// Why a datagram is dropped without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Longer than [`MAX_DATAGRAM`].
    TooLong,
    /// Shorter than [`MIN_DATAGRAM`].
    TooShort,
    /// Another first byte than [`VERSION`].
    OtherVersion,
    /// Sealed with a key that is not in the key ring: another channel.
    UnknownKey,
    /// The tag is wrong: damaged or forged.
    Forged,
}

impl Dropped {
    /// A stable word for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::OtherVersion => "other_version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
        }
    }
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::error::Error for Dropped {}

/// A datagram that a holder of the key sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The key that sealed it.
    pub key: KeyId,
    /// Its nonce, which [`super::ReplayWindow`] remembers for a query.
    pub nonce: Nonce,
    /// The payload, decrypted in place.
    pub payload: &'a [u8],
}

/// Seals a payload into `out` and returns the datagram's length.
///
/// `nonce` is random, and used once.
pub fn seal(
    key: &ChannelKey,
    nonce: &Nonce,
    payload: &[u8],
    out: &mut [u8],
) -> Result<usize, SealError> {
    let limit = limit(out);
    if payload.len() > limit {
        return Err(SealError::TooLong {
            length: payload.len(),
            limit,
        });
    }
    out[HEADER..HEADER + payload.len()].copy_from_slice(payload);
    seal_in_place(key, nonce, out, payload.len())
}

/// Seals the `length` bytes of payload at [`HEADER`] of `out`, and returns the datagram's length.
///
/// `out` is at least [`OVERHEAD`] bytes longer than the payload; `nonce` is random, and used once.
pub fn seal_in_place(
    key: &ChannelKey,
    nonce: &Nonce,
    out: &mut [u8],
    length: usize,
) -> Result<usize, SealError> {
    let limit = limit(out);
    if length == 0 {
        return Err(SealError::Empty);
    }
    let too_long = SealError::TooLong { length, limit };
    if length > limit {
        return Err(too_long);
    }
    let (header, rest) = out.split_at_mut(HEADER);
    header[0] = VERSION;
    header[1..5].copy_from_slice(&key.id().0);
    header[5..].copy_from_slice(nonce);
    let (text, rest) = rest.split_at_mut(length);
    let tag = key.xaes().seal(nonce, header, text).ok_or(too_long)?;
    rest[..TAG].copy_from_slice(&tag);
    Ok(length + OVERHEAD)
}

/// The longest payload that can be sealed into `out`.
pub fn limit(out: &[u8]) -> usize {
    out.len().min(MAX_DATAGRAM).saturating_sub(OVERHEAD)
}

/// Opens a datagram in place with the channel key that it names.
///
/// A datagram that is dropped stays unchanged.
pub fn open<'a>(key_ring: &KeyRing, datagram: &'a mut [u8]) -> Result<Opened<'a>, Dropped> {
    open_with(|id| key_ring.by_id(id), datagram)
}

/// Opens a datagram that was sealed with a hint key: its sender holds a secret of this key ring,
/// under another channel name.
///
/// Only for answering [`super::v1::Refusal::Channel`], if `channel.hidden` is false.
pub fn open_hint<'a>(key_ring: &KeyRing, datagram: &'a mut [u8]) -> Result<Opened<'a>, Dropped> {
    open_with(
        |id| key_ring.hint_keys().iter().find(|key| key.id() == id),
        datagram,
    )
}

fn open_with<'k, 'a>(
    key: impl FnOnce(KeyId) -> Option<&'k ChannelKey>,
    datagram: &'a mut [u8],
) -> Result<Opened<'a>, Dropped> {
    let length = datagram.len();
    decrypt(key, datagram).inspect_err(|reason| {
        trace!(%reason, length, "the datagram does not open: it is dropped");
    })
}

fn decrypt<'k, 'a>(
    key: impl FnOnce(KeyId) -> Option<&'k ChannelKey>,
    datagram: &'a mut [u8],
) -> Result<Opened<'a>, Dropped> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(Dropped::TooLong);
    }
    if datagram.len() < MIN_DATAGRAM {
        return Err(Dropped::TooShort);
    }
    let (header, rest) = datagram.split_at_mut(HEADER);
    let (version, id, nonce) = parse_header(header).ok_or(Dropped::TooShort)?;
    if version != VERSION {
        return Err(Dropped::OtherVersion);
    }
    let xaes: &Xaes = key(id).ok_or(Dropped::UnknownKey)?.xaes();
    let (text, tag) = rest
        .split_last_chunk_mut::<TAG>()
        .ok_or(Dropped::TooShort)?;
    if !xaes.open(&nonce, header, text, tag) {
        return Err(Dropped::Forged);
    }
    Ok(Opened {
        key: id,
        nonce,
        payload: text,
    })
}

fn parse_header(header: &[u8]) -> Option<(u8, KeyId, Nonce)> {
    let (version, rest) = header.split_first()?;
    let (id, nonce) = rest.split_first_chunk::<4>()?;
    Some((*version, KeyId(*id), *nonce.first_chunk()?))
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
