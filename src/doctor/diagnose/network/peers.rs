//! Which other nodes answer, by which method, and why none might.

use std::collections::BTreeSet;

use super::super::super::observations::{Environment, KeyState, Observations, ProbedNetwork, Sent};
use super::{counted, ok, problem, warning};
use crate::api::view::{Code, FindingView, ServerView};
use crate::model::{NodeId, Role};
use crate::net::{Family, FanoutMethod};

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    peers(observed, findings);
    unanswered_multicast(&observed.network, findings);
    environment(observed, findings);
}

fn peers(observed: &Observations, findings: &mut Vec<FindingView>) {
    let network = &observed.network;
    let servers = network.peers.iter().filter(|(_, serves)| *serves).count();
    let registered = registered_by_group(observed);
    if !network.peers.is_empty() {
        let others = counted(network.peers.len(), "other node");
        let servers = counted(servers, "server");
        findings.push(ok(
            Code::Peers,
            format!("{others} answered, {servers} of them"),
        ));
    } else if registered > 0 {
        // A firewall that accepts datagrams to the node's port may drop answers to the doctor's
        // port.
        let servers = counted(registered, "server");
        findings.push(ok(
            Code::Peers,
            format!(
                "no node answered the doctor, and the node is registered with {servers} that it found by multicast or \
                 broadcast"
            ),
        ));
    } else if !network.targets.is_empty() {
        // Without an interface, or with known servers as the only method, no query was sent.
        findings.push(peers_none(observed));
    }
    let is_registered = observed.node.running().is_some_and(|status| {
        let servers = &status.servers;
        servers.iter().any(is_acknowledged)
    });
    if observed.setup.role == Role::Client && servers == 0 && !is_registered {
        findings.push(problem(
            Code::ServerNone,
            "this node is a client, and no server answered",
            "run a server with role: server or both, or name one in discovery.servers",
        ));
    }
}

fn is_acknowledged(server: &ServerView) -> bool {
    server.last_acknowledged.is_some() && server.last_refusal.is_none()
}

/// The number of servers that the running node is registered with and found by multicast or
/// broadcast.
fn registered_by_group(observed: &Observations) -> usize {
    let by_group = |server: &&ServerView| {
        is_acknowledged(server) && ["multicast", "broadcast"].contains(&server.found_by.as_str())
    };
    observed
        .node
        .running()
        .map_or(0, |status| status.servers.iter().filter(by_group).count())
}

fn peers_none(observed: &Observations) -> FindingView {
    let registry = observed
        .node
        .running()
        .and_then(|status| status.registry.as_ref());
    // A server is in its own registry.
    let others = registry.map_or(0, |registry| registry.present.saturating_sub(1));
    let (finding, harmless) = if others == 0 {
        (
            "no other node of this channel answered".to_owned(),
            "no other node runs now",
        )
    } else {
        let others = if others == 1 {
            "another one is".to_owned()
        } else {
            format!("{others} others are")
        };
        (
            format!("no other node answered, though {others} registered here"),
            "they are on other networks and name this server in discovery.servers",
        )
    };
    let ids = match &observed.key {
        KeyState::Usable(ids) => ids.join(", "),
        KeyState::Missing | KeyState::Unusable(_) => "-".to_owned(),
    };
    let channel = &observed.setup.channel;
    warning(
        Code::PeersNone,
        finding,
        format!(
            "nothing is wrong if {harmless}. Otherwise compare with the other machine: channel.name ('{channel}' here), \
             the key ids that 'hereabouts status' shows ({ids} here), its firewall, and that both are on one network; \
             across networks set discovery.servers"
        ),
    )
}

/// Nodes on an interface that receive broadcast and not multicast.
fn unanswered_multicast(network: &ProbedNetwork, findings: &mut Vec<FindingView>) {
    let interfaces: BTreeSet<_> = network
        .targets
        .iter()
        .map(|target| target.interface)
        .collect();
    for interface in interfaces {
        let targets = |method| {
            let targets = network.targets.iter();
            targets.filter(move |target| target.interface == interface && target.method == method)
        };
        let answered = |method, family| -> BTreeSet<NodeId> {
            targets(method)
                .filter(|target| target.family == family)
                .flat_map(|target| target.answered_by.iter().copied())
                .collect()
        };
        let by_broadcast = answered(FanoutMethod::Broadcast, Family::Ipv4);
        let by_multicast = answered(FanoutMethod::Multicast, Family::Ipv4);
        let by_ipv6 = answered(FanoutMethod::Multicast, Family::Ipv6);
        let sent = targets(FanoutMethod::Multicast).any(|target| target.sent == Sent::Yes);
        let unreached: BTreeSet<_> = by_broadcast.difference(&by_multicast).copied().collect();
        if unreached.is_empty() || !sent {
            continue;
        }
        let nodes = counted(unreached.len(), "node");
        let finding = if unreached.is_subset(&by_ipv6) {
            format!("{nodes} answered broadcast and IPv6 multicast, and not IPv4 multicast")
        } else {
            format!("{nodes} answered broadcast, and not multicast")
        };
        findings.push(
            warning(
                Code::MulticastUnanswered,
                finding,
                "keep broadcast in discovery.methods, or name servers in discovery.servers. Something between drops \
                 multicast: a switch or access point with IGMP snooping and no querier (switch a querier on, or snooping \
                 off), a Wi-Fi option that stops multicast, or the other machine's firewall",
            )
            .about(interface),
        );
    }
}

fn environment(observed: &Observations, findings: &mut Vec<FindingView>) {
    let mut interfaces = observed
        .interfaces
        .iter()
        .filter(|interface| interface.used && !interface.loopback);
    let virtual_only = interfaces.all(|interface| interface.kind.is_some());
    let targets = &observed.network.targets;
    let answered = targets.iter().any(|target| !target.answered_by.is_empty());
    // A datagram that did not leave this machine, or did not reach it again, was not stopped by the
    // network.
    let reached_network = targets
        .iter()
        .any(|target| target.sent == Sent::Yes && target.returned != Some(false));
    if answered || !virtual_only || !reached_network || registered_by_group(observed) > 0 {
        return;
    }
    match observed.environment {
        Environment::Host => {}
        Environment::Pod => findings.push(warning(
            Code::PodNetwork,
            "this is a Kubernetes pod, and no node answered: most pod networks carry neither multicast nor broadcast",
            "set hostNetwork: true (a DaemonSet), or name a Service of a server in discovery.servers",
        )),
        Environment::Container => findings.push(warning(
            Code::ContainerNetwork,
            "this is a container on a bridge, and no node answered: multicast and broadcast reach only containers on \
             the same bridge",
            "use the host's network (network_mode: host), or name a server in discovery.servers",
        )),
    }
}
