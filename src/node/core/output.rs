//! The core's requests to the event loop, and its events for operators.

use std::net::SocketAddr;

use crate::discovery::{self, To};
use crate::model::{NodeId, NodeName, Protocol, Timestamp};
use crate::registry::Batch;
use crate::transport::ReturnPath;
use crate::wire::v1::{Message, Notice};

/// One thing that the event loop is to do.
#[derive(Debug)]
pub enum Output {
    /// Seal and send a message on the node's own account.
    Send {
        to: To,
        message: Message,
    },
    /// Seal and send an answer; the return path limits its length.
    Reply {
        path: ReturnPath,
        message: Message,
    },
    /// Look up the configured server of this index, then call [`Core::resolved`](super::Core::resolved).
    Resolve {
        configured: usize,
    },
    /// Begin to browse by multicast DNS and give each address found to [`Core::candidate`](super::Core::candidate), or stop
    /// browsing.
    Browse {
        on: bool,
    },
    /// Make a batch durable, then call [`Core::durable`](super::Core::durable) with its ticket. Each ticket is greater than
    /// all before.
    Store {
        ticket: u64,
        batch: Batch,
    },
    /// A server has a newer generation of a file that this node accepts. The signature of the notice is verified.
    Notice {
        notice: Notice,
        from: SocketAddr,
    },
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The search for servers has news.
    Discovery(discovery::Event),
    /// A node registered that was not present. `source` is its address as this server sees it, here and below.
    Arrived { name: NodeName, source: SocketAddr },
    /// A present node's addresses, name or source changed.
    Changed { name: NodeName, source: SocketAddr },
    /// What this server's own entry in its registry says changed.
    OwnChanged { name: NodeName },
    /// A legacy protocol brought a name, or another address of a name. It is unverified.
    UnverifiedClaim {
        name: NodeName,
        protocol: Protocol,
        source: SocketAddr,
        /// Whether the name was not present before.
        arrived: bool,
    },
    /// A node said goodbye.
    Departed { name: NodeName },
    /// A node's lease ran out.
    Expired { name: NodeName },
    /// A node claims a name that another node holds.
    NameConflict(Conflict),
    /// Two machines use one node id.
    Cloned {
        node: NodeId,
        /// The name that was claimed last.
        name: NodeName,
        source: SocketAddr,
    },
}

/// A claim of a name that another node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub name: NodeName,
    pub holder: NodeId,
    pub claimant: NodeId,
    /// Where the last claim came from.
    pub source: SocketAddr,
    /// When the last claim came.
    pub at: Timestamp,
}
