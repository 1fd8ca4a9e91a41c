//! Whether what this machine sends to a group or by broadcast comes back to it, for each interface.

use std::collections::BTreeSet;

use super::super::super::observations::{
    NotJoined, Observations, ObservedInterface, ProbedTarget, Sent,
};
use super::{OPEN_FIREWALL, counted, ok, problem, warning};
use crate::api::view::{Code, FindingView};
use crate::model::InterfaceName;
use crate::net::{Family, FanoutMethod};

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    let not_joined = not_joined(observed);
    let by_node = observed.node.running().is_some();
    findings.extend(
        not_joined
            .iter()
            .map(|group| not_joined_finding(group, by_node)),
    );
    for interface in observed
        .interfaces
        .iter()
        .filter(|interface| interface.used)
    {
        if observed.setup.multicast {
            if interface.multicast {
                multicast(observed, interface, &not_joined, findings);
            } else if !interface.loopback {
                findings.push(multicast_off(interface.name));
            }
        }
        if observed.setup.broadcast {
            let targets = targets(observed, interface, FanoutMethod::Broadcast, Family::Ipv4);
            findings.extend(returned(
                FanoutMethod::Broadcast,
                interface.name,
                "broadcast",
                &targets,
            ));
        }
    }
}

/// The groups that could not be joined: by the node, or by this program where no node runs.
fn not_joined(observed: &Observations) -> Vec<NotJoined> {
    let Some(status) = observed.node.running() else {
        return observed.network.not_joined.clone();
    };
    let mut failed = Vec::new();
    for interface in status.interfaces.iter().filter(|view| view.used) {
        for group in interface.groups.iter().filter(|group| !group.joined) {
            let unknown = || "the reason is not known".to_owned();
            failed.push(NotJoined {
                interface: interface.name,
                group: group.group,
                reason: group.error.clone().unwrap_or_else(unknown),
            });
        }
    }
    failed
}

fn not_joined_finding(not_joined: &NotJoined, by_node: bool) -> FindingView {
    let NotJoined {
        interface,
        group,
        reason,
    } = not_joined;
    let remedy = if reason.contains("igmp_max_memberships") {
        "sysctl -w net.ipv4.igmp_max_memberships=100, and the same in /etc/sysctl.d; or exclude interfaces by \
         interfaces.exclude"
    } else if reason.contains("optmem_max") {
        "sysctl -w net.core.optmem_max=131072, and the same in /etc/sysctl.d; or exclude interfaces by \
         interfaces.exclude"
    } else {
        "fix the cause that the error names"
    };
    let retry = if by_node {
        ". The node tries again every 5 s"
    } else {
        ""
    };
    problem(
        Code::MulticastNotJoined,
        format!(
            "{group} can't be joined, so the datagrams that other nodes send to it are not received: {reason}"
        ),
        format!("{remedy}{retry}"),
    )
    .about(interface)
}

fn multicast_off(interface: InterfaceName) -> FindingView {
    warning(
        Code::MulticastOff,
        "the interface carries no multicast: its flag MULTICAST is off",
        format!("ip link set dev {interface} multicast on, if the network can carry it"),
    )
    .about(interface)
}

fn multicast(
    observed: &Observations,
    interface: &ObservedInterface,
    not_joined: &[NotJoined],
    findings: &mut Vec<FindingView>,
) {
    for family in [Family::Ipv4, Family::Ipv6] {
        let targets = targets(observed, interface, FanoutMethod::Multicast, family);
        // Without the group, the datagram cannot come back; the group has a finding already.
        let joined = !not_joined
            .iter()
            .any(|group| group.interface == interface.name && Family::of(group.group) == family);
        if !joined && targets.iter().any(|target| target.sent == Sent::Yes) {
            continue;
        }
        findings.extend(returned(
            FanoutMethod::Multicast,
            interface.name,
            &format!("{family} multicast"),
            &targets,
        ));
    }
}

fn targets<'a>(
    observed: &'a Observations,
    interface: &ObservedInterface,
    method: FanoutMethod,
    family: Family,
) -> Vec<&'a ProbedTarget> {
    let targets = observed.network.targets.iter();
    targets
        .filter(|target| {
            target.interface == interface.name && target.method == method && target.family == family
        })
        .collect()
}

/// The finding about the datagrams of one method; `subject` names the method. `None` where nothing
/// was sent, or where nothing can be observed.
fn returned(
    method: FanoutMethod,
    interface: InterfaceName,
    subject: &str,
    targets: &[&ProbedTarget],
) -> Option<FindingView> {
    let (fine, not_sent, not_received) = match method {
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
    let failure = targets.iter().find_map(|target| match &target.sent {
        Sent::Failed(error) => Some(error),
        Sent::Yes | Sent::NotPermitted => None,
    });
    let finding = if targets.iter().any(|target| target.returned == Some(true)) {
        ok(fine, format!("{subject} is sent and comes back"))
    } else if targets
        .iter()
        .all(|target| target.sent == Sent::NotPermitted)
    {
        problem(
            not_sent,
            format!("{subject} can't be sent: a firewall of this machine forbids it"),
            format!("{OPEN_FIREWALL} to port {port}, outgoing"),
        )
    } else if let Some(error) = failure {
        problem(
            not_sent,
            format!("{subject} can't be sent: {error}"),
            "give the interface an address and a route, or exclude it by interfaces.exclude",
        )
    } else if targets.iter().all(|target| target.returned.is_some()) {
        problem(
            not_received,
            not_received_finding(subject, targets),
            format!("{OPEN_FIREWALL} to port {port}, incoming"),
        )
    } else {
        return None;
    };
    Some(finding.about(interface))
}

fn not_received_finding(subject: &str, targets: &[&ProbedTarget]) -> String {
    let finding = format!("{subject} does not come back to this machine, though it is sent");
    let others: BTreeSet<_> = targets
        .iter()
        .flat_map(|target| &target.answered_by)
        .collect();
    // Other nodes received it, so the network works, and only this machine's incoming side is
    // closed.
    if others.is_empty() {
        finding
    } else {
        let nodes = counted(others.len(), "node");
        format!("{finding}; {nodes} on the network answered it")
    }
}
