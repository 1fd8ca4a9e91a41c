//! Compares the rules of the firewall with what was observed.

use std::collections::BTreeSet;

use super::super::super::firewall::{Direction, Kind, Verdict};
use super::super::super::observations::{
    FirewallState, Observations, Outcome, PortState, ProbedTarget, Sent,
};
use super::firewall_remedy::{listed, remedy};
use super::{ok, problem, warning};
use crate::api::view::{Code, FindingView, ServerView};
use crate::net::{Family, FanoutMethod};

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    let FirewallState::Read { verdicts, manager } = &observed.firewall else {
        return;
    };
    let relevant = verdicts
        .iter()
        .filter(|verdict| is_used(observed, verdict) && !is_contradicted(observed, verdict));
    // What was received weighs more than the rules, which may have been read wrongly. Yet the rules
    // may have let pass only answers, so a doubt remains.
    let mut remaining: Vec<Verdict> = relevant
        .map(|verdict| Verdict {
            certain: verdict.certain && !unicast_passed(observed, verdict),
            ..verdict.clone()
        })
        .collect();
    if remaining.is_empty() {
        findings.push(ok(
            Code::Firewall,
            "the nftables rule set drops nothing that discovery needs",
        ));
    }
    // One finding for each rule and direction: what it certainly drops, or else what it may drop.
    while let Some(first) = remaining.first().cloned() {
        let same_rule = |other: &Verdict| {
            (&other.chain, other.handle, other.flow.direction)
                == (&first.chain, first.handle, first.flow.direction)
        };
        let (mut of_rule, others): (Vec<Verdict>, Vec<Verdict>) =
            remaining.into_iter().partition(same_rule);
        remaining = others;
        let certain = of_rule.iter().any(|verdict| verdict.certain);
        let remedy = remedy(observed, &first, &of_rule, *manager);
        of_rule.retain(|verdict| verdict.certain == certain);
        findings.push(finding(&first, certain, &of_rule, remedy));
    }
}

/// Whether this node uses such a datagram at all.
fn is_used(observed: &Observations, verdict: &Verdict) -> bool {
    // A socket that is bound to one address receives no group.
    let receives =
        verdict.flow.direction == Direction::Out || observed.setup.listen.ip().is_unspecified();
    match verdict.flow.kind {
        Kind::Multicast => observed.setup.multicast && receives,
        Kind::Broadcast => observed.setup.broadcast && receives,
        Kind::Unicast => true,
    }
}

/// Whether such a datagram was observed to pass, or an uncertain rule can be assumed to let it
/// pass.
fn is_contradicted(observed: &Observations, verdict: &Verdict) -> bool {
    let network = &observed.network;
    let (method, family) = match (verdict.flow.kind, verdict.flow.ipv6) {
        (Kind::Multicast, false) => (FanoutMethod::Multicast, Family::Ipv4),
        (Kind::Multicast, true) => (FanoutMethod::Multicast, Family::Ipv6),
        (Kind::Broadcast, _) => (FanoutMethod::Broadcast, Family::Ipv4),
        // This machine cannot send unicast to itself through its own firewall.
        (Kind::Unicast, _) => {
            let answered = observed
                .servers
                .iter()
                .any(|server| matches!(server.outcome, Outcome::Answered(_)));
            return !verdict.certain
                && (answered || !network.peers.is_empty() || unicast_passed(observed, verdict));
        }
    };
    let targets = network
        .targets
        .iter()
        .filter(|target| target.method == method && target.family == family);
    let (passed, others): (Vec<_>, Vec<_>) =
        targets.partition(|target| match verdict.flow.direction {
            Direction::In => target.returned == Some(true),
            Direction::Out => target.returned == Some(true) || !target.answered_by.is_empty(),
        });
    // A certain rule drops on every interface; an uncertain one may drop on one of them alone.
    let stopped =
        |target: &&ProbedTarget| target.returned == Some(false) || target.sent != Sent::Yes;
    !passed.is_empty() && (verdict.certain || !others.iter().any(stopped))
}

/// Whether unicast was observed to reach the node's port, or to leave it.
fn unicast_passed(observed: &Observations, verdict: &Verdict) -> bool {
    if verdict.flow.kind != Kind::Unicast {
        return false;
    }
    let family = if verdict.flow.ipv6 {
        Family::Ipv6
    } else {
        Family::Ipv4
    };
    // Where no node runs, the queries left from its port, and answers are unicast.
    let answers = |target: &ProbedTarget| target.family == family && !target.answered_by.is_empty();
    if observed.port == PortState::Free && observed.network.targets.iter().any(answers) {
        return true;
    }
    observed.node.running().is_some_and(|status| {
        let counted = |name| {
            let counts = status.counters.get("datagrams");
            counts.and_then(|counts| counts.get(name)) > Some(&0)
        };
        let acknowledged = |server: &ServerView| {
            server.last_acknowledged.is_some()
                && Family::of(server.address.ip().to_canonical()) == family
        };
        // A node that registers gets an answer as well. Its family is not counted.
        status.servers.iter().any(acknowledged) || counted("registers") || counted("renewals")
    })
}

fn finding(verdict: &Verdict, certain: bool, all: &[Verdict], remedy: String) -> FindingView {
    let mut kinds: Vec<_> = all.iter().map(|other| other.flow.kind.as_str()).collect();
    kinds.dedup();
    let kinds = kinds.join(", ");
    let direction = match verdict.flow.direction {
        Direction::In => "incoming",
        Direction::Out => "outgoing",
    };
    let chain = &verdict.chain;
    let rule = match verdict.handle {
        Some(handle) => format!("the nftables rule {handle} of chain '{chain}'"),
        None => format!("the policy of the nftables chain '{chain}'"),
    };
    let ports: BTreeSet<_> = all.iter().map(|other| other.flow.port).collect();
    let port = if ports.len() == 1 { "port" } else { "ports" };
    let ports = listed(&ports);
    let finding = if certain {
        let finding = format!("{rule} drops {direction} {kinds} to UDP {port} {ports}");
        problem(Code::FirewallDrops, finding, remedy)
    } else {
        let finding = format!(
            "{rule} may drop {direction} {kinds} to UDP {port} {ports}, as far as the rules show without a test"
        );
        warning(Code::FirewallMayDrop, finding, remedy)
    };
    finding.about(chain)
}
