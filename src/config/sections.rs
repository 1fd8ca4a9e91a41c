//! The sections of the file, one type each. A doc comment here is the setting's description in the schema.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{ChannelName, InterfacePattern, ServerAddress};
use super::{ConfigDuration, DEFAULT_PORT, schema};
use crate::model::{Labels, NodeName};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Node")]
pub struct NodeConfig {
    /// The node's name, unique in its channel. Null: the host's name.
    // The loader puts the host's name here, so that everything else sees one.
    #[schemars(with = "Option<schema::Name>", default = "schema::null")]
    pub name: NodeName,
    /// Key/value pairs that the node says of itself, such as `site: home`. At most 16 pairs and 256 bytes.
    #[schemars(with = "schema::Pairs")]
    pub labels: Labels,
    /// The directory for what outlives a restart: the node's identity, its keys, the registry. Relative to the directory of
    /// this file. Null: `$STATE_DIRECTORY` (systemd sets it); else `/var/lib/hereabouts` for root; else
    /// `$XDG_STATE_HOME/hereabouts` or `~/.local/state/hereabouts`.
    // The loader puts the directory here, as it does for the name.
    #[schemars(with = "Option<schema::Path>", default = "schema::null")]
    pub state_dir: PathBuf,
    /// Addresses to announce instead of the ones found on interfaces: a pod's host, a forwarded port.
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

/// The nodes that belong together: they share a channel name and a key, and nobody else learns anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Channel")]
pub struct ChannelConfig {
    /// The channel's name. It goes into every key: two channels with one passphrase have nothing in common.
    pub name: ChannelName,
    /// The keys: the first seals, every one opens. To change a key, add the new one as the second on every node, then make
    /// it the first on every node, then drop the old one. Empty: a random key is made at the first start and kept as
    /// `channel.key` in the state directory.
    #[schemars(length(max = 8))]
    pub keys: Vec<KeySource>,
    /// Whether whoever lacks the key, or has it under another channel name, gets no answer at all. False: who has the key
    /// under another name is told this one; the price is that strangers see that a sealed answer comes. A wrong clock is told
    /// to holders of the key either way, sealed.
    pub hidden: bool,
}

impl ChannelConfig {
    /// The most keys: two while one replaces the other, and room for a fleet that does so slowly.
    pub const MAX_KEYS: usize = 8;
}

impl Default for ChannelConfig {
    fn default() -> Self {
        // The text is valid: `defaults_are_what_the_schema_says` parses it again.
        Self {
            name: ChannelName::home(),
            keys: Vec::new(),
            hidden: true,
        }
    }
}

/// Where a key comes from: a file, never the configuration itself. Relative to the directory of this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// A file with 32 random bytes in base64, as `hereabouts keygen` makes it.
    File(#[schemars(with = "schema::Path")] PathBuf),
    /// A file with a passphrase on its first line. It goes through Argon2id; a random key is better.
    PassphraseFile(#[schemars(with = "schema::Path")] PathBuf),
}

/// Which network interfaces and addresses are used: one policy for listening, sending and announcing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Interfaces")]
pub struct InterfacesConfig {
    /// Patterns of the interfaces to use.
    #[schemars(length(max = 64))]
    pub include: Vec<InterfacePattern>,
    /// Patterns of interfaces not to use, even where `include` names them.
    #[schemars(length(max = 64))]
    pub exclude: Vec<InterfacePattern>,
    /// Which kinds of addresses are used.
    pub addresses: AddressesConfig,
}

impl Default for InterfacesConfig {
    fn default() -> Self {
        // What containers, Kubernetes networks (CNI), virtual machines, tunnels and VPNs are called; `tun*` fits `tunl0`, too.
        // Each has a wildcard, so that `include` can name one of them in.
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

/// Which kinds of addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Addresses")]
pub struct AddressesConfig {
    /// IPv4 addresses.
    pub ipv4: bool,
    /// IPv6 addresses.
    pub ipv6: bool,
    /// Addresses that count on one link only: 169.254.0.0/16 and fe80::/10.
    pub link_local: bool,
    /// 127.0.0.0/8 and ::1, for trying things on one machine.
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

/// How servers are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Discovery")]
pub struct DiscoveryConfig {
    /// The methods, in the order in which they are tried.
    #[schemars(length(max = 4), extend("uniqueItems" = true))]
    pub methods: Vec<Method>,
    /// How long a method may stay without an answer before the next one is tried as well.
    pub fallback_after: ConfigDuration,
    /// The most servers that this node registers with.
    #[schemars(range(min = 1, max = 16))]
    pub max_servers: u8,
    /// Servers asked by unicast, always, on this network or another. Names are looked up again when they stop answering.
    #[schemars(length(max = 32))]
    pub servers: Vec<ServerAddress>,
    /// The method `multicast`.
    pub multicast: MulticastConfig,
    /// The method `broadcast`.
    pub broadcast: BroadcastConfig,
    /// The method `mdns`.
    pub mdns: MdnsConfig,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            methods: vec![Method::Multicast, Method::Broadcast, Method::Mdns],
            fallback_after: ConfigDuration::from_secs(3),
            max_servers: 4,
            servers: Vec::new(),
            multicast: MulticastConfig::default(),
            broadcast: BroadcastConfig::default(),
            mdns: MdnsConfig::default(),
        }
    }
}

/// A way to find servers on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Sealed queries to a multicast group, over IPv4 and IPv6.
    Multicast,
    /// Sealed queries to the IPv4 broadcast address, for networks that drop multicast.
    Broadcast,
    /// DNS-SD over multicast DNS (RFC 6762, RFC 6763): servers show themselves, under a random name where
    /// `channel.hidden` is on; whoever finds one asks it by a sealed query before it is believed.
    Mdns,
    /// PyDiscover's servers, by broadcast: `status` shows their key/values. It finds no server to register with, and runs
    /// beside the other methods.
    Pydiscover,
}

/// Where multicast queries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Multicast")]
pub struct MulticastConfig {
    /// The IPv4 group.
    pub ipv4_group: Ipv4Addr,
    /// The IPv6 group.
    pub ipv6_group: Ipv6Addr,
    /// The UDP port that queries go to. Every node hears the groups there, whatever its `listen.port` is.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// How many networks a query crosses; 1 stays on the link.
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

/// Where broadcast queries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Broadcast")]
pub struct BroadcastConfig {
    /// The UDP port that queries go to. Every node hears broadcasts there, whatever its `listen.port` is.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Default for BroadcastConfig {
    fn default() -> Self {
        Self { port: DEFAULT_PORT }
    }
}

/// What is looked for by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Mdns")]
pub struct MdnsConfig {
    /// The service type (RFC 6763 §4.1.2), of servers that let themselves be found and of nodes that are published.
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

/// Where this node listens, on UDP and TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Listen")]
pub struct ListenConfig {
    /// The address: `::` is every address of both families, `0.0.0.0` every IPv4 address, another one only itself.
    #[schemars(extend("format" = "ip"))]
    pub address: IpAddr,
    /// The port.
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

/// Sessions over TCP, on the port of `listen`: commands that ask a server, and nodes that pull files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sessions")]
pub struct SessionsConfig {
    /// The most sessions at a time.
    #[schemars(range(min = 1, max = 10000))]
    pub max: u16,
    /// The most sessions of one source address at a time; for IPv6, of one /64.
    #[schemars(range(min = 1, max = 10000))]
    pub max_per_source: u16,
    /// How long a session may ask nothing, or take nothing of an answer, `1s` to `1h`.
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

/// What goes to the log, on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Log")]
pub struct LogConfig {
    /// The least weight that is written.
    pub level: LogLevel,
    /// How a line looks.
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

/// The weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something that needs a person.
    Error,
    /// Something that may need a person soon.
    Warn,
    /// What an operator wants to know.
    Info,
    /// How the node comes to its decisions.
    Debug,
    /// Every datagram.
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
