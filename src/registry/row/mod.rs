//! A node as a row of the store: CBOR with a version and limits of its own. Pure.
//!
//! [`encode`] writes a row from borrowed parts, and [`decode`] reads it into a [`StoredNode`].
//! Decoding must never panic or allocate without a limit, whatever the bytes are.

mod decode;
mod encode;

use std::net::{IpAddr, SocketAddr};

use minicbor::decode::Error as CborError;

pub(crate) use self::decode::decode;
pub(in crate::registry) use self::decode::decode_detail;
pub(in crate::registry) use self::encode::{RowParts, encode, encode_detail};
use crate::model::{Evidence, Lease, NodeName, Protocol, Record, State, Timestamp};
use crate::wire::KeyId;
use crate::wire::v1::SignedRecord;

/// The version with which each row begins. Since version 2 a row ends with the protocol; a row of
/// version 1 is of our own protocol. Since version 3 an interval says by when its end is certain.
pub const ROW_VERSION: u8 = 3;
/// The longest row, in bytes: a body, a record and [`MAX_INTERVALS`] intervals of at most 40 bytes
/// each fit into it.
const MAX_ROW: usize = 256 * 1024;
/// The maximum number of intervals of a row: above every setting of the table.
const MAX_INTERVALS: u64 = 4096;
/// The maximum number of former names of a row: above the table's own limit.
const MAX_FORMER: u64 = 64;

/// A time over which a node had an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub ip: IpAddr,
    /// How the server knows the address.
    pub evidence: Evidence,
    /// When the server first received it.
    pub from: Timestamp,
    /// Until when the node certainly had it; `None` while the node is present and has it. Never
    /// before `from`.
    pub to: Option<Timestamp>,
    /// From when on the node certainly no longer had it, in whole seconds after `to`; `None` if
    /// that is `to` itself, because a message reported the change.
    pub lost_by: Option<Timestamp>,
}

impl Interval {
    /// Whether the node certainly had the address at a time.
    pub fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at <= to)
    }

    /// Whether the node may have had the address at a time.
    pub fn may_cover(&self, at: Timestamp) -> bool {
        let end = self.lost_by.or(self.to);
        self.from <= at && end.is_none_or(|end| at <= end)
    }
}

/// A node as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNode {
    /// The node's place in the table. Slots are dense from 0 and are used again after a node is
    /// forgotten.
    pub slot: u32,
    /// Distinguishes this use of the slot from the one before.
    pub tag: u16,
    /// The newest full record.
    pub record: Record,
    /// The same record as the node signed it.
    pub signed: SignedRecord,
    /// The channel key that sealed the last register.
    pub key: KeyId,
    /// The epoch of the last accepted message: the record, a later renewal or a goodbye.
    pub epoch: u64,
    /// The sequence number that a renewal must build on.
    pub base: u64,
    /// The sequence number of the last accepted message.
    pub sequence: u64,
    /// The boot that the current one superseded.
    pub previous_boot: Option<u64>,
    /// The lease that was granted.
    pub lease: Lease,
    /// The source address of the last message.
    pub source: SocketAddr,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub state: State,
    /// When the node expired or left, in wall time; `last_seen` while it is present.
    pub ended: Timestamp,
    /// Whether the name is bound to this node; another node may have taken it over since.
    pub bound: bool,
    pub protocol: Protocol,
    /// Earlier names, oldest first.
    pub former: Vec<StoredFormer>,
    /// The addresses over time, oldest first.
    pub history: Vec<Interval>,
}

/// A name that a node had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFormer {
    pub name: NodeName,
    /// When the node took another name.
    pub until: Timestamp,
    /// Whether the name is still reserved for the node.
    pub bound: bool,
}

/// Why bytes are no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A later program wrote the row.
    #[error("the row has version {found}, and this program knows versions up to {ROW_VERSION}")]
    Version { found: u8 },
    /// The bytes are not what `encode` writes.
    #[error("{what} is not as it was written")]
    Damaged {
        /// The part that is damaged.
        what: &'static str,
    },
}

impl From<CborError> for RowError {
    fn from(_: CborError) -> Self {
        Self::Damaged {
            what: "its structure",
        }
    }
}
