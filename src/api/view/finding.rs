//! The findings of `doctor`.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// All is well.
    Ok,
    /// It works, or may work, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

impl Severity {
    /// The word as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// A stable word, which `docs/reference/troubleshooting.md` explains.
    pub code: Code,
    /// `ok`, `warning` or `problem`.
    pub severity: Severity,
    /// The interface, server or file that it is about; null if it is about the node.
    pub about: Option<String>,
    /// What was found, a sentence.
    pub finding: String,
    /// How to fix it; null if there is nothing to fix.
    pub remedy: Option<String>,
}

/// Makes the enumeration, its words and the list of all from one table.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// Every finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Code {
            /// Every code, in the order in which findings are printed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word as in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

codes! {
    /// The configuration can be used.
    Config = "config",
    /// The configuration can't be used.
    ConfigInvalid = "config_invalid",
    /// The configuration uses a feature that this version does not have.
    ConfigUnavailable = "config_unavailable",
    /// The channel's keys can be used.
    Key = "key",
    /// There is no key yet.
    KeyNone = "key_none",
    /// The channel's keys can't be used.
    KeyUnusable = "key_unusable",
    /// The state directory can be used.
    State = "state",
    /// The state directory can't be used.
    StateUnusable = "state_unusable",
    /// A process holds the state directory and does not answer.
    StateHeld = "state_held",
    /// A node runs here and is ready.
    Node = "node",
    /// No node runs here.
    NodeAbsent = "node_absent",
    /// A node runs here and can't be queried.
    NodeUnreachable = "node_unreachable",
    /// A node runs here and is not ready.
    NodeNotReady = "node_not_ready",
    /// The running node was started with another configuration.
    NodeOutdated = "node_outdated",
    /// The port is free, or held by the node.
    Port = "port",
    /// Another program holds the port.
    PortTaken = "port_taken",
    /// The port can't be bound for another reason.
    PortUnusable = "port_unusable",
    /// The node listens on one address, where it receives neither multicast nor broadcast.
    ListensOnOneAddress = "listens_on_one_address",
    /// Interfaces are used.
    Interfaces = "interfaces",
    /// No interface is used.
    InterfacesNone = "interfaces_none",
    /// The kernel reports no changes.
    InterfacesPolled = "interfaces_polled",
    /// An interface is too small for the longest datagram.
    MtuSmall = "mtu_small",
    /// Multicast comes back on an interface.
    Multicast = "multicast",
    /// An interface carries no multicast.
    MulticastOff = "multicast_off",
    /// A group could not be joined.
    MulticastNotJoined = "multicast_not_joined",
    /// Multicast could not be sent.
    MulticastNotSent = "multicast_not_sent",
    /// Multicast does not come back.
    MulticastNotReceived = "multicast_not_received",
    /// Broadcast comes back on an interface.
    Broadcast = "broadcast",
    /// Broadcast could not be sent.
    BroadcastNotSent = "broadcast_not_sent",
    /// Broadcast does not come back.
    BroadcastNotReceived = "broadcast_not_received",
    /// A firewall rule drops what discovery needs.
    FirewallDrops = "firewall_drops",
    /// A firewall rule may drop what discovery needs.
    FirewallMayDrop = "firewall_may_drop",
    /// The rule set drops nothing that discovery needs.
    Firewall = "firewall",
    /// Other nodes answered.
    Peers = "peers",
    /// No other node answered.
    PeersNone = "peers_none",
    /// No server answered a node that needs one.
    ServerNone = "server_none",
    /// Nodes answer broadcast, and not multicast.
    MulticastUnanswered = "multicast_unanswered",
    /// The bridge of a container does not forward multicast.
    ContainerNetwork = "container_network",
    /// The network of a pod carries no multicast.
    PodNetwork = "pod_network",
    /// Datagrams arrived that none of the own keys opens.
    KeyDiffers = "key_differs",
    /// A node uses the own key under another channel name.
    ChannelDiffers = "channel_differs",
    /// The clock of a node differs too much.
    ClockDiffers = "clock_differs",
    /// A configured server answers.
    Server = "server",
    /// The name of a configured server has no address.
    ServerUnresolved = "server_unresolved",
    /// A configured server does not answer.
    ServerSilent = "server_silent",
    /// A server refuses this node.
    ServerRefuses = "server_refuses",
    /// Two nodes claim one name.
    NameConflict = "name_conflict",
    /// Two machines use one node id.
    Clone = "clone",
    /// The registry can't write its store.
    StoreFails = "store_fails",
    /// The own record of the node is not published where it should be.
    NotPublished = "not_published",
    /// A file can't be offered or accepted.
    FileFails = "file_fails",
    /// The mDNS port can be shared.
    Mdns = "mdns",
    /// The mDNS port can't be shared.
    MdnsPortTaken = "mdns_port_taken",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
