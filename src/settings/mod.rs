//! From the configuration to the settings of each room: this is the only reader of [`Config`] that knows them all.
//!
//! Only `node`, `client` and `doctor` use it. No room below reads the configuration itself. Files that hold secrets are read
//! here, when a room's settings are made.

mod compat;
mod files;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::compat::CompatError;
use crate::config::{self, Config, PublishTarget};
use crate::discovery::{EngineSettings, OwnSettings};
use crate::lookup;
use crate::model::{Address, Lease, Method, Origin, Record, Role, Secret};
use crate::net::{BindError, FanoutSettings, Interface, Pattern, Policy, SocketSettings, Sockets};
use crate::publish::mdns::{self, MdnsSettings};
use crate::publish::{CurrentState, Intent, LinkAddresses, Network, Publication, Target};
use crate::registry;
use crate::remote;
use crate::state_dir::{StateDir, StateError};
use crate::transport::random_seed;
use crate::wire::KeyId;
use crate::wire::keyring::{KeyRing, KeyRingError};
pub(crate) use compat::{compat, dynip_servers, pydiscover};
pub(crate) use files::{accepts, transfer};

/// Why a configuration that is valid can't be used.
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
    /// A legacy protocol can't be used as configured.
    #[error(transparent)]
    Compat(#[from] CompatError),
    /// A webhook can't be called as configured.
    #[error("the webhook of the file \"{file}\" in files.accept: {reason}")]
    Webhook {
        /// The name of the accepted file.
        file: String,
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

/// The keys of the channel, and whether one was made just now.
pub(crate) fn key_ring(
    config: &Config,
    state: Option<&StateDir>,
) -> Result<(KeyRing, bool), SettingsError> {
    let mut made = false;
    let mut secrets = config.channel.secrets().map_err(SettingsError::Secret)?;
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

/// The rules that decide which interfaces are used.
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

/// Binds the sockets of a running node. They receive multicast and broadcast on their ports as well, where these differ.
pub(crate) fn bind_sockets(config: &Config) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::bind(&self::sockets(config))?;
    match sockets.bind_group_ports(&fanout(config)) {
        // A node that is no server queries from its own port, and gets the answers there.
        Err(error) if !config.role.serves() => {
            tracing::warn!(
                "failed to {error}; announcements of servers are not received, so servers are queried instead"
            );
            Ok(sockets)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(sockets),
    }
}

/// The groups and ports of multicast and broadcast.
pub(crate) fn fanout(config: &Config) -> FanoutSettings {
    let multicast = &config.discovery.multicast;
    FanoutSettings {
        ipv4_group: multicast.ipv4_group,
        ipv6_group: multicast.ipv6_group,
        port: multicast.port,
        broadcast_port: config.discovery.broadcast.port,
    }
}

/// The discovery methods, in the configuration's order.
pub(crate) fn methods(config: &Config) -> Vec<Method> {
    let methods = config
        .discovery
        .methods
        .iter()
        .filter_map(|method| match method {
            config::DiscoveryMethod::Multicast => Some(Method::Multicast),
            config::DiscoveryMethod::Broadcast => Some(Method::Broadcast),
            config::DiscoveryMethod::Mdns => Some(Method::Mdns),
            config::DiscoveryMethod::Pydiscover => None,
        });
    methods.collect()
}

/// The settings of multicast DNS.
pub(crate) fn mdns(config: &Config, port: u16) -> MdnsSettings {
    MdnsSettings {
        service: config.discovery.mdns.service.as_str().into(),
        name: config.node.name.clone(),
        port,
        role: config.role,
        publishes: intent(config, port).mdns,
        advertises: config.role.serves()
            && config
                .discovery
                .methods
                .contains(&config::DiscoveryMethod::Mdns),
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

/// The settings of the search for servers.
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

/// What this node publishes, and where.
pub(crate) fn intent(config: &Config, port: u16) -> Intent {
    let count =
        |is: fn(&PublishTarget) -> bool| config.publish.iter().filter(|target| is(target)).count();
    Intent {
        name: config.node.name.clone(),
        port,
        role: config.role,
        labels: config.node.labels.clone(),
        servers: config.role.registers()
            && count(|target| matches!(target, PublishTarget::Server {})) > 0,
        mdns: count(|target| matches!(target, PublishTarget::Mdns { .. })) > 0,
        dynip: count(|target| matches!(target, PublishTarget::Dynip { .. })),
    }
}

/// The addresses of the interfaces that can be published; `None` where they are unknown. An empty list of interfaces could
/// not be read, as a host has at least its loopback interface.
pub(crate) fn network(
    config: &Config,
    policy: &Policy,
    interfaces: &[Interface],
) -> Option<Network> {
    if interfaces.is_empty() {
        return None;
    }
    let links = mdns::links(interfaces, policy).into_iter().map(|link| {
        let address = |ip| Address {
            ip,
            interface: Some(link.name),
            origin: Origin::Interface,
        };
        LinkAddresses {
            index: link.index,
            interface: link.name,
            addresses: policy.on_link(&link).into_iter().map(address).collect(),
        }
    });
    Some(Network {
        addresses: addresses(config, policy, interfaces),
        links: links.collect(),
    })
}

/// The node's own record.
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

/// The settings of a look-up on the network, with these keys.
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

/// The publication that a command sends to the servers once. It can't know what they hold, and does not wait for changes.
///
/// `None` where the addresses of the interfaces are unknown: an announcement without them would replace known addresses.
pub(crate) fn single_announcement(
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

/// The limits of sessions.
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

/// The settings of the registry.
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
fn lease_of(time: Duration) -> Lease {
    Lease(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
