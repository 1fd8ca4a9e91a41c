//! A node's signing key, and the key that a node and a server share for renewals.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::v1::Renewal;
use crate::model::NodeId;

/// A node's Ed25519 key pair (RFC 8032): who the node is.
///
/// Cleared when dropped; its debug form shows the node id only.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    id: NodeId,
}

impl Identity {
    /// The key pair of a seed of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = NodeId(key.verifying_key().to_bytes());
        Self { key, id }
    }

    /// The public key: the node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The renewal key of this node with a server.
    pub fn renewal_key_with_server(&self, server: &NodeId) -> Result<RenewalKey, IdentityError> {
        self.renewal_key(server, &self.id, server)
    }

    /// The renewal key of a node with this server: the same that the node computes.
    ///
    /// It costs one X25519 exchange; a server keeps the result per node.
    pub fn renewal_key_of_node(&self, node: &NodeId) -> Result<RenewalKey, IdentityError> {
        self.renewal_key(node, node, &self.id)
    }

    fn renewal_key(
        &self,
        peer: &NodeId,
        node: &NodeId,
        server: &NodeId,
    ) -> Result<RenewalKey, IdentityError> {
        // X25519 (RFC 7748 §5) between the Ed25519 keys seen as Montgomery points; joint use of one
        // key pair for both is shown safe in <https://eprint.iacr.org/2021/509>. The clamped scalar
        // clears the cofactor.
        let point = verifying_key(peer)?.to_montgomery();
        let mut scalar = self.key.to_scalar_bytes();
        let mut shared = point.mul_clamped(scalar).to_bytes();
        scalar.zeroize();
        // A point of low order gives zero with every key: then the result is no secret.
        if bool::from(shared.ct_eq(&[0; 32])) {
            return Err(IdentityError::Weak);
        }
        let mut key = Zeroizing::new([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "the output has a fixed length of 32 bytes"
        )]
        Hkdf::<Sha256>::new(None, &shared)
            .expand_multi_info(&[b"hereabouts/1 renewal", &node.0, &server.0], &mut *key)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        shared.zeroize();
        Ok(RenewalKey(key))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.id)
    }
}

/// Why a node id or a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The node id is no point of the curve.
    #[error("the node id is no Ed25519 public key")]
    NotAKey,
    /// The point has a low order: any node could sign with such a key.
    #[error("the node id is a weak Ed25519 public key")]
    Weak,
    /// The signature is not this node's.
    #[error("the signature is not that of the node")]
    Signature,
}

/// Checks that `node` signed `message` (RFC 8032 §5.1.7, the strict form: no weak keys, one
/// signature form only).
pub fn verify(node: &NodeId, message: &[u8], signature: &[u8; 64]) -> Result<(), IdentityError> {
    verifying_key(node)?
        .verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| IdentityError::Signature)
}

/// Whether an id is a point of the curve, and so may be a public key.
pub(super) fn is_key(node: &NodeId) -> bool {
    VerifyingKey::from_bytes(&node.0).is_ok()
}

fn verifying_key(node: &NodeId) -> Result<VerifyingKey, IdentityError> {
    let key = VerifyingKey::from_bytes(&node.0).map_err(|_| IdentityError::NotAKey)?;
    if key.is_weak() {
        Err(IdentityError::Weak)
    } else {
        Ok(key)
    }
}

/// A key that only a node and one server know, and no other member of the channel: proofs under it
/// renew a lease.
///
/// 32 bytes, cleared when dropped; a server keeps one per node.
#[derive(Clone)]
pub struct RenewalKey(Zeroizing<[u8; 32]>);

impl RenewalKey {
    /// A renewal with its proof, for the node and the server that share this key.
    pub fn renewal(
        &self,
        node: &NodeId,
        server: &NodeId,
        epoch: u64,
        base: u64,
        sequence: u64,
    ) -> Renewal {
        let mut renewal = Renewal {
            node: *node,
            epoch,
            base,
            sequence,
            proof: [0; 16],
        };
        renewal.proof = self.proof(&renewal, server);
        renewal
    }

    /// The key of the bytes that [`Self::bytes`] returned.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes, for a table that keeps one per node.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a renewal's proof is right for this server, in constant time.
    #[must_use]
    pub fn verify(&self, renewal: &Renewal, server: &NodeId) -> bool {
        self.proof(renewal, server).ct_eq(&renewal.proof).into()
    }

    /// HMAC-SHA256, cut to 16 bytes (RFC 2104 §5), over "hereabouts/1 renewal", both node ids,
    /// epoch, base and sequence.
    fn proof(&self, renewal: &Renewal, server: &NodeId) -> [u8; 16] {
        let Renewal {
            node,
            epoch,
            base,
            sequence,
            proof: _,
        } = renewal;
        #[expect(clippy::expect_used, reason = "the key has a fixed length of 32 bytes")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes a key of any length");
        mac.update(b"hereabouts/1 renewal");
        mac.update(&node.0);
        mac.update(&server.0);
        mac.update(&epoch.to_be_bytes());
        mac.update(&base.to_be_bytes());
        mac.update(&sequence.to_be_bytes());
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|index| full[index])
    }
}

impl fmt::Debug for RenewalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RenewalKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Identity, Identity) {
        (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]))
    }

    #[test]
    fn node_and_server_share_a_renewal_key() {
        let (node, server) = pair();
        let at_node = node.renewal_key_with_server(&server.id()).unwrap();
        let at_server = server.renewal_key_of_node(&node.id()).unwrap();
        let renewal = at_node.renewal(&node.id(), &server.id(), 1, 2, 3);
        assert!(at_server.verify(&renewal, &server.id()));
        assert_eq!(size_of::<RenewalKey>(), 32);
        // With the roles exchanged, the pair has another key.
        let reverse = node.renewal_key_of_node(&server.id()).unwrap();
        assert_ne!(*reverse.0, *at_node.0);
    }

    #[test]
    fn renewal_key_is_stable() {
        // Computed with Python: X25519 of `cryptography` over RFC 8032 scalars and mapped points,
        // then its HKDF.
        let (node, server) = pair();
        let key = node.renewal_key_with_server(&server.id()).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&*key.0),
            "75027f7d1c2237b8d8205b1ba7e28595c715e7d0f738f0887539a0f61e06fb53"
        );
        let proof = key.renewal(&node.id(), &server.id(), 1, 2, 3).proof;
        assert_eq!(
            data_encoding::HEXLOWER.encode(&proof),
            "f7851c0de66e196f7a0c83256c94d7ee"
        );
    }

    #[test]
    fn proof_covers_every_field() {
        let (node, server) = pair();
        let key = node.renewal_key_with_server(&server.id()).unwrap();
        let renewal = key.renewal(&node.id(), &server.id(), 1, 2, 3);
        assert!(key.verify(&renewal, &server.id()));
        assert!(!key.verify(&renewal, &node.id()));
        assert!(!key.verify(
            &Renewal {
                node: server.id(),
                ..renewal.clone()
            },
            &server.id()
        ));
        assert!(!key.verify(
            &Renewal {
                epoch: 9,
                ..renewal.clone()
            },
            &server.id()
        ));
        assert!(!key.verify(
            &Renewal {
                base: 9,
                ..renewal.clone()
            },
            &server.id()
        ));
        assert!(!key.verify(
            &Renewal {
                sequence: 9,
                ..renewal.clone()
            },
            &server.id()
        ));
        assert!(!key.verify(
            &Renewal {
                proof: [0; 16],
                ..renewal.clone()
            },
            &server.id()
        ));
        let third = Identity::from_seed(&[3; 32])
            .renewal_key_with_server(&server.id())
            .unwrap();
        assert!(!third.verify(&renewal, &server.id()));
    }

    #[test]
    fn weak_and_impossible_node_ids_are_refused() {
        let (node, _) = pair();
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        for weak in [[0; 32], one, minus_one] {
            assert_eq!(
                node.renewal_key_of_node(&NodeId(weak)).unwrap_err(),
                IdentityError::Weak,
                "{weak:?}"
            );
            assert_eq!(
                verify(&NodeId(weak), b"", &[0; 64]),
                Err(IdentityError::Weak),
                "{weak:?}"
            );
        }
        let mut two = [0; 32];
        two[0] = 2;
        assert_eq!(
            node.renewal_key_of_node(&NodeId(two)).unwrap_err(),
            IdentityError::NotAKey
        );
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // RFC 8032 §7.1, test 2.
        let seed = data_encoding::HEXLOWER
            .decode(b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap();
        let identity = Identity::from_seed(&seed.try_into().unwrap());
        let signature = identity.sign(&[0x72]);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(verify(&identity.id(), &[0x72], &signature), Ok(()));
        assert_eq!(
            verify(&identity.id(), &[0x73], &signature),
            Err(IdentityError::Signature)
        );
    }

    #[test]
    fn debug_forms_show_no_secret() {
        let (node, server) = pair();
        let key = node.renewal_key_with_server(&server.id()).unwrap();
        assert_eq!(
            format!("{node:?} {key:?}"),
            format!("Identity({}) RenewalKey(..)", node.id().short())
        );
    }
}
