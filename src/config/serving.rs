//! The sections of what a node stores, publishes and serves: registry, publishing, files, HTTP and
//! the legacy protocols.
//!
//! A doc comment here is the description of the setting in the schema, as in `sections`.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{DynipServer, OfferName};
use super::{ConfigDuration, schema};
use crate::model::ExportFormat;

/// The registry: the records of all nodes, on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Registry")]
pub struct RegistryConfig {
    /// How long a node counts as present without renewing its record: `5s` to `24h`. Each node
    /// requests its own lease, and a server grants at most its own. A node that fails counts as
    /// expired after this time.
    pub lease: ConfigDuration,
    /// How long the former addresses of a node are kept.
    pub history: ConfigDuration,
    /// How long a node must be absent before another node can claim its name. Set `0s` if machines
    /// come back with a new identity, such as pods without a volume.
    pub release_after: ConfigDuration,
    /// The store of the records.
    pub store: StoreConfig,
    /// A file with all records for other programs, which is replaced after each change. Null: no
    /// file.
    pub export: Option<ExportConfig>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            lease: ConfigDuration::from_secs(90),
            history: ConfigDuration::from_secs(90 * DAY),
            release_after: ConfigDuration::from_secs(30 * DAY),
            store: StoreConfig::default(),
            export: None,
        }
    }
}

/// The store of the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Store")]
pub enum StoreConfig {
    /// One file on this node.
    Embedded {
        /// The path of the file. Relative to the state directory.
        #[serde(default = "registry_file")]
        #[schemars(with = "schema::Path")]
        path: PathBuf,
    },
    /// An etcd cluster. Not available yet.
    Etcd {
        /// The URLs of the members of the cluster. At most 16.
        #[schemars(with = "Vec<schema::Endpoint>", length(min = 1, max = 16))]
        endpoints: Vec<String>,
    },
}

fn registry_file() -> PathBuf {
    PathBuf::from("registry.redb")
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Embedded {
            path: registry_file(),
        }
    }
}

/// A file with all records for other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Export")]
pub struct ExportConfig {
    /// The path of the file, which is always replaced as a whole. Relative to the state directory.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
    /// The format of the file.
    pub format: ExportFormat,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("nodes.json"),
            format: ExportFormat::Hereabouts,
        }
    }
}

/// A target that a node publishes its own record to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum PublishTarget {
    /// The servers of the channel.
    Server {},
    /// Multicast DNS: `NAME.local`, and a service with the labels of the node. Each interface
    /// announces its own addresses. All hosts on the link can see them, with or without the key.
    Mdns {
        /// The domain. Multicast DNS has the domain `local` (RFC 6762 §3); others are not available
        /// yet.
        #[serde(default = "local_domain")]
        #[schemars(pattern(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$"), extend("format" = "hereabouts-Domain"))]
        domain: String,
    },
    /// A DynIP server. It gets the name of the node in an unsealed datagram that proves nothing,
    /// and records the source address of the datagram.
    Dynip {
        /// The address of the server.
        server: DynipServer,
        /// The time between two datagrams: `10s` to `24h`. A datagram is also sent whenever the
        /// addresses of this node change.
        #[serde(default = "dynip_every")]
        every: ConfigDuration,
    },
}

fn dynip_every() -> ConfigDuration {
    ConfigDuration::from_secs(300)
}

fn local_domain() -> String {
    "local".into()
}

/// The HTTP interface. Not available yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http")]
pub struct HttpConfig {
    /// The address and the port to listen on, such as `127.0.0.1:24374`. Null: the interface is
    /// off.
    // The default becomes 127.0.0.1:24374 when the interface arrives.
    #[schemars(with = "Option<schema::Socket>")]
    pub listen: Option<SocketAddr>,
    /// A file with the token that every request must have. Relative to the directory of this file.
    /// Null: no token.
    #[schemars(with = "Option<schema::Path>")]
    pub token_file: Option<PathBuf>,
}

/// The legacy protocols: PyDiscover, DynIP and the terminals. Each one is off unless it has an
/// entry here. None of them proves who sends, so anyone on the network can send anything by them:
/// see `docs/reference/legacy-protocols.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Compat")]
pub struct CompatConfig {
    /// PyDiscover 1.0. Null: off.
    pub pydiscover: Option<PydiscoverConfig>,
    /// DynIP 0.1. Null: off.
    pub dynip: Option<DynipConfig>,
    /// The terminals and their base. Null: off.
    pub terminals: Option<TerminalsConfig>,
}

/// PyDiscover. A server answers its queries with `info`. Any node with the method `pydiscover`
/// sends queries to this port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Pydiscover")]
pub struct PydiscoverConfig {
    /// The UDP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The channel of PyDiscover, with which each query begins: 1 to 64 characters. It is sent in
    /// the clear, so it protects nothing.
    #[schemars(length(min = 1, max = 64))]
    pub magic: String,
    /// A file with the password on its first line. Relative to the directory of this file. Null: no
    /// password. The password protects little: PyDiscover encrypts every datagram with one key
    /// stream and verifies nothing, so anyone who knows one answer can read all others.
    #[schemars(with = "Option<schema::Path>")]
    pub password_file: Option<PathBuf>,
    /// Whether a query with a wrong channel or password gets no answer at all.
    pub hidden: bool,
}

impl Default for PydiscoverConfig {
    fn default() -> Self {
        Self {
            port: 50000,
            magic: "fna349fn".into(),
            password_file: None,
            hidden: true,
        }
    }
}

/// DynIP. A server accepts its datagrams as records. Anyone who reaches the port can claim any name
/// that no node of the channel holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Dynip")]
pub struct DynipConfig {
    /// The UDP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// How long a name counts as present after its datagram: `1m` to `30d`. It must be longer than
    /// the interval of the clients' cron jobs.
    pub lease: ConfigDuration,
}

impl Default for DynipConfig {
    fn default() -> Self {
        Self {
            port: 28630,
            lease: ConfigDuration::from_secs(3600),
        }
    }
}

/// The terminals. A server is a base: it calls the terminals and records those that answer. A
/// client is a terminal: it answers a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Terminals")]
pub struct TerminalsConfig {
    /// The UDP and TCP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The name of the file that terminals get, in `files.offer` of a server or in `files.accept`
    /// of a client. Null: no file.
    pub file: Option<OfferName>,
}

impl Default for TerminalsConfig {
    fn default() -> Self {
        Self {
            port: 9998,
            file: None,
        }
    }
}
