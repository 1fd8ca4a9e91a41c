//! From the configuration to the settings of each room: the one reader of [`Config`] that knows them all.
//!
//! Used by `node`, `client` and `doctor` alone. No room below reads the configuration itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::compat::{self, CompatError};
use crate::config::{self, AfterAction, Config, PublishTarget, SignalName};
use crate::discovery::{EngineSettings, OwnSettings};
use crate::files::after::After;
use crate::files::webhook::Webhook;
use crate::lookup;
use crate::model::{Address, Lease, Method, Origin, Record, Role};
use crate::net::{
    BindError, FanoutSettings, HttpClient, Interface, Pattern, Policy, SocketSettings, Sockets,
};
use crate::publish::mdns::{self, MdnsSettings};
use crate::publish::{CurrentState, Intent, LinkAddresses, Network, Publication, Target};
use crate::registry;
use crate::remote;
use crate::state_dir::{StateDir, StateError};
use crate::transfer;
use crate::transfer::puller::Accepted;
use crate::transport::random_seed;
use crate::wire::compat::pydiscover::Channel;
use crate::wire::keyring::{KeyRing, KeyRingError, Secret};
use crate::wire::{Identity, KeyId};

/// Why a configuration that was read can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Keys, or another file that holds a secret, can't be read.
    #[error("{}", lines(.0))]
    Secret(Vec<config::SecretError>),
    /// The channel's keys can't be used.
    #[error("failed to {0}")]
    KeyRing(#[from] KeyRingError),
    /// The state directory, where the channel's key is, can't be used.
    #[error("failed to {0}")]
    State(#[from] StateError),
    /// An ancestor's wire can't be used as configured.
    #[error(transparent)]
    Compat(#[from] CompatError),
    /// A webhook can't be called as configured.
    #[error("the webhook of the file \"{file}\" in files.accept: {reason}")]
    Webhook {
        /// The file's name.
        file: String,
        /// Why.
        reason: String,
    },
}

fn lines(errors: &[config::SecretError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The most bytes that are read of a file of certificates: those of all public authorities have some 250 KiB.
const MAX_CA_FILE: u64 = 4 * 1024 * 1024;

/// The keys of the channel; whether one was made just now.
pub(crate) fn key_ring(
    config: &Config,
    state: Option<&StateDir>,
) -> Result<(KeyRing, bool), SettingsError> {
    let mut made = false;
    let mut secrets = Vec::new();
    for secret in config.channel.secrets().map_err(SettingsError::Secret)? {
        secrets.push(match secret {
            config::Secret::Key(key) => Secret::Key(key),
            config::Secret::Passphrase(text) => Secret::Passphrase(text),
        });
    }
    if secrets.is_empty() {
        let state = match state {
            Some(state) => state,
            None => &StateDir::open(&config.node.state_dir)?,
        };
        let (key, new) = state.channel_key()?;
        made = new;
        secrets.push(Secret::Key(key));
    }
    Ok((KeyRing::new(config.channel.name.as_str(), &secrets)?, made))
}

/// Which interfaces take part.
pub(crate) fn policy(config: &Config) -> Policy {
    let patterns = |texts: &[config::InterfacePattern]| {
        texts
            .iter()
            .filter_map(|text| Pattern::parse(text.as_str()).ok())
            .collect::<Vec<_>>()
    };
    let addresses = &config.interfaces.addresses;
    Policy {
        include: patterns(&config.interfaces.include),
        exclude: patterns(&config.interfaces.exclude),
        ipv4: addresses.ipv4,
        ipv6: addresses.ipv6,
        link_local: addresses.link_local,
        loopback: addresses.loopback,
    }
}

/// How the sockets of a running node are bound.
pub(crate) fn sockets(config: &Config) -> SocketSettings {
    SocketSettings {
        address: config.listen.address,
        port: config.listen.port,
        ttl: config.discovery.multicast.ttl,
    }
}

/// The sockets of a running node; groups and broadcasts are heard on their ports as well, where these differ.
pub(crate) fn bound(config: &Config) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::bind(&self::sockets(config))?;
    match sockets.hear_groups(&fanout(config)) {
        // Whoever only asks does so from its own port, and is answered there.
        Err(error) if !config.role.serves() => {
            tracing::warn!(
                "failed to {error}; announcements of servers are not heard, and they are asked instead"
            );
            Ok(sockets)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(sockets),
    }
}

/// Where messages to everybody go.
pub(crate) fn fanout(config: &Config) -> FanoutSettings {
    let multicast = &config.discovery.multicast;
    FanoutSettings {
        ipv4_group: multicast.ipv4_group,
        ipv6_group: multicast.ipv6_group,
        port: multicast.port,
        broadcast_port: config.discovery.broadcast.port,
    }
}

/// The methods, in the configuration's order.
pub(crate) fn methods(config: &Config) -> Vec<Method> {
    let methods = config
        .discovery
        .methods
        .iter()
        .filter_map(|method| match method {
            config::Method::Multicast => Some(Method::Multicast),
            config::Method::Broadcast => Some(Method::Broadcast),
            config::Method::Mdns => Some(Method::Mdns),
            config::Method::Pydiscover => None,
        });
    methods.collect()
}

/// What is done by multicast DNS.
pub(crate) fn mdns(config: &Config, port: u16) -> MdnsSettings {
    MdnsSettings {
        service: config.discovery.mdns.service.as_str().into(),
        name: config.node.name.clone(),
        port,
        role: config.role,
        publishes: intent(config, port).mdns,
        advertises: config.role.serves()
            && config.discovery.methods.contains(&config::Method::Mdns),
        hidden: config.channel.hidden,
    }
}

/// The configured servers as `host:port`.
pub(crate) fn servers(config: &Config) -> Vec<String> {
    config
        .discovery
        .servers
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The search.
pub(crate) fn engine(config: &Config, keys: Vec<KeyId>) -> EngineSettings {
    EngineSettings {
        registers: intent(config, config.listen.port).wants(Target::Servers),
        methods: methods(config),
        fallback_after: config.discovery.fallback_after.0,
        max_servers: usize::from(config.discovery.max_servers),
        configured: config.discovery.servers.len(),
        keys,
        seed: random_seed(),
    }
}

/// What is to be made known of this node, and where.
pub(crate) fn intent(config: &Config, port: u16) -> Intent {
    let listed =
        |is: fn(&PublishTarget) -> bool| config.publish.iter().filter(|target| is(target)).count();
    Intent {
        name: config.node.name.clone(),
        port,
        role: config.role,
        labels: config.node.labels.clone(),
        servers: config.role.registers()
            && listed(|target| matches!(target, PublishTarget::Server {})) > 0,
        mdns: listed(|target| matches!(target, PublishTarget::Mdns { .. })) > 0,
        dynip: listed(|target| matches!(target, PublishTarget::Dynip { .. })),
    }
}

/// What the interfaces give to be told. An empty list is one that could not be read: a host has at least its loopback.
pub(crate) fn network(
    config: &Config,
    policy: &Policy,
    interfaces: &[Interface],
) -> Option<Network> {
    let links = mdns::links(interfaces, policy).into_iter().map(|link| {
        let told = |ip| Address {
            ip,
            interface: Some(link.name),
            origin: Origin::Interface,
        };
        let addresses = policy.on_link(&link).into_iter().map(told).collect();
        LinkAddresses {
            index: link.index,
            interface: link.name,
            addresses,
        }
    });
    let network = || Network {
        addresses: addresses(config, policy, interfaces),
        links: links.collect(),
    };
    (!interfaces.is_empty()).then(network)
}

/// What the node says of itself.
pub(crate) fn own(config: &Config, epoch: u64, port: u16) -> OwnSettings {
    OwnSettings {
        name: config.node.name.clone(),
        epoch,
        boot: random_seed(),
        lease: lease(config),
        port,
        role: config.role,
        labels: config.node.labels.clone(),
    }
}

/// What the files' rooms need.
pub(crate) fn transfer(
    config: &Config,
    state: &StateDir,
    identity: &Identity,
    key_ring: &KeyRing,
) -> Result<transfer::Settings, SettingsError> {
    let offered = config.files.offer.iter().filter(|_| config.role.serves());
    let accepts = config.files.accept.iter();
    let accepts = accepts.map(|accept| {
        Ok(Accepted {
            after: after(accept)?,
            ..accepted(accept)
        })
    });
    Ok(transfer::Settings {
        offers: offered
            .map(|offer| (offer.name.as_str().into(), offer.path.clone()))
            .collect(),
        accepts: accepts.collect::<Result<_, SettingsError>>()?,
        spread: config.files.spread.0,
        node: config.node.name.clone(),
        identity: identity.clone(),
        key_ring: key_ring.clone(),
        channel: config.channel.name.as_str().to_owned(),
        state_dir: state.path().to_owned(),
    })
}

/// The wires of the ancestors that are on.
pub(crate) fn compat(config: &Config) -> Result<compat::Settings, SettingsError> {
    let serves = config.role.serves();
    let asks = config
        .discovery
        .methods
        .contains(&config::Method::Pydiscover);
    let pydiscover = match &config.compat.pydiscover {
        Some(_) if serves || asks => Some(pydiscover(config)?),
        None if asks => Some(pydiscover(config)?),
        _ => None,
    };
    let dynip = config
        .compat
        .dynip
        .as_ref()
        .filter(|_| serves)
        .map(|protocol| compat::DynipSettings {
            port: protocol.port,
            lease: lease_of(protocol.lease.0),
        });
    let terminals = config.compat.terminals.as_ref().map(|protocol| {
        let side = if serves {
            compat::TerminalsSide::Base {
                file: protocol.file.as_ref().map(|name| name.as_str().into()),
            }
        } else {
            let accept = config
                .files
                .accept
                .iter()
                .find(|accept| Some(&accept.name) == protocol.file.as_ref());
            compat::TerminalsSide::Terminal {
                accepted: accept.map(accepted).map(Box::new),
            }
        };
        compat::TerminalsSettings {
            port: protocol.port,
            side,
        }
    });
    Ok(compat::Settings {
        address: config.listen.address,
        groups: fanout(config),
        pydiscover,
        dynip,
        dynip_servers: dynip_servers(config),
        terminals,
    })
}

/// The DynIP servers that are told this node's name, and how often.
pub(crate) fn dynip_servers(config: &Config) -> Vec<(String, Duration)> {
    let servers = config.publish.iter().filter_map(|target| match target {
        PublishTarget::Dynip { server, every } => Some((server.to_string(), every.0)),
        _ => None,
    });
    servers.collect()
}

/// PyDiscover's wire: that of `compat.pydiscover`, else the ancestor's defaults. Reads the password.
pub(crate) fn pydiscover(config: &Config) -> Result<compat::PydiscoverSettings, SettingsError> {
    let protocol = config.compat.pydiscover.clone().unwrap_or_default();
    let secret = match &protocol.password_file {
        Some(path) => {
            let read = config::KeySource::PassphraseFile(path.clone()).read();
            Some(read.map_err(|error| SettingsError::Secret(vec![error]))?)
        }
        None => None,
    };
    let password = match &secret {
        Some(config::Secret::Passphrase(text)) => Some(text.as_str()),
        Some(config::Secret::Key(_)) | None => None,
    };
    let channel = Channel::new(&protocol.magic, password).map_err(|error| {
        let reason = error.to_string();
        CompatError {
            setting: "compat.pydiscover.password_file",
            reason,
        }
    })?;
    let serves = config.role.serves() && config.compat.pydiscover.is_some();
    Ok(compat::PydiscoverSettings {
        channel,
        port: protocol.port,
        password: protocol.password_file.is_some(),
        serves: serves.then(|| compat::Served {
            hidden: protocol.hidden,
            info: config.info.clone(),
        }),
        asks: config
            .discovery
            .methods
            .contains(&config::Method::Pydiscover),
    })
}

/// How the network is asked once, with these keys.
pub(crate) fn lookup(config: &Config, key_ring: KeyRing) -> lookup::Settings {
    lookup::Settings {
        key_ring,
        ttl: config.discovery.multicast.ttl,
        fanout: fanout(config),
        policy: policy(config),
        methods: methods(config),
        servers: servers(config),
        mdns_service: config.discovery.mdns.service.as_str().into(),
    }
}

/// What a command tells the servers once: it can't know what they hold, and nobody listens when it has left.
///
/// `None` where it is not known what the interfaces give: then nothing is told, as it would replace what is known.
pub(crate) fn announced_once(
    config: &Config,
    policy: &Policy,
    interfaces: &[Interface],
) -> Option<Publication> {
    let intent = Intent {
        role: Role::Client,
        servers: true,
        mdns: false,
        dynip: 0,
        ..intent(config, 0)
    };
    let current_state = BTreeMap::from([(Target::Servers, CurrentState::Unknown)]);
    let changes = intent.changes(&current_state, network(config, policy, interfaces).as_ref());
    changes
        .into_iter()
        .find(|(target, _)| *target == Target::Servers)?
        .1
        .into_wanted()
}

/// How many sessions there may be.
pub(crate) fn sessions(config: &Config) -> remote::Limits {
    let config::SessionsConfig {
        max,
        max_per_source,
        idle,
    } = &config.sessions;
    remote::Limits {
        sessions: usize::from(*max),
        per_source: usize::from(*max_per_source),
        idle: idle.0,
    }
}

/// The names of the files that the node takes.
pub(crate) fn accepts(config: &Config) -> Vec<Box<str>> {
    config
        .files
        .accept
        .iter()
        .map(|accept| accept.name.as_str().into())
        .collect()
}

/// A file that the node takes, without what follows it.
pub(crate) fn accepted(accept: &config::Accept) -> Accepted {
    Accepted {
        name: accept.name.as_str().into(),
        path: accept.path.clone(),
        mode: accept.mode.0,
        owner: accept.owner.clone(),
        max_size: accept.max_size.0,
        server: accept.server,
        after: None,
    }
}

/// What follows when a file was taken; reads what a webhook needs.
pub(crate) fn after(accept: &config::Accept) -> Result<Option<After>, SettingsError> {
    Ok(match &accept.after {
        Some(AfterAction::Exec { command, limit }) => Some(After::Exec {
            command: command.clone(),
            limit: limit.0,
        }),
        Some(AfterAction::Signal { pid_file, signal }) => {
            let signal = match signal {
                SignalName::Hup => Signal::HUP,
                SignalName::Usr1 => Signal::USR1,
                SignalName::Usr2 => Signal::USR2,
                SignalName::Term => Signal::TERM,
            };
            Some(After::Signal {
                pid_file: pid_file.clone(),
                signal,
            })
        }
        Some(AfterAction::Webhook {
            url,
            headers,
            token_file,
            ca_file,
            limit,
        }) => {
            let token = token_file.as_deref().map(config::read_token).transpose();
            Some(After::Webhook(Webhook {
                url: url.clone(),
                headers: headers.clone().into_iter().collect(),
                token: token.map_err(|error| SettingsError::Secret(vec![error]))?,
                client: http_client(ca_file.as_deref()).map_err(|error| {
                    SettingsError::Webhook {
                        file: accept.name.to_string(),
                        reason: format!(
                            "ca_file {}: {error}",
                            ca_file
                                .as_deref()
                                .unwrap_or(Path::new("(built in)"))
                                .display()
                        ),
                    }
                })?,
                limit: limit.0,
            }))
        }
        None => None,
    })
}

/// A client that trusts the certificates of a file, or those that are built in.
fn http_client(ca_file: Option<&Path>) -> Result<HttpClient, Box<dyn std::error::Error>> {
    let mut text = Vec::new();
    if let Some(path) = ca_file {
        File::open(path)?.take(MAX_CA_FILE).read_to_end(&mut text)?;
    }
    Ok(HttpClient::new(ca_file.map(|_| text.as_slice()))?)
}

/// The registry's rules.
pub(crate) fn table(config: &Config) -> registry::Settings {
    registry::Settings {
        max_lease: lease(config),
        history: config.registry.history.0,
        release_after: config.registry.release_after.0,
        ..registry::Settings::default()
    }
}

/// The addresses that the node announces: those of its interfaces, or those of `node.advertise`.
pub(crate) fn addresses(
    config: &Config,
    policy: &Policy,
    interfaces: &[Interface],
) -> Vec<Address> {
    if config.node.advertise.is_empty() {
        return policy.announced(interfaces);
    }
    let advertised = config.node.advertise.iter().take(Record::MAX_ADDRESSES);
    advertised
        .map(|ip: &IpAddr| Address {
            ip: ip.to_canonical(),
            interface: None,
            origin: Origin::Advertised,
        })
        .collect()
}

fn lease(config: &Config) -> Lease {
    lease_of(config.registry.lease.0)
}

/// A lease in whole seconds.
pub(crate) fn lease_of(time: Duration) -> Lease {
    Lease(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InterfaceName;
    use crate::net::{Decision, InterfaceAddress};

    /// Whether a configuration takes an interface of this name, all else being well.
    fn takes(config: &Config, name: &str) -> bool {
        let interface = Interface {
            index: 2,
            name: InterfaceName::parse(name).unwrap(),
            up: true,
            loopback: false,
            multicast: true,
            broadcast: true,
            point_to_point: false,
            kind: None,
            addresses: vec![InterfaceAddress::new("10.0.0.1".parse().unwrap(), 24)],
        };
        matches!(policy(config).decide(&interface), Decision::Used { .. })
    }

    /// As they are called on real machines.
    const VIRTUAL: &str = "docker0 docker_gwbridge br-5f2c91a0b3d4 veth1a2b3c4 podman0 podman1 lxcbr0 lxdbr0 incusbr0 \
        cni0 cni-podman0 cali12ab34cd56e vxlan.calico wireguard.cali tunl0 cilium_host cilium_net cilium_vxlan \
        lxc_health lxc2f9d4ac0d1b1 flannel.1 flannel-wg weave vethwe-bridge antrea-gw0 antrea-tun0 ovn-k8s-mp0 \
        genev_sys_6081 vxlan_sys_4789 kube-ipvs0 kube-bridge nodelocaldns eni3f8a91c2d4e azv7b1c2d3e4f5 gke1a2b3c4d5e6 \
        virbr0 virbr0-nic vnet0 vnet12 tap0 tap100i0 fwbr100i0 fwpr100p0 fwln100i0 vif1.0 macvtap0 vboxnet0 vmnet8 \
        tun0 gre0 gretap0 erspan0 ip6gre0 ipip0 sit0 6in4-wan6 teredo ip6tnl0 vti1 ip_vti0 ip6_vti0 l2tpeth0 vxlan100 \
        wg0 wg-mullvad tailscale0 ztks54l6w3 wt0 nebula1 ppp0 ipsec0 xfrm0 vpn0 proton0 nordlynx CloudflareWARP";
    const REAL: &str = "eth0 eth0.20 eno1 enp3s0 enp0s31f6 enP4p65s0 ens18 enx001122334455 end0 enX0 wlan0 wlp2s0 \
        wlx00c0ca112233 wwan0 usb0 bond0 team0 br0 br0.20 br1 vmbr0 bridge0 bat0 macvlan0 vlan20 lan1 mgmt0";

    #[test]
    fn default_patterns_leave_what_containers_machines_tunnels_and_vpns_make() {
        let config = Config::default();
        let taken: Vec<_> = VIRTUAL
            .split_whitespace()
            .filter(|name| takes(&config, name))
            .collect();
        assert_eq!(taken, [""; 0]);
    }

    #[test]
    fn default_patterns_take_real_interfaces_and_the_hosts_own_bridge() {
        let config = Config::default();
        let left: Vec<_> = REAL
            .split_whitespace()
            .filter(|name| !takes(&config, name))
            .collect();
        assert_eq!(left, [""; 0]);
    }

    #[test]
    fn whatever_is_left_by_default_is_in_by_naming_it() {
        for name in VIRTUAL.split_whitespace() {
            let mut config = Config::default();
            config.interfaces.include.push(name.parse().unwrap());
            assert!(takes(&config, name), "{name}");
        }
    }

    #[test]
    fn every_default_pattern_counts() {
        let config = Config::default();
        let names: Vec<_> = VIRTUAL.split_whitespace().collect();
        for pattern in policy(&config).exclude {
            assert!(
                names.iter().any(|name| pattern.matches(name)),
                "no name in the list fits {pattern}"
            );
        }
        assert_eq!(config.interfaces.exclude.len(), 57, "each of them parses");
    }

    fn loopback() -> Interface {
        Interface {
            index: 1,
            name: InterfaceName::parse("lo").unwrap(),
            up: true,
            loopback: true,
            multicast: false,
            broadcast: false,
            point_to_point: false,
            kind: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn empty_list_of_interfaces_is_unknown_and_one_without_addresses_is_not() {
        let config = Config::default();
        let policy = policy(&config);
        assert_eq!(network(&config, &policy, &[]), None);
        assert_eq!(
            network(&config, &policy, &[loopback()]),
            Some(Network::default())
        );
    }

    #[test]
    fn command_tells_nothing_where_the_interfaces_are_not_known() {
        // Whatever the node itself publishes: the command was asked to register.
        let config = Config {
            publish: Vec::new(),
            ..Config::default()
        };
        let policy = policy(&config);
        assert_eq!(announced_once(&config, &policy, &[]), None);
        let addresses = vec![InterfaceAddress::new([10, 0, 0, 7].into(), 24)];
        let name = InterfaceName::parse("eth0").unwrap();
        let eth0 = Interface {
            index: 2,
            name,
            loopback: false,
            multicast: true,
            addresses,
            ..loopback()
        };
        let told = announced_once(&config, &policy, &[loopback(), eth0]).unwrap();
        assert_eq!((told.role, told.port), (Role::Client, 0));
        assert_eq!(
            told.ips().collect::<Vec<_>>(),
            [std::net::IpAddr::from([10, 0, 0, 7])]
        );
        assert_eq!(
            announced_once(&config, &policy, &[loopback()])
                .unwrap()
                .addresses,
            [],
            "the servers see where it is"
        );
    }
}
