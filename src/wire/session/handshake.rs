//! The handshake, and the sealing of frames after it. Pure: random bytes and clocks are arguments.

use std::fmt;

use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, TransportState};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use super::{MAX_SEALED, TAG};
use crate::model::Timestamp;
use crate::wire::KeyId;
use crate::wire::keyring::{ChannelKey, KeyRing};

/// The name of the protocol in Noise.
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"hereabouts/1 session";
/// Version and key id, in bytes.
const PREFIX: usize = 1 + 4;
/// An ephemeral key and the sealed clock, in bytes.
const FIRST: usize = 32 + 8 + TAG;

/// The length of a hello, in bytes.
pub const HELLO: usize = PREFIX + FIRST;
/// The length of the reply to a hello, in bytes.
pub const REPLY: usize = 32 + TAG;

/// Why a handshake failed, for the log of this side; the other side must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte is not the byte of this version.
    #[error("the first byte is {version}: another version, or another protocol")]
    OtherVersion {
        /// The first byte.
        version: u8,
    },
    /// The key id is not in the key ring: another channel.
    #[error("the peer holds another key ({key})")]
    UnknownKey {
        /// The key id.
        key: KeyId,
    },
    /// The message does not open: another key with the same id, another channel name, or damage.
    #[error("the message does not open: another channel, or damage")]
    Forged,
}

/// A handshake on the side of the caller.
pub struct Initiator {
    key: KeyId,
    noise: HandshakeState,
}

impl Initiator {
    /// Starts a handshake under a key; `ephemeral` is random and used once.
    ///
    /// `clock` is the best guess of the server's clock: the own clock, corrected by the difference
    /// if the server reported one.
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

    /// Reads the reply, which proves that the other side holds the key.
    pub fn finish(mut self, reply: &[u8; REPLY]) -> Result<Established, HandshakeError> {
        self.noise
            .read_message(reply, &mut [])
            .map_err(|_| HandshakeError::Forged)?;
        Established::new(self.key, self.noise)
    }
}

/// A hello that opened: its sender holds the key, or replays the hello of a node that does.
pub struct Hello {
    key: KeyId,
    clock: Timestamp,
    ephemeral: [u8; 32],
    noise: HandshakeState,
}

impl Hello {
    /// Opens a hello with the key that its key id names; `ephemeral` is random and used once.
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

    /// The clock of the caller.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// A nonce that differs in every hello, for a [`ReplayWindow`](crate::wire::ReplayWindow): a
    /// part of the ephemeral key.
    pub fn nonce(&self) -> [u8; 24] {
        std::array::from_fn(|index| self.ephemeral[index])
    }

    /// Makes the reply. Only for a hello whose clock is right and whose nonce is fresh.
    pub fn reply(mut self) -> Result<(Established, [u8; REPLY]), HandshakeError> {
        let mut reply = [0; REPLY];
        match self.noise.write_message(&[], &mut reply) {
            Ok(REPLY) => Ok((Established::new(self.key, self.noise)?, reply)),
            _ => Err(HandshakeError::Forged),
        }
    }
}

/// An established session: both sides hold the key, and frames are sealed and opened in order.
pub struct Established {
    key: KeyId,
    binding: [u8; 32],
    noise: TransportState,
}

/// Why a frame can't be sealed or opened, which ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The tag is wrong: the frame was damaged or forged.
    #[error("a frame does not open: it was damaged or forged on the way")]
    Forged,
    /// The frame is empty or too long.
    #[error("a frame is empty or too long")]
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

    /// The hash of the handshake, which differs in every session.
    pub fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Seals a message into the front of `out`, and returns the sealed length: [`TAG`] more than
    /// the message.
    pub fn seal(&mut self, message: &[u8], out: &mut [u8]) -> Result<usize, TransportError> {
        if message.is_empty() || message.len() + TAG > MAX_SEALED {
            return Err(TransportError::Length);
        }
        self.noise
            .write_message(message, out)
            .map_err(|_| TransportError::Length)
    }

    /// Opens a sealed frame into the front of `out`, and returns the length of the message.
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
    // The pattern is a constant that the tests parse, and all parts are given, so a failure does
    // not depend on the other side.
    let built = PATTERN.parse::<NoiseParams>().and_then(|pattern| {
        build(
            Builder::with_resolver(pattern, Box::new(Resolver(ephemeral)))
                .psk(0, &psk)?
                .prologue(&prologue)?,
        )
    });
    built.map_err(|_| HandshakeError::Forged)
}
