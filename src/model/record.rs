//! What a node says of itself.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, Labels, NodeName};

/// A node's own record: what it says of itself, ordered by `(epoch, sequence)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name it claims.
    pub name: NodeName,
    /// Raised at every start of the node.
    pub epoch: u64,
    /// Raised at every message of one epoch.
    pub sequence: u64,
    /// Random at every start: two nodes that share an identity (a cloned disk) differ in it.
    pub boot: u64,
    /// How long the record counts as present without being renewed; zero in a goodbye.
    pub lease: Lease,
    /// Its addresses, best first; at most [`Record::MAX_ADDRESSES`].
    pub addresses: Vec<Address>,
    /// The UDP and TCP port it listens on; 0 if it listens on none.
    pub port: u16,
    /// What it runs as.
    pub role: Role,
    /// Its labels.
    pub labels: Labels,
}

impl Record {
    /// The most addresses in a record.
    pub const MAX_ADDRESSES: usize = 12;

    /// The order of records of one node: a greater one is newer.
    pub fn order(&self) -> (u64, u64) {
        (self.epoch, self.sequence)
    }
}

/// How long a record counts as present without being renewed, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease(pub u32);

impl Lease {
    /// The lease of a goodbye.
    pub const ZERO: Self = Self(0);

    /// The lease as a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// What a node runs as.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It looks for servers and registers with them.
    Client,
    /// It keeps a registry.
    Server,
    /// It keeps a registry, and registers itself with every server, its own included.
    Both,
}

impl Role {
    /// Whether a registry is kept.
    pub fn serves(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }

    /// Whether it registers with servers.
    pub fn registers(self) -> bool {
        matches!(self, Self::Client | Self::Both)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Both => "both",
        })
    }
}

/// What a registry knows of a node's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its lease runs.
    Present,
    /// Its lease ran out.
    Expired,
    /// It said goodbye.
    Left,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Present => "present",
            Self::Expired => "expired",
            Self::Left => "left",
        })
    }
}
