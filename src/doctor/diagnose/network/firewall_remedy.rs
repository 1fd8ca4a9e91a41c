//! The command that lets pass what a rule drops, and no more than the author of the rules may have
//! meant to.

use std::collections::BTreeSet;

use super::super::super::firewall::{Criteria, Direction, Manager, Verdict};
use super::super::super::observations::{Observations, ObservedInterface};

/// Networks of one family that may send.
struct Sources {
    ipv6: bool,
    networks: BTreeSet<String>,
}

/// The command for a rule: `verdict` is one of its verdicts, and `all` are all of them.
pub(super) fn remedy(
    observed: &Observations,
    verdict: &Verdict,
    all: &[Verdict],
    manager: Option<Manager>,
) -> String {
    let incoming = verdict.flow.direction == Direction::In;
    let matches_on =
        |is: fn(&Criteria) -> bool| incoming && all.iter().any(|other| is(&other.criteria));
    let ports: BTreeSet<u16> = all.iter().map(|other| other.flow.port).collect();
    // An empty list stands for any source.
    let sources = if matches_on(|criteria| criteria.source) {
        sources(observed, verdict, all)
    } else {
        Vec::new()
    };
    let mut commands = match (manager, incoming) {
        (Some(Manager::Ufw), true) => ufw(&sources, &ports),
        (Some(Manager::Ufw), false) => {
            let commands = ports.iter().map(|port| format!("ufw allow out {port}/udp"));
            commands.collect()
        }
        (Some(Manager::Firewalld), true) => firewalld(&sources, &ports),
        _ => {
            let interfaces: Vec<_> = if matches_on(|criteria| criteria.interface) {
                used(observed).map(|interface| interface.name).collect()
            } else {
                Vec::new()
            };
            let mut start = format!("nft insert rule {}", verdict.chain);
            if !interfaces.is_empty() {
                start += &format!(" iifname {}", braced(interfaces));
            }
            nft(&start, &sources, &ports)
        }
    };
    if manager == Some(Manager::Firewalld) && incoming {
        commands.push("firewall-cmd --reload".to_owned());
    }
    let commands = commands.join(" && ");
    if sources.is_empty() {
        commands
    } else {
        format!(
            "the rules depend on the source: if other machines are meant to be let in, {commands}"
        )
    }
}

/// The networks of this machine's interfaces, for each family that is dropped.
fn sources(observed: &Observations, verdict: &Verdict, all: &[Verdict]) -> Vec<Sources> {
    let families: BTreeSet<bool> = all.iter().map(|other| other.flow.ipv6).collect();
    let mut sources = Vec::new();
    for ipv6 in families {
        let networks: BTreeSet<String> = used(observed)
            .flat_map(|interface| &interface.networks)
            .filter(|(ip, _)| ip.is_ipv6() == ipv6)
            .map(|(ip, prefix)| format!("{ip}/{prefix}"))
            .collect();
        if !networks.is_empty() {
            sources.push(Sources { ipv6, networks });
        }
    }
    if sources.is_empty() {
        // The operator has to fill in the network.
        sources.push(Sources {
            ipv6: verdict.flow.ipv6,
            networks: BTreeSet::from(["NETWORK".to_owned()]),
        });
    }
    sources
}

fn used(observed: &Observations) -> impl Iterator<Item = &ObservedInterface> {
    let interfaces = observed.interfaces.iter();
    interfaces.filter(|interface| interface.used && !interface.loopback)
}

fn ufw(sources: &[Sources], ports: &BTreeSet<u16>) -> Vec<String> {
    if sources.is_empty() {
        let commands = ports.iter().map(|port| format!("ufw allow {port}/udp"));
        return commands.collect();
    }
    for_each_network(sources, ports, |_, network, port| {
        format!("ufw allow from {network} to any port {port} proto udp")
    })
}

fn firewalld(sources: &[Sources], ports: &BTreeSet<u16>) -> Vec<String> {
    if sources.is_empty() {
        let ports = ports.iter();
        return ports
            .map(|port| format!("firewall-cmd --permanent --add-port={port}/udp"))
            .collect();
    }
    for_each_network(sources, ports, |ipv6, network, port| {
        let family = if ipv6 { "ipv6" } else { "ipv4" };
        format!(
            "firewall-cmd --permanent --add-rich-rule='rule family={family} source address={network} port port={port} \
             protocol=udp accept'"
        )
    })
}

fn for_each_network(
    sources: &[Sources],
    ports: &BTreeSet<u16>,
    command: impl Fn(bool, &str, u16) -> String,
) -> Vec<String> {
    let mut commands = Vec::new();
    for source in sources {
        for network in &source.networks {
            for port in ports {
                commands.push(command(source.ipv6, network, *port));
            }
        }
    }
    commands
}

fn nft(start: &str, sources: &[Sources], ports: &BTreeSet<u16>) -> Vec<String> {
    let end = format!("udp dport {} accept", braced(ports));
    if sources.is_empty() {
        return vec![format!("{start} {end}")];
    }
    sources
        .iter()
        .map(|source| {
            let family = if source.ipv6 { "ip6" } else { "ip" };
            let networks = braced(&source.networks);
            format!("{start} {family} saddr {networks} {end}")
        })
        .collect()
}

pub(super) fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// One item as it is, several items as an anonymous set of nft.
fn braced<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match &items[..] {
        [item] => item.clone(),
        items => format!("{{ {} }}", items.join(", ")),
    }
}
