//! The outputs of the engine: actions for the event loop, and events for operators.

use std::net::SocketAddr;

use crate::discovery::Method;
use crate::model::NodeName;
use crate::wire::v1::{Message, Refusal};

/// The destination of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// All nodes that this method reaches, on every interface that is used.
    All(Method),
    One(SocketAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Seal the message and send it.
    Send { to: To, message: Message },
    /// Look up the addresses of a configured server, then call
    /// [`Engine::resolved`](super::Engine::resolved).
    Resolve {
        /// Its index in the configuration.
        configured: usize,
    },
    /// Start to browse by multicast DNS and pass results to
    /// [`Engine::candidate`](super::Engine::candidate), or stop.
    Browse {
        /// Whether to start.
        on: bool,
    },
    /// Report the event to the operator.
    Event(Event),
}

/// Something that an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server acknowledged this node for the first time.
    Registered {
        server: NodeName,
        address: SocketAddr,
        found_by: Method,
        /// This node's address as the server saw it.
        seen: SocketAddr,
    },
    /// A server sees this node at another address than before.
    SeenElsewhere {
        server: NodeName,
        /// The address that the server sees now.
        seen: SocketAddr,
    },
    /// A server offers other files than at the last renewal, or started again.
    NewerFiles { server: NodeName },
    /// A server refused this node's record.
    Refused { server: NodeName, refusal: Refusal },
    /// A server did not answer for a whole lease, or said goodbye.
    Lost {
        server: NodeName,
        address: SocketAddr,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// The methods so far found no server; this one starts.
    Fallback { method: Method },
    /// A server refused a query because the clocks differ.
    ClockDiffers {
        /// The server's address.
        from: SocketAddr,
        /// The server's clock minus ours, in milliseconds.
        millis: i64,
    },
    /// A server of another channel has the key of our channel.
    OtherChannel {
        /// The server's address.
        from: SocketAddr,
        /// The name of its channel.
        name: Box<str>,
    },
    /// This node's epoch was raised: the state directory must hold this one from now on.
    EpochRaised { epoch: u64 },
}
