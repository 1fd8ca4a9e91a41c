//! What can be wrong on this machine alone: files, the node, the port, interfaces.

use super::super::observations::{KeySeen, NodeSeen, Observations, PortSeen, StateSeen};
use super::{counted, ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView, StatusView};

/// The longest datagram with its headers: 1200 bytes, 8 of UDP and 20 of IPv4.
const NEEDED_MTU_IPV4: u32 = 1228;
/// What every link that carries IPv6 has to have (RFC 8200 §5).
const NEEDED_MTU_IPV6: u32 = 1280;

pub(super) fn judge(seen: &Observations, findings: &mut Vec<FindingView>) {
    config(seen, findings);
    findings.push(key(&seen.key, &seen.setup.channel));
    findings.push(state(&seen.state));
    node(seen, findings);
    port(seen, findings);
    interfaces(seen, findings);
    mtu(seen, findings);
    match &seen.mdns {
        Some(Ok(())) => findings.push(ok(Code::Mdns, "port 5353/udp can be shared with other mDNS programs")),
        Some(Err(why)) => findings.push(problem(
            Code::MdnsPortTaken,
            format!("port 5353/udp can't be shared: {why}"),
            "stop that program, let it share the port (avahi-daemon and systemd-resolved do), or take mdns out of \
             discovery.methods and publish",
        )),
        None => {}
    }
}

fn config(seen: &Observations, findings: &mut Vec<FindingView>) {
    let setup = &seen.setup;
    let name = setup.source.as_ref().map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    if setup.unavailable.is_empty() {
        findings.push(ok(Code::Config, "the configuration can be used").about(&name));
    } else {
        let finding = format!("this version does not have all that is asked for: {}", setup.unavailable.join("; "));
        findings.push(problem(Code::ConfigUnavailable, finding, "take these settings out").about(&name));
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

fn key(key: &KeySeen, channel: &str) -> FindingView {
    match key {
        KeySeen::Usable(ids) => ok(
            Code::Key,
            format!("{} of channel '{channel}' can be used: {}", counted(ids.len(), "key"), ids.join(", ")),
        ),
        KeySeen::None => warning(
            Code::KeyNone,
            "there is no key yet, so the network could not be asked; 'hereabouts run' would make one that no other \
             machine has",
            "on the first machine: hereabouts run; on each further one: hereabouts init --key with the first one's key",
        ),
        KeySeen::Unusable(why) => problem(
            Code::KeyUnusable,
            why.trim().to_owned(),
            "give the file to the user that runs hereabouts, with mode 0600 and a key of 'hereabouts keygen'",
        ),
    }
}

fn state(state: &StateSeen) -> FindingView {
    match state {
        StateSeen::Usable(path) => ok(Code::State, "the state directory can be written").about(path.display()),
        StateSeen::ToBeMade(path) => {
            ok(Code::State, "the state directory will be made at the first start").about(path.display())
        }
        StateSeen::Unusable(why) => problem(
            Code::StateUnusable,
            format!("failed to {why}"),
            "give the directory to the user that runs hereabouts, or set node.state_dir",
        ),
        StateSeen::Held(path) => problem(
            Code::StateHeld,
            "a hereabouts holds the state directory, and its control socket does not answer",
            "wait if it starts or stops just now; else end it and look into its log",
        )
        .about(path.display()),
    }
}

fn node(seen: &Observations, findings: &mut Vec<FindingView>) {
    let status = match &seen.node {
        NodeSeen::Running(status) => status,
        NodeSeen::Absent => {
            findings.push(ok(Code::NodeAbsent, "no node runs here with this state directory; looked without it"));
            return;
        }
        NodeSeen::Unreachable(why) => {
            findings.push(warning(
                Code::NodeUnreachable,
                format!("the node of this machine can't be asked: {why}"),
                "run doctor as the user that runs the node, or as root",
            ));
            return;
        }
    };
    if status.health.ready {
        findings.push(ok(Code::Node, format!("'{}' runs (PID {}) and is ready", status.node.name, status.node.pid)));
    } else {
        findings.push(problem(
            Code::NodeNotReady,
            format!("'{}' runs and is not ready: {}", status.node.name, status.health.reasons.join("; ")),
            "see the findings below for the cause, and 'hereabouts status' for what was tried",
        ));
    }
    told_by_node(status, findings);
}

/// What the running node knows and nobody else can.
fn told_by_node(status: &StatusView, findings: &mut Vec<FindingView>) {
    for interface in status.interfaces.iter().filter(|interface| interface.taken) {
        for group in interface.groups.iter().filter(|group| !group.joined) {
            let why = group.error.as_deref().unwrap_or("for a reason that is not known");
            findings.push(
                problem(
                    Code::MulticastNotJoined,
                    format!("the node could not join {}: {why}", group.group),
                    "mend what the error says; the node tries again every 5 s",
                )
                .about(interface.name),
            );
        }
    }
    for server in &status.servers {
        if let Some(refusal) = &server.last_refusal {
            let name = server.name.as_ref().map_or_else(|| server.address.to_string(), ToString::to_string);
            findings.push(
                problem(Code::ServerRefuses, format!("the server refuses this node: {refusal}"), "mend what it says")
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
                format!("two machines use one node id: {}", some_of(&clone.sources)),
                "delete identity.key in the state directory of the copy and start it again",
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

fn port(seen: &Observations, findings: &mut Vec<FindingView>) {
    let port = seen.setup.listen.port();
    findings.push(match &seen.port {
        PortSeen::Free => ok(Code::Port, format!("port {port}/udp is free")),
        PortSeen::Own => ok(Code::Port, format!("the node holds port {port}/udp")),
        PortSeen::Taken(why) => problem(
            Code::PortTaken,
            format!("failed to {why}"),
            "stop that program; or, if it can't share the port, set listen.port, discovery.multicast.port and \
             discovery.broadcast.port to another one, the latter two on every node",
        ),
        PortSeen::Unusable(why) => problem(
            Code::PortUnusable,
            format!("failed to {why}"),
            "set listen.address and listen.port to what is there",
        ),
    });
}

fn interfaces(seen: &Observations, findings: &mut Vec<FindingView>) {
    let taken: Vec<_> = seen.interfaces.iter().filter(|interface| interface.taken).collect();
    if taken.is_empty() {
        let left: Vec<_> =
            seen.interfaces.iter().map(|interface| format!("{} {}", interface.name, interface.rule)).collect();
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
        findings.push(ok(Code::Interfaces, format!("{} taken: {names}", counted(taken.len(), "interface"))));
    }
    if seen.polled {
        findings.push(warning(
            Code::InterfacesPolled,
            "the kernel refuses to tell of changed interfaces (netlink): a change shows after up to 5 s",
            "allow the address family AF_NETLINK (systemd: RestrictAddressFamilies=), or leave it so",
        ));
    }
}

fn mtu(seen: &Observations, findings: &mut Vec<FindingView>) {
    for interface in seen.interfaces.iter().filter(|interface| interface.taken && !interface.loopback) {
        let needed = if interface.ipv6 { NEEDED_MTU_IPV6 } else { NEEDED_MTU_IPV4 };
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
