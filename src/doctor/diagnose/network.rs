//! What can be wrong between this machine and the others.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::firewall::{Criteria, Direction, Manager, Kind, Verdict};
use super::super::observations::{
    FirewallState, KeyState, ProbedNetwork, NotJoined, Observations, Outcome, PortState, Sent,
    Environment, ProbedTarget,
};
use super::{counted, ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView, ServerView};
use crate::model::{InterfaceName, NodeId, Role};
use crate::net::{Family, FanoutMethod};

const OPEN_FIREWALL: &str = "open the firewall of this machine for UDP";

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    let not_joined = not_joined(observed);
    findings.extend(
        not_joined
            .iter()
            .map(|group| not_joined_finding(group, observed.node.running().is_some())),
    );
    loops(observed, &not_joined, findings);
    firewall(observed, findings);
    if observed.network.asked {
        peers(observed, findings);
        unanswered_multicast(&observed.network, findings);
        environment(observed, findings);
    }
    strangers(observed, findings);
    clocks(&observed.network, findings);
    servers(observed, findings);
}

/// The groups that could not be joined: by the node, or by this program where none runs.
fn not_joined(observed: &Observations) -> Vec<NotJoined> {
    let Some(status) = observed.node.running() else {
        return observed.network.not_joined.clone();
    };
    let taken = status.interfaces.iter().filter(|interface| interface.taken);
    let groups = taken.flat_map(|interface| {
        interface
            .groups
            .iter()
            .map(move |group| (interface.name, group))
    });
    let failed = groups
        .filter(|(_, group)| !group.joined)
        .map(|(interface, group)| {
            let reason = group
                .error
                .clone()
                .unwrap_or_else(|| "for a reason that is not known".to_owned());
            NotJoined {
                interface,
                group: group.group,
                reason,
            }
        });
    failed.collect()
}

fn not_joined_finding(
    NotJoined {
        interface,
        group,
        reason,
    }: &NotJoined,
    node: bool,
) -> FindingView {
    let remedy = match reason {
        reason if reason.contains("igmp_max_memberships") => {
            "sysctl -w net.ipv4.igmp_max_memberships=100, and the same in /etc/sysctl.d; or leave interfaces out by \
             interfaces.exclude"
        }
        reason if reason.contains("optmem_max") => {
            "sysctl -w net.core.optmem_max=131072, and the same in /etc/sysctl.d; or leave interfaces out by \
             interfaces.exclude"
        }
        _ => "mend what the error says",
    };
    let again = if node {
        ". The node tries again every 5 s"
    } else {
        ""
    };
    problem(
        Code::MulticastNotJoined,
        format!("{group} can't be joined, so that what others send there is not heard: {reason}"),
        format!("{remedy}{again}"),
    )
    .about(interface)
}

/// Whether what this machine sends comes back to it, for each interface.
fn loops(observed: &Observations, not_joined: &[NotJoined], findings: &mut Vec<FindingView>) {
    let taken = observed.interfaces.iter().filter(|interface| interface.taken);
    for interface in taken {
        let targets: Vec<_> = observed
            .network
            .targets
            .iter()
            .filter(|target| target.interface == interface.name)
            .collect();
        if observed.setup.multicast {
            if interface.multicast {
                for family in [Family::Ipv4, Family::Ipv6] {
                    let of_family = |target: &&&ProbedTarget| {
                        target.method == FanoutMethod::Multicast && target.family == family
                    };
                    let targets: Vec<_> = targets.iter().filter(of_family).copied().collect();
                    let deaf = |group: &NotJoined| {
                        group.interface == interface.name && Family::of(group.group) == family
                    };
                    // It can't come back then, and that is told already.
                    if not_joined.iter().any(deaf)
                        && targets.iter().any(|target| target.sent == Sent::Yes)
                    {
                        continue;
                    }
                    let what = format!("{family} multicast");
                    findings.extend(returned(
                        FanoutMethod::Multicast,
                        interface.name,
                        &what,
                        &targets,
                    ));
                }
            } else if !interface.loopback {
                findings.push(
                    warning(
                        Code::MulticastOff,
                        "the interface carries no multicast: its flag MULTICAST is off",
                        format!(
                            "ip link set dev {} multicast on, if the network can carry it",
                            interface.name
                        ),
                    )
                    .about(interface.name),
                );
            }
        }
        if observed.setup.broadcast {
            let targets: Vec<_> = targets
                .iter()
                .filter(|target| target.method == FanoutMethod::Broadcast)
                .copied()
                .collect();
            findings.extend(returned(
                FanoutMethod::Broadcast,
                interface.name,
                "broadcast",
                &targets,
            ));
        }
    }
}

fn returned(
    method: FanoutMethod,
    interface: InterfaceName,
    what: &str,
    targets: &[&ProbedTarget],
) -> Option<FindingView> {
    let (fine, not_sent, not_heard) = match method {
        FanoutMethod::Multicast => (
            Code::Multicast,
            Code::MulticastNotSent,
            Code::MulticastNotReceived,
        ),
        FanoutMethod::Broadcast => (
            Code::Broadcast,
            Code::BroadcastNotSent,
            Code::BroadcastNotReceived,
        ),
    };
    let port = targets.first()?.to.port();
    let finding = if targets.iter().any(|target| target.returned == Some(true)) {
        ok(fine, format!("{what} is sent and comes back"))
    } else if targets
        .iter()
        .all(|target| target.sent == Sent::NotPermitted)
    {
        problem(
            not_sent,
            format!("{what} can't be sent: a firewall of this machine forbids it"),
            format!("{OPEN_FIREWALL} to port {port}, outgoing"),
        )
    } else if let Some(reason) = targets.iter().find_map(|target| match &target.sent {
        Sent::Failed(reason) => Some(reason),
        Sent::Yes | Sent::NotPermitted => None,
    }) {
        problem(
            not_sent,
            format!("{what} can't be sent: {reason}"),
            "give the interface an address and a route, or leave it out by interfaces.exclude",
        )
    } else if targets.iter().all(|target| target.returned.is_some()) {
        let others: BTreeSet<_> = targets
            .iter()
            .flat_map(|target| &target.answered_by)
            .collect();
        let finding = format!("{what} does not come back to this machine, though it is sent");
        let remedy = format!("{OPEN_FIREWALL} to port {port}, incoming");
        // Others heard it, so the network is fine and only the way in is shut.
        let finding = if others.is_empty() {
            finding
        } else {
            format!(
                "{finding}; {} on the network answered it",
                counted(others.len(), "node")
            )
        };
        problem(not_heard, finding, remedy)
    } else {
        return None;
    };
    Some(finding.about(interface))
}

fn firewall(observed: &Observations, findings: &mut Vec<FindingView>) {
    let FirewallState::Read { verdicts, manager } = &observed.firewall else {
        return;
    };
    let counts = |verdict: &&Verdict| matters(observed, verdict) && !contradicted(observed, verdict);
    // What was heard says more than the rules, which may have been read wrongly; yet they may have let pass only answers.
    let doubted = |verdict: &Verdict| Verdict {
        certain: verdict.certain && !heard(observed, verdict),
        ..verdict.clone()
    };
    let mut left: Vec<Verdict> = verdicts.iter().filter(counts).map(doubted).collect();
    if left.is_empty() {
        findings.push(ok(
            Code::Firewall,
            "the nftables rule set drops nothing that discovery needs",
        ));
    }
    // One finding for each rule and way: what it drops for sure, or else what it may drop.
    while let Some(first) = left.first().cloned() {
        let same = |other: &Verdict| {
            (&other.chain, other.handle, other.flow.direction)
                == (&first.chain, first.handle, first.flow.direction)
        };
        let (mut of_rule, rest): (Vec<Verdict>, Vec<Verdict>) = left.into_iter().partition(same);
        left = rest;
        let certain = of_rule.iter().any(|verdict| verdict.certain);
        let remedy = opening(observed, &first, &of_rule, *manager);
        of_rule.retain(|verdict| verdict.certain == certain);
        findings.push(firewall_finding(&first, certain, &of_rule, remedy));
    }
}

/// Whether a kind of datagram is used at all.
fn matters(observed: &Observations, verdict: &Verdict) -> bool {
    // What comes to a group passes by a socket that is bound to one address.
    let hears = verdict.flow.direction == Direction::Out || observed.setup.listen.ip().is_unspecified();
    match verdict.flow.kind {
        Kind::Multicast => observed.setup.multicast && hears,
        Kind::Broadcast => observed.setup.broadcast && hears,
        Kind::Unicast => true,
    }
}

/// Whether such a datagram was seen to pass, or a doubtful rule can be taken to let it pass.
fn contradicted(observed: &Observations, verdict: &Verdict) -> bool {
    let network = &observed.network;
    let (method, family) = match (verdict.flow.kind, verdict.flow.ipv6) {
        (Kind::Multicast, false) => (FanoutMethod::Multicast, Family::Ipv4),
        (Kind::Multicast, true) => (FanoutMethod::Multicast, Family::Ipv6),
        (Kind::Broadcast, _) => (FanoutMethod::Broadcast, Family::Ipv4),
        // Unicast to this machine is something that it can't send to itself.
        (Kind::Unicast, _) => {
            let answered = observed
                .servers
                .iter()
                .any(|server| matches!(server.outcome, Outcome::Answered(_)));
            return !verdict.certain
                && (answered || !network.peers.is_empty() || heard(observed, verdict));
        }
    };
    let such = network
        .targets
        .iter()
        .filter(|target| target.method == method && target.family == family);
    let (passed, others): (Vec<_>, Vec<_>) =
        such.partition(|target| match verdict.flow.direction {
            Direction::In => target.returned == Some(true),
            Direction::Out => target.returned == Some(true) || !target.answered_by.is_empty(),
        });
    // What drops beyond doubt drops on every interface; what may drop may do so on one of them alone.
    let stopped = |target: &&ProbedTarget| target.returned == Some(false) || target.sent != Sent::Yes;
    !passed.is_empty() && (verdict.certain || !others.iter().any(stopped))
}

/// Whether unicast was seen to come to the node's port, or to leave it.
fn heard(observed: &Observations, verdict: &Verdict) -> bool {
    if verdict.flow.kind != Kind::Unicast {
        return false;
    }
    let family = if verdict.flow.ipv6 {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    // Where no node runs, the questions went out from its port, and answers are unicast.
    let answers = |target: &ProbedTarget| target.family == family && !target.answered_by.is_empty();
    let asked = observed.port == PortState::Free && observed.network.targets.iter().any(answers);
    let told = observed.node.running().is_some_and(|status| {
        let counted = |name| {
            status
                .counters
                .get("datagrams")
                .and_then(|counts| counts.get(name))
                > Some(&0)
        };
        let acknowledged = |server: &ServerView| {
            server.last_acknowledged.is_some()
                && Family::of(server.address.ip().to_canonical()) == family
        };
        // Whoever registers is answered, too. Of which family it was is not counted.
        status.servers.iter().any(acknowledged) || counted("registers") || counted("renewals")
    });
    asked || told
}

fn firewall_finding(
    verdict: &Verdict,
    certain: bool,
    all: &[Verdict],
    remedy: String,
) -> FindingView {
    let mut kinds: Vec<_> = all.iter().map(|other| other.flow.kind.as_str()).collect();
    kinds.dedup();
    let way = if verdict.flow.direction == Direction::In {
        "incoming"
    } else {
        "outgoing"
    };
    let (verb, code) = if certain {
        ("drops", Code::FirewallDrops)
    } else {
        ("may drop", Code::FirewallMayDrop)
    };
    let who = match verdict.handle {
        Some(handle) => format!("the nftables rule {handle} of chain '{}'", verdict.chain),
        None => format!("the policy of the nftables chain '{}'", verdict.chain),
    };
    let ports: BTreeSet<_> = all.iter().map(|other| other.flow.port).collect();
    let several = if ports.len() == 1 { "" } else { "s" };
    let doubt = if certain {
        ""
    } else {
        ", as far as can be told without trying"
    };
    let finding = format!(
        "{who} {verb} {way} {} to UDP port{several} {}{doubt}",
        kinds.join(", "),
        listed(&ports)
    );
    let finding = if certain {
        problem(code, finding, remedy)
    } else {
        warning(code, finding, remedy)
    };
    finding.about(&verdict.chain)
}

/// The command that lets pass what a rule drops, and no more than whoever made the rules may have meant to.
fn opening(
    observed: &Observations,
    verdict: &Verdict,
    all: &[Verdict],
    manager: Option<Manager>,
) -> String {
    let ports: &BTreeSet<_> = &all.iter().map(|other| other.flow.port).collect();
    let incoming = verdict.flow.direction == Direction::In;
    let taken = || {
        observed.interfaces
            .iter()
            .filter(|interface| interface.taken && !interface.loopback)
    };
    let criteria = |is: fn(&Criteria) -> bool| incoming && all.iter().any(|other| is(&other.criteria));
    // `None` stands for everybody.
    let sources: Vec<Option<(bool, BTreeSet<String>)>> = if criteria(|criteria| criteria.source) {
        let families: BTreeSet<_> = all.iter().map(|other| other.flow.ipv6).collect();
        let networks = |ipv6| -> BTreeSet<String> {
            let all = taken().flat_map(|interface| &interface.networks);
            all.filter(|(ip, _)| ip.is_ipv6() == ipv6)
                .map(|(ip, prefix)| format!("{ip}/{prefix}"))
                .collect()
        };
        let known = families
            .iter()
            .map(|ipv6| (*ipv6, networks(*ipv6)))
            .filter(|(_, networks)| !networks.is_empty());
        let known: Vec<_> = known.map(Some).collect();
        let unknown = || {
            vec![Some((
                verdict.flow.ipv6,
                BTreeSet::from(["NETWORK".to_owned()]),
            ))]
        };
        if known.is_empty() { unknown() } else { known }
    } else {
        vec![None]
    };
    let mut commands = Vec::new();
    for source in &sources {
        let each = |ipv6: bool,
                    networks: &BTreeSet<String>,
                    command: &dyn Fn(bool, &str, u16) -> String| {
            let pairs = networks
                .iter()
                .flat_map(|network| ports.iter().map(move |port| (network, *port)));
            pairs
                .map(|(network, port)| command(ipv6, network, port))
                .collect::<Vec<_>>()
        };
        commands.extend(match (manager, incoming, source) {
            (Some(Manager::Ufw), true, Some((ipv6, networks))) => each(*ipv6, networks, &|_, network, port| {
                format!("ufw allow from {network} to any port {port} proto udp")
            }),
            (Some(Manager::Ufw), true, None) => ports.iter().map(|port| format!("ufw allow {port}/udp")).collect(),
            (Some(Manager::Ufw), false, _) => ports.iter().map(|port| format!("ufw allow out {port}/udp")).collect(),
            (Some(Manager::Firewalld), true, Some((ipv6, networks))) => each(*ipv6, networks, &|ipv6, network, port| {
                let family = if ipv6 { "ipv6" } else { "ipv4" };
                format!(
                    "firewall-cmd --permanent --add-rich-rule='rule family={family} source address={network} port \
                     port={port} protocol=udp accept'"
                )
            }),
            (Some(Manager::Firewalld), true, None) => {
                ports.iter().map(|port| format!("firewall-cmd --permanent --add-port={port}/udp")).collect()
            }
            _ => {
                let mut rule = format!("nft insert rule {}", verdict.chain);
                if criteria(|criteria| criteria.interface) && taken().next().is_some() {
                    rule += &format!(" iifname {}", braced(taken().map(|interface| interface.name)));
                }
                if let Some((ipv6, networks)) = source {
                    rule += &format!(" {} saddr {}", if *ipv6 { "ip6" } else { "ip" }, braced(networks));
                }
                vec![format!("{rule} udp dport {} accept", braced(ports))]
            }
        });
    }
    if manager == Some(Manager::Firewalld) && incoming {
        commands.push("firewall-cmd --reload".to_owned());
    }
    let commands = commands.join(" && ");
    if sources.iter().any(Option::is_some) {
        format!(
            "it depends on where they come from: if other machines are meant to be let in, {commands}"
        )
    } else {
        commands
    }
}

fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// One as it is, several as a set of nft.
fn braced<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.len() == 1 {
        items.concat()
    } else {
        format!("{{ {} }}", items.join(", "))
    }
}

fn peers(observed: &Observations, findings: &mut Vec<FindingView>) {
    let network = &observed.network;
    let servers = network.peers.iter().filter(|(_, serves)| *serves).count();
    if !network.peers.is_empty() {
        findings.push(ok(
            Code::Peers,
            format!(
                "{} answered, {} of them",
                counted(network.peers.len(), "other node"),
                counted(servers, "server")
            ),
        ));
    } else if let held @ 1.. = held_by_everybody(observed) {
        // A firewall that lets in what comes to the node's port may drop answers to the port that asked here.
        let servers = counted(held, "server");
        findings.push(ok(
            Code::Peers,
            format!(
                "nobody answered the doctor, and the node is registered with {servers} that it found by asking all"
            ),
        ));
    } else if !network.targets.is_empty() {
        // Without an interface, or with no method but known servers, nobody was asked.
        findings.push(peers_none(observed));
    }
    let registered = observed.node.running().is_some_and(|status| {
        status
            .servers
            .iter()
            .any(|server| server.last_acknowledged.is_some() && server.last_refusal.is_none())
    });
    if observed.setup.role == Role::Client && servers == 0 && !registered {
        findings.push(problem(
            Code::ServerNone,
            "this node is a client, and no server answered",
            "run one with role: server or both, or name one in discovery.servers",
        ));
    }
}

/// How many servers have the running node in their registry that answered its own question to everybody.
fn held_by_everybody(observed: &Observations) -> usize {
    let criteria = ["multicast", "broadcast"];
    let held = |server: &&ServerView| {
        server.last_acknowledged.is_some()
            && server.last_refusal.is_none()
            && criteria.contains(&server.found_by.as_str())
    };
    observed.node
        .running()
        .map_or(0, |status| status.servers.iter().filter(held).count())
}

fn peers_none(observed: &Observations) -> FindingView {
    // A server has itself in its registry.
    let registered = observed
        .node
        .running()
        .and_then(|status| status.registry.as_ref());
    let (finding, fine) = match registered.map_or(0, |registry| registry.present.saturating_sub(1))
    {
        0 => (
            "no other node of this channel answered".to_owned(),
            "no other node runs now",
        ),
        others => {
            let others = if others == 1 {
                "another one is".to_owned()
            } else {
                format!("{others} others are")
            };
            (
                format!("no other node answered, though {others} registered here"),
                "they are on other networks and name this server in discovery.servers",
            )
        }
    };
    let ids = match &observed.key {
        KeyState::Usable(ids) => ids.join(", "),
        KeyState::Missing | KeyState::Unusable(_) => "-".to_owned(),
    };
    warning(
        Code::PeersNone,
        finding,
        format!(
            "nothing is wrong if {fine}. Else compare with the other machine: channel.name ('{}'), the \
             key ids that 'hereabouts status' shows there ({ids} here), its firewall, and that both are on one network; \
             across networks set discovery.servers",
            observed.setup.channel
        ),
    )
}

/// Nodes on an interface that hear broadcast and not multicast.
fn unanswered_multicast(network: &ProbedNetwork, findings: &mut Vec<FindingView>) {
    let interfaces: BTreeSet<_> = network
        .targets
        .iter()
        .map(|target| target.interface)
        .collect();
    for interface in interfaces {
        let answered = |method, family| -> BTreeSet<NodeId> {
            let targets = network.targets.iter();
            targets
                .filter(|target| {
                    target.interface == interface
                        && target.method == method
                        && target.family == family
                })
                .flat_map(|target| target.answered_by.iter().copied())
                .collect()
        };
        let by_broadcast = answered(FanoutMethod::Broadcast, Family::Ipv4);
        let by_multicast = answered(FanoutMethod::Multicast, Family::Ipv4);
        let by_ipv6 = answered(FanoutMethod::Multicast, Family::Ipv6);
        let asked = network.targets.iter().any(|target| {
            target.interface == interface
                && target.method == FanoutMethod::Multicast
                && target.sent == Sent::Yes
        });
        let deaf: BTreeSet<_> = by_broadcast.difference(&by_multicast).copied().collect();
        if deaf.is_empty() || !asked {
            continue;
        }
        let nodes = counted(deaf.len(), "node");
        let finding = if deaf.is_subset(&by_ipv6) {
            format!("{nodes} answered broadcast and IPv6 multicast, and not IPv4 multicast")
        } else {
            format!("{nodes} answered broadcast, and not multicast")
        };
        findings.push(
            warning(
                Code::MulticastUnanswered,
                finding,
                "something between drops multicast: a switch or access point with IGMP snooping and no querier (switch a \
                 querier on, or snooping off), a Wi-Fi option that stops multicast, or the other machine's firewall. \
                 Keep broadcast in discovery.methods, or name servers in discovery.servers",
            )
            .about(interface),
        );
    }
}

fn environment(observed: &Observations, findings: &mut Vec<FindingView>) {
    let virtual_only = observed
        .interfaces
        .iter()
        .filter(|interface| interface.taken && !interface.loopback)
        .all(|interface| interface.kind.is_some());
    let targets = &observed.network.targets;
    let answered = targets.iter().any(|target| !target.answered_by.is_empty());
    // What does not even leave this machine, or reach it again, is not stopped by the network.
    let left = targets
        .iter()
        .any(|target| target.sent == Sent::Yes && target.returned != Some(false));
    if answered || !virtual_only || !left || held_by_everybody(observed) > 0 {
        return;
    }
    match observed.environment {
        Environment::Host => {}
        Environment::Pod => findings.push(warning(
            Code::PodNetwork,
            "this is a Kubernetes pod, and nobody answered: most pod networks carry neither multicast nor broadcast",
            "set hostNetwork: true (a DaemonSet), or name a Service of a server in discovery.servers",
        )),
        Environment::Container => findings.push(warning(
            Code::ContainerNetwork,
            "this is a container on a bridge, and nobody answered: multicast and broadcast reach only containers on the \
             same bridge",
            "use the host's network (network_mode: host), or name a server in discovery.servers",
        )),
    }
}

/// Other keys and other channels.
fn strangers(observed: &Observations, findings: &mut Vec<FindingView>) {
    let network = &observed.network;
    for (from, name) in &network.channels {
        findings.push(
            problem(
                Code::ChannelDiffers,
                format!(
                    "a node holds our key, but its channel is called '{name}', not '{}'",
                    observed.setup.channel
                ),
                "set channel.name alike on both",
            )
            .about(from),
        );
    }
    let counted_by_node = observed.node.running().and_then(|status| {
        let dropped = status.counters.get("dropped")?;
        dropped
            .get("unknown_key")
            .copied()
            .filter(|count| *count > 0)
    });
    let finding = match (network.foreign.is_empty(), counted_by_node) {
        (false, _) => format!(
            "datagrams came that no key of ours opens, from {}",
            some_of(&network.foreign)
        ),
        (true, Some(count)) => {
            format!("the node dropped {count} datagrams that no key of ours opens")
        }
        (true, None) => return,
    };
    // Strangers on the network are nothing wrong where our own nodes answer.
    if network.peers.is_empty() {
        findings.push(warning(
            Code::KeyDiffers,
            finding,
            "if they are from a machine of yours, its channel.keys or channel.name differ: compare the key ids of \
             'hereabouts status' on both, and put one key on both",
        ));
    }
}

fn clocks(network: &ProbedNetwork, findings: &mut Vec<FindingView>) {
    let differs = |node: &NodeId| network.clocks.iter().any(|clock| clock.node == Some(*node));
    let alone = network.peers.iter().all(|(node, _)| differs(node));
    // Who did not answer afterwards may be one of the others, by another of its addresses.
    let known = network
        .clocks
        .iter()
        .filter(|clock| clock.node.is_some())
        .count();
    for clock in &network.clocks {
        // To the nearest second: the way took some milliseconds.
        let off = Duration::from_millis(clock.millis.unsigned_abs() + 500);
        let which = if clock.millis > 0 {
            "ahead of"
        } else {
            "behind"
        };
        let whose = match (alone, known) {
            (false, _) => "others take ours for right, so its clock is wrong",
            (true, 2..) => "nobody takes ours for right, so this machine's clock is wrong",
            (true, _) => "one of the two is wrong",
        };
        findings.push(
            problem(
                Code::ClockDiffers,
                format!("its clock is {} s {which} this machine's: {whose}", off.as_secs()),
                "let NTP set the clock of the machine that is wrong (timedatectl set-ntp true); a container has its \
                 host's clock",
            )
            .about(clock.from),
        );
    }
}

fn servers(observed: &Observations, findings: &mut Vec<FindingView>) {
    for server in &observed.servers {
        let finding = match &server.outcome {
            Outcome::Answered(from) => ok(Code::Server, format!("it answers from {from}")),
            Outcome::NotAsked => continue,
            Outcome::Unresolved(reason) => problem(
                Code::ServerUnresolved,
                format!("failed to {reason}"),
                "correct the name in discovery.servers, or mend this machine's DNS (/etc/resolv.conf)",
            ),
            Outcome::Silent(addresses) => problem(
                Code::ServerSilent,
                format!("no answer from {}", some_of(addresses)),
                "check that it runs with role: server or both, on that UDP port, with the same channel.name and key, \
                 and that no firewall between drops UDP",
            ),
        };
        findings.push(finding.about(&server.name));
    }
}
