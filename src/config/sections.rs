//! The sections of the file, one type each: the node, its channel, the network, the log.
//!
//! A doc comment here is the description of the setting in the schema, which editors show. Comments
//! for developers have two slashes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ChannelName, InterfacePattern, ServerAddress};
use super::{ConfigDuration, DEFAULT_PORT, schema};
use crate::model::{Labels, NodeName};

/// The name, the labels and the state directory of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Node")]
pub struct NodeConfig {
    /// The name of this node, unique in its channel. Null: the host's name.
    // The loader puts the host's name here, so that everything else sees one.
    #[schemars(with = "Option<schema::Name>", default = "schema::null")]
    pub name: NodeName,
    /// Key/value pairs that the node announces of itself, such as `site: home`. At most 16 pairs,
    /// with 256 bytes of keys and values together.
    #[schemars(with = "schema::Pairs")]
    pub labels: Labels,
    /// The directory for data that outlives a restart: the identity of the node, its generated key,
    /// the registry. Relative to the directory of this file. Null: `$STATE_DIRECTORY`, which
    /// systemd sets; else `/var/lib/hereabouts` for root; else `$XDG_STATE_HOME/hereabouts` or
    /// `~/.local/state/hereabouts`.
    // The loader puts the directory here, as it does for the name.
    #[schemars(with = "Option<schema::Path>", default = "schema::null")]
    pub state_dir: PathBuf,
    /// IP addresses to announce instead of the addresses of the interfaces, such as those of the
    /// host of a pod, or of a router that forwards a port. At most 12. Empty: the addresses of the
    /// used interfaces.
    #[schemars(with = "Vec<schema::Ip>", length(max = 12))]
    pub advertise: Vec<IpAddr>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: schema::placeholder_name(),
            labels: Labels::default(),
            state_dir: PathBuf::from("/var/lib/hereabouts"),
            advertise: Vec::new(),
        }
    }
}

/// The channel: the nodes that belong together. They share a channel name and a key; nodes without
/// them learn nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Channel")]
pub struct ChannelConfig {
    /// The name of the channel. Every key is derived from it too, so two channels with the same
    /// passphrase have different keys.
    pub name: ChannelName,
    /// The keys: the first one seals, every one opens. At most 8. To change the key, add the new
    /// key as the second one on every node, then make it the first one on every node, then remove
    /// the old key. Empty: the first start makes a random key and stores it as `channel.key` in the
    /// state directory.
    #[schemars(length(max = 8))]
    pub keys: Vec<KeySource>,
    /// Whether nodes with another key, or with another channel name, get no answer at all. False: a
    /// node that has the key under another channel name gets the right name in a sealed answer, but
    /// strangers can see that an answer was sent. Nodes with the key always get a sealed answer if
    /// their clock is wrong.
    pub hidden: bool,
}

impl ChannelConfig {
    /// How many keys a channel may have: two while a key is changed, and more for a fleet that
    /// changes slowly.
    pub const MAX_KEYS: usize = 8;
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            name: ChannelName::home(),
            keys: Vec::new(),
            hidden: true,
        }
    }
}

/// The file of a key. Its path is relative to the directory of this file. The configuration itself
/// never contains a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// A file with 32 random bytes in base64: `hereabouts keygen` makes one.
    File(#[schemars(with = "schema::Path")] PathBuf),
    /// A file with a passphrase on its first line. The key is derived from it by Argon2id. A random
    /// key is more secure.
    PassphraseFile(#[schemars(with = "schema::Path")] PathBuf),
}

/// The network interfaces and addresses that this node uses, for listening, sending and announcing
/// alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Interfaces")]
pub struct InterfacesConfig {
    /// Patterns of the interfaces to use. At most 64.
    #[schemars(length(max = 64))]
    pub include: Vec<InterfacePattern>,
    /// Patterns of the interfaces not to use, unless `include` has the exact name of the interface.
    /// At most 64.
    #[schemars(length(max = 64))]
    pub exclude: Vec<InterfacePattern>,
    /// The kinds of addresses to use.
    pub addresses: AddressesConfig,
}

impl Default for InterfacesConfig {
    fn default() -> Self {
        // The interfaces of containers, Kubernetes networks (CNI), virtual machines, tunnels and
        // VPNs; `tun*` also matches `tunl0`. Each pattern has a wildcard, so that an exact name in
        // `include` takes precedence.
        const VIRTUAL: [&str; 5] = [
            "docker* podman* br-* veth* lxc* lxd* incus*",
            "cni* cali* cilium* flannel* weave* antrea* ovn* kube-* nodelocaldns* eni* azv* gke*",
            "virbr* vnet* tap* macvtap* vif* vboxnet* vmnet* fwbr* fwln* fwpr*",
            "vxlan* genev* tun* gre* ip6gre* erspan* ipip* sit* 6in4* teredo* ip6tnl* vti* ip_vti* ip6_vti* l2tp*",
            "wg* wireguard* tailscale* zt* wt* nebula* ppp* ipsec* xfrm* vpn* proton* nordlynx* CloudflareWARP*",
        ];
        let patterns = |texts: &[&str]| {
            texts
                .iter()
                .flat_map(|text| text.split_whitespace())
                .filter_map(|text| text.parse().ok())
                .collect()
        };
        Self {
            include: patterns(&["*"]),
            exclude: patterns(&VIRTUAL),
            addresses: AddressesConfig::default(),
        }
    }
}

/// The kinds of addresses to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Addresses")]
pub struct AddressesConfig {
    /// Whether IPv4 is used.
    pub ipv4: bool,
    /// Whether IPv6 is used.
    pub ipv6: bool,
    /// Whether link-local addresses (169.254.0.0/16 and fe80::/10) are announced too. Queries are
    /// sent from them in any case.
    pub link_local: bool,
    /// Whether the loopback interface (127.0.0.0/8 and ::1) is used. Useful for tests on one
    /// machine.
    pub loopback: bool,
}

impl Default for AddressesConfig {
    fn default() -> Self {
        Self {
            ipv4: true,
            ipv6: true,
            link_local: false,
            loopback: false,
        }
    }
}

/// How this node finds servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Discovery")]
pub struct DiscoveryConfig {
    /// The discovery methods, in the order in which they are tried. Empty: only `servers` are
    /// queried.
    #[schemars(length(max = 4), extend("uniqueItems" = true))]
    pub methods: Vec<DiscoveryMethod>,
    /// How long a method may get no answer before the next method is tried as well. Greater than
    /// `0s`.
    pub fallback_after: ConfigDuration,
    /// How many servers this node registers with, from 1 to 16.
    #[schemars(range(min = 1, max = 16))]
    pub max_servers: u8,
    /// Servers that are always queried, by unicast, on this network or another. A host name is
    /// resolved again when the server stops answering. At most 32.
    #[schemars(length(max = 32))]
    pub servers: Vec<ServerAddress>,
    /// The settings of the method `multicast`.
    pub multicast: MulticastConfig,
    /// The settings of the method `broadcast`.
    pub broadcast: BroadcastConfig,
    /// The settings of the method `mdns`.
    pub mdns: MdnsConfig,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            methods: vec![
                DiscoveryMethod::Multicast,
                DiscoveryMethod::Broadcast,
                DiscoveryMethod::Mdns,
            ],
            fallback_after: ConfigDuration::from_secs(3),
            max_servers: 4,
            servers: Vec::new(),
            multicast: MulticastConfig::default(),
            broadcast: BroadcastConfig::default(),
            mdns: MdnsConfig::default(),
        }
    }
}

/// A method to find servers on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiscoveryMethod {
    /// Sealed queries to a multicast group, over IPv4 and IPv6.
    Multicast,
    /// Sealed queries to the IPv4 broadcast address, for networks that drop multicast.
    Broadcast,
    /// DNS-SD over multicast DNS (RFC 6762, RFC 6763). Servers announce a service, under a random
    /// name if `channel.hidden` is true. A node verifies each server that it finds by a sealed
    /// query.
    Mdns,
    /// Queries to PyDiscover servers, by broadcast; `status` shows their key/value pairs. This
    /// method finds no server to register with, and runs in parallel with the other methods.
    Pydiscover,
}

/// The destination of multicast queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Multicast")]
pub struct MulticastConfig {
    /// The IPv4 group, in 224.0.0.0/4.
    pub ipv4_group: Ipv4Addr,
    /// The IPv6 group, in ff00::/8.
    pub ipv6_group: Ipv6Addr,
    /// The UDP port of the queries. Every node receives them on this port, whatever its
    /// `listen.port` is.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// How many networks a query may cross (the TTL, or the hop limit of IPv6). With 1, it stays on
    /// the link.
    #[schemars(range(min = 1, max = 255))]
    pub ttl: u8,
}

impl Default for MulticastConfig {
    fn default() -> Self {
        Self {
            ipv4_group: Ipv4Addr::new(239, 255, 43, 73),
            ipv6_group: Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x4373),
            port: DEFAULT_PORT,
            ttl: 1,
        }
    }
}

/// The destination of broadcast queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Broadcast")]
pub struct BroadcastConfig {
    /// The UDP port of the queries. Every node receives them on this port, whatever its
    /// `listen.port` is.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Default for BroadcastConfig {
    fn default() -> Self {
        Self { port: DEFAULT_PORT }
    }
}

/// The service of multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Mdns")]
pub struct MdnsConfig {
    /// The service type (RFC 6763 §4.1.2) that servers announce and nodes look for. Nodes that are
    /// published by multicast DNS use it too.
    #[schemars(pattern(r"^_[A-Za-z0-9]([A-Za-z0-9-]{0,13}[A-Za-z0-9])?\._(udp|tcp)$"), extend("format" = "hereabouts-Service"))]
    pub service: String,
}

impl Default for MdnsConfig {
    fn default() -> Self {
        Self {
            service: "_hereabouts._udp".into(),
        }
    }
}

/// The address and the port that this node listens on, with UDP and TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Listen")]
pub struct ListenConfig {
    /// The address to bind to: `::` stands for every address of both families, `0.0.0.0` for every
    /// IPv4 address. With any other address, the node receives neither multicast nor broadcast.
    #[schemars(extend("format" = "ip"))]
    pub address: IpAddr,
    /// The UDP port, and on a server also the TCP port for sessions.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port: DEFAULT_PORT,
        }
    }
}

/// The sessions that a server accepts over TCP, on the port of `listen`. Commands query a server by
/// a session, and nodes pull files by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sessions")]
pub struct SessionsConfig {
    /// How many sessions may be open at a time, from 1 to 10000.
    #[schemars(range(min = 1, max = 10000))]
    pub max: u16,
    /// How many sessions one source address may have open at a time, from 1 to 10000; for IPv6, one
    /// /64.
    #[schemars(range(min = 1, max = 10000))]
    pub max_per_source: u16,
    /// How long a client may send no request, or accept no data of an answer, before its session is
    /// closed: `1s` to `1h`.
    pub idle: ConfigDuration,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            max: 512,
            max_per_source: 64,
            idle: ConfigDuration::from_secs(60),
        }
    }
}

/// The log of `run`, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Log")]
pub struct LogConfig {
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// The format of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Text,
        }
    }
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// An error that needs an operator now.
    Error,
    /// A problem that may need an operator soon.
    Warn,
    /// Normal events, such as a start or a new server.
    Info,
    /// The decisions of the node, and their reasons.
    Debug,
    /// Every step, such as each datagram.
    Trace,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}
