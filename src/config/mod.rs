//! One YAML file, its schema, and every error in it with its place.

#![warn(missing_docs)]

mod document;
mod effective;
mod environment;
mod interpolate;
mod load;
mod published;
mod quantity;
mod report;
mod rules;
mod schema;
mod secret;
mod sections;
mod serving;
mod text;
mod validate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use document::MAX_BYTES;
pub use environment::{Environment, SystemEnvironment};
pub use load::{FILE_VARIABLE, Loaded, SEARCHED, load, parse, parse_untrusted};
pub use published::published_schema;
pub use quantity::{ConfigDuration, DurationError, Size, SizeError};
pub use report::{Problem, Report};
pub use schema::{SCHEMA_ID, schema};
pub use secret::{Secret, SecretError, decode_key, encode_key, read_token};
pub use sections::{
    AddressesConfig, BroadcastConfig, ChannelConfig, DiscoveryConfig, InterfacesConfig, KeySource,
    ListenConfig, LogConfig, LogFormat, LogLevel, MdnsConfig, Method, MulticastConfig, NodeConfig,
    SessionsConfig,
};
pub use serving::{
    Accept, AfterAction, CompatConfig, DynipConfig, ExportConfig, ExportFormat, FilesConfig,
    HttpConfig, Offer, PublishTarget, PydiscoverConfig, RegistryConfig, SignalName, StoreConfig,
    TerminalsConfig,
};
pub use text::{
    ChannelName, ChannelNameError, DynipServer, FileMode, FileModeError, InterfacePattern,
    InterfacePatternError, OfferName, OfferNameError, ServerAddress, ServerAddressError,
};

use crate::model::{Labels, Role};

/// The UDP and TCP port of a node.
pub const DEFAULT_PORT: u16 = 24373;

/// One YAML file configures everything. Every setting has a default; leaving it out equals writing that value.
/// `${VAR}` and `${VAR:-default}` stand for environment variables in every text; `$${` is a plain `${`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What this node runs as.
    pub role: Role,
    /// Who this node is.
    pub node: NodeConfig,
    /// The nodes that belong together.
    pub channel: ChannelConfig,
    /// Which network interfaces and addresses are used.
    pub interfaces: InterfacesConfig,
    /// How servers are found.
    pub discovery: DiscoveryConfig,
    /// Where this node listens, on UDP and TCP.
    pub listen: ListenConfig,
    /// How many sessions a server takes.
    pub sessions: SessionsConfig,
    /// A server's own key/value pairs, given to whoever holds the key and asks. At most 16 pairs and 256 bytes.
    #[schemars(with = "schema::Pairs")]
    pub info: Labels,
    /// What a server keeps of every node.
    pub registry: RegistryConfig,
    /// Where this node makes its own record known.
    #[schemars(length(max = 16))]
    pub publish: Vec<PublishTarget>,
    /// Files that servers hold and nodes pull.
    pub files: FilesConfig,
    /// The HTTP interface.
    pub http: HttpConfig,
    /// The wires of PyDiscover, DynIP and the terminals.
    pub compat: CompatConfig,
    /// What goes to the log.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Both,
            node: NodeConfig::default(),
            channel: ChannelConfig::default(),
            interfaces: InterfacesConfig::default(),
            discovery: DiscoveryConfig::default(),
            listen: ListenConfig::default(),
            sessions: SessionsConfig::default(),
            info: Labels::default(),
            registry: RegistryConfig::default(),
            // `{ type: mdns }` shows the name to everybody on the link, which is for the operator to want.
            publish: vec![PublishTarget::Server {}],
            files: FilesConfig::default(),
            http: HttpConfig::default(),
            compat: CompatConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// A part of the configuration that parses but does not work yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The setting, such as `discovery.methods[2]`.
    pub path: String,
    /// What is not there yet, for a sentence: "{path}: {what} is not available yet".
    pub what: &'static str,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} not available yet", self.path, self.what)
    }
}

impl Config {
    /// Each used part that does not work yet; `run` starts only if there is none.
    // A part that arrives loses its line here, and the words "Not available yet" in its description.
    pub fn unavailable(&self) -> Vec<Unavailable> {
        let domains = positions(
            &self.publish,
            |target| matches!(target, PublishTarget::Mdns { domain } if !domain.eq_ignore_ascii_case("local")),
        );
        let table = [
            (
                domains.map(|i| format!("publish[{i}].domain")).collect(),
                "a domain of mDNS other than local is",
            ),
            (
                used(
                    "registry.store",
                    matches!(self.registry.store, StoreConfig::Etcd { .. }),
                ),
                "the store etcd is",
            ),
            (
                used("http.listen", self.http.listen.is_some()),
                "the HTTP interface is",
            ),
        ];
        let entries = table
            .into_iter()
            .flat_map(|(paths, what): (Vec<String>, _)| {
                paths.into_iter().map(move |path| (path, what))
            });
        entries
            .map(|(path, what)| Unavailable { path, what })
            .collect()
    }
}

fn positions<T>(items: &[T], is: impl Fn(&T) -> bool) -> impl Iterator<Item = usize> {
    items
        .iter()
        .enumerate()
        .filter(move |(_, item)| is(item))
        .map(|(i, _)| i)
}

fn used(path: &str, is_used: bool) -> Vec<String> {
    if is_used {
        vec![path.into()]
    } else {
        Vec::new()
    }
}
