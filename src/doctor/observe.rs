//! Looking: at files, the port, interfaces, the firewall and names. The network is asked in [`super::probe`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::firewall::{flows, network_of};
use super::observations::{
    FirewallSeen, InterfaceSeen, KeySeen, NetworkSeen, NodeSeen, Observations, Outcome, PortSeen,
    ServerSeen, Setup, StateSeen,
};
use super::{probe, surroundings};
use crate::api::view::{SocketView, StatusView};
use crate::config::{self, Config, PublishTarget};
use crate::net::{self, BindError, Decision, Interface, InterfaceSource, Policy, Sockets, Watch};
use crate::settings;
use crate::state_dir::{StateDir, StateError};
use crate::wire::keyring::KeyRing;

/// Looks at everything.
pub(super) async fn observe(
    config: &Config,
    source: Option<PathBuf>,
    node: NodeSeen,
    progress: &mut dyn FnMut(&str),
) -> Observations {
    progress("keys and state");
    let (key, key_ring) = key(config);
    let state = state(&config.node.state_dir, &node);
    progress("interfaces and port");
    let mut watch = Watch::new();
    let interfaces = watch.next().await;
    let polled = watch.source() == InterfaceSource::Polled;
    let policy = settings::policy(config);
    let (port, sockets, deaf) = port(config, &node);
    progress("firewall");
    let setup = setup(config, source);
    let firewall = firewall(config, &setup).await;
    let mdns = uses_mdns(config).then(net::mdns::shareable);
    progress("the network and the servers");
    let (network, servers) = match key_ring {
        Some(key_ring) => {
            let held = matches!(port, PortSeen::Taken(_));
            tokio::join!(
                probe::network(
                    config,
                    key_ring.clone(),
                    sockets,
                    node.running(),
                    held,
                    &interfaces
                ),
                probe::servers(config, Some(key_ring))
            )
        }
        None => {
            drop(sockets);
            (NetworkSeen::default(), probe::servers(config, None).await)
        }
    };
    let servers = confirmed(servers, &node);
    Observations {
        setup,
        key,
        state,
        node,
        port,
        deaf,
        interfaces: interfaces
            .iter()
            .map(|interface| interface_seen(interface, &policy))
            .collect(),
        polled,
        surroundings: surroundings::surroundings(),
        network,
        firewall,
        servers,
        mdns,
    }
}

fn setup(config: &Config, source: Option<PathBuf>) -> Setup {
    let multicast = &config.discovery.multicast;
    let uses = |method| config.discovery.methods.contains(&method);
    Setup {
        source,
        unavailable: config
            .unavailable()
            .iter()
            .map(ToString::to_string)
            .collect(),
        role: config.role,
        channel: config.channel.name.to_string(),
        multicast: uses(config::Method::Multicast),
        broadcast: uses(config::Method::Broadcast),
        listen: (config.listen.address, config.listen.port).into(),
        multicast_port: multicast.port,
        groups: [multicast.ipv4_group.into(), multicast.ipv6_group.into()],
    }
}

fn uses_mdns(config: &Config) -> bool {
    config.discovery.methods.contains(&config::Method::Mdns)
        || config
            .publish
            .iter()
            .any(|target| matches!(target, PublishTarget::Mdns { .. }))
}

/// Reads the keys, and makes none.
fn key(config: &Config) -> (KeySeen, Option<KeyRing>) {
    let state = StateDir::at(&config.node.state_dir);
    if config.channel.keys.is_empty() && !state.channel_key_file().exists() {
        return (KeySeen::None, None);
    }
    match settings::key_ring(config, Some(&state)) {
        Ok((key_ring, _)) => (
            KeySeen::Usable(key_ring.ids().map(|id| id.to_string()).collect()),
            Some(key_ring),
        ),
        Err(error) => (KeySeen::Unusable(error.to_string()), None),
    }
}

/// Looks whether the state directory can be used, and leaves it as it is.
fn state(path: &Path, node: &NodeSeen) -> StateSeen {
    if !path.exists() {
        return match makeable(path) {
            Ok(()) => StateSeen::ToBeMade(path.to_owned()),
            Err(error) => StateSeen::Unusable(error.to_string()),
        };
    }
    let state = match StateDir::open(path) {
        Ok(state) => state,
        Err(error) => return StateSeen::Unusable(error.to_string()),
    };
    // A lock file that this made would belong to the wrong user.
    let locked =
        path.join("lock").exists() && matches!(state.lock(), Err(StateError::InUse { .. }));
    if locked && matches!(node, NodeSeen::Absent) {
        return StateSeen::Held(path.to_owned());
    }
    StateSeen::Usable(path.to_owned())
}

/// Whether a directory could be made where there is none.
fn makeable(path: &Path) -> Result<(), StateError> {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("."));
    let probe = existing.join(format!(".hereabouts-doctor-{}", std::process::id()));
    let made = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
    made.map_err(|source| StateError::directory(path, source))
}

/// Takes the node's port where it is free; tells also why groups are not heard, where a client goes on without.
fn port(config: &Config, node: &NodeSeen) -> (PortSeen, Option<Sockets>, Option<String>) {
    let has = |status: &&StatusView| {
        status
            .sockets
            .iter()
            .any(|socket| socket.address.port() == config.listen.port)
    };
    if let Some(status) = node.running().filter(has) {
        return (PortSeen::Own, None, deaf(config, status));
    }
    match settings::bound(config) {
        Ok(mut sockets) => {
            // It said nothing of it; what it could take can be taken once more, as it is shared.
            let deaf = sockets
                .hear_groups(&settings::fanout(config))
                .err()
                .map(|error| error.to_string());
            (PortSeen::Free, Some(sockets), deaf)
        }
        Err(error @ BindError::Taken { .. }) => (PortSeen::Taken(error.to_string()), None, None),
        Err(error) => (PortSeen::Unusable(error.to_string()), None, None),
    }
}

/// Why a running node does not hear groups on their port, where that is not its own.
fn deaf(config: &Config, status: &StatusView) -> Option<String> {
    let discovery = &config.discovery;
    let wanted = [
        (
            config::Method::Multicast,
            "multicast",
            discovery.multicast.port,
        ),
        (
            config::Method::Broadcast,
            "broadcast",
            discovery.broadcast.port,
        ),
    ];
    let missing = wanted.into_iter().find(|(method, purpose, port)| {
        let heard =
            |socket: &SocketView| socket.purpose == *purpose && socket.address.port() == *port;
        discovery.methods.contains(method)
            && *port != config.listen.port
            && !status.sockets.iter().any(heard)
    });
    let hears = config.listen.address.is_unspecified();
    missing
        .filter(|_| hears)
        .map(|(_, _, port)| format!("listen on port {port}/udp: the node's log says why"))
}

async fn firewall(config: &Config, setup: &Setup) -> FirewallSeen {
    let flows = flows(
        setup.groups,
        setup.multicast_port,
        config.discovery.broadcast.port,
        setup.listen.port(),
    );
    let judged = tokio::task::spawn_blocking(move || surroundings::firewall(&flows)).await;
    judged.unwrap_or_else(|error| FirewallSeen::Unknown(error.to_string()))
}

fn interface_seen(interface: &Interface, policy: &Policy) -> InterfaceSeen {
    let (taken, rule) = match policy.decide(interface) {
        Decision::Used { rule } => (true, rule),
        Decision::Unused { rule } => (false, rule),
    };
    InterfaceSeen {
        name: interface.name,
        taken,
        rule: rule.to_string(),
        loopback: interface.loopback,
        multicast: interface.multicast,
        kind: interface.kind.clone(),
        mtu: surroundings::mtu(interface.name),
        ipv6: policy.ipv6
            && interface
                .addresses
                .iter()
                .any(|address| address.ip.is_ipv6()),
        networks: interface
            .addresses
            .iter()
            .map(|address| network_of(address.ip, address.prefix))
            .collect(),
    }
}

/// A server that the running node is registered with answers, whatever one more question brought.
fn confirmed(servers: Vec<ServerSeen>, node: &NodeSeen) -> Vec<ServerSeen> {
    let held = |address: &SocketAddr| {
        node.running().is_some_and(|status| {
            status
                .servers
                .iter()
                .any(|server| server.address == *address && server.last_acknowledged.is_some())
        })
    };
    let confirm = |server: ServerSeen| match &server.outcome {
        Outcome::Silent(addresses) => match addresses.iter().find(|address| held(address)) {
            Some(address) => ServerSeen {
                outcome: Outcome::Answered(*address),
                ..server
            },
            None => server,
        },
        _ => server,
    };
    servers.into_iter().map(confirm).collect()
}
