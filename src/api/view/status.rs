//! The state of a running node.

use super::*;

/// Counted events: group (`dropped`, `refused`, `answered`, …), then name, then how often since the
/// start.
pub type Counters = BTreeMap<String, BTreeMap<String, u64>>;

/// A running node: what an operator needs first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The node itself.
    pub node: OwnView,
    /// What it was started with.
    pub config: ConfigView,
    /// Whether it is ready.
    pub health: HealthView,
    /// Its sockets, with the addresses that they really have.
    pub sockets: Vec<SocketView>,
    /// The discovery methods, in the order in which they are tried.
    pub methods: Vec<MethodView>,
    /// Where the own record of the node is published, and whether it is there.
    pub publications: Vec<PublicationView>,
    /// Every interface of the machine, used or not.
    pub interfaces: Vec<InterfaceView>,
    /// Whether it polls them, because the kernel reports no changes.
    #[serde(default)]
    pub interfaces_polled: bool,
    /// The servers that it registers with, or would.
    pub servers: Vec<ServerView>,
    /// Its registry; null when it keeps none.
    pub registry: Option<RegistryView>,
    /// The files that it offers.
    #[serde(default)]
    pub offers: Vec<OfferView>,
    /// The files that it accepts.
    #[serde(default)]
    pub accepts: Vec<AcceptView>,
    /// What it counted since its start.
    pub counters: Counters,
    /// Names that two nodes claim.
    pub conflicts: Vec<ConflictView>,
    /// Node ids that two machines use.
    pub clones: Vec<CloneView>,
    /// The legacy protocols that are on: what they bring is unverified.
    pub compat: Vec<CompatView>,
    /// PyDiscover servers that answered.
    pub pydiscover: Vec<PydiscoverView>,
}

/// One of the legacy protocols in one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompatView {
    /// `pydiscover`, `dynip` or `terminals`.
    pub protocol: String,
    /// `server`, `client`, `requester`, `base` or `terminal`.
    pub side: String,
    /// The peer that it sends to or queries; null if it only listens.
    pub target: Option<String>,
    /// What anyone on the network can do by it.
    pub weakness: String,
    /// Why the last datagram could not be sent; null if it was, or if it only listens.
    pub last_error: Option<String>,
}

/// A PyDiscover server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PydiscoverView {
    /// Where its answer came from.
    pub source: SocketAddr,
    /// Its pairs.
    pub info: BTreeMap<String, String>,
    /// When it last answered.
    pub last_time: Timestamp,
}

/// A file that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferView {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: String,
    /// The generation served; null until the file could be read.
    pub generation: Option<u64>,
    /// Its size in bytes; null until then.
    pub size: Option<u64>,
    /// Its BLAKE3 digest, hexadecimal; null until then.
    pub digest: Option<String>,
    /// Why the newest content is not served; null if it is.
    pub error: Option<String>,
}

/// A file that a node accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptView {
    /// Its name.
    pub name: String,
    /// Its target.
    pub path: String,
    /// The generation held; null until one was pulled, and for a file from an old base, which has
    /// none.
    pub generation: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its BLAKE3 digest, hexadecimal.
    pub digest: Option<String>,
    /// When it was pulled; null until it was, or if an earlier version pulled it.
    pub pulled: Option<Timestamp>,
    /// The server whose file it is.
    pub server: Option<NodeId>,
    /// The name of that server when the file was pulled.
    pub server_name: Option<NodeName>,
    /// When a server was last queried for it, or an old base called.
    pub last_attempt: Option<Timestamp>,
    /// Why that attempt failed; null if it did not.
    pub error: Option<String>,
}

/// The identity of a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnView {
    /// Its name.
    pub name: NodeName,
    /// Its Ed25519 public key.
    pub node_id: NodeId,
    /// `client`, `server` or `both`.
    pub role: Role,
    /// The version of the program.
    pub version: String,
    /// The name of the channel.
    pub channel: String,
    /// The ids of the keys of the channel, 8 hexadecimal digits each; the first seals, all open.
    pub key_ids: Vec<String>,
    /// How often it was started; a wall-clock time in milliseconds if it keeps no state.
    pub epoch: u64,
    /// Its labels.
    pub labels: Labels,
    /// The addresses that it announces, best first.
    pub addresses: Vec<AddressView>,
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// How long it has been running.
    pub uptime_seconds: u64,
}

/// What a node was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// The configuration file; null if the built-in defaults are used.
    pub file: Option<String>,
    /// The state directory.
    pub state_dir: String,
}

/// Whether a node is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether it does its work.
    pub ready: bool,
    /// What prevents it from being ready; empty if it is.
    pub reasons: Vec<String>,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketView {
    /// What it is for: `datagrams (UDP)`, `sessions (TCP)`, `multicast`, `broadcast`, `mdns`, or a
    /// legacy protocol and its side.
    pub purpose: String,
    /// The address that it has.
    pub address: SocketAddr,
    /// The interface that it is for; null if it is for all.
    pub interface: Option<InterfaceName>,
}

/// The progress of a discovery method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodState {
    /// Its turn has not come.
    NotYet,
    /// It queries, and nothing has answered so far.
    Trying,
    /// It brought a server.
    Found,
    /// It can't query, or nothing answered in its time.
    Failed,
}

/// One discovery method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodView {
    /// `multicast`, `broadcast`, `mdns` or `unicast`.
    pub method: String,
    /// `not_yet`, `trying`, `found` or `failed`.
    pub state: MethodState,
    /// Why it failed, or is not tried yet; null if there is nothing to say.
    pub reason: Option<String>,
    /// How many of the servers it found.
    pub servers: usize,
}

/// The own record of the node at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationView {
    /// `server`, `mdns` or `dynip`.
    pub target: String,
    /// The name of the server; with mDNS, the name of this node there; with DynIP, `HOST:PORT`.
    pub name: String,
    /// The interface; null if there is none.
    pub interface: Option<InterfaceName>,
    /// `waiting`, `asking`, `published`, `sent`, `conflict` or `failed`.
    pub state: PublicationState,
    /// The addresses that it publishes there.
    pub addresses: Vec<IpAddr>,
    /// Why it is not published there; null if there is nothing to say.
    pub reason: Option<String>,
}

/// One interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: InterfaceName,
    /// The number that the kernel gave it.
    pub index: u32,
    /// Whether the node uses it.
    pub used: bool,
    /// The rule that decided: `interfaces.exclude: docker*`, `down`, `no address`, …
    pub rule: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The multicast groups that the node joins on it.
    pub groups: Vec<GroupView>,
    /// The last error on it, and what is done about it; null if there is none.
    pub error: Option<String>,
}

/// A multicast group on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The address of the group.
    pub group: IpAddr,
    /// Whether the node is in it.
    pub joined: bool,
    /// Why it is not; null if it is.
    pub error: Option<String>,
}

/// A server that the node registers with, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Its address.
    pub address: SocketAddr,
    /// Its node id; null until it answered.
    pub node_id: Option<NodeId>,
    /// Its name; null until it answered.
    pub name: Option<NodeName>,
    /// How it was found: `multicast`, `broadcast`, `mdns` or `unicast`.
    pub found_by: String,
    /// The lease that it grants; null until it acknowledged.
    pub lease_seconds: Option<u32>,
    /// When it last acknowledged a registration or renewal; null if never.
    pub last_acknowledged: Option<Timestamp>,
    /// The address of this node as the server received it; null until it acknowledged.
    pub seen: Option<SocketAddr>,
    /// Its last refusal; null if there was none since it last acknowledged.
    pub last_refusal: Option<String>,
}

/// The registry of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryView {
    /// Nodes whose lease runs.
    pub present: u64,
    /// Nodes whose lease ran out.
    pub expired: u64,
    /// Nodes that said goodbye.
    pub left: u64,
    /// All of these.
    pub total: u64,
    /// Of these, nodes that are known by a legacy protocol alone, so unverified.
    pub unauthenticated: u64,
    /// The maximum number of nodes.
    pub capacity: u64,
    /// How long the oldest change has waited for the store; 0 if nothing waits.
    pub durable_lag_ms: u64,
    /// Its store.
    pub store: StoreView,
}

/// The store of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Its file.
    pub path: String,
    /// The size of the file; null if it can't be read.
    pub size_bytes: Option<u64>,
    /// Its last error; null if the last write succeeded.
    pub last_error: Option<String>,
}

/// A name that two nodes claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictView {
    /// The name.
    pub name: NodeName,
    /// The node that holds it.
    pub holder: NodeId,
    /// The node that was refused.
    pub claimant: NodeId,
    /// Where the claim came from.
    pub source: SocketAddr,
    /// When it last came.
    pub last_time: Timestamp,
}

/// A node id that two machines use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneView {
    /// The node id.
    pub node_id: NodeId,
    /// The name under which it is registered.
    pub name: NodeName,
    /// Where the last two crossing messages came from.
    pub sources: Vec<SocketAddr>,
    /// When that was last seen.
    pub last_time: Timestamp,
}
