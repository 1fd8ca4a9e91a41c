//! What was seen, as plain values: all that the judge knows. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::firewall::{Keeper, Verdict};
use crate::api::view::StatusView;
use crate::model::{InterfaceName, NodeId, Role};
use crate::net::{Family, FanoutMethod};

/// All that was seen in one examination.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    pub(super) setup: Setup,
    pub(super) key: KeySeen,
    pub(super) state: StateSeen,
    pub(super) node: NodeSeen,
    pub(super) port: PortSeen,
    /// Why groups and broadcasts are not heard on their ports, where a client goes on without.
    pub(super) deaf: Option<String>,
    pub(super) interfaces: Vec<InterfaceSeen>,
    /// Whether the kernel tells of no changes.
    pub(super) polled: bool,
    pub(super) surroundings: Surroundings,
    pub(super) network: NetworkSeen,
    pub(super) firewall: FirewallSeen,
    pub(super) servers: Vec<ServerSeen>,
    /// Whether the mDNS port can be shared; `None` where mDNS is not used.
    pub(super) mdns: Option<Result<(), String>>,
}

/// What the configuration says.
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
pub(super) enum KeySeen {
    /// Their ids, the sealing one first.
    Usable(Vec<String>),
    /// The configuration names none, and none was made yet.
    None,
    /// Why they can't be used.
    Unusable(String),
}

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateSeen {
    /// It can be written.
    Usable(PathBuf),
    /// It will be made.
    ToBeMade(PathBuf),
    /// It can't be used, why.
    Unusable(String),
    /// Somebody holds its lock.
    Held(PathBuf),
}

/// The node of this machine.
#[derive(Debug, Clone)]
pub(super) enum NodeSeen {
    /// It told its status.
    Running(Box<StatusView>),
    /// None runs.
    Absent,
    /// It can't be asked: why, what to do about it, and whether only as it is another user's.
    Unreachable {
        why: String,
        remedy: &'static str,
        foreign: bool,
    },
}

impl NodeSeen {
    pub(super) fn running(&self) -> Option<&StatusView> {
        match self {
            Self::Running(status) => Some(status),
            Self::Absent | Self::Unreachable { .. } => None,
        }
    }
}

/// The port that the node listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortSeen {
    /// Nobody holds it.
    Free,
    /// The node of this machine holds it.
    Own,
    /// Another program holds it: the whole sentence.
    Taken(String),
    /// It can't be bound: the whole sentence.
    Unusable(String),
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InterfaceSeen {
    pub(super) name: InterfaceName,
    pub(super) taken: bool,
    /// The rule that decided.
    pub(super) rule: String,
    pub(super) loopback: bool,
    pub(super) multicast: bool,
    /// The kernel's word for a virtual interface.
    pub(super) kind: Option<Box<str>>,
    /// The longest packet in bytes; `None` if it can't be read.
    pub(super) mtu: Option<u32>,
    pub(super) ipv6: bool,
    /// The networks of its addresses: their first address, and bits of the prefix.
    pub(super) networks: BTreeSet<(IpAddr, u8)>,
}

/// What this program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// A machine.
    Host,
    /// A container of Docker, Podman or their like.
    Container,
    /// A pod of Kubernetes.
    Pod,
}

/// What the network answered.
#[derive(Debug, Clone, Default)]
pub(super) struct NetworkSeen {
    /// Whether it was asked at all: without a key it can't be.
    pub(super) asked: bool,
    /// The groups that could not be joined to ask.
    pub(super) not_joined: Vec<NotJoined>,
    /// One for each place where a question went.
    pub(super) targets: Vec<TargetSeen>,
    /// Every other node that answered: whether it serves.
    pub(super) peers: BTreeSet<(NodeId, bool)>,
    /// Each node that refused our clock.
    pub(super) clocks: Vec<ClockSeen>,
    /// Who holds our key under which channel name.
    pub(super) channels: Vec<(SocketAddr, String)>,
    /// Who sent what no key of ours opens.
    pub(super) foreign: BTreeSet<SocketAddr>,
}

/// A group that could not be joined on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotJoined {
    pub(super) interface: InterfaceName,
    pub(super) group: IpAddr,
    pub(super) why: String,
}

/// A place where a question went.
#[derive(Debug, Clone)]
pub(super) struct TargetSeen {
    pub(super) interface: InterfaceName,
    pub(super) family: Family,
    pub(super) method: FanoutMethod,
    pub(super) to: SocketAddr,
    pub(super) sent: Sent,
    /// Whether it came back to this machine; `None` where that can't be told.
    pub(super) looped: Option<bool>,
    pub(super) answered_by: BTreeSet<NodeId>,
}

/// How sending went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// It left.
    Yes,
    /// The kernel did not permit it: a firewall of this machine.
    NotPermitted,
    /// It failed, why.
    Failed(String),
}

/// A peer that refused our clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClockSeen {
    pub(super) from: SocketAddr,
    /// Which node it is; `None` if it did not answer afterwards.
    pub(super) node: Option<NodeId>,
    /// Its clock less ours, in milliseconds.
    pub(super) millis: i64,
}

/// The firewall of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirewallSeen {
    /// What its rule set does to each kind of datagram, and which program keeps the rules, if that shows.
    Read {
        verdicts: Vec<Verdict>,
        kept_by: Option<Keeper>,
    },
    /// It can't be read, why.
    Unknown(String),
}

/// A server that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerSeen {
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

/// What became of asking a configured server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered from this address.
    Answered(SocketAddr),
    /// Its name has no address, why.
    Unresolved(String),
    /// None of these addresses answered.
    Silent(Vec<SocketAddr>),
    /// It was looked up and could not be asked, as there is no key.
    NotAsked,
}
