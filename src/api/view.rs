//! What a node tells, as types with a stable JSON shape: snake_case keys, times in RFC 3339, durations with their unit in
//! the key. Every key is always there; what is unknown or does not apply is null.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::{
    Address, InterfaceName, Labels, NodeId, NodeName, Origin, Protocol, Role, Scope, State,
    Timestamp,
};

mod finding;
mod status;

pub use crate::model::PublicationState;
pub use finding::{Code, FindingView, Severity};
pub use status::{
    AcceptView, CloneView, CompatView, ConfigView, ConflictView, Counters, GroupView, HealthView,
    InterfaceView, MethodState, MethodView, OfferView, OwnView, PublicationView, PydiscoverView,
    RegistryView, ServerView, SocketView, StatusView, StoreView,
};

/// A node as a registry, or the node itself, tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Its Ed25519 public key, 52 base32 characters; a stand-in made of the name unless `wire` is `hereabouts`.
    pub node_id: NodeId,
    /// `present`, `expired` or `left`.
    pub state: State,
    /// `client`, `server` or `both`.
    pub role: Role,
    /// The addresses that it announces, in its own order.
    pub addresses: Vec<AddressView>,
    /// The UDP and TCP port it listens on; 0 if it listens on none.
    pub port: u16,
    /// The source address of its last message, as the one who tells saw it; null if it was not seen directly.
    pub source: Option<SocketAddr>,
    /// Its labels.
    pub labels: Labels,
    /// When the registry first saw it; null when no registry tells.
    pub first_seen: Option<Timestamp>,
    /// When its last message came.
    pub last_seen: Timestamp,
    /// How long it counts as present after a message.
    pub lease_seconds: u32,
    /// How long it still counts as present without another message; null when it is not present, or not known.
    pub expires_in_seconds: Option<u64>,
    /// `hereabouts`, or the ancestor's wire that brought it: `dynip`, `terminals`. By those, nobody proved anything.
    #[serde(default)]
    pub protocol: Protocol,
    /// The id of the channel key under which it seals, 8 hex digits: a key that some node still has here can't be dropped.
    /// Null if it came by an ancestor's wire.
    pub key: Option<String>,
    /// How often the node was started; a wall-clock time in milliseconds if it keeps no state.
    pub epoch: u64,
    /// Whether two machines use this node id: one is a copy of the other's disk.
    pub cloned: bool,
    /// Names that the node had before, the latest first.
    pub former_names: Vec<NodeName>,
    /// The files that the node said it holds, by name; empty when no registry tells.
    #[serde(default)]
    pub files: Vec<FileView>,
}

/// What a node said of a file that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// The offer's name.
    pub name: String,
    /// The generation that the node holds; 0 if none.
    pub generation: u64,
    /// When the node last looked for a newer one and said how that went: each report ends an attempt.
    pub reported: Timestamp,
    /// Why its last attempt to get a newer one failed; null if it did not.
    pub error: Option<String>,
}

/// How far a node is with a file that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushView {
    /// The node's name.
    pub node: NodeName,
    /// The node's id.
    pub node_id: NodeId,
    /// How far it is.
    pub state: Progress,
    /// The generation pushed, or the one held where it failed.
    pub generation: u64,
    /// Bytes sent to it.
    pub bytes: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

/// How far this node is with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullView {
    /// The file's name.
    pub name: String,
    /// The server that it is pulled from; null if none offers it.
    pub server: Option<NodeName>,
    /// How far it is.
    pub state: Progress,
    /// The generation that is pulled, or held.
    pub generation: u64,
    /// Bytes that are here.
    pub bytes: u64,
    /// The file's size in bytes.
    pub size: u64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

/// How far a file is on its way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The node was told of it.
    Notified,
    /// It is on its way.
    Pulling,
    /// It was told by an ancestor's wire, and can't say what became of it.
    Sent,
    /// It is there.
    Done,
    /// It failed, for now.
    Failed,
}

impl Progress {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Notified => "notified",
            Self::Pulling => "pulling",
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// Something that happened in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// When.
    pub time: Timestamp,
    /// What.
    pub change: ChangeKind,
    /// The name that it is about.
    pub name: NodeName,
    /// Where the message came from that made it happen; null if none did.
    pub source: Option<SocketAddr>,
    /// The node as it is now; null if it is not known any more.
    pub node: Option<NodeView>,
    /// How many changes before this one are left out, as they were not read fast enough.
    pub missed: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// A node said what it holds of a file.
    Reported,
}

impl ChangeKind {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Changed => "changed",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Conflict => "conflict",
            Self::Cloned => "cloned",
            Self::Forgotten => "forgotten",
            Self::Reported => "reported",
        }
    }
}

/// One announced address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressView {
    /// The address.
    pub address: IpAddr,
    /// The node's interface that holds it; null when it was configured.
    pub interface: Option<InterfaceName>,
    /// `loopback`, `link`, `private` or `global`.
    pub scope: Scope,
    /// `interface` or `advertised`.
    pub origin: Origin,
}

impl From<&Address> for AddressView {
    fn from(address: &Address) -> Self {
        let Address {
            ip,
            interface,
            origin,
        } = address;
        Self {
            address: *ip,
            interface: *interface,
            scope: address.scope(),
            origin: *origin,
        }
    }
}

/// How an address of the history became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The node announced it.
    Announced,
    /// A server saw messages come from it.
    Observed,
}

impl Seen {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Observed => "observed",
        }
    }
}

/// One address that a node had, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The node's name.
    pub name: NodeName,
    /// The node's id.
    pub node_id: NodeId,
    /// The address.
    pub address: IpAddr,
    /// `announced` or `observed`.
    pub seen: Seen,
    /// The first time.
    pub from: Timestamp,
    /// The last time; null when the node still has it.
    pub to: Option<Timestamp>,
}

/// A node that has, or had, an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The address asked for.
    pub address: IpAddr,
    /// Whether the node has the address now.
    pub current: bool,
    /// `announced` or `observed`; null when the teller does not say.
    pub seen: Option<Seen>,
    /// The first time the node had it; null when the teller does not say.
    pub from: Option<Timestamp>,
    /// The last time; null when the node still has it or the teller does not say.
    pub to: Option<Timestamp>,
    /// The node as it is now.
    pub node: NodeView,
}

/// A node that answered a query just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// Its name.
    pub name: NodeName,
    /// Its Ed25519 public key.
    pub node_id: NodeId,
    /// `client`, `server` or `both`.
    pub role: Role,
    /// Where its answer came from.
    pub source: SocketAddr,
    /// The addresses that it announces, in its own order.
    pub addresses: Vec<AddressView>,
    /// The UDP and TCP port it listens on; 0 if it listens on none.
    pub port: u16,
    /// Its labels.
    pub labels: Labels,
    /// What a server tells whoever asks; empty from a client.
    pub info: Labels,
    /// The asker's own address as the answerer saw it.
    pub seen: SocketAddr,
    /// How it was found: `multicast`, `broadcast`, `mdns` or `unicast`.
    pub method: String,
    /// From the question to its answer.
    pub after_ms: u64,
}

/// What one server said to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedView {
    /// The server's address.
    pub server: SocketAddr,
    /// The server's name; null if it did not tell.
    pub name: Option<NodeName>,
    /// The server's node id; null if it did not tell.
    pub node_id: Option<NodeId>,
    /// This node's address as the server saw it; null if it did not acknowledge.
    pub seen: Option<SocketAddr>,
    /// The lease that the server gives; null if it did not acknowledge.
    pub lease_seconds: Option<u32>,
    /// Why the server did not acknowledge; null if it did.
    pub error: Option<String>,
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportedView {
    /// Names that were not known.
    pub added: u64,
    /// Names of which something new was learnt.
    pub updated: u64,
    /// Records that brought nothing new.
    pub unchanged: u64,
    /// Names that were not taken, since a node that proves who it is holds them.
    pub owned: Vec<NodeName>,
    /// Names that were not taken, since there are too many unauthenticated ones.
    pub full: Vec<NodeName>,
}

/// What one PyDiscover server answered; nothing of it is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PydiscoverFoundView {
    /// Where the answer came from.
    pub source: SocketAddr,
    /// Its key/values; null if it refused.
    pub info: Option<BTreeMap<String, String>>,
    /// Why it refused, in its words; null if it did not.
    pub refused: Option<String>,
    /// From the question to its answer.
    pub after_ms: u64,
}

/// Whether a DynIP server could be told; it never answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceResult {
    /// The server, as it was named.
    pub server: String,
    /// Why nothing could be sent; null if it was.
    pub error: Option<String>,
}
