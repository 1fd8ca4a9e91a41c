//! The sections of what a node keeps and serves: registry, publishing, files, HTTP and the ancestors' wires.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{DynipServer, FileMode, OfferName};
use super::{ConfigDuration, Size, schema};
use crate::model::{HttpUrl, NodeId, Owner};

/// What a server keeps of every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Registry")]
pub struct RegistryConfig {
    /// How long a record counts as present without being renewed, `5s` to `24h`. A node asks for its own lease, and a
    /// server grants it; a node that dies is gone after this time.
    pub lease: ConfigDuration,
    /// How long the addresses that a node had are remembered.
    pub history: ConfigDuration,
    /// A name whose holder is gone this long may be taken by another node. `0s` where machines come back with a fresh
    /// identity: pods without a volume.
    pub release_after: ConfigDuration,
    /// Where the records are kept.
    pub store: StoreConfig,
    /// A file of all records for other programs, written anew after each change. Null: none.
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

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Store")]
pub enum StoreConfig {
    /// One file of this node.
    Embedded {
        /// The file. Relative to the state directory.
        #[serde(default = "registry_file")]
        #[schemars(with = "schema::Path")]
        path: PathBuf,
    },
    /// An etcd cluster. Not available yet.
    Etcd {
        /// The cluster's members.
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

/// A file of all records for other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Export")]
pub struct ExportConfig {
    /// The file, replaced as a whole. Relative to the state directory.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
    /// The shape of its JSON.
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

/// The shape of the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Everything that is known of each node, as `hereabouts nodes --output json` prints it.
    Hereabouts,
    /// DynIP's file: `{"host": ["203.0.113.7", "2013-02-01 10:00:00.123456"]}`.
    Dynip,
}

/// Where a node makes its own record known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum PublishTarget {
    /// The servers of the channel.
    Server {},
    /// Multicast DNS: `NAME.local` and a service with the labels, for every program on the link, on each interface with
    /// that interface's own addresses. Whoever is on the link sees them, with or without the key.
    Mdns {
        /// The domain; multicast DNS has this one (RFC 6762 §3), others are not available yet.
        #[serde(default = "local_domain")]
        #[schemars(pattern(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$"), extend("format" = "hereabouts-Domain"))]
        domain: String,
    },
    /// A DynIP server: the node's name in one unsealed datagram, which proves nothing. The server sees from where it comes.
    Dynip {
        /// The server.
        server: DynipServer,
        /// How often it is told, and whenever this node's addresses change. `10s` to `24h`.
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

/// Files that servers hold and nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Files")]
pub struct FilesConfig {
    /// Files that this server holds for nodes to pull.
    #[schemars(length(max = 64))]
    pub offer: Vec<Offer>,
    /// Files that this node takes from its servers, and nothing else.
    #[schemars(length(max = 64))]
    pub accept: Vec<Accept>,
    /// A node waits a random part of this time before it visits a server that has news, so that a fleet does not do so at once.
    pub spread: ConfigDuration,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            offer: Vec::new(),
            accept: Vec::new(),
            spread: ConfigDuration::from_secs(10),
        }
    }
}

/// A file that a server holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Its name on the channel.
    pub name: OfferName,
    /// The file. Relative to the directory of this file.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
}

/// A file that a node takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// The name under which a server offers it.
    pub name: OfferName,
    /// Where it goes; it is replaced as a whole. Relative to the state directory.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
    /// The permission bits that it gets.
    #[serde(default = "usual_mode")]
    pub mode: FileMode,
    /// Whose it is: `USER`, `USER:GROUP` or `:GROUP`, names or numbers. Null: that of the file which was there, as far as this node may give
    /// files away; else the user that runs hereabouts.
    #[serde(default)]
    #[schemars(with = "Option<schema::OwnerText>")]
    pub owner: Option<Owner>,
    /// The largest file that is taken.
    #[serde(default = "usual_size")]
    pub max_size: Size,
    /// The server whose file is taken: its node id, as `hereabouts discover --output json` prints it. Null: the first server that
    /// offers it, and from then on that one only.
    #[serde(default)]
    #[schemars(with = "Option<schema::NodeIdText>")]
    pub server: Option<NodeId>,
    /// What is done after it was replaced. Null: nothing.
    #[serde(default)]
    pub after: Option<AfterAction>,
}

fn usual_mode() -> FileMode {
    FileMode(0o644)
}

fn usual_size() -> Size {
    Size(1 << 30)
}

/// What is done after a file was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "After")]
pub enum AfterAction {
    /// A program is started, without a shell.
    Exec {
        /// The program and its arguments.
        #[schemars(length(min = 1, max = 64))]
        command: Vec<String>,
        /// How long it may take before it is killed.
        #[serde(default = "usual_limit")]
        limit: ConfigDuration,
    },
    /// A signal is sent to a process.
    Signal {
        /// The file that holds its process id. Relative to the state directory.
        #[schemars(with = "schema::Path")]
        pid_file: PathBuf,
        /// The signal.
        #[serde(default)]
        signal: SignalName,
    },
    /// A URL gets a POST with JSON that says what was taken. Any answer but 2xx is a failure; redirects are not followed.
    Webhook {
        /// The URL, `http` or `https`.
        #[schemars(with = "schema::Url")]
        url: HttpUrl,
        /// Further headers. Secrets don't belong here: the configuration is no secret file.
        #[serde(default)]
        #[schemars(with = "schema::Headers")]
        headers: BTreeMap<String, String>,
        /// A file whose first line is sent as bearer token. Relative to the directory of this file. Null: none.
        #[serde(default)]
        #[schemars(with = "Option<schema::Path>")]
        token_file: Option<PathBuf>,
        /// A PEM file with the certificate authorities that are trusted, and no others. Relative to the directory of this file. Null:
        /// those that Mozilla trusts, which are built in.
        #[serde(default)]
        #[schemars(with = "Option<schema::Path>")]
        ca_file: Option<PathBuf>,
        /// How long the whole request may take.
        #[serde(default = "usual_limit")]
        limit: ConfigDuration,
    },
}

fn usual_limit() -> ConfigDuration {
    ConfigDuration::from_secs(60)
}

/// A signal that programs take as a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Signal")]
pub enum SignalName {
    /// Read your files again, by custom.
    #[default]
    Hup,
    /// As the program defines it.
    Usr1,
    /// As the program defines it.
    Usr2,
    /// End.
    Term,
}

/// The HTTP interface. Not available yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http")]
pub struct HttpConfig {
    /// Where it listens, such as `127.0.0.1:24374`. Null: nowhere.
    // The default becomes 127.0.0.1:24374 when the interface arrives.
    #[schemars(with = "Option<schema::Socket>")]
    pub listen: Option<SocketAddr>,
    /// A file with the token that every request must carry. Relative to the directory of this file. Null: no token.
    #[schemars(with = "Option<schema::Path>")]
    pub token_file: Option<PathBuf>,
}

/// The wires of PyDiscover, DynIP and the terminals, each off unless it is named: none of them proves who speaks, so anyone
/// on the network can say anything by them. `docs/reference/legacy-protocols.md` says for each what that means.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Compat")]
pub struct CompatConfig {
    /// PyDiscover 1.0.
    pub pydiscover: Option<PydiscoverConfig>,
    /// DynIP 0.1.
    pub dynip: Option<DynipConfig>,
    /// The terminals and their base.
    pub terminals: Option<TerminalsConfig>,
}

/// Answers PyDiscover's queries with `info`, on a server; by the method `pydiscover` any node asks on this port and channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Pydiscover")]
pub struct PydiscoverConfig {
    /// The UDP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The channel that queries begin with. It is sent in the clear, so it keeps nobody out.
    #[schemars(length(min = 1, max = 64))]
    pub magic: String,
    /// A file with the password, its first line. Relative to the directory of this file. Null: no password. PyDiscover uses one
    /// key stream for every datagram and checks nothing, so one known answer opens all others: it hides little.
    #[schemars(with = "Option<schema::Path>")]
    pub password_file: Option<PathBuf>,
    /// Whether a wrong channel or password gets no answer at all.
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

/// Takes DynIP's datagrams as records, on a server. Anyone who reaches the port can claim any name that no node of the
/// channel holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Dynip")]
pub struct DynipConfig {
    /// The UDP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// How long a name counts as present after its datagram, `1m` to `30d`: longer than the pause of the clients' cron jobs.
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

/// On a server, a base: it calls the terminals, and records who answers. On a client, a terminal: it answers a base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Terminals")]
pub struct TerminalsConfig {
    /// The UDP and TCP port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The file that terminals get: on a server its name in `files.offer`, on a client in `files.accept`. Null: none.
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
