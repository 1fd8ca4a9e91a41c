//! The answers of a node, as types with a stable JSON form: snake_case keys, times in RFC 3339,
//! durations with their unit in the key. Every key is always present; a value that is unknown or
//! does not apply is null. `docs/reference/json-output.md` describes each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::{
    Address, InterfaceName, Labels, NodeId, NodeName, Origin, Protocol, Role, Scope, State,
    Timestamp,
};

mod finding;
mod status;

pub use crate::model::{Evidence, PublicationState};
pub use finding::{Code, FindingView, Severity};
pub use status::{
    AcceptView, CloneView, CompatView, ConfigView, ConflictView, Counters, GroupView, HealthView,
    InterfaceView, MethodState, MethodView, OfferView, OwnView, PublicationView, PydiscoverView,
    RegistryView, ServerView, SocketView, StatusView, StoreView,
};

/// A node as a registry has it, or as the node itself describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Its Ed25519 public key, 52 base32 characters; a stand-in made of the name unless `protocol`
    /// is `hereabouts`.
    pub node_id: NodeId,
    /// `present`, `expired` or `left`.
    pub state: State,
    /// `client`, `server` or `both`.
    pub role: Role,
    /// The addresses that it announces, in its own order.
    pub addresses: Vec<AddressView>,
    /// The UDP and TCP port it listens on; 0 if it listens on none.
    pub port: u16,
    /// The source address of its last message; null if no message was received directly.
    pub source: Option<SocketAddr>,
    /// Its labels.
    pub labels: Labels,
    /// When the registry first saw it; null if the view is not from a registry.
    pub first_seen: Option<Timestamp>,
    /// When its last message came.
    pub last_seen: Timestamp,
    /// How long it counts as present after a message.
    pub lease_seconds: u32,
    /// How long it still counts as present without another message; null if it is not present, or
    /// if that is unknown.
    pub expires_in_seconds: Option<u64>,
    /// `hereabouts`, or the legacy protocol that brought it: `dynip`, `terminals`. Records of a
    /// legacy protocol are unverified.
    #[serde(default)]
    pub protocol: Protocol,
    /// The id of the channel key under which it seals, 8 hexadecimal digits: a key that a node
    /// still uses can't be removed from the configuration yet. Null if it came by a legacy
    /// protocol.
    pub key: Option<String>,
    /// How often the node was started; a wall-clock time in milliseconds if it keeps no state.
    pub epoch: u64,
    /// Whether two machines use this node id: one is a copy of the other's disk.
    pub cloned: bool,
    /// Names that the node had before, the latest first.
    pub former_names: Vec<NodeName>,
    /// The files that the node reported, by name; empty if the view is not from a registry.
    #[serde(default)]
    pub files: Vec<FileView>,
}

impl NodeView {
    /// Limit of the former names that a session carries.
    pub const MAX_FORMER_NAMES: usize = 32;
    /// Limit of the files that a session carries.
    pub const MAX_FILES: usize = 64;
}

/// What a node reported of a file that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// The name of the offer.
    pub name: String,
    /// The generation that the node holds; 0 if none.
    pub generation: u64,
    /// When the node last tried to get a newer one and reported the result.
    pub reported: Timestamp,
    /// Why its last attempt to get a newer one failed; null if it did not.
    pub error: Option<String>,
}

/// The progress of a node with a file that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushView {
    /// The name of the node.
    pub node: NodeName,
    /// The id of the node.
    pub node_id: NodeId,
    /// Its progress.
    pub state: Progress,
    /// The generation pushed, or the one held if it failed.
    pub generation: u64,
    /// How many bytes were sent to it.
    pub bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

/// The progress of this node with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullView {
    /// The name of the file.
    pub name: String,
    /// The server that it is pulled from; null if none offers it.
    pub server: Option<NodeName>,
    /// Its progress.
    pub state: Progress,
    /// The generation that is pulled, or held.
    pub generation: u64,
    /// How many bytes are here.
    pub bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// Why it failed; null if it did not.
    pub error: Option<String>,
}

/// The progress of a file on its way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The node was notified of the file.
    Notified,
    /// The file is on its way.
    Pulling,
    /// The notice went out by a legacy protocol, which reports nothing back.
    Sent,
    /// The file is there.
    Done,
    /// It failed, for now.
    Failed,
}

impl Progress {
    /// The word as in JSON.
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

/// A change of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// When it happened, by the clock of the server.
    pub time: Timestamp,
    /// What happened.
    pub change: ChangeKind,
    /// The name that it is about.
    pub name: NodeName,
    /// Where the message came from that caused it; null if none did.
    pub source: Option<SocketAddr>,
    /// The node as it is now; null if it is not known any more.
    pub node: Option<NodeView>,
    /// How many changes before this one are left out, because they were not read fast enough.
    pub missed: u64,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A node registered that was not present.
    Arrived,
    /// The addresses, the name or the source of a present node changed.
    Changed,
    /// A node said goodbye.
    Left,
    /// The lease of a node ran out.
    Expired,
    /// A node claims a name that another one holds.
    Conflict,
    /// Two machines use one node id.
    Cloned,
    /// A record was dropped by `forget`.
    Forgotten,
    /// A node reported what it holds of a file.
    Reported,
}

impl ChangeKind {
    /// The word as in JSON.
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
    /// The interface of the node that holds it; null if it was configured.
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

/// One address that a node had, from when to when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The name of the node.
    pub name: NodeName,
    /// The id of the node.
    pub node_id: NodeId,
    /// The address.
    pub address: IpAddr,
    /// `announced` or `observed`.
    pub evidence: Evidence,
    /// The first time.
    pub from: Timestamp,
    /// Until when the node certainly had it; null if the node still has it.
    pub to: Option<Timestamp>,
    /// From when on the node certainly no longer had it, where it was lost at `to` and said
    /// nothing; null if a message reported the end, or if the node still has it.
    pub lost_by: Option<Timestamp>,
}

impl HistoryView {
    /// Whether it is not certain that the node had the address at a time, which is from `from` on.
    pub fn is_probable(&self, at: Timestamp) -> bool {
        self.to.is_some_and(|to| to < at)
    }
}

/// A node that has, or had, an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The address in question.
    pub address: IpAddr,
    /// Whether the node has the address now.
    pub current: bool,
    /// `announced` or `observed`; null if the source does not say.
    pub evidence: Option<Evidence>,
    /// The first time the node had it; null if the source does not say.
    pub from: Option<Timestamp>,
    /// Until when the node certainly had it; null if the node still has it, or if the source does
    /// not say.
    pub to: Option<Timestamp>,
    /// From when on the node certainly no longer had it, where it was lost at `to` and said
    /// nothing; null if a message reported the end, or if the source does not say.
    pub lost_by: Option<Timestamp>,
    /// Whether the node only probably had the address at the time in question: that is after `to`
    /// and not after `lost_by`.
    pub probable: bool,
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
    /// The `info` of a server; empty from a client.
    pub info: Labels,
    /// The own address of the requester, as the answering node received it.
    pub seen: SocketAddr,
    /// How it was found: `multicast`, `broadcast`, `mdns` or `unicast`.
    pub method: String,
    /// The time from the query to its answer.
    pub after_ms: u64,
}

/// The answer of one server to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedView {
    /// The address of the server.
    pub server: SocketAddr,
    /// The name of the server; null if it is unknown.
    pub name: Option<NodeName>,
    /// The node id of the server; null if it is unknown.
    pub node_id: Option<NodeId>,
    /// The address of this node as the server received it; null if the server did not acknowledge.
    pub seen: Option<SocketAddr>,
    /// The lease that the server grants; null if it did not acknowledge.
    pub lease_seconds: Option<u32>,
    /// Why the server did not acknowledge; null if it did.
    pub error: Option<String>,
}

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportedView {
    /// Names that were not known.
    pub added: u64,
    /// Names of which something new was learnt.
    pub updated: u64,
    /// Records that brought nothing new.
    pub unchanged: u64,
    /// Names that were not imported, because a node of the channel holds them.
    pub owned: Vec<NodeName>,
    /// Names that were not imported, because there are too many unverified ones.
    pub full: Vec<NodeName>,
}

/// The answer of one PyDiscover server, which is unverified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PydiscoverFoundView {
    /// Where the answer came from.
    pub source: SocketAddr,
    /// Its pairs; null if it refused.
    pub info: Option<BTreeMap<String, String>>,
    /// Why it refused, in its words; null if it did not.
    pub refused: Option<String>,
    /// The time from the query to its answer.
    pub after_ms: u64,
}

/// Whether an announcement to a DynIP server could be sent; such a server never answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceResult {
    /// The server, as it was named.
    pub server: String,
    /// Why nothing could be sent; null if it was sent.
    pub error: Option<String>,
}
