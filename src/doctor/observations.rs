//! The observations of one examination, as plain values: the whole input of the diagnosis. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::firewall::{Manager, Verdict};
use crate::api::view::StatusView;
use crate::model::{InterfaceName, NodeId, Role};
use crate::net::{Family, FanoutMethod};

#[derive(Debug, Clone)]
pub(super) struct Observations {
    pub(super) setup: Setup,
    pub(super) key: KeyState,
    pub(super) state: StateDirState,
    pub(super) node: NodeState,
    pub(super) port: PortState,
    /// Why multicast and broadcast are not received on their ports, where a client works without
    /// them.
    pub(super) group_ports_failure: Option<String>,
    pub(super) interfaces: Vec<ObservedInterface>,
    /// Whether interfaces are polled because the kernel does not report changes.
    pub(super) polled: bool,
    pub(super) environment: Environment,
    pub(super) network: ProbedNetwork,
    pub(super) firewall: FirewallState,
    pub(super) servers: Vec<ProbedServer>,
    /// Whether the mDNS port can be shared; `None` where mDNS is not used.
    pub(super) mdns: Option<Result<(), String>>,
}

/// What the configuration sets.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) source: Option<PathBuf>,
    pub(super) unavailable: Vec<String>,
    pub(super) role: Role,
    pub(super) channel: String,
    /// Whether multicast is one of the methods.
    pub(super) multicast: bool,
    /// Whether broadcast is one of the methods.
    pub(super) broadcast: bool,
    pub(super) listen: SocketAddr,
    pub(super) multicast_port: u16,
    pub(super) groups: [IpAddr; 2],
}

/// The channel's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyState {
    /// Their ids, that of the sealing key first.
    Usable(Vec<String>),
    /// The configuration names none, and none was generated yet.
    Missing,
    Unusable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateDirState {
    Usable(PathBuf),
    /// It does not exist and can be created.
    Creatable(PathBuf),
    /// With the reason.
    Unusable(String),
    /// Another process holds its lock.
    Held(PathBuf),
}

/// The node of this machine.
#[derive(Debug, Clone)]
pub(super) enum NodeState {
    Running(Box<StatusView>),
    Absent,
    Unreachable {
        reason: String,
        remedy: &'static str,
        /// Whether the only reason is that another user runs the node.
        foreign: bool,
    },
}

impl NodeState {
    pub(super) fn running(&self) -> Option<&StatusView> {
        match self {
            Self::Running(status) => Some(status),
            Self::Absent | Self::Unreachable { .. } => None,
        }
    }
}

/// The port that the node listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortState {
    Free,
    /// The node of this machine holds it.
    Own,
    /// Another program holds it; with the whole message.
    InUse(String),
    /// It cannot be bound; with the whole message.
    Unusable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedInterface {
    pub(super) name: InterfaceName,
    pub(super) used: bool,
    /// The rule that decided whether it is used.
    pub(super) rule: String,
    pub(super) loopback: bool,
    pub(super) multicast: bool,
    /// The kernel's name for the kind of a virtual interface; `None` for a physical one.
    pub(super) kind: Option<Box<str>>,
    /// The longest packet in bytes; `None` if it cannot be read.
    pub(super) mtu: Option<u32>,
    pub(super) ipv6: bool,
    /// The networks of its addresses: their first address, and the prefix length.
    pub(super) networks: BTreeSet<(IpAddr, u8)>,
}

/// What this program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Environment {
    Host,
    /// A container of Docker, Podman or similar.
    Container,
    /// A Kubernetes pod.
    Pod,
}

/// What the network answered.
#[derive(Debug, Clone, Default)]
pub(super) struct ProbedNetwork {
    /// Whether it was queried at all; that needs a key.
    pub(super) asked: bool,
    /// The groups that this program could not join for its query.
    pub(super) not_joined: Vec<NotJoined>,
    /// One for each destination of a query.
    pub(super) targets: Vec<ProbedTarget>,
    /// Every other node that answered, and whether it is a server.
    pub(super) peers: BTreeSet<(NodeId, bool)>,
    /// Each node that refused our clock.
    pub(super) clocks: Vec<DifferingClock>,
    /// Nodes that have our key under another channel name.
    pub(super) channels: Vec<(SocketAddr, String)>,
    /// Sources of datagrams that no key of ours opens.
    pub(super) foreign: BTreeSet<SocketAddr>,
}

/// A group that could not be joined on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotJoined {
    pub(super) interface: InterfaceName,
    pub(super) group: IpAddr,
    pub(super) reason: String,
}

/// A destination of a query.
#[derive(Debug, Clone)]
pub(super) struct ProbedTarget {
    pub(super) interface: InterfaceName,
    pub(super) family: Family,
    pub(super) method: FanoutMethod,
    pub(super) to: SocketAddr,
    pub(super) sent: Sent,
    /// Whether the query came back to this machine; `None` where that cannot be observed.
    pub(super) returned: Option<bool>,
    pub(super) answered_by: BTreeSet<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// The kernel refused: a firewall of this machine.
    NotPermitted,
    Failed(String),
}

/// A peer that refused our clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DifferingClock {
    pub(super) from: SocketAddr,
    /// `None` if the peer did not answer the corrected query.
    pub(super) node: Option<NodeId>,
    /// Its clock minus ours, in milliseconds.
    pub(super) millis: i64,
}

/// The firewall of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirewallState {
    /// What its rule set does to each kind of datagram, and which program manages the rules, if
    /// that is visible.
    Read {
        verdicts: Vec<Verdict>,
        manager: Option<Manager>,
    },
    /// It cannot be read, for this reason.
    Unknown(String),
}

/// A server that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProbedServer {
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered from this address.
    Answered(SocketAddr),
    /// Its name has no address, for this reason.
    Unresolved(String),
    /// None of these addresses answered.
    Silent(Vec<SocketAddr>),
    /// It was resolved and not queried, because there is no key.
    NotAsked,
}
