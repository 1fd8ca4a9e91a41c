//! The primitives of Noise, from the crates that the rest of `wire` uses.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use sha2::{Digest, Sha256};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::TAG;

/// Provides one ephemeral key, which the caller of the handshake drew; a handshake of the pattern
/// NN needs no other randomness.
pub(super) struct Resolver(pub(super) Zeroizing<[u8; 32]>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.0.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Sha(Sha256::new())) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::AESGCM)
            .then(|| Box::new(Gcm::new(&[0; 32])) as Box<dyn Cipher>)
    }
}

struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let seed = self
            .0
            .take()
            .filter(|seed| seed.len() == dest.len())
            .ok_or(Error::Rng)?;
        dest.copy_from_slice(&*seed);
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = PublicKey::from(&StaticSecret::from(*self.secret)).to_bytes();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *secret)?;
        self.set(&*secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public
            .get(..32)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(Error::Dh)?;
        let shared = StaticSecret::from(*self.secret).diffie_hellman(&PublicKey::from(public));
        // A point of low order makes the shared secret public: the pre-shared key would still
        // protect the session, but without forward secrecy.
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.get_mut(..32)
            .ok_or(Error::Dh)?
            .copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

struct Sha(Sha256);

impl Hash for Sha {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Sha256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let digest = std::mem::take(&mut self.0).finalize();
        out[..32].copy_from_slice(&digest);
    }
}

/// AES-256-GCM by ring, which is three times as fast as the cipher of datagrams: whole files go
/// through it.
///
/// ring does not zero its key schedule when it is dropped, so this type overwrites it.
struct Gcm(Box<LessSafeKey>);

impl Gcm {
    #[expect(
        clippy::expect_used,
        reason = "only the length can be wrong, and the type fixes it"
    )]
    fn schedule(key: &[u8; 32]) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 has keys of 32 bytes"))
    }

    fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Self::schedule(key)))
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        *self.0 = Self::schedule(&[0; 32]);
        // Without this call the compiler may omit the write, because nothing reads the value again.
        std::hint::black_box(&self.0);
    }
}

/// Noise's nonce for AES-GCM: 32 zero bits, then the counter, big-endian (§12.4).
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Cipher for Gcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = Self::schedule(key);
    }

    #[expect(
        clippy::expect_used,
        reason = "a Noise message is far below the 64 GiB that AES-GCM accepts"
    )]
    fn encrypt(&self, counter: u64, associated: &[u8], text: &[u8], out: &mut [u8]) -> usize {
        let (sealed, tag_out) = out[..text.len() + TAG].split_at_mut(text.len());
        sealed.copy_from_slice(text);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(associated), sealed);
        tag_out.copy_from_slice(tag.expect("a message is below 64 GiB").as_ref());
        text.len() + TAG
    }

    fn decrypt(
        &self,
        counter: u64,
        associated: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let length = sealed.len().checked_sub(TAG).ok_or(Error::Decrypt)?;
        let (sealed, tag) = sealed.split_at(length);
        let out = out.get_mut(..length).ok_or(Error::Decrypt)?;
        let tag = Tag::try_from(tag).map_err(|_| Error::Decrypt)?;
        out.copy_from_slice(sealed);
        let opened =
            self.0
                .open_in_place_separate_tag(nonce(counter), Aad::from(associated), tag, out, 0..);
        opened.map(|_| length).map_err(|_| Error::Decrypt)
    }
}
