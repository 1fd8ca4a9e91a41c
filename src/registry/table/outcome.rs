//! Inputs and outcomes of the table.

use std::net::SocketAddr;

use crate::model::{Lease, NodeId, Record};
use crate::wire::KeyId;
use crate::wire::v1::{Refusal, SignedRecord};

/// A verified record for the table.
#[derive(Debug, Clone)]
pub struct Registration {
    pub record: Record,
    /// The same record as it was signed; signature and node id are verified already.
    pub signed: SignedRecord,
    /// The source address of the datagram.
    pub source: SocketAddr,
    /// The channel key that sealed the datagram.
    pub key: KeyId,
}

/// The outcome of a register or a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is accepted, and to be acknowledged once it is durable.
    Accepted {
        slot: u32,
        /// The lease that is granted.
        lease: Lease,
        /// Whether there is something new to store. If not, it is a retransmission. It is to be
        /// acknowledged once all batches submitted before are durable, since the first copy may not
        /// have reached the disk yet.
        changed: bool,
        change: Change,
    },
    Refused(Refusal),
}

/// What a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing changed.
    Same,
    /// The node is new.
    Joined,
    /// The node was absent and is back.
    Returned,
    /// The name, an address, or the source address changed.
    Moved,
    /// The record is newer, with the same name and addresses.
    Updated,
    /// The node said goodbye.
    Left,
}

/// The outcome of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewOutcome {
    /// The lease begins again.
    Renewed {
        /// The lease that is granted.
        lease: Lease,
        /// Whether a row must be stored: the source address changed, or the node was expired.
        changed: bool,
    },
    /// The table does not hold the record that the renewal builds on.
    Unknown,
    /// The table holds a newer message, of this order.
    Outdated { epoch: u64, sequence: u64 },
}

/// What [`Table::forget`](super::Table::forget) removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The node that held the name.
    pub node: NodeId,
    /// Whether its record and history were removed, too. If not, only the name was freed, since the
    /// node has another.
    pub record: bool,
}
