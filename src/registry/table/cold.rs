//! The fields of a node that a renewal does not change.

use std::net::SocketAddr;

use super::Registration;
use super::history::Span;
use crate::model::{NodeId, NodeName, Protocol, Record, Timestamp};
use crate::registry::row;
use crate::wire::KeyId;
use crate::wire::v1::SignedRecord;

/// The wake of a slot that is not in the time index.
pub(super) const NEVER: i64 = i64::MAX;

pub(super) struct Cold {
    pub(super) name: NodeName,
    pub(super) signed: Packed,
    /// The channel key of the last register.
    pub(super) key: KeyId,
    /// Whether the name is bound to the node.
    pub(super) bound: bool,
    /// The protocol by which the node is known.
    pub(super) protocol: Protocol,
    pub(super) boot: u64,
    pub(super) previous_boot: Option<u64>,
    pub(super) first_seen: Timestamp,
    /// When the lease ended, in ms by the monotonic clock; without meaning while the node is
    /// present.
    pub(super) ended: i64,
    /// The same time by the wall clock.
    pub(super) ended_at: Timestamp,
    /// The node's entry in the time index.
    pub(super) wake: i64,
    pub(super) history: Vec<Span>,
    pub(super) former: Vec<Former>,
    pub(super) clone_sighting: Option<Box<CloneMark>>,
}

/// A name that the node had before.
pub(super) struct Former {
    pub(super) name: NodeName,
    pub(super) until: Timestamp,
    /// The same time in ms by the monotonic clock.
    pub(super) ended: i64,
    /// Whether the name is still reserved for the node.
    pub(super) bound: bool,
}

/// Another machine that uses the node's id.
pub(super) struct CloneMark {
    /// The boot that is refused.
    pub(super) boot: u64,
    pub(super) source: SocketAddr,
    /// The newest order that was refused: a replay of an older message proves nothing.
    pub(super) order: (u64, u64),
    /// When the last message was refused, in ms by the monotonic clock.
    pub(super) last_refused: i64,
    pub(super) since: Timestamp,
}

/// A signed record and the decoded record in one allocation: signature, body, detail.
pub(super) struct Packed {
    bytes: Box<[u8]>,
    body: u16,
    key: KeyId,
}

impl Packed {
    const SIGNATURE: usize = 64;

    pub(super) fn new(record: &Record, signed: &SignedRecord) -> Self {
        let mut bytes = Vec::with_capacity(Self::SIGNATURE + signed.body.len() + 128);
        bytes.extend_from_slice(&signed.signature);
        // A verified body is at most SignedRecord::MAX_BODY bytes long. A longer one is cut, so
        // that `body` fits.
        let body = &signed.body[..signed.body.len().min(SignedRecord::MAX_BODY)];
        bytes.extend_from_slice(body);
        row::encode_detail(record, &mut bytes);
        Self {
            bytes: bytes.into_boxed_slice(),
            body: body.len() as u16,
            key: signed.key,
        }
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.bytes[..Self::SIGNATURE]
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[Self::SIGNATURE..Self::SIGNATURE + usize::from(self.body)]
    }

    pub(super) fn detail(&self) -> &[u8] {
        &self.bytes[Self::SIGNATURE + usize::from(self.body)..]
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    pub(super) fn signed(&self, node: NodeId) -> SignedRecord {
        let mut signature = [0; Self::SIGNATURE];
        signature.copy_from_slice(self.signature());
        SignedRecord {
            node,
            key: self.key,
            body: self.body().into(),
            signature,
        }
    }
}

impl Cold {
    pub(super) fn new(registration: &Registration, now: Timestamp) -> Self {
        Self {
            name: registration.record.name.clone(),
            signed: Packed::new(&registration.record, &registration.signed),
            key: registration.key,
            bound: true,
            protocol: Protocol::Hereabouts,
            boot: registration.record.boot,
            previous_boot: None,
            first_seen: now,
            ended: 0,
            ended_at: now,
            wake: NEVER,
            history: Vec::new(),
            former: Vec::new(),
            clone_sighting: None,
        }
    }
}
