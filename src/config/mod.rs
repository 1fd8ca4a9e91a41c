//! The configuration: one YAML file, its schema, and every problem in it with its place.
//!
//! A text comes in, and a [`Config`] comes out, or a [`Report`] of all problems at once. The types
//! of the sections are the single source: their doc comments are the descriptions in the schema,
//! which the reference and editors show. This room reads the file, the environment and secret
//! files; it opens no socket and knows no other room than `model`.

#![warn(missing_docs)]

mod document;
mod effective;
mod environment;
mod files;
mod host;
mod interpolate;
mod load;
mod paths;
mod place;
mod published;
mod quantity;
mod report;
mod rules;
mod schema;
mod secret;
mod sections;
mod serving;
mod text;
mod unavailable;
mod validate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use environment::{Environment, SystemEnvironment};
pub use files::{Accept, AfterAction, FilesConfig, Offer, SignalName};
pub use load::{FILE_VARIABLE, Loaded, SEARCH_PATHS, load, parse, parse_untrusted};
pub use place::MAX_BYTES;
pub use published::published_schema;
pub use quantity::{ConfigDuration, DurationError, Size, SizeError};
pub use report::{Problem, Report};
pub use schema::{SCHEMA_ID, schema};
pub use secret::{SecretError, decode_key, encode_key, read_token};
pub use sections::{
    AddressesConfig, BroadcastConfig, ChannelConfig, DiscoveryConfig, DiscoveryMethod,
    InterfacesConfig, KeySource, ListenConfig, LogConfig, LogFormat, LogLevel, MdnsConfig,
    MulticastConfig, NodeConfig, SessionsConfig,
};
pub use serving::{
    CompatConfig, DynipConfig, ExportConfig, HttpConfig, PublishTarget, PydiscoverConfig,
    RegistryConfig, StoreConfig, TerminalsConfig,
};
pub use text::{
    ChannelName, ChannelNameError, DynipServer, FileMode, FileModeError, InterfacePattern,
    InterfacePatternError, OfferName, OfferNameError, ServerAddress, ServerAddressError,
};
pub use unavailable::Unavailable;

use crate::model::{Labels, Role};

/// The default UDP and TCP port of a node.
pub const DEFAULT_PORT: u16 = 24373;

/// The configuration of a node: one YAML file. A setting that is left out has its default. In every
/// text, `${VAR}` and `${VAR:-default}` are replaced by the environment variable, and `$${` is a
/// literal `${`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The role of this node: client, server or both.
    pub role: Role,
    /// The name, the labels and the state directory of this node.
    pub node: NodeConfig,
    /// The channel: the nodes that belong together, with a common name and key.
    pub channel: ChannelConfig,
    /// The network interfaces and addresses that this node uses.
    pub interfaces: InterfacesConfig,
    /// How this node finds servers.
    pub discovery: DiscoveryConfig,
    /// The address and the port that this node listens on, with UDP and TCP.
    pub listen: ListenConfig,
    /// The limits of the sessions that a server accepts.
    pub sessions: SessionsConfig,
    /// Key/value pairs that a server answers queries with, such as `printer: 192.168.1.20`. Only
    /// nodes that hold a key of the channel can read them, unless `compat.pydiscover` is on. At
    /// most 16 pairs, with 256 bytes of keys and values together.
    #[schemars(with = "schema::Pairs")]
    pub info: Labels,
    /// The registry: the records of all nodes, on a server.
    pub registry: RegistryConfig,
    /// The targets that this node publishes its own record to. At most 16.
    #[schemars(length(max = 16))]
    pub publish: Vec<PublishTarget>,
    /// The files that servers offer and nodes pull.
    pub files: FilesConfig,
    /// The HTTP interface. Not available yet.
    pub http: HttpConfig,
    /// The legacy protocols: PyDiscover, DynIP and the terminals.
    pub compat: CompatConfig,
    /// The log of `run`, on stderr.
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
            // `{ type: mdns }` shows the name to all hosts on the link, so the operator must choose
            // it.
            publish: vec![PublishTarget::Server {}],
            files: FilesConfig::default(),
            http: HttpConfig::default(),
            compat: CompatConfig::default(),
            log: LogConfig::default(),
        }
    }
}
