//! Queries the network, with one query for each destination that a node would use, so that each
//! answer shows which route works.
//!
//! In go the configuration, the keys and the interfaces; out come a [`ProbedNetwork`] and the
//! [`ProbedServer`]s. The probe only sends queries. It registers nothing and announces nothing.

mod queries;
mod receivers;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use super::observations::{NotJoined, Outcome, ProbedNetwork, ProbedServer, ProbedTarget};
use crate::api::view::StatusView;
use crate::config::Config;
use crate::net::{self, FanoutMethod, Interface, Membership, SocketSettings, Sockets, Target};
use crate::settings;
use crate::transport::Traffic;
use crate::wire::keyring::KeyRing;
use crate::wire::v1::Want;
use queries::{ProbeQuery, Queries};
use receivers::Receivers;

/// Queries every node by each method on each interface. `sockets` are bound to the node's own port,
/// where that is free; `held` says that another program holds it.
pub(super) async fn network(
    config: &Config,
    key_ring: KeyRing,
    sockets: Option<Sockets>,
    node: Option<&StatusView>,
    held: bool,
    interfaces: &[Interface],
) -> ProbedNetwork {
    let receives_own = sockets.is_some();
    let Some(sockets) = sockets.or_else(|| ephemeral(config).ok()) else {
        return ProbedNetwork::default();
    };
    let mut traffic = traffic(config, sockets, key_ring);
    let not_joined = join(&mut traffic, interfaces);
    let receivers = match node {
        _ if receives_own => Receivers::of_sockets(&traffic.sockets),
        Some(status) if !held => Receivers::of_node(status),
        _ => Receivers::none(),
    };
    let targets = targets(&traffic);
    let queries = targets.iter().map(|(method, target)| {
        // Only where a socket of this machine would receive the query does its absence mean
        // something.
        let received = receivers.receive(*method, target.family, target.to.port());
        ProbeQuery::new(target.to, Some(target.source), received.then_some(false))
    });
    let queries = queries.collect();
    let own = node.map(|status| status.node.node_id);
    let mut queries = Queries::new(traffic, own, receives_own, queries, Want::All);
    queries.run().await;
    let Queries {
        queries,
        mut network,
        ..
    } = queries;
    let probed = targets.into_iter().zip(queries);
    network.targets = probed
        .map(|((method, target), query)| ProbedTarget {
            interface: target.interface,
            family: target.family,
            method,
            to: target.to,
            sent: query.sent,
            returned: query.returned,
            answered_by: query.answered_by,
        })
        .collect();
    // A node with several addresses refused our clock from each of them.
    let mut nodes = BTreeSet::new();
    network
        .clocks
        .retain(|clock| clock.node.is_none_or(|node| nodes.insert(node)));
    ProbedNetwork {
        asked: true,
        not_joined,
        ..network
    }
}

/// Joins the groups on the interfaces, and returns those that could not be joined.
fn join(traffic: &mut Traffic, interfaces: &[Interface]) -> Vec<NotJoined> {
    let reports = traffic.reconcile(interfaces);
    let not_joined = reports.into_iter().filter_map(|report| match report.what {
        Membership::Failed(reason) => Some(NotJoined {
            interface: report.interface,
            group: traffic.fanout.group(report.family),
            reason,
        }),
        Membership::Joined | Membership::Left => None,
    });
    not_joined.collect()
}

/// Every destination of multicast and broadcast.
fn targets(traffic: &Traffic) -> Vec<(FanoutMethod, Target)> {
    [FanoutMethod::Multicast, FanoutMethod::Broadcast]
        .into_iter()
        .flat_map(|method| {
            let targets = traffic.fanout.targets(method).iter();
            targets.map(move |target| (method, *target))
        })
        .collect()
}

/// Resolves each configured server and queries it.
pub(super) async fn servers(config: &Config, key_ring: Option<KeyRing>) -> Vec<ProbedServer> {
    let mut probing = tokio::task::JoinSet::new();
    for (place, name) in settings::servers(config).into_iter().enumerate() {
        let config = config.clone();
        let key_ring = key_ring.clone();
        probing.spawn(async move {
            let outcome = server(&config, key_ring, &name).await;
            (place, ProbedServer { name, outcome })
        });
    }
    let mut probed: Vec<_> = probing.join_all().await;
    probed.sort_by_key(|(place, _)| *place);
    probed.into_iter().map(|(_, server)| server).collect()
}

async fn server(config: &Config, key_ring: Option<KeyRing>, name: &str) -> Outcome {
    let addresses = match net::resolve(name).await {
        Ok(addresses) => addresses,
        Err(error) => return Outcome::Unresolved(error.to_string()),
    };
    let (Some(key_ring), Ok(sockets)) = (key_ring, ephemeral(config)) else {
        return Outcome::NotAsked;
    };
    let queries = addresses
        .iter()
        .map(|address| ProbeQuery::new(*address, None, None))
        .collect();
    let traffic = traffic(config, sockets, key_ring);
    let mut queries = Queries::new(traffic, None, false, queries, Want::Servers);
    queries.run().await;
    let answered = queries
        .queries
        .iter()
        .find(|query| !query.answered_by.is_empty());
    let outcome = answered.map_or(Outcome::Silent(addresses), |query| {
        Outcome::Answered(query.to)
    });
    tracing::debug!(server = name, ?outcome, "the server was queried");
    outcome
}

fn traffic(config: &Config, sockets: Sockets, key_ring: KeyRing) -> Traffic {
    Traffic::new(
        sockets,
        settings::fanout(config),
        settings::policy(config),
        key_ring,
    )
}

fn ephemeral(config: &Config) -> Result<Sockets, net::BindError> {
    Sockets::bind(&SocketSettings {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        port: 0,
        ttl: config.discovery.multicast.ttl,
    })
}
