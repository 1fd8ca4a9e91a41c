//! What a node tells of itself.

use super::*;

/// Counted events: group (`dropped`, `refused`, `answered`, …), then name, then how often since the start.
pub type Counters = BTreeMap<String, BTreeMap<String, u64>>;

/// A running node: all that an operator asks first.
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
    /// Where the node's own record is made known, and whether it stands there.
    pub publications: Vec<PublicationView>,
    /// Every interface of the machine, taken or left.
    pub interfaces: Vec<InterfaceView>,
    /// Whether it looks at them again and again, as the kernel tells of no changes.
    #[serde(default)]
    pub interfaces_polled: bool,
    /// The servers that it registers with, or would.
    pub servers: Vec<ServerView>,
    /// Its registry; null when it keeps none.
    pub registry: Option<RegistryView>,
    /// The files that it offers.
    #[serde(default)]
    pub offers: Vec<OfferView>,
    /// The files that it takes.
    #[serde(default)]
    pub accepts: Vec<AcceptView>,
    /// What it counted since its start.
    pub counters: Counters,
    /// Names that two nodes claim.
    pub conflicts: Vec<ConflictView>,
    /// Node ids that two machines use.
    pub clones: Vec<CloneView>,
    /// The ancestors' wires that are on: nobody who speaks by them proves anything.
    pub compat: Vec<CompatView>,
    /// PyDiscover servers that answered.
    pub pydiscover: Vec<PydiscoverView>,
}

/// One of the ancestors' wires in one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompatView {
    /// `pydiscover`, `dynip` or `terminals`.
    pub protocol: String,
    /// `server`, `client`, `requester`, `base` or `terminal`.
    pub side: String,
    /// Whom it tells or asks; null when it only listens.
    pub target: Option<String>,
    /// What anyone on the network can do by it.
    pub weakness: String,
    /// Why the last datagram could not be sent; null when it was, or when it only listens.
    pub last_error: Option<String>,
}

/// A PyDiscover server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PydiscoverView {
    /// Where its answer came from.
    pub source: SocketAddr,
    /// Its key/values.
    pub info: BTreeMap<String, String>,
    /// When it answered last.
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
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its BLAKE3 digest, hexadecimal.
    pub digest: Option<String>,
    /// Why the newest content is not served; null if it is.
    pub error: Option<String>,
}

/// A file that a node takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptView {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub path: String,
    /// The generation held; null until one was taken, and where it came from an old base, which knows none.
    pub generation: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its BLAKE3 digest, hexadecimal.
    pub digest: Option<String>,
    /// When it was taken; null until it was, or if an earlier version took it.
    pub taken: Option<Timestamp>,
    /// The server whose file it is.
    pub server: Option<NodeId>,
    /// That server's name when the file was taken.
    pub server_name: Option<NodeName>,
    /// When a server was last asked for it, or an old base called.
    pub last_attempt: Option<Timestamp>,
    /// Why that attempt failed; null if it did not.
    pub error: Option<String>,
}

/// Who a running node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnView {
    /// Its name.
    pub name: NodeName,
    /// Its Ed25519 public key.
    pub node_id: NodeId,
    /// `client`, `server` or `both`.
    pub role: Role,
    /// The program's version.
    pub version: String,
    /// The channel's name.
    pub channel: String,
    /// The ids of the channel's keys, 8 hex digits each; the first seals, all open.
    pub key_ids: Vec<String>,
    /// How often the node was started; a wall-clock time in milliseconds if it keeps no state.
    pub epoch: u64,
    /// Its labels.
    pub labels: Labels,
    /// The addresses that it announces, best first.
    pub addresses: Vec<AddressView>,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// How long it runs.
    pub uptime_seconds: u64,
}

/// What a node was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// The config file; null when the built-in defaults are used.
    pub file: Option<String>,
    /// The state directory.
    pub state_dir: String,
}

/// Whether a node is ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthView {
    /// Whether it does its work.
    pub ready: bool,
    /// What keeps it from being ready; empty when it is.
    pub reasons: Vec<String>,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketView {
    /// What it is for: `server`; `mdns` while multicast DNS is spoken on its interface, over both families.
    pub purpose: String,
    /// The address that it has.
    pub address: SocketAddr,
    /// The interface that it is for; null when it is for all.
    pub interface: Option<InterfaceName>,
}

/// How far a discovery method came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodState {
    /// Its turn has not come.
    NotYet,
    /// It asks, and nothing answered so far.
    Trying,
    /// It brought a server.
    Found,
    /// It can't ask, or nothing answered in its time.
    Failed,
}

/// One discovery method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodView {
    /// `multicast`, `broadcast`, `mdns` or `unicast`.
    pub method: String,
    /// `not_yet`, `trying`, `found` or `failed`.
    pub state: MethodState,
    /// Why it failed, or is not yet tried; null where there is nothing to say.
    pub reason: Option<String>,
    /// How many of the servers it found.
    pub servers: usize,
}

/// The node's own record at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationView {
    /// `server`, `mdns` or `dynip`.
    pub target: String,
    /// The server's name; with mDNS, this node's name there; with DynIP, `HOST:PORT`.
    pub name: String,
    /// The interface; null where there is none.
    pub interface: Option<InterfaceName>,
    /// `waiting`, `asking`, `published`, `told`, `conflict` or `failed`.
    pub state: PublicationState,
    /// The addresses that it tells there.
    pub addresses: Vec<IpAddr>,
    /// Why it does not stand there; null where there is nothing to say.
    pub reason: Option<String>,
}

/// One interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: InterfaceName,
    /// The kernel's number of it.
    pub index: u32,
    /// Whether the node uses it.
    pub taken: bool,
    /// The rule that decided: `interfaces.exclude: docker*`, `down`, `no address`, …
    pub rule: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The multicast groups that the node joins on it.
    pub groups: Vec<GroupView>,
    /// The last error on it, and what is done about it; null when there is none.
    pub error: Option<String>,
}

/// A multicast group on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The group's address.
    pub group: IpAddr,
    /// Whether the node is in it.
    pub joined: bool,
    /// Why not; null when it is.
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
    /// The lease that it gives; null until it acknowledged.
    pub lease_seconds: Option<u32>,
    /// When it last acknowledged a registration or renewal; null if never.
    pub last_acknowledged: Option<Timestamp>,
    /// This node's address as the server saw it; null until it acknowledged.
    pub seen: Option<SocketAddr>,
    /// Its last refusal; null if there was none since it last acknowledged.
    pub last_refusal: Option<String>,
}

/// A node's registry.
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
    /// Of these, known by an ancestor's wire alone: nobody proved anything.
    pub unauthenticated: u64,
    /// The most nodes that it takes.
    pub capacity: u64,
    /// For how long the oldest change has waited for the store; 0 when nothing waits.
    pub durable_lag_ms: u64,
    /// Its store.
    pub store: StoreView,
}

/// A registry's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Its file.
    pub path: String,
    /// The file's size; null when it can't be read.
    pub size_bytes: Option<u64>,
    /// Its last error; null when the last write went well.
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
