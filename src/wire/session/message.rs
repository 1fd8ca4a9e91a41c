//! What a session carries, as types; their bytes are in [`super::codec`].

use std::net::{IpAddr, SocketAddr};

use crate::model::{Address, Labels, NodeId, NodeName, Protocol, Role, State, Timestamp};
use crate::wire::KeyId;
use crate::wire::identity::{self, Identity, IdentityError};
use crate::wire::v1::Notice;

const INTRODUCTION_CONTEXT: &[u8] = b"hereabouts/1 introduction";

/// What a caller asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The registry's nodes, by name: answered by [`Answer::Node`]s.
    Nodes {
        /// Only nodes that have all of these.
        labels: Labels,
        /// Also nodes that expired or left.
        absent: bool,
        /// Only names after this one.
        after: Option<NodeName>,
    },
    /// One node: answered by one [`Answer::Node`], or with a time by the [`Answer::Interval`]s that hold it.
    Node {
        /// Its name.
        name: NodeName,
        /// The time asked about; `None` for now.
        at: Option<Timestamp>,
    },
    /// Every address that a node had: answered by [`Answer::Interval`]s, the most recent first.
    History {
        /// Its name.
        name: NodeName,
    },
    /// Who has or had an address: answered by [`Answer::Holder`]s, the most recent first.
    Holder {
        /// The address.
        address: IpAddr,
        /// The time asked about; `None` for now.
        at: Option<Timestamp>,
    },
    /// Changes as they happen: answered by [`Answer::Change`]s until the caller leaves.
    Watch,
    /// The files that the server offers: answered by [`Answer::Offer`]s.
    Offers,
    /// A file: answered by [`Answer::File`], then by [`Answer::Content`]s.
    Pull {
        /// The offer's name.
        name: Box<str>,
        /// Where to go on, in bytes, if the file still has `digest`; the content begins at 0 otherwise.
        offset: u64,
        /// The digest of the file that the caller holds a part of.
        digest: Option<[u8; 32]>,
    },
    /// Who calls: answered by [`Answer::End`].
    Introduce {
        /// The caller.
        node: NodeId,
        /// Ed25519 over "hereabouts/1 introduction" and the handshake's hash.
        signature: [u8; 64],
    },
    /// What the caller, who introduced itself, holds of an offer: answered by [`Answer::End`].
    Report(Report),
}

impl Request {
    /// Introduces a node on the session with this handshake's hash.
    pub fn introduce(identity: &Identity, binding: &[u8; 32]) -> Self {
        let signature = identity.sign(&introduction(binding));
        Self::Introduce {
            node: identity.id(),
            signature,
        }
    }
}

/// Checks that a node introduced itself on the session with this handshake's hash.
pub fn verify_introduction(
    node: &NodeId,
    signature: &[u8; 64],
    binding: &[u8; 32],
) -> Result<(), IdentityError> {
    identity::verify(node, &introduction(binding), signature)
}

fn introduction(binding: &[u8; 32]) -> Vec<u8> {
    [INTRODUCTION_CONTEXT, binding].concat()
}

/// What a node holds of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The offer's name.
    pub name: Box<str>,
    /// The generation held; 0 if none.
    pub generation: u64,
    /// Why the last attempt to get a newer one failed, at most [`Report::MAX_ERROR`] bytes; `None` if it did not.
    pub error: Option<Box<str>>,
    /// The generation that the attempt was about; `None` where none was offered, and from nodes that don't say it.
    pub attempted: Option<u64>,
    /// Whether the node tries again within seconds, so that the error is not the end of it.
    pub again: bool,
}

impl Report {
    /// The longest error, in bytes.
    pub const MAX_ERROR: usize = 240;
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'b> {
    /// A node.
    Node(Box<NodeEntry>),
    /// An interval of a node's history.
    Interval(Interval),
    /// Who has or had an address.
    Holder(Box<Holder>),
    /// Something happened.
    Change(Box<Change>),
    /// A file that the server offers, signed for the session's key.
    Offer(Notice),
    /// The file whose content follows.
    File {
        /// The file, signed for the session's key.
        notice: Notice,
        /// Where the content begins, in bytes.
        offset: u64,
    },
    /// The next bytes of the file, at most [`super::MAX_CONTENT`].
    Content(&'b [u8]),
    /// The answer goes on: sent when nothing else was for a while.
    Alive,
    /// The answer is whole.
    End,
    /// The request failed; what came before may not be all.
    Failed {
        /// What the caller can do about it.
        kind: FailureKind,
        /// What went wrong, at most [`Answer::MAX_FAILURE`] bytes.
        message: Box<str>,
    },
}

impl Answer<'_> {
    /// The longest message of a failure, in bytes.
    pub const MAX_FAILURE: usize = 512;
}

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing fits what was asked.
    NotFound,
    /// This node keeps no registry.
    NotServer,
    /// The request can't be done as it stands.
    BadRequest,
    /// Too much at a time: try again.
    Busy,
    /// The server failed: its log says more.
    Failed,
}

/// A node as a server's registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Whether it is there.
    pub state: State,
    /// What it runs as.
    pub role: Role,
    /// Its addresses, at most [`crate::model::Record::MAX_ADDRESSES`].
    pub addresses: Vec<Address>,
    /// The UDP and TCP port it listens on; 0 if it listens on none.
    pub port: u16,
    /// Where its last message came from.
    pub source: Option<SocketAddr>,
    /// Its labels.
    pub labels: Labels,
    /// When the server first saw it.
    pub first_seen: Option<Timestamp>,
    /// When its last message came.
    pub last_seen: Timestamp,
    /// The lease granted, in seconds.
    pub lease: u32,
    /// How long it still counts as present, in seconds; `None` when it does not.
    pub remaining: Option<u64>,
    /// By which protocol it became known.
    pub protocol: Protocol,
    /// The key under which it seals; none if it came by an ancestor's wire.
    pub key: Option<KeyId>,
    /// The number of its last start.
    pub epoch: u64,
    /// Whether two machines use its id.
    pub cloned: bool,
    /// Names that it had before, at most [`NodeEntry::MAX_FORMER`].
    pub former: Vec<NodeName>,
    /// The files that it reported, at most [`NodeEntry::MAX_FILES`].
    pub files: Vec<HeldFile>,
}

impl NodeEntry {
    /// The most former names that are told.
    pub const MAX_FORMER: usize = 32;
    /// The most files that are told.
    pub const MAX_FILES: usize = 64;
}

/// What a node reported of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// What it said.
    pub report: Report,
    /// When it said so, by the server's clock.
    pub at: Timestamp,
}

/// An address that a node had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The node's name.
    pub name: NodeName,
    /// The node's id.
    pub node: NodeId,
    /// The address.
    pub address: IpAddr,
    /// How it became known.
    pub seen: SeenBy,
    /// The first time.
    pub from: Timestamp,
    /// The last time; `None` while the node has it.
    pub to: Option<Timestamp>,
}

/// How an address became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// The node announced it.
    Announced,
    /// The server saw messages come from it.
    Observed,
}

/// Who has or had an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// Whether the node has it now.
    pub current: bool,
    /// How it became known.
    pub seen: Option<SeenBy>,
    /// The first time.
    pub from: Option<Timestamp>,
    /// The last time; `None` while the node has it.
    pub to: Option<Timestamp>,
    /// The node as it is now.
    pub node: NodeEntry,
}

/// Something that happened in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// What.
    pub kind: ChangeKind,
    /// The name that it is about.
    pub name: NodeName,
    /// Where the message came from that made it happen.
    pub source: Option<SocketAddr>,
    /// The node as it is now, if it is known.
    pub node: Option<NodeEntry>,
    /// How many changes before this one the caller was too slow for.
    pub missed: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A node registered that was not present.
    Arrived,
    /// A present node's addresses, name or source changed.
    Changed,
    /// A node said goodbye.
    Left,
    /// A node's lease ran out.
    Expired,
    /// A node claims a name that another one holds.
    Conflict,
    /// Two machines use one node id.
    Cloned,
    /// A record was dropped by hand.
    Forgotten,
    /// A node reported what it holds of a file.
    Reported,
}
