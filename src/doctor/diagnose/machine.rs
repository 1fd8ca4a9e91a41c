//! What can be wrong on this machine alone: files, the node, the port, interfaces.

use super::super::observations::{KeyState, NodeState, Observations, PortState, StateDirState};
use super::{counted, ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView, PublicationState, PublicationView, StatusView};
use crate::model::Role;

/// The longest datagram with its headers: 1200 bytes, 8 of UDP and 20 of IPv4.
const NEEDED_MTU_IPV4: u32 = 1228;
/// What every link that carries IPv6 has to have (RFC 8200 §5).
const NEEDED_MTU_IPV6: u32 = 1280;

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    config(observed, findings);
    // Another user's node shows neither to this one, and advice to hand them over would break it.
    let foreign = matches!(observed.node, NodeState::Unreachable { foreign: true, .. });
    if !(foreign && matches!(observed.key, KeyState::Unusable(_))) {
        findings.push(key(&observed.key, &observed.setup.channel));
    }
    if !(foreign && matches!(observed.state, StateDirState::Unusable(_))) {
        findings.push(state(&observed.state));
    }
    node(observed, findings);
    port(observed, findings);
    interfaces(observed, findings);
    mtu(observed, findings);
    match &observed.mdns {
        Some(Ok(())) => findings.push(ok(Code::Mdns, "port 5353/udp can be shared with other mDNS programs")),
        Some(Err(reason)) => findings.push(problem(
            Code::MdnsPortTaken,
            // What to do follows.
            format!("failed to {}", reason.rsplit_once(": ").map_or(reason.as_str(), |(reason, _)| reason)),
            "stop that program, let it share the port (avahi-daemon and systemd-resolved do), or take mdns out of \
             discovery.methods and publish",
        )),
        None => {}
    }
}

fn config(observed: &Observations, findings: &mut Vec<FindingView>) {
    let setup = &observed.setup;
    let name = setup.source.as_ref().map_or_else(
        || "built-in defaults".to_owned(),
        |path| path.display().to_string(),
    );
    if setup.unavailable.is_empty() {
        findings.push(ok(Code::Config, "the configuration can be used").about(&name));
    } else {
        let finding = format!(
            "this version does not have all that is asked for: {}",
            setup.unavailable.join("; ")
        );
        findings.push(
            problem(Code::ConfigUnavailable, finding, "take these settings out").about(&name),
        );
    }
    if !setup.listen.ip().is_unspecified() && (setup.multicast || setup.broadcast) {
        findings.push(warning(
            Code::ListensOnOneAddress,
            format!("listen.address is {}: there, neither multicast nor broadcast is heard", setup.listen.ip()),
            "set listen.address to '::' and choose interfaces by interfaces.include, or name this node in \
             discovery.servers of the others",
        ));
    }
}

fn key(key: &KeyState, channel: &str) -> FindingView {
    match key {
        KeyState::Usable(ids) => ok(
            Code::Key,
            format!(
                "{} of channel '{channel}' can be used: {}",
                counted(ids.len(), "key"),
                ids.join(", ")
            ),
        ),
        KeyState::Missing => warning(
            Code::KeyNone,
            "there is no key yet, so the network could not be asked; 'hereabouts run' would make one that no other \
             machine has",
            "on the first machine: hereabouts run; on each further one: hereabouts init --key with the first one's key",
        ),
        KeyState::Unusable(reason) => {
            let (reason, remedy) = reason.trim().rsplit_once("; mend it: ").unwrap_or((
                reason.trim(),
                "give the file to the user that runs hereabouts, with mode 0600 and a key of 'hereabouts keygen'",
            ));
            problem(Code::KeyUnusable, reason, remedy)
        }
    }
}

fn state(state: &StateDirState) -> FindingView {
    match state {
        StateDirState::Usable(path) => {
            ok(Code::State, "the state directory can be written").about(path.display())
        }
        StateDirState::Creatable(path) => ok(
            Code::State,
            "the state directory will be made at the first start",
        )
        .about(path.display()),
        StateDirState::Unusable(reason) => {
            // Such an error has its mend as a sentence of its own.
            let (reason, remedy) = reason.rsplit_once(". ").unwrap_or((
                reason,
                "give the directory to the user that runs hereabouts, or set node.state_dir",
            ));
            problem(Code::StateUnusable, format!("failed to {reason}"), remedy)
        }
        StateDirState::Held(path) => problem(
            Code::StateHeld,
            "a hereabouts holds the state directory, and its control socket does not answer",
            "wait if it starts or stops just now; else end it and look into its log",
        )
        .about(path.display()),
    }
}

fn node(observed: &Observations, findings: &mut Vec<FindingView>) {
    let status = match &observed.node {
        NodeState::Running(status) => status,
        NodeState::Absent => {
            findings.push(ok(
                Code::NodeAbsent,
                "no node runs here with this state directory; looked without it",
            ));
            return;
        }
        NodeState::Unreachable {
            reason,
            remedy,
            foreign: _,
        } => {
            findings.push(warning(
                Code::NodeUnreachable,
                format!("the node of this machine can't be asked: {reason}"),
                *remedy,
            ));
            return;
        }
    };
    if status.health.ready {
        findings.push(ok(
            Code::Node,
            format!(
                "'{}' runs (PID {}) and is ready",
                status.node.name, status.node.pid
            ),
        ));
    } else {
        findings.push(problem(
            Code::NodeNotReady,
            format!(
                "'{}' runs and is not ready: {}",
                status.node.name,
                status.health.reasons.join("; ")
            ),
            not_ready_mend(observed, status),
        ));
    }
    outdated(observed, status, findings);
    told_by_node(status, findings);
    not_published(observed, status, findings);
    files(status, findings);
}

/// What the running node knows and nobody else can.
fn told_by_node(status: &StatusView, findings: &mut Vec<FindingView>) {
    for server in &status.servers {
        if let Some(refusal) = &server.last_refusal {
            let name = server
                .name
                .as_ref()
                .map_or_else(|| server.address.to_string(), ToString::to_string);
            findings.push(
                problem(
                    Code::ServerRefuses,
                    format!("the server refuses this node: {refusal}"),
                    "do what it says; the node tries again by itself, and at once when it is started again",
                )
                .about(name),
            );
        }
    }
    for conflict in &status.conflicts {
        findings.push(
            warning(
                Code::NameConflict,
                format!(
                    "the name is held by {} and claimed by {} from {}",
                    conflict.holder.short(),
                    conflict.claimant.short(),
                    conflict.source
                ),
                format!(
                    "give one of the two another node.name, or free the name with 'hereabouts forget {}'",
                    conflict.name
                ),
            )
            .about(&conflict.name),
        );
    }
    for clone in &status.clones {
        findings.push(
            problem(
                Code::Clone,
                format!("two machines use one node id, as after copying a disk: {}", some_of(&clone.sources)),
                "on the copy: delete identity.key in the state directory, set another node.name if the config names one, \
                 and start it again",
            )
            .about(&clone.name),
        );
    }
    if let Some(store) = status.registry.as_ref().map(|registry| &registry.store)
        && let Some(error) = &store.last_error
    {
        findings.push(
            problem(
                Code::StoreFails,
                format!("the registry can't be written: {error}"),
                "make room on the disk, or mend its file system: nothing is acknowledged meanwhile",
            )
            .about(&store.path),
        );
    }
}

/// What was asked here with the configuration says nothing of a node that runs with another one.
fn outdated(observed: &Observations, status: &StatusView, findings: &mut Vec<FindingView>) {
    let mut differs = Vec::new();
    if let KeyState::Usable(ids) = &observed.key
        && *ids != status.node.key_ids
    {
        differs.push(format!(
            "its keys are {}, not {}",
            status.node.key_ids.join(", "),
            ids.join(", ")
        ));
    }
    if status.node.channel != observed.setup.channel {
        differs.push(format!(
            "its channel is '{}', not '{}'",
            status.node.channel, observed.setup.channel
        ));
    }
    if !differs.is_empty() {
        findings.push(warning(
            Code::NodeOutdated,
            format!(
                "the node was started with another configuration: {}",
                differs.join("; ")
            ),
            "start the node again; what follows here was found with the configuration as it is now",
        ));
    }
}

/// Files that the node offers or takes, and can't.
fn files(status: &StatusView, findings: &mut Vec<FindingView>) {
    for offer in &status.offers {
        if let Some(error) = &offer.error {
            let finding = format!("it is offered, and not served as it is now: {error}");
            let remedy = "mend what the reason says; the node looks at the file again by itself";
            findings.push(problem(Code::FileFails, finding, remedy).about(&offer.path));
        }
    }
    for accept in &status.accepts {
        if let Some(error) = &accept.error {
            let finding = format!("the last attempt to take '{}' failed: {error}", accept.name);
            let remedy = format!(
                "mend what the reason says, then hereabouts pull {}",
                accept.name
            );
            findings.push(problem(Code::FileFails, finding, remedy).about(&accept.path));
        }
    }
}

/// Where the node's own record is to stand, and does not.
fn not_published(observed: &Observations, status: &StatusView, findings: &mut Vec<FindingView>) {
    let elsewhere = |view: &&PublicationView| match view.target.as_str() {
        "server" => true,
        "mdns" => view.state == PublicationState::Failed && matches!(observed.mdns, Some(Err(_))),
        _ => false,
    };
    for view in status.publications.iter().filter(|view| !elsewhere(view)) {
        let reason = view
            .reason
            .as_deref()
            .unwrap_or("for a reason that is not known");
        let (finding, remedy) = match view.state {
            PublicationState::Conflict => {
                // It has its mend as a sentence of its own.
                let default = "give one of the two another name; the node tries again by itself within a minute";
                let (reason, remedy) = reason.split_once(". ").unwrap_or((reason, default));
                (reason.to_owned(), remedy)
            }
            PublicationState::Failed => (
                format!("this node's name is not told to {}: {reason}", view.target),
                "mend what the reason says; the node tries again by itself",
            ),
            PublicationState::Waiting
            | PublicationState::Asking
            | PublicationState::Published
            | PublicationState::Sent => continue,
        };
        let at = view
            .interface
            .map_or_else(String::new, |interface| format!(" on {interface}"));
        findings
            .push(problem(Code::NotPublished, finding, remedy).about(format!("{}{at}", view.name)));
    }
}

/// What to do about a node that is not ready.
fn not_ready_mend(observed: &Observations, status: &StatusView) -> &'static str {
    let unheard = status
        .servers
        .iter()
        .all(|server| server.last_acknowledged.is_none() && server.last_refusal.is_none());
    let server = observed.network.peers.iter().any(|(_, serves)| *serves);
    let heard = observed
        .network
        .targets
        .iter()
        .all(|target| target.returned != Some(false));
    // Nothing else that is found here tells of it.
    if observed.setup.role == Role::Client && unheard && server && heard {
        "if it lasts: a server answers questions and acknowledges nothing, as one whose disk is full; run hereabouts \
         doctor on the server"
    } else {
        "see the findings below for the cause, and 'hereabouts status' for what was tried"
    }
}

fn port(observed: &Observations, findings: &mut Vec<FindingView>) {
    let port = observed.setup.listen.port();
    findings.push(match &observed.port {
        PortState::Free => ok(Code::Port, format!("port {port}/udp is free")),
        PortState::Own => ok(Code::Port, format!("the node holds port {port}/udp")),
        PortState::InUse(_) if matches!(observed.node, NodeState::Unreachable { .. }) => {
            ok(Code::Port, format!("port {port}/udp is held, as it is where a node runs"))
        }
        PortState::InUse(reason) if reason.contains("(hereabouts)") => problem(
            Code::PortTaken,
            format!("failed to {reason}"),
            "that is a node with another state directory: ask it by its own --config, stop it if it should not run, or \
             give this one another listen.port, which is all that two nodes on one machine need",
        ),
        PortState::InUse(reason) => problem(
            Code::PortTaken,
            format!("failed to {reason}"),
            "stop that program; or, if it can't share the port, set listen.port, discovery.multicast.port and \
             discovery.broadcast.port to another one, the latter two on every node",
        ),
        PortState::Unusable(reason) => problem(
            Code::PortUnusable,
            format!("failed to {reason}"),
            "set listen.address to '::', which is every address, and listen.port to 1024 or more",
        ),
    });
    if let Some(reason) = &observed.deaf {
        findings.push(warning(
            Code::PortTaken,
            format!("this client does not hear what is sent to everybody, failed to {reason}: it asks servers itself"),
            "stop the program that has that port, or live with it: a server that comes back is found a little later",
        ));
    }
}

fn interfaces(observed: &Observations, findings: &mut Vec<FindingView>) {
    let taken: Vec<_> = observed
        .interfaces
        .iter()
        .filter(|interface| interface.taken)
        .collect();
    if taken.is_empty() {
        let left: Vec<_> = observed
            .interfaces
            .iter()
            .map(|interface| format!("{} {}", interface.name, interface.rule))
            .collect();
        let finding = if left.is_empty() {
            "no interface is taken: this machine has none".to_owned()
        } else {
            format!("no interface is taken: {}", left.join("; "))
        };
        findings.push(problem(
            Code::InterfacesNone,
            finding,
            "switch one on and give it an address, or name it in interfaces.include: what stands there without a \
             wildcard overrides the patterns of interfaces.exclude",
        ));
    } else {
        let names = some_of(taken.iter().map(|interface| interface.name));
        findings.push(ok(
            Code::Interfaces,
            format!("{} taken: {names}", counted(taken.len(), "interface")),
        ));
    }
    if observed.polled
        || observed
            .node
            .running()
            .is_some_and(|status| status.interfaces_polled)
    {
        let mdns = if observed.mdns.is_some() {
            ", and mDNS finds no interface"
        } else {
            ""
        };
        findings.push(warning(
            Code::InterfacesPolled,
            format!("the kernel refuses to tell of changed interfaces (netlink): a change shows after up to 5 s{mdns}"),
            "allow the address family AF_NETLINK (systemd: add it to RestrictAddressFamilies=)",
        ));
    }
}

fn mtu(observed: &Observations, findings: &mut Vec<FindingView>) {
    for interface in observed
        .interfaces
        .iter()
        .filter(|interface| interface.taken && !interface.loopback)
    {
        let needed = if interface.ipv6 {
            NEEDED_MTU_IPV6
        } else {
            NEEDED_MTU_IPV4
        };
        if let Some(mtu) = interface.mtu.filter(|mtu| *mtu < needed) {
            findings.push(
                warning(
                    Code::MtuSmall,
                    format!(
                        "its MTU is {mtu} bytes: longer datagrams are sent in fragments, which get lost more easily"
                    ),
                    format!("ip link set dev {} mtu {NEEDED_MTU_IPV6}, or more; IPv6 needs as much", interface.name),
                )
                .about(interface.name),
            );
        }
    }
}
