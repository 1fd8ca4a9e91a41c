//! What `doctor` finds.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, or may work, but not as well as it could.
    Warning,
    /// It does not work.
    Problem,
}

impl Severity {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// Which it is: a stable word, under which `docs/reference/troubleshooting.md` tells more.
    pub code: Code,
    /// `ok`, `warning` or `problem`.
    pub severity: Severity,
    /// The interface, server or file that it is about; null where it is about the node.
    pub about: Option<String>,
    /// What was found, a sentence.
    pub finding: String,
    /// How to mend it; null where nothing is to be mended.
    pub remedy: Option<String>,
}

/// Makes the enumeration, its words and the list of all from one table.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// Every finding that there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl Code {
            /// Every code, in the order in which findings are told.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its stable word.
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
    /// The configuration asks for what this version does not have.
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
    /// Something holds the state directory and does not answer.
    StateHeld = "state_held",
    /// A node runs here and is ready.
    Node = "node",
    /// No node runs here.
    NodeAbsent = "node_absent",
    /// A node runs here and can't be asked.
    NodeUnreachable = "node_unreachable",
    /// A node runs here and is not ready.
    NodeNotReady = "node_not_ready",
    /// The node that runs was started with another configuration.
    NodeOutdated = "node_outdated",
    /// The port is free, or held by the node.
    Port = "port",
    /// Another program holds the port.
    PortTaken = "port_taken",
    /// The port can't be bound for another reason.
    PortUnusable = "port_unusable",
    /// The node listens on one address, where no group and no broadcast is heard.
    ListensOnOneAddress = "listens_on_one_address",
    /// Interfaces are taken.
    Interfaces = "interfaces",
    /// No interface is taken.
    InterfacesNone = "interfaces_none",
    /// The kernel tells of no changes.
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
    /// A container's bridge carries multicast no further.
    ContainerNetwork = "container_network",
    /// A pod's network carries no multicast.
    PodNetwork = "pod_network",
    /// Datagrams came that no key of ours opens.
    KeyDiffers = "key_differs",
    /// A node holds our key under another channel name.
    ChannelDiffers = "channel_differs",
    /// A node's clock differs too much.
    ClockDiffers = "clock_differs",
    /// A configured server answers.
    Server = "server",
    /// A configured server's name has no address.
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
    /// The node's own record does not stand where it is to be published.
    NotPublished = "not_published",
    /// A file that is offered or taken can't be.
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
