//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>): AES-256-GCM under a key derived per message, so
//! that random 24-byte nonces stay safe for as many messages as a fleet will ever send.

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U12};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use zeroize::Zeroize;

/// The length of a nonce, in bytes.
pub(crate) const NONCE: usize = 24;
/// The length of a tag, in bytes.
pub(crate) const TAG: usize = 16;

/// A key with its precomputed parts: the key schedule, and the CMAC subkey of the derivation.
#[derive(Clone)]
pub(crate) struct Xaes {
    schedule: Aes256Enc,
    subkey: [u8; 16],
}

impl Xaes {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let schedule = Aes256Enc::new(key.into());
        let mut block = Array::from([0; 16]);
        schedule.encrypt_block(&mut block);
        let subkey = double(block.into());
        block.zeroize();
        Self { schedule, subkey }
    }

    /// Encrypts in place and returns the tag; `None` beyond AES-GCM's 64 GiB.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE],
        associated: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG]> {
        let (cipher, iv) = self.message_cipher(nonce);
        cipher
            .encrypt_inout_detached(&iv, associated, InOutBuf::from(text))
            .ok()
            .map(Into::into)
    }

    /// Checks the tag, then decrypts in place; `false` if the tag is wrong, and then the text is
    /// unchanged.
    #[must_use]
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> bool {
        let (cipher, iv) = self.message_cipher(nonce);
        cipher
            .decrypt_inout_detached(&iv, associated, InOutBuf::from(text), tag.into())
            .is_ok()
    }

    fn message_cipher(&self, nonce: &[u8; NONCE]) -> (AesGcm<Aes256Enc, U12>, Array<u8, U12>) {
        let mut key = self.message_key(nonce);
        let cipher = AesGcm::new((&key).into());
        key.zeroize();
        let mut iv = [0; 12];
        iv.copy_from_slice(&nonce[12..]);
        (cipher, iv.into())
    }

    /// NIST SP 800-108r1 in counter mode over CMAC-AES256, label "X", context the nonce's first
    /// half.
    fn message_key(&self, nonce: &[u8; NONCE]) -> [u8; 32] {
        let mut blocks = [1, 2].map(|counter| {
            let mut block = [0; 16];
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            block
                .iter_mut()
                .zip(&self.subkey)
                .for_each(|(byte, key)| *byte ^= key);
            Array::from(block)
        });
        self.schedule.encrypt_blocks(&mut blocks);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&blocks[0]);
        key[16..].copy_from_slice(&blocks[1]);
        blocks.iter_mut().for_each(|block| block.zeroize());
        key
    }
}

impl Drop for Xaes {
    fn drop(&mut self) {
        // The schedule clears itself.
        self.subkey.zeroize();
    }
}

/// Doubling in GF(2^128), in constant time (NIST SP 800-38B §6.1).
fn double(block: [u8; 16]) -> [u8; 16] {
    let value = u128::from_be_bytes(block);
    ((value << 1) ^ ((value >> 127) * 0x87)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE_TEXT: &[u8; NONCE] = b"ABCDEFGHIJKLMNOPQRSTUVWX";

    fn sealed(key: u8, associated: &[u8]) -> String {
        let mut text = *b"XAES-256-GCM";
        let tag = Xaes::new(&[key; 32])
            .seal(NONCE_TEXT, associated, &mut text)
            .unwrap();
        data_encoding::HEXLOWER.encode(&[&text[..], &tag].concat())
    }

    /// The two vectors of the C2SP page, and their derived keys.
    #[test]
    fn published_vectors_hold() {
        assert_eq!(
            sealed(1, b""),
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
        );
        assert_eq!(
            sealed(3, b"c2sp.org/XAES-256-GCM"),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
        );
        for (key, derived) in [
            (
                1,
                "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
            ),
            (
                3,
                "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
            ),
        ] {
            assert_eq!(
                data_encoding::HEXLOWER.encode(&Xaes::new(&[key; 32]).message_key(NONCE_TEXT)),
                derived
            );
        }
    }

    /// The accumulated vector of the C2SP page: 10,000 random keys, nonces, texts and associated
    /// data.
    #[test]
    fn published_accumulated_vector_holds() {
        let mut source = Shake128::default();
        let mut digest = Shake128::default();
        for _ in 0..10_000 {
            let key: [u8; 32] = source.squeeze(32).try_into().unwrap();
            let nonce: [u8; NONCE] = source.squeeze(NONCE).try_into().unwrap();
            let length = source.squeeze(1)[0];
            let text = source.squeeze(length.into());
            let length = source.squeeze(1)[0];
            let associated = source.squeeze(length.into());
            let xaes = Xaes::new(&key);
            let mut buffer = text.clone();
            let tag = xaes.seal(&nonce, &associated, &mut buffer).unwrap();
            digest.absorb(&buffer);
            digest.absorb(&tag);
            assert!(xaes.open(&nonce, &associated, &mut buffer, &tag));
            assert_eq!(buffer, text);
        }
        assert_eq!(
            data_encoding::HEXLOWER.encode(&digest.squeeze(32)),
            "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
        );
    }

    /// SHAKE128 (FIPS 202), for the vector above only: slow, and no reason for a dependency.
    #[derive(Default)]
    struct Shake128 {
        state: [[u64; 5]; 5],
        position: usize,
        squeezing: bool,
    }

    impl Shake128 {
        const RATE: usize = 168;

        fn xor(&mut self, position: usize, byte: u8) {
            let lane = position / 8;
            self.state[lane % 5][lane / 5] ^= u64::from(byte) << (position % 8 * 8);
        }

        fn absorb(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.xor(self.position, *byte);
                self.advance();
            }
        }

        fn squeeze(&mut self, length: usize) -> Vec<u8> {
            if !self.squeezing {
                self.xor(self.position, 0x1f);
                self.xor(Self::RATE - 1, 0x80);
                self.permute();
                (self.position, self.squeezing) = (0, true);
            }
            let mut bytes = Vec::with_capacity(length);
            for _ in 0..length {
                let lane = self.position / 8;
                bytes.push((self.state[lane % 5][lane / 5] >> (self.position % 8 * 8)) as u8);
                self.advance();
            }
            bytes
        }

        fn advance(&mut self) {
            self.position += 1;
            if self.position == Self::RATE {
                self.permute();
                self.position = 0;
            }
        }

        fn permute(&mut self) {
            let a = &mut self.state;
            let mut lfsr = 1u8;
            for _ in 0..24 {
                // Theta.
                let c: [u64; 5] =
                    std::array::from_fn(|x| a[x].iter().fold(0, |sum, lane| sum ^ lane));
                for x in 0..5 {
                    let d = c[(x + 4) % 5] ^ c[(x + 1) % 5].rotate_left(1);
                    a[x].iter_mut().for_each(|lane| *lane ^= d);
                }
                // Rho and pi.
                let mut x = 1;
                let mut y = 0;
                let mut last = a[1][0];
                for t in 0..24 {
                    (x, y) = (y, (2 * x + 3 * y) % 5);
                    last = std::mem::replace(
                        &mut a[x][y],
                        last.rotate_left((t + 1) * (t + 2) / 2 % 64),
                    );
                }
                // Chi.
                #[allow(
                    clippy::needless_range_loop,
                    reason = "y is the second index of a lane"
                )]
                for y in 0..5 {
                    let row: [u64; 5] = std::array::from_fn(|x| a[x][y]);
                    for x in 0..5 {
                        a[x][y] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]);
                    }
                }
                // Iota.
                for j in 0..7 {
                    if lfsr & 1 == 1 {
                        a[0][0] ^= 1 << ((1u32 << j) - 1);
                    }
                    lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x71);
                }
            }
        }
    }

    #[test]
    fn wrong_tag_leaves_the_text_unchanged() {
        let xaes = Xaes::new(&[7; 32]);
        let mut text = *b"some text";
        let mut tag = xaes.seal(NONCE_TEXT, b"", &mut text).unwrap();
        let sealed = text;
        tag[15] ^= 1;
        assert!(!xaes.open(NONCE_TEXT, b"", &mut text, &tag));
        assert_eq!(text, sealed);
    }
}
