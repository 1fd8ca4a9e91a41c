//! The types of the messages; [`super::codec`] has their bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::model::{Labels, Lease, NodeId, NodeName, Protocol, State, Timestamp};
use crate::wire::KeyId;

/// The content of one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks for servers, all nodes, a name or the holder of an address. Multicast, broadcast or
    /// unicast.
    Query(Query),
    /// Answers a query, unicast to the client.
    Answer(Answer),
    /// Registers a record with a server, unicast.
    Register(SignedRecord),
    /// Acknowledges a register or a renewal: sent after the store has synced the change.
    Registered(Registered),
    /// Renews the lease of a record that the server holds, without sending it again.
    Renew(Renewal),
    /// Announces a record to all nodes. Multicast or broadcast.
    Announcement(SignedRecord),
    /// Announces to all nodes, and to each server, that the node leaves: a record with lease 0.
    Goodbye(SignedRecord),
    /// Notifies nodes that a newer generation of an offer exists.
    Notice(Notice),
    /// Refuses a query, register or renewal, with the reason.
    Refused(Refused),
}

/// A question to servers or to all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// A random number; an answer repeats it.
    pub id: u64,
    /// The question.
    pub want: Want,
    /// The client's clock.
    pub clock: Timestamp,
    /// The time over which answers may be spread, at most 65,535 ms; used for [`Want::All`] only.
    pub window: Duration,
}

/// The question of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Servers answer, at once.
    Servers,
    /// Every node answers, at a random moment inside the window.
    All,
    /// The node of that name answers, and every server: with the node, or with
    /// [`Subject::Unknown`].
    Name(NodeName),
    /// Servers answer with the node that has this address, or had it last.
    Holder(IpAddr),
}

/// Answers a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The query's id.
    pub id: u64,
    /// The client's source address as the answering node received it.
    pub seen: SocketAddr,
    /// The content of the answer.
    pub subject: Subject,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The answering node itself: its record, and a server's own key/values.
    Own {
        /// The record of the answering node.
        record: SignedRecord,
        /// A server's `info`; empty from a client.
        info: Labels,
    },
    /// The entry of the requested node in a server's registry.
    Found {
        /// The server that answers.
        server: NodeId,
        /// The record as its node signed it.
        record: SignedRecord,
        /// When and from where the server received the node's last message.
        sighting: Sighting,
    },
    /// A name that a server received by a protocol without authentication: there is no record and
    /// no signature.
    UnverifiedClaim {
        /// The server that answers.
        server: NodeId,
        /// The name.
        name: NodeName,
        /// The legacy protocol; never hereabouts' own.
        protocol: Protocol,
        /// When and from where the server received the node's last message.
        sighting: Sighting,
    },
    /// A server's registry has no matching entry.
    Unknown {
        /// The server that answers.
        server: NodeId,
    },
}

/// When and from where a server received a node's last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The source address of the node's last message.
    pub source: SocketAddr,
    /// The time of that message, by the server's clock.
    pub last_seen: Timestamp,
    /// Whether the server counts the node as present.
    pub state: State,
}

/// A record with the signature of its node.
///
/// The signature is Ed25519 over "hereabouts/1 record", the key id and the body, so that a record
/// of one channel proves nothing on another.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// The node of the record.
    pub node: NodeId,
    /// The channel key with which the node sealed when it signed.
    pub key: KeyId,
    /// The record as CBOR, as it was signed; at most [`SignedRecord::MAX_BODY`] bytes.
    pub body: Box<[u8]>,
    /// The signature.
    pub signature: [u8; 64],
}

impl SignedRecord {
    /// The longest body, in bytes: with it an [`Answer`] with the longest info fits a datagram.
    pub const MAX_BODY: usize = 640;
}

impl std::fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRecord")
            .field("node", &self.node)
            .field("key", &self.key)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Acknowledges a register or a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The sequence number acknowledged.
    pub sequence: u64,
    /// The node's source address as the server received it.
    pub seen: SocketAddr,
    /// How long the server keeps the record without a renewal: the smaller of the node's request
    /// and the server's limit.
    pub lease: Lease,
    /// The server's clock.
    pub clock: Timestamp,
    /// The state of the server's offers, as a number that changes with each new generation of a
    /// file and each start of the server; `None` if the server offers nothing.
    pub offers: Option<u64>,
}

/// Renews a lease.
///
/// It is cheap for the server: it has no signature, but a proof that only the node and this server
/// can make, so that no other member of the channel can renew in a node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The node of the record.
    pub node: NodeId,
    /// The record's epoch.
    pub epoch: u64,
    /// The sequence number of the full record that the server acknowledged.
    pub base: u64,
    /// The sequence number of this renewal, greater than every one before.
    pub sequence: u64,
    /// HMAC-SHA256, cut to 16 bytes, over the fields above and both node ids, under the pair's
    /// renewal key.
    pub proof: [u8; 16],
}

/// Notifies a node of an offer. It never carries content or a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The server that holds the offer and signs the notice.
    pub server: NodeId,
    /// The offer's name: 1 to 63 bytes as in a label's key.
    pub name: Box<str>,
    /// A number that grows with every change of the file.
    pub generation: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// The file's digest.
    pub digest: [u8; 32],
    /// Ed25519 over "hereabouts/1 notice", the channel's key id and the fields above.
    pub signature: [u8; 64],
}

/// A refusal to a node that proved that it holds the channel key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The message that is refused.
    pub regarding: Regarding,
    /// The reason.
    pub refusal: Refusal,
}

/// The message that a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regarding {
    /// The query with this id.
    Query(u64),
    /// The register or renewal with this sequence number.
    Sequence(u64),
}

/// The reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The query's clock is outside the window; the refusal has the server's clock.
    Clock {
        /// The server's clock.
        clock: Timestamp,
    },
    /// Another node id holds the name.
    NameHeld {
        /// The node that holds the name.
        holder: NodeId,
    },
    /// Too many requests; try again after this long.
    Rate {
        /// How long to wait, in whole milliseconds.
        wait: Duration,
    },
    /// The server has a newer record of this node.
    Outdated {
        /// The epoch that the server has.
        epoch: u64,
        /// The sequence number that the server has.
        sequence: u64,
    },
    /// The server does not have the record that a renewal refers to: the node registers again.
    UnknownRecord,
    /// Two machines use this node id: one was cloned from the other's disk.
    Cloned,
    /// The client holds the key, but the channel has another name. Only sent when `channel.hidden`
    /// is false.
    Channel {
        /// The channel's name.
        name: Box<str>,
    },
}
