//! From the configuration to the settings of each part: no layer below reads the configuration itself.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use super::RunError;
use super::files::puller::Accepted;
use super::mdns::{self, MdnsSettings};
use super::session;
use super::state_dir::StateDir;
use super::traffic::random_seed;
use rustix::process::Signal;

use crate::config::{self, AfterAction, Config, PublishTarget, SignalName};
use crate::discovery::{EngineSettings, Method, OwnSettings};
use crate::files::after::After;
use crate::files::webhook::Webhook;
use crate::model::{Address, Lease, Origin, Record};
use crate::net::{BindError, FanoutSettings, HttpClient, Interface, Pattern, Policy, SocketSettings, Sockets};
use crate::publish::{Intent, LinkAddresses, Network, Target};
use crate::registry;
use crate::wire::KeyId;
use crate::wire::keyring::{KeyRing, Secret};

/// The most bytes that are read of a file of certificates: those of all public authorities have some 250 KiB.
const MAX_CA_FILE: u64 = 4 * 1024 * 1024;

/// The keys of the channel; whether one was made just now.
pub(super) fn key_ring(config: &Config, state: Option<&StateDir>) -> Result<(KeyRing, bool), RunError> {
    let mut made = false;
    let mut secrets = Vec::new();
    for secret in config.channel.secrets().map_err(RunError::Secret)? {
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
pub(super) fn policy(config: &Config) -> Policy {
    let patterns = |texts: &[config::InterfacePattern]| {
        texts.iter().filter_map(|text| Pattern::parse(text.as_str()).ok()).collect::<Vec<_>>()
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
pub(super) fn sockets(config: &Config) -> SocketSettings {
    SocketSettings { address: config.listen.address, port: config.listen.port, ttl: config.discovery.multicast.ttl }
}

/// The sockets of a running node; groups and broadcasts are heard on their ports as well, where these differ.
pub(super) fn bound(config: &Config) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::bind(&self::sockets(config))?;
    match sockets.hear_groups(&fanout(config)) {
        // Whoever only asks does so from its own port, and is answered there.
        Err(error) if !config.role.serves() => {
            tracing::warn!("failed to {error}; announcements of servers are not heard, and they are asked instead");
            Ok(sockets)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(sockets),
    }
}

/// Where messages to everybody go.
pub(super) fn fanout(config: &Config) -> FanoutSettings {
    let multicast = &config.discovery.multicast;
    FanoutSettings {
        ipv4_group: multicast.ipv4_group,
        ipv6_group: multicast.ipv6_group,
        port: multicast.port,
        broadcast_port: config.discovery.broadcast.port,
    }
}

/// The methods, in the configuration's order.
pub(super) fn methods(config: &Config) -> Vec<Method> {
    let methods = config.discovery.methods.iter().filter_map(|method| match method {
        config::Method::Multicast => Some(Method::Multicast),
        config::Method::Broadcast => Some(Method::Broadcast),
        config::Method::Mdns => Some(Method::Mdns),
        config::Method::Pydiscover => None,
    });
    methods.collect()
}

/// What is done by multicast DNS.
pub(super) fn mdns(config: &Config, port: u16) -> MdnsSettings {
    MdnsSettings {
        service: config.discovery.mdns.service.as_str().into(),
        name: config.node.name.clone(),
        port,
        role: config.role,
        publishes: intent(config, port).mdns,
        advertises: config.role.serves() && config.discovery.methods.contains(&config::Method::Mdns),
        hidden: config.channel.hidden,
    }
}

/// The configured servers as `host:port`.
pub(super) fn servers(config: &Config) -> Vec<String> {
    config.discovery.servers.iter().map(ToString::to_string).collect()
}

/// The search.
pub(super) fn engine(config: &Config, keys: Vec<KeyId>) -> EngineSettings {
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
pub(super) fn intent(config: &Config, port: u16) -> Intent {
    let listed = |is: fn(&PublishTarget) -> bool| config.publish.iter().filter(|target| is(target)).count();
    Intent {
        name: config.node.name.clone(),
        port,
        role: config.role,
        labels: config.node.labels.clone(),
        servers: config.role.registers() && listed(|target| matches!(target, PublishTarget::Server {})) > 0,
        mdns: listed(|target| matches!(target, PublishTarget::Mdns { .. })) > 0,
        dynip: listed(|target| matches!(target, PublishTarget::Dynip { .. })),
    }
}

/// What the interfaces give to be told. An empty list is one that could not be read: a host has at least its loopback.
pub(super) fn network(config: &Config, policy: &Policy, interfaces: &[Interface]) -> Option<Network> {
    let links = mdns::links(interfaces, policy).into_iter().map(|link| {
        let told = |ip| Address { ip, interface: Some(link.name), origin: Origin::Interface };
        let addresses = policy.on_link(&link).into_iter().map(told).collect();
        LinkAddresses { index: link.index, interface: link.name, addresses }
    });
    let network = || Network { addresses: addresses(config, policy, interfaces), links: links.collect() };
    (!interfaces.is_empty()).then(network)
}

/// What the node says of itself.
pub(super) fn own(config: &Config, epoch: u64, port: u16) -> OwnSettings {
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

/// How many sessions there may be.
pub(super) fn sessions(config: &Config) -> session::Limits {
    let config::SessionsConfig { max, max_per_source, idle } = &config.sessions;
    session::Limits { sessions: usize::from(*max), per_source: usize::from(*max_per_source), idle: idle.0 }
}

/// The names of the files that the node takes.
pub(super) fn accepts(config: &Config) -> Vec<Box<str>> {
    config.files.accept.iter().map(|accept| accept.name.as_str().into()).collect()
}

/// A file that the node takes, without what follows it.
pub(super) fn accepted(accept: &config::Accept) -> Accepted {
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
pub(super) fn after(accept: &config::Accept) -> Result<Option<After>, RunError> {
    Ok(match &accept.after {
        Some(AfterAction::Exec { command, limit }) => Some(After::Exec { command: command.clone(), limit: limit.0 }),
        Some(AfterAction::Signal { pid_file, signal }) => {
            let signal = match signal {
                SignalName::Hup => Signal::HUP,
                SignalName::Usr1 => Signal::USR1,
                SignalName::Usr2 => Signal::USR2,
                SignalName::Term => Signal::TERM,
            };
            Some(After::Signal { pid_file: pid_file.clone(), signal })
        }
        Some(AfterAction::Webhook { url, headers, token_file, ca_file, limit }) => {
            let token = token_file.as_deref().map(config::read_token).transpose();
            Some(After::Webhook(Webhook {
                url: url.clone(),
                headers: headers.clone().into_iter().collect(),
                token: token.map_err(|error| RunError::Secret(vec![error]))?,
                client: http_client(ca_file.as_deref()).map_err(|error| RunError::Webhook {
                    file: accept.name.to_string(),
                    reason: format!(
                        "ca_file {}: {error}",
                        ca_file.as_deref().unwrap_or(Path::new("(built in)")).display()
                    ),
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
pub(super) fn table(config: &Config) -> registry::Settings {
    registry::Settings {
        max_lease: lease(config),
        history: config.registry.history.0,
        release_after: config.registry.release_after.0,
        ..registry::Settings::default()
    }
}

/// The addresses that the node announces: those of its interfaces, or those of `node.advertise`.
pub(super) fn addresses(config: &Config, policy: &Policy, interfaces: &[Interface]) -> Vec<Address> {
    if config.node.advertise.is_empty() {
        return policy.announced(interfaces);
    }
    let advertised = config.node.advertise.iter().take(Record::MAX_ADDRESSES);
    advertised
        .map(|ip: &IpAddr| Address { ip: ip.to_canonical(), interface: None, origin: Origin::Advertised })
        .collect()
}

fn lease(config: &Config) -> Lease {
    Lease(u32::try_from(config.registry.lease.0.as_secs()).unwrap_or(u32::MAX))
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
        matches!(policy(config).decide(&interface), Decision::Taken { .. })
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
        let taken: Vec<_> = VIRTUAL.split_whitespace().filter(|name| takes(&config, name)).collect();
        assert_eq!(taken, [""; 0]);
    }

    #[test]
    fn default_patterns_take_real_interfaces_and_the_hosts_own_bridge() {
        let config = Config::default();
        let left: Vec<_> = REAL.split_whitespace().filter(|name| !takes(&config, name)).collect();
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
            assert!(names.iter().any(|name| pattern.matches(name)), "no name in the list fits {pattern}");
        }
        assert_eq!(config.interfaces.exclude.len(), 57, "each of them parses");
    }
}
