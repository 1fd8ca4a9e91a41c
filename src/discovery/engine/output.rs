//! What the engine wants done, and what an operator wants to know.

use std::net::SocketAddr;

use crate::discovery::Method;
use crate::model::NodeName;
use crate::wire::v1::{Message, Refusal};

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// By this method to everybody on every taken interface.
    All(Method),
    /// To one address.
    One(SocketAddr),
}

/// What the engine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal and send.
    Send {
        /// Where to.
        to: To,
        /// What.
        message: Message,
    },
    /// Look up the addresses of a configured server, then call [`Engine::resolved`](super::Engine::resolved).
    Resolve {
        /// Its index in the configuration.
        configured: usize,
    },
    /// Begin to browse by multicast DNS and give what is found to [`Engine::candidate`](super::Engine::candidate), or stop it.
    Browse {
        /// Whether to begin.
        on: bool,
    },
    /// Something that an operator wants to know.
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server acknowledged this node for the first time.
    Registered {
        /// Which.
        server: NodeName,
        /// Where it is.
        address: SocketAddr,
        /// How it was found.
        found_by: Method,
        /// This node's address as the server saw it.
        seen: SocketAddr,
    },
    /// A server sees this node at another address than before.
    SeenElsewhere {
        /// Which.
        server: NodeName,
        /// The address it sees now.
        seen: SocketAddr,
    },
    /// A server offers other files than at the last renewal, or began anew.
    NewerFiles {
        /// Which.
        server: NodeName,
    },
    /// A server refused.
    Refused {
        /// Which.
        server: NodeName,
        /// Why.
        refusal: Refusal,
    },
    /// A server did not answer for a whole lease, or said goodbye.
    Lost {
        /// Which.
        server: NodeName,
        /// Where it was.
        address: SocketAddr,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// The methods so far brought no server; this one starts.
    Fallback {
        /// The method that starts.
        method: Method,
    },
    /// A server's clock refused a query: the clocks differ by this many milliseconds (the server's less ours).
    ClockDiffers {
        /// Who said so.
        from: SocketAddr,
        /// By how much.
        millis: i64,
    },
    /// Another channel's server holds our key.
    OtherChannel {
        /// Who said so.
        from: SocketAddr,
        /// The name of its channel.
        name: Box<str>,
    },
    /// A server had a greater epoch on record: the state directory must hold this one from now on.
    EpochRaised {
        /// The epoch in use.
        epoch: u64,
    },
}
