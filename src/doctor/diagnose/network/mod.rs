//! What can be wrong between this machine and the other nodes.
//!
//! - [`returned`] checks whether what this machine sends comes back to it.
//! - [`firewall`] compares the rules of the firewall with what was observed; [`firewall_remedy`]
//!   builds the command that opens it.
//! - [`peers`] checks which other nodes answer, and by which method.

mod firewall;
mod firewall_remedy;
mod peers;
mod returned;

use std::time::Duration;

use super::super::observations::{Observations, Outcome, ProbedNetwork};
use super::{counted, ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView};
use crate::model::NodeId;

/// The start of a remedy that opens a firewall whose rules are not known.
const OPEN_FIREWALL: &str = "open the firewall of this machine for UDP";

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    returned::diagnose(observed, findings);
    firewall::diagnose(observed, findings);
    if observed.network.asked {
        peers::diagnose(observed, findings);
    }
    channels(observed, findings);
    foreign_keys(observed, findings);
    clocks(&observed.network, findings);
    servers(observed, findings);
}

fn channels(observed: &Observations, findings: &mut Vec<FindingView>) {
    let channel = &observed.setup.channel;
    for (from, name) in &observed.network.channels {
        findings.push(
            problem(
                Code::ChannelDiffers,
                format!("a node has our key, but its channel is called '{name}', not '{channel}'"),
                format!("set channel.name: {channel} on that node, or another common name on both"),
            )
            .about(from),
        );
    }
}

fn foreign_keys(observed: &Observations, findings: &mut Vec<FindingView>) {
    let network = &observed.network;
    // Datagrams of other channels are no problem where our own nodes answer.
    if !network.peers.is_empty() {
        return;
    }
    let dropped_by_node = observed.node.running().and_then(|status| {
        let count = status.counters.get("dropped")?.get("unknown_key")?;
        Some(*count).filter(|count| *count > 0)
    });
    let finding = match (network.foreign.is_empty(), dropped_by_node) {
        (false, _) => format!(
            "datagrams were received that no key of ours opens, from {}",
            some_of(&network.foreign)
        ),
        (true, Some(count)) => {
            format!("the node dropped {count} datagrams that no key of ours opens")
        }
        (true, None) => return,
    };
    findings.push(warning(
        Code::KeyDiffers,
        finding,
        "if they are from a machine of yours, its channel.keys or channel.name differ: compare the key ids of \
         'hereabouts status' on both, and put one key on both",
    ));
}

fn clocks(network: &ProbedNetwork, findings: &mut Vec<FindingView>) {
    let differs = |node: &NodeId| network.clocks.iter().any(|clock| clock.node == Some(*node));
    let all_differ = network.peers.iter().all(|(node, _)| differs(node));
    // A peer that did not answer afterwards may be one of the others, at another of its addresses.
    let known = network
        .clocks
        .iter()
        .filter(|clock| clock.node.is_some())
        .count();
    for clock in &network.clocks {
        // To the nearest second: the datagram took some milliseconds.
        let off = Duration::from_millis(clock.millis.unsigned_abs() + 500);
        let direction = if clock.millis > 0 {
            "ahead of"
        } else {
            "behind"
        };
        let which = match (all_differ, known) {
            (false, _) => "other nodes accept our clock, so its clock is wrong",
            (true, 2..) => "no node accepts our clock, so this machine's clock is wrong",
            (true, _) => "one of the two is wrong",
        };
        let seconds = off.as_secs();
        findings.push(
            problem(
                Code::ClockDiffers,
                format!("its clock is {seconds} s {direction} this machine's: {which}"),
                "timedatectl set-ntp true, on the machine whose clock is wrong; a container has its host's clock",
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
            Outcome::Unresolved(error) => problem(
                Code::ServerUnresolved,
                format!("failed to {error}"),
                "correct the name in discovery.servers, or fix this machine's DNS (/etc/resolv.conf)",
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
