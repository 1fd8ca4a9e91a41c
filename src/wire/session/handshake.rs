//! The handshake, and the sealing of frames after it.

use std::fmt;

use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, TransportState};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use super::{MAX_SEALED, TAG};
use crate::model::Timestamp;
use crate::wire::KeyId;
use crate::wire::keyring::{ChannelKey, KeyRing};

/// The protocol's name in the words of Noise.
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"hereabouts/1 session";
/// Version and key id.
const PREFIX: usize = 1 + 4;
/// An ephemeral key and the clock, sealed.
const FIRST: usize = 32 + 8 + TAG;

/// The length of a hello, in bytes.
pub const HELLO: usize = PREFIX + FIRST;
/// The length of the reply to a hello, in bytes.
pub const REPLY: usize = 32 + TAG;

/// Why a handshake ends: for the log of the side that notices. Nothing of it is told to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Another first byte than that of this version.
    #[error("it speaks version {version}, or something else")]
    OtherVersion {
        /// The first byte.
        version: u8,
    },
    /// A key id that is not in the ring: another channel.
    #[error("it holds another key ({key})")]
    UnknownKey {
        /// The key id.
        key: KeyId,
    },
    /// What came does not open: another key with the same id, another channel name, or damage.
    #[error("what it sent does not open: another channel, or damage")]
    Forged,
}

/// The caller's side of a handshake.
pub struct Initiator {
    key: KeyId,
    noise: HandshakeState,
}

impl Initiator {
    /// Starts a handshake under a key; `ephemeral` is random and used once.
    ///
    /// `clock` is what the server's clock is thought to be: the own one, unless the server told how far it is off.
    pub fn new(
        key: &ChannelKey,
        channel: &str,
        clock: Timestamp,
        ephemeral: Zeroizing<[u8; 32]>,
    ) -> Result<(Self, [u8; HELLO]), HandshakeError> {
        let prefix = prefix(key.id());
        let mut noise = builder(key, channel, &prefix, ephemeral, |noise| {
            noise.build_initiator()
        })?;
        let mut hello = [0; HELLO];
        hello[..PREFIX].copy_from_slice(&prefix);
        match noise.write_message(&clock.0.to_be_bytes(), &mut hello[PREFIX..]) {
            Ok(FIRST) => Ok((
                Self {
                    key: key.id(),
                    noise,
                },
                hello,
            )),
            _ => Err(HandshakeError::Forged),
        }
    }

    /// Takes the reply: from now on the other side is known to hold the key.
    pub fn finish(mut self, reply: &[u8; REPLY]) -> Result<Established, HandshakeError> {
        self.noise
            .read_message(reply, &mut [])
            .map_err(|_| HandshakeError::Forged)?;
        Established::new(self.key, self.noise)
    }
}

/// A hello that opened: its sender holds the key, or recorded it from somebody who does.
pub struct Hello {
    key: KeyId,
    clock: Timestamp,
    ephemeral: [u8; 32],
    noise: HandshakeState,
}

impl Hello {
    /// Opens a hello with the key of the ring that it names; `ephemeral` is random and used once.
    pub fn open(
        key_ring: &KeyRing,
        channel: &str,
        hello: &[u8; HELLO],
        ephemeral: Zeroizing<[u8; 32]>,
    ) -> Result<Self, HandshakeError> {
        let [version, a, b, c, d, first @ ..] = hello;
        if *version != VERSION {
            return Err(HandshakeError::OtherVersion { version: *version });
        }
        let id = KeyId([*a, *b, *c, *d]);
        let key = key_ring
            .by_id(id)
            .ok_or(HandshakeError::UnknownKey { key: id })?;
        let mut noise = builder(key, channel, &prefix(id), ephemeral, |noise| {
            noise.build_responder()
        })?;
        let mut clock = [0; 8];
        match noise.read_message(first, &mut clock) {
            Ok(8) => {}
            _ => return Err(HandshakeError::Forged),
        }
        let ephemeral = std::array::from_fn(|index| first[index]);
        Ok(Self {
            key: id,
            clock: Timestamp(u64::from_be_bytes(clock)),
            ephemeral,
            noise,
        })
    }

    /// The caller's clock.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// What no two hellos share, for a [`ReplayWindow`](crate::wire::ReplayWindow): a part of the ephemeral key.
    pub fn nonce(&self) -> [u8; 24] {
        std::array::from_fn(|index| self.ephemeral[index])
    }

    /// Answers: to be done only when the clock is right and the nonce is fresh.
    pub fn reply(mut self) -> Result<(Established, [u8; REPLY]), HandshakeError> {
        let mut reply = [0; REPLY];
        match self.noise.write_message(&[], &mut reply) {
            Ok(REPLY) => Ok((Established::new(self.key, self.noise)?, reply)),
            _ => Err(HandshakeError::Forged),
        }
    }
}

/// Both sides hold the key; frames are sealed and opened in order.
pub struct Established {
    key: KeyId,
    binding: [u8; 32],
    noise: TransportState,
}

/// Why a frame is not sealed or opened: the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The tag is wrong: damage, or somebody in between.
    #[error("a frame does not open: it was damaged or forged on the way")]
    Forged,
    /// Empty, or longer than a frame.
    #[error("a frame has a length that none has")]
    Length,
}

impl Established {
    fn new(key: KeyId, noise: HandshakeState) -> Result<Self, HandshakeError> {
        let binding = noise
            .get_handshake_hash()
            .try_into()
            .map_err(|_| HandshakeError::Forged)?;
        let noise = noise
            .into_transport_mode()
            .map_err(|_| HandshakeError::Forged)?;
        Ok(Self {
            key,
            binding,
            noise,
        })
    }

    /// The key under which the session is sealed.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The handshake's hash, which is another in every session.
    pub fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Seals a message into the front of `out`, and gives the length: the message's and [`TAG`].
    pub fn seal(&mut self, message: &[u8], out: &mut [u8]) -> Result<usize, TransportError> {
        if message.is_empty() || message.len() + TAG > MAX_SEALED {
            return Err(TransportError::Length);
        }
        self.noise
            .write_message(message, out)
            .map_err(|_| TransportError::Length)
    }

    /// Opens a sealed frame into the front of `out`, and gives the message's length.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, TransportError> {
        if !(TAG + 1..=MAX_SEALED).contains(&sealed.len()) {
            return Err(TransportError::Length);
        }
        self.noise
            .read_message(sealed, out)
            .map_err(|_| TransportError::Forged)
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Established({})", self.key)
    }
}

fn prefix(KeyId([a, b, c, d]): KeyId) -> [u8; PREFIX] {
    [VERSION, a, b, c, d]
}

fn builder(
    key: &ChannelKey,
    channel: &str,
    prefix: &[u8; PREFIX],
    ephemeral: Zeroizing<[u8; 32]>,
    build: impl FnOnce(Builder<'_>) -> Result<HandshakeState, snow::Error>,
) -> Result<HandshakeState, HandshakeError> {
    let prologue = [CONTEXT, prefix, channel.as_bytes()].concat();
    let psk = key.session_psk();
    // The pattern is a constant that the tests parse, and all parts are given: nothing here depends on the other side.
    let built = PATTERN.parse::<NoiseParams>().and_then(|pattern| {
        build(
            Builder::with_resolver(pattern, Box::new(Resolver(ephemeral)))
                .psk(0, &psk)?
                .prologue(&prologue)?,
        )
    });
    built.map_err(|_| HandshakeError::Forged)
}
