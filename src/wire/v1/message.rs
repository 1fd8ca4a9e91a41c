//! The messages as types; their bytes are in [`super::codec`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::model::{Labels, Lease, NodeId, NodeName, Protocol, State, Timestamp};
use crate::wire::KeyId;

/// One datagram's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks for servers, all nodes, a name or the holder of an address. Multicast, broadcast or unicast.
    Query(Query),
    /// Answers a query, unicast to the asker.
    Answer(Answer),
    /// Registers a record with a server, unicast.
    Register(SignedRecord),
    /// Acknowledges a register or a renewal: sent once the store has synced what changed.
    Registered(Registered),
    /// Renews the lease of a record that the server holds, without sending it again.
    Renew(Renewal),
    /// Tells everybody a record. Multicast or broadcast.
    Announcement(SignedRecord),
    /// Tells everybody, and each server, that the node leaves: a record with lease 0.
    Goodbye(SignedRecord),
    /// Tells that a newer generation of an offer exists.
    Notice(Notice),
    /// Says why a query, register or renewal is not taken.
    Refused(Refused),
}

/// Asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Random; an answer carries it back.
    pub id: u64,
    /// What is asked for.
    pub want: Want,
    /// The asker's clock.
    pub clock: Timestamp,
    /// The time over which answers may be spread, at most 65,535 ms; used for [`Want::All`] only.
    pub window: Duration,
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// Servers answer, at once.
    Servers,
    /// Every node answers, at a random moment inside the window.
    All,
    /// The node of that name answers, and every server that knows it; servers that don't say so.
    Name(NodeName),
    /// Servers answer with the node that has, or had last, this address.
    Holder(IpAddr),
}

/// Answers a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The query's id.
    pub id: u64,
    /// The asker's address as the answerer saw it.
    pub seen: SocketAddr,
    /// What it answers.
    pub subject: Subject,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The answerer itself: its record, and a server's own key/values.
    Own {
        /// The answerer's record.
        record: SignedRecord,
        /// A server's `info`; empty from a client.
        info: Labels,
    },
    /// What a server's registry holds of the node asked for.
    Found {
        /// The server that answers.
        server: NodeId,
        /// The record as its node signed it.
        record: SignedRecord,
        /// What the server itself saw.
        sighting: Sighting,
    },
    /// What a server heard of a name by a wire on which nobody proves anything: there is no record and no signature.
    UnverifiedClaim {
        /// The server that answers.
        server: NodeId,
        /// The name.
        name: NodeName,
        /// The wire; never our own.
        protocol: Protocol,
        /// What the server itself saw.
        sighting: Sighting,
    },
    /// A server's registry holds nothing that fits.
    Unknown {
        /// The server that answers.
        server: NodeId,
    },
}

/// What a server saw of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The source address of the node's last message.
    pub source: SocketAddr,
    /// When that was, by the server's clock.
    pub last_seen: Timestamp,
    /// Whether the server counts the node as present.
    pub state: State,
}

/// A record with the signature of its node.
///
/// The signature is Ed25519 over "hereabouts/1 record", the key id and the body, so that a record of one channel proves
/// nothing on another.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// Whose record it is.
    pub node: NodeId,
    /// The channel key under which the node sealed when it signed.
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
    /// The node's source address as the server saw it.
    pub seen: SocketAddr,
    /// How long the server keeps the record without a renewal: the smaller of the node's wish and its own limit.
    pub lease: Lease,
    /// The server's clock.
    pub clock: Timestamp,
    /// What the server offers, as a number that is another after each new generation of a file and each start of the
    /// server; `None` if it offers nothing.
    pub offers: Option<u64>,
}

/// Renews a lease.
///
/// Cheap for the server: no signature, but a proof that only the node and this server can make, so that no other member
/// of the channel can renew in a node's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Whose record.
    pub node: NodeId,
    /// The record's epoch.
    pub epoch: u64,
    /// The sequence number of the full record that the server acknowledged.
    pub base: u64,
    /// The sequence number of this renewal, greater than every one before.
    pub sequence: u64,
    /// HMAC-SHA256, cut to 16 bytes, over the fields above and both node ids, under the pair's renewal key.
    pub proof: [u8; 16],
}

/// Points at an offer. It never carries content or a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The server that holds the offer, whose signature this is.
    pub server: NodeId,
    /// The offer's name: 1 to 63 bytes as in a label's key.
    pub name: Box<str>,
    /// Grows with every change of the file.
    pub generation: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// The file's digest.
    pub digest: [u8; 32],
    /// Ed25519 over "hereabouts/1 notice", the channel's key id and the fields above.
    pub signature: [u8; 64],
}

/// Refuses, to a node that proved it holds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is refused.
    pub regarding: Regarding,
    /// Why.
    pub refusal: Refusal,
}

/// Which message a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regarding {
    /// The query with this id.
    Query(u64),
    /// The register or renewal with this sequence number.
    Sequence(u64),
}

/// Why something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The query's clock is outside the window; here is the server's.
    Clock {
        /// The server's clock.
        clock: Timestamp,
    },
    /// Another node id holds the name.
    NameHeld {
        /// Who holds it.
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
    /// The server does not have the record that a renewal builds on: register again.
    UnknownRecord,
    /// Two machines use this node id: one is a copy of the other's disk.
    Cloned,
    /// The asker holds the key, but the channel has another name. Only told when `channel.hidden` is false.
    Channel {
        /// The channel's name.
        name: Box<str>,
    },
}
