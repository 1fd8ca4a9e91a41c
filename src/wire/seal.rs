//! Sealed datagrams.
//!
//! ```text
//! byte 0        version = 1
//! bytes 1..5    key id
//! bytes 5..29   nonce, random
//! bytes 29..    ciphertext, then the 16-byte tag        associated data: bytes 0..29
//! ```
//!
//! (Ends are exclusive here.) The cipher is XAES-256-GCM. Neither direction allocates: a payload is written at
//! [`HEADER`] of the buffer that is sent, or read from the buffer that was received.

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
/// The longest datagram: with IPv6 and UDP headers it stays below IPv6's minimum MTU of 1280 (RFC 8200 §5), so it is
/// never fragmented.
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

/// Opens a datagram that was sealed with a hint key: its sender holds a secret of this key ring, under another channel name.
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::keyring::Secret;

    fn key_ring(channel: &str, key: u8) -> KeyRing {
        KeyRing::new(channel, &[Secret::key([key; 32])]).unwrap()
    }

    fn sealed(key_ring: &KeyRing, payload: &[u8]) -> Vec<u8> {
        let mut out = [0; MAX_DATAGRAM];
        let length = seal(key_ring.first(), &[9; NONCE], payload, &mut out).unwrap();
        out[..length].to_vec()
    }

    #[test]
    fn header_names_version_key_and_nonce() {
        let key_ring = key_ring("home", 1);
        let datagram = sealed(&key_ring, b"payload");
        assert_eq!(datagram[0], 1);
        assert_eq!(datagram[1..5], key_ring.first().id().0);
        assert_eq!(datagram[5..29], [9; 24]);
        assert_eq!(datagram.len(), 29 + 7 + 16);
    }

    #[test]
    fn changed_bit_makes_a_datagram_dropped() {
        let key_ring = key_ring("home", 1);
        let datagram = sealed(&key_ring, b"payload");
        for index in 0..datagram.len() {
            for bit in 0..8 {
                let mut changed = datagram.clone();
                changed[index] ^= 1 << bit;
                let expected = match index {
                    0 => Dropped::OtherVersion,
                    1..5 => Dropped::UnknownKey,
                    _ => Dropped::Forged,
                };
                let before = changed.clone();
                assert_eq!(
                    open(&key_ring, &mut changed),
                    Err(expected),
                    "bit {bit} of byte {index}"
                );
                assert_eq!(changed, before, "a dropped datagram is left as it was");
            }
        }
    }

    #[test]
    fn every_shorter_datagram_is_dropped() {
        let key_ring = key_ring("home", 1);
        let datagram = sealed(&key_ring, b"payload");
        for length in 0..datagram.len() {
            let expected = if length < MIN_DATAGRAM {
                Dropped::TooShort
            } else {
                Dropped::Forged
            };
            assert_eq!(
                open(&key_ring, &mut datagram[..length].to_vec()),
                Err(expected),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn longest_datagram_opens_and_one_byte_more_is_dropped() {
        let key_ring = key_ring("home", 1);
        let mut longest = sealed(&key_ring, &[5; MAX_PAYLOAD]);
        assert_eq!(longest.len(), 1200);
        assert_eq!(
            open(&key_ring, &mut longest).unwrap().payload,
            [5; MAX_PAYLOAD]
        );
        assert_eq!(
            open(&key_ring, &mut [1; MAX_DATAGRAM + 1]),
            Err(Dropped::TooLong)
        );
    }

    #[test]
    fn payload_that_no_receiver_accepts_is_not_sealed() {
        let key_ring = key_ring("home", 1);
        let mut out = [0; 2 * MAX_DATAGRAM];
        let too_long = |limit| {
            Err(SealError::TooLong {
                length: MAX_PAYLOAD + 1,
                limit,
            })
        };
        assert_eq!(
            seal(key_ring.first(), &[0; NONCE], &[], &mut out),
            Err(SealError::Empty)
        );
        assert_eq!(
            seal(
                key_ring.first(),
                &[0; NONCE],
                &[0; MAX_PAYLOAD + 1],
                &mut out
            ),
            too_long(MAX_PAYLOAD)
        );
        assert_eq!(
            seal(
                key_ring.first(),
                &[0; NONCE],
                &[0; MAX_PAYLOAD + 1],
                &mut out[..50]
            ),
            too_long(5)
        );
        assert_eq!(
            seal_in_place(key_ring.first(), &[0; NONCE], &mut [], MAX_PAYLOAD + 1),
            too_long(0)
        );
    }

    #[test]
    fn another_channel_or_key_does_not_open() {
        let datagram = sealed(&key_ring("home", 1), b"payload");
        for other in [key_ring("work", 1), key_ring("home", 2)] {
            assert_eq!(
                open(&other, &mut datagram.clone()),
                Err(Dropped::UnknownKey)
            );
        }
    }

    #[test]
    fn guessed_key_id_does_not_open() {
        let ours = key_ring("home", 1);
        let theirs = key_ring("home", 2);
        let mut datagram = sealed(&theirs, b"payload");
        datagram[1..5].copy_from_slice(&ours.first().id().0);
        assert_eq!(open(&ours, &mut datagram), Err(Dropped::Forged));
    }

    #[test]
    fn every_key_of_the_key_ring_opens_and_is_reported() {
        let both = KeyRing::new("home", &[Secret::key([1; 32]), Secret::key([2; 32])]).unwrap();
        for key in [1, 2] {
            let one = key_ring("home", key);
            assert_eq!(
                open(&both, &mut sealed(&one, b"payload")).unwrap().key,
                one.first().id()
            );
        }
        assert_eq!(both.first().id(), key_ring("home", 1).first().id());
    }

    #[test]
    fn hint_key_opens_across_channel_names_but_opens_no_ordinary_traffic() {
        let home = key_ring("home", 1);
        let work = key_ring("work", 1);
        let mut out = [0; MAX_DATAGRAM];
        let length = seal(&home.hint_keys()[0], &[9; NONCE], b"payload", &mut out).unwrap();
        let hint = &out[..length];
        assert_eq!(
            open_hint(&work, &mut hint.to_vec()).unwrap().payload,
            b"payload"
        );
        assert_eq!(open(&work, &mut hint.to_vec()), Err(Dropped::UnknownKey));
        assert_eq!(open(&home, &mut hint.to_vec()), Err(Dropped::UnknownKey));
        assert_eq!(
            open_hint(&home, &mut sealed(&home, b"payload")),
            Err(Dropped::UnknownKey)
        );
        assert_eq!(
            open_hint(&key_ring("work", 2), &mut hint.to_vec()),
            Err(Dropped::UnknownKey)
        );
    }

    proptest! {
        #[test]
        fn datagram_roundtrip(payload in prop::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD), nonce: [u8; NONCE]) {
            let key_ring = key_ring("home", 1);
            let mut out = [0; MAX_DATAGRAM];
            let length = seal(key_ring.first(), &nonce, &payload, &mut out).unwrap();
            prop_assert_eq!(length, payload.len() + OVERHEAD);
            let opened = open(&key_ring, &mut out[..length]).unwrap();
            prop_assert_eq!(opened, Opened { key: key_ring.first().id(), nonce, payload: &payload });
        }

        #[test]
        fn datagram_open_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..1300), known: bool) {
            let key_ring = key_ring("home", 1);
            if known && bytes.len() > HEADER {
                bytes[0] = VERSION;
                bytes[1..5].copy_from_slice(&key_ring.first().id().0);
            }
            prop_assert!(open(&key_ring, &mut bytes).is_err());
            prop_assert!(open_hint(&key_ring, &mut bytes).is_err());
        }
    }
}
