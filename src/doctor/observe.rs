//! Observes this machine: files, the port, interfaces, the firewall and names. [`super::probe`]
//! queries the network.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::firewall::{flows, network_of};
use super::observations::{
    FirewallState, KeyState, NodeState, Observations, ObservedInterface, Outcome, PortState,
    ProbedNetwork, ProbedServer, Setup, StateDirState,
};
use super::{environment, probe};
use crate::api::view::{SocketView, StatusView};
use crate::config::{self, Config, PublishTarget};
use crate::net::{self, BindError, Decision, Interface, InterfaceSource, Policy, Sockets, Watch};
use crate::settings;
use crate::state_dir::{StateDir, StateError};
use crate::wire::keyring::KeyRing;

pub(super) async fn observe(
    config: &Config,
    source: Option<PathBuf>,
    node: NodeState,
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
    let (port, sockets, group_ports_failure) = port(config, &node);
    progress("firewall");
    let setup = setup(config, source);
    let firewall = firewall(config, &setup).await;
    let mdns = uses_mdns(config).then(net::mdns::shareable);
    progress("the network and the servers");
    let (network, servers) = match key_ring {
        Some(key_ring) => {
            let held = matches!(port, PortState::InUse(_));
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
            (ProbedNetwork::default(), probe::servers(config, None).await)
        }
    };
    let servers = confirmed(servers, &node);
    Observations {
        setup,
        key,
        state,
        node,
        port,
        group_ports_failure,
        interfaces: interfaces
            .iter()
            .map(|interface| interface_seen(interface, &policy))
            .collect(),
        polled,
        environment: environment::detect(),
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
        multicast: uses(config::DiscoveryMethod::Multicast),
        broadcast: uses(config::DiscoveryMethod::Broadcast),
        listen: (config.listen.address, config.listen.port).into(),
        multicast_port: multicast.port,
        groups: [multicast.ipv4_group.into(), multicast.ipv6_group.into()],
    }
}

fn uses_mdns(config: &Config) -> bool {
    config
        .discovery
        .methods
        .contains(&config::DiscoveryMethod::Mdns)
        || config
            .publish
            .iter()
            .any(|target| matches!(target, PublishTarget::Mdns { .. }))
}

/// Reads the keys, and generates none.
fn key(config: &Config) -> (KeyState, Option<KeyRing>) {
    let state = StateDir::at(&config.node.state_dir);
    if config.channel.keys.is_empty() && !state.channel_key_file().exists() {
        return (KeyState::Missing, None);
    }
    match settings::key_ring(config, Some(&state)) {
        Ok((key_ring, _)) => (
            KeyState::Usable(key_ring.ids().map(|id| id.to_string()).collect()),
            Some(key_ring),
        ),
        Err(error) => (KeyState::Unusable(error.to_string()), None),
    }
}

/// Checks whether the state directory can be used, and leaves it as it is.
fn state(path: &Path, node: &NodeState) -> StateDirState {
    if !path.exists() {
        return match creatable(path) {
            Ok(()) => StateDirState::Creatable(path.to_owned()),
            Err(error) => StateDirState::Unusable(error.to_string()),
        };
    }
    let state = match StateDir::open(path) {
        Ok(state) => state,
        Err(error) => return StateDirState::Unusable(error.to_string()),
    };
    // A lock file that this program creates would belong to the wrong user.
    let locked =
        path.join("lock").exists() && matches!(state.lock(), Err(StateError::InUse { .. }));
    if locked && matches!(node, NodeState::Absent) {
        return StateDirState::Held(path.to_owned());
    }
    StateDirState::Usable(path.to_owned())
}

/// Whether a missing directory could be created.
fn creatable(path: &Path) -> Result<(), StateError> {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("."));
    let probe = existing.join(format!(".hereabouts-doctor-{}", std::process::id()));
    let created = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
    created.map_err(|source| StateError::directory(path, source))
}

/// Binds the node's port where it is free. Also returns why multicast and broadcast are not
/// received on their ports, where a client works without them.
fn port(config: &Config, node: &NodeState) -> (PortState, Option<Sockets>, Option<String>) {
    let own = |socket: &SocketView| socket.address.port() == config.listen.port;
    if let Some(status) = node.running()
        && status.sockets.iter().any(own)
    {
        return (PortState::Own, None, group_ports_failure(config, status));
    }
    match settings::bind_sockets(config) {
        Ok(mut sockets) => {
            // `bound` does not report this failure. A port that it bound can be bound once more,
            // because such a port is shared.
            let failure = sockets
                .bind_group_ports(&settings::fanout(config))
                .err()
                .map(|error| error.to_string());
            (PortState::Free, Some(sockets), failure)
        }
        Err(error @ BindError::Taken { .. }) => (PortState::InUse(error.to_string()), None, None),
        Err(error) => (PortState::Unusable(error.to_string()), None, None),
    }
}

/// Why a running node does not receive multicast or broadcast on its port, where that is not the
/// port that the node listens on.
fn group_ports_failure(config: &Config, status: &StatusView) -> Option<String> {
    if !config.listen.address.is_unspecified() {
        return None;
    }
    let discovery = &config.discovery;
    let wanted = [
        (
            config::DiscoveryMethod::Multicast,
            "multicast",
            discovery.multicast.port,
        ),
        (
            config::DiscoveryMethod::Broadcast,
            "broadcast",
            discovery.broadcast.port,
        ),
    ];
    let missing = wanted.into_iter().find(|(method, purpose, port)| {
        let bound =
            |socket: &SocketView| socket.purpose == *purpose && socket.address.port() == *port;
        discovery.methods.contains(method)
            && *port != config.listen.port
            && !status.sockets.iter().any(bound)
    });
    missing.map(|(_, _, port)| format!("listen on port {port}/udp: the node's log says why"))
}

async fn firewall(config: &Config, setup: &Setup) -> FirewallState {
    let flows = flows(
        setup.groups,
        setup.multicast_port,
        config.discovery.broadcast.port,
        setup.listen.port(),
    );
    let evaluated = tokio::task::spawn_blocking(move || environment::firewall(&flows)).await;
    let firewall = evaluated.unwrap_or_else(|error| FirewallState::Unknown(error.to_string()));
    match &firewall {
        FirewallState::Read { verdicts, manager } => {
            tracing::debug!(verdicts = verdicts.len(), ?manager, "the firewall was read");
        }
        FirewallState::Unknown(reason) => {
            tracing::debug!(error = %reason, "the firewall cannot be read");
        }
    }
    firewall
}

fn interface_seen(interface: &Interface, policy: &Policy) -> ObservedInterface {
    let (used, rule) = match policy.decide(interface) {
        Decision::Used { rule } => (true, rule),
        Decision::Unused { rule } => (false, rule),
    };
    ObservedInterface {
        name: interface.name,
        used,
        rule: rule.to_string(),
        loopback: interface.loopback,
        multicast: interface.multicast,
        kind: interface.kind.clone(),
        mtu: environment::mtu(interface.name),
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

/// Counts a server as answering if the running node is registered with it, even if it did not
/// answer the doctor's own query.
fn confirmed(servers: Vec<ProbedServer>, node: &NodeState) -> Vec<ProbedServer> {
    let held = |address: &SocketAddr| {
        node.running().is_some_and(|status| {
            status
                .servers
                .iter()
                .any(|server| server.address == *address && server.last_acknowledged.is_some())
        })
    };
    let confirm = |server: ProbedServer| match &server.outcome {
        Outcome::Silent(addresses) => match addresses.iter().find(|address| held(address)) {
            Some(address) => ProbedServer {
                outcome: Outcome::Answered(*address),
                ..server
            },
            None => server,
        },
        _ => server,
    };
    servers.into_iter().map(confirm).collect()
}
