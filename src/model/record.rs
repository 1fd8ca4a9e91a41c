//! The record that a node announces of itself, and the state of that record in a registry.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, Labels, NodeName};

/// The record that a node announces of itself, ordered by `(epoch, sequence)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name that the node claims.
    pub name: NodeName,
    /// A number that the node raises at every start.
    pub epoch: u64,
    /// A number that the node raises with every message of one epoch.
    pub sequence: u64,
    /// A random number of this start: two nodes with the same identity (a cloned disk) differ in
    /// it.
    pub boot: u64,
    /// How long the node counts as present without renewing the record; zero in a goodbye.
    pub lease: Lease,
    /// The addresses of the node, best first; at most [`Record::MAX_ADDRESSES`].
    pub addresses: Vec<Address>,
    /// The UDP and TCP port that the node listens on; 0 if it listens on none.
    pub port: u16,
    /// The role of the node.
    pub role: Role,
    /// The labels of the node.
    pub labels: Labels,
}

impl Record {
    /// How many addresses a record may have.
    pub const MAX_ADDRESSES: usize = 12;

    /// The order of the records of one node: the greater one is newer.
    pub fn order(&self) -> (u64, u64) {
        (self.epoch, self.sequence)
    }
}

/// How long a node counts as present without renewing its record, in whole seconds.
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

/// The role of a node: client, server or both.
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
    /// The node looks for servers and registers with them.
    Client,
    /// The node keeps a registry.
    Server,
    /// The node keeps a registry, and registers itself with every server, its own included.
    Both,
}

impl Role {
    /// Whether the node keeps a registry.
    pub fn serves(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }

    /// Whether the node registers with servers.
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

/// Whether a node is present, as a registry knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The lease of the node has not run out.
    Present,
    /// The lease of the node ran out.
    Expired,
    /// The node announced that it leaves.
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
