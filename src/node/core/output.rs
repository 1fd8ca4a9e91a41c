//! What the core wants done, and what an operator wants to know.

use std::net::SocketAddr;

use crate::discovery::{self, To};
use crate::model::{NodeId, NodeName, Protocol, Timestamp};
use crate::registry::Batch;
use crate::transport::Via;
use crate::wire::v1::{Message, Notice};

/// What the core wants done.
#[derive(Debug)]
pub enum Output {
    /// Seal and send, on the node's own account.
    Send {
        /// Where to.
        to: To,
        /// What.
        message: Message,
    },
    /// Seal and send as an answer.
    Reply {
        /// Where to.
        to: SocketAddr,
        /// The way back.
        via: Via,
        /// What.
        message: Message,
        /// The most bytes it may have on the wire.
        most: usize,
    },
    /// Look up a configured server, then call [`Core::resolved`](super::Core::resolved).
    Resolve {
        /// Its index.
        configured: usize,
    },
    /// Begin to browse by multicast DNS and give what is found to [`Core::candidate`](super::Core::candidate), or stop it.
    Browse {
        /// Whether to begin.
        on: bool,
    },
    /// Make this durable, then call [`Core::durable`](super::Core::durable).
    Store {
        /// Its number; greater than every one before.
        ticket: u64,
        /// What.
        batch: Batch,
    },
    /// A server says that it has a newer generation of a file that this node takes.
    Notice {
        /// What it says; its signature holds.
        notice: Notice,
        /// Where it came from.
        from: SocketAddr,
    },
    /// Something that an operator wants to know.
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The asking side has news.
    Discovery(discovery::Event),
    /// A node registered that was not present.
    Arrived {
        /// Its name.
        name: NodeName,
        /// Its address as this server sees it.
        source: SocketAddr,
    },
    /// A present node's addresses, name or source changed.
    Changed {
        /// Its name.
        name: NodeName,
        /// Its address as this server sees it.
        source: SocketAddr,
    },
    /// An ancestor's wire brought a name, or another address of one; nobody proved anything.
    UnverifiedClaim {
        /// The name.
        name: NodeName,
        /// The wire.
        protocol: Protocol,
        /// Where it came from.
        source: SocketAddr,
        /// Whether the name was not present before.
        arrived: bool,
    },
    /// A node said goodbye.
    Departed {
        /// Its name.
        name: NodeName,
    },
    /// A node's lease ran out.
    Expired {
        /// Its name.
        name: NodeName,
    },
    /// A node claims a name that another one holds.
    NameConflict(Conflict),
    /// Two machines use one node id.
    Cloned {
        /// The id.
        node: NodeId,
        /// The name claimed last.
        name: NodeName,
        /// Where it came from.
        source: SocketAddr,
    },
}

/// A claim of a name that another node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: NodeName,
    /// Who holds it.
    pub holder: NodeId,
    /// Who claims it.
    pub claimant: NodeId,
    /// Where the claim came from.
    pub source: SocketAddr,
    /// When it came last.
    pub at: Timestamp,
}
