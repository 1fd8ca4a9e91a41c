//! What can be wrong on this machine alone: files, the port and the interfaces.

use super::super::observations::{
    KeyState, NodeState, Observations, ObservedInterface, PortState, StateDirState,
};
use super::{counted, node, ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView};

/// The longest datagram with its headers: 1200 bytes, 8 of UDP and 20 of IPv4.
const NEEDED_MTU_IPV4: u32 = 1228;
/// The minimum MTU of every link that carries IPv6 (RFC 8200 §5).
const NEEDED_MTU_IPV6: u32 = 1280;
/// What separates the remedy from the reason in an error of a secret file.
const REMEDY_SEPARATORS: [&str; 2] = ["; remedy: ", "; fix it: "];

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    config(observed, findings);
    // The files of another user's node are closed to this user, as they should be. A remedy that
    // hands them over would break that node.
    let foreign = matches!(observed.node, NodeState::Unreachable { foreign: true, .. });
    if !(foreign && matches!(observed.key, KeyState::Unusable(_))) {
        findings.push(key(&observed.key, &observed.setup.channel));
    }
    if !(foreign && matches!(observed.state, StateDirState::Unusable(_))) {
        findings.push(state(&observed.state));
    }
    node::diagnose(observed, findings);
    port(observed, findings);
    interfaces(observed, findings);
    polled(observed, findings);
    mtu(observed, findings);
    findings.extend(observed.mdns.as_ref().map(mdns));
}

fn config(observed: &Observations, findings: &mut Vec<FindingView>) {
    let setup = &observed.setup;
    let name = setup.source.as_ref().map_or_else(
        || "built-in defaults".to_owned(),
        |path| path.display().to_string(),
    );
    let finding = if setup.unavailable.is_empty() {
        ok(Code::Config, "the configuration can be used")
    } else {
        let settings = setup.unavailable.join("; ");
        problem(
            Code::ConfigUnavailable,
            format!(
                "the configuration has settings that this version does not support: {settings}"
            ),
            "remove these settings",
        )
    };
    findings.push(finding.about(&name));
    let address = setup.listen.ip();
    if !address.is_unspecified() && (setup.multicast || setup.broadcast) {
        findings.push(warning(
            Code::ListensOnOneAddress,
            format!("listen.address is {address}, where neither multicast nor broadcast is received"),
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
            "there is no key yet, so the network was not queried; 'hereabouts run' would generate a key that no other \
             machine has",
            "on the first machine: hereabouts run; on each further one: hereabouts init --key with the first one's key",
        ),
        KeyState::Unusable(error) => {
            let error = error.trim();
            let (reason, remedy) = REMEDY_SEPARATORS
                .iter()
                .find_map(|separator| error.rsplit_once(separator))
                .unwrap_or((
                    error,
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
            "the state directory does not exist, and the first start will create it",
        )
        .about(path.display()),
        StateDirState::Unusable(error) => {
            // Such an error contains its remedy as a sentence of its own.
            let (reason, remedy) = error.rsplit_once(". ").unwrap_or((
                error,
                "give the directory to the user that runs hereabouts, or set node.state_dir",
            ));
            problem(Code::StateUnusable, format!("failed to {reason}"), remedy)
        }
        StateDirState::Held(path) => problem(
            Code::StateHeld,
            "a hereabouts process holds the state directory, and its control socket does not answer",
            "wait if it just starts or stops; otherwise end it, and read its log",
        )
        .about(path.display()),
    }
}

fn port(observed: &Observations, findings: &mut Vec<FindingView>) {
    let port = observed.setup.listen.port();
    let unreachable = matches!(observed.node, NodeState::Unreachable { .. });
    findings.push(match &observed.port {
        PortState::Free => ok(Code::Port, format!("port {port}/udp is free")),
        PortState::Own => ok(Code::Port, format!("the node holds port {port}/udp")),
        PortState::InUse(_) if unreachable => ok(
            Code::Port,
            format!("port {port}/udp is held, as is expected where a node runs"),
        ),
        PortState::InUse(error) if error.contains("(hereabouts)") => problem(
            Code::PortTaken,
            format!("failed to {error}"),
            "that is a node with another state directory: query it with its own --config, stop it if it should not run, \
             or give this one another listen.port, which is all that two nodes on one machine need",
        ),
        PortState::InUse(error) => problem(
            Code::PortTaken,
            format!("failed to {error}"),
            "stop that program; or, if it can't share the port, set listen.port, discovery.multicast.port and \
             discovery.broadcast.port to another one, the latter two on every node",
        ),
        PortState::Unusable(error) => problem(
            Code::PortUnusable,
            format!("failed to {error}"),
            "set listen.address to '::', which is every address, and listen.port to 1024 or more",
        ),
    });
    if let Some(error) = &observed.group_ports_failure {
        findings.push(warning(
            Code::PortTaken,
            format!(
                "this client receives neither multicast nor broadcast, because it failed to {error}: it asks servers \
                 itself"
            ),
            "stop the program that holds that port, or accept that a server that comes back is found a little later",
        ));
    }
}

fn used(observed: &Observations) -> impl Iterator<Item = &ObservedInterface> {
    observed
        .interfaces
        .iter()
        .filter(|interface| interface.used)
}

fn interfaces(observed: &Observations, findings: &mut Vec<FindingView>) {
    let names: Vec<_> = used(observed).map(|interface| interface.name).collect();
    if !names.is_empty() {
        let count = counted(names.len(), "interface");
        let finding = format!("{count} used: {}", some_of(names));
        findings.push(ok(Code::Interfaces, finding));
        return;
    }
    let unused: Vec<_> = observed
        .interfaces
        .iter()
        .map(|interface| format!("{} {}", interface.name, interface.rule))
        .collect();
    let finding = if unused.is_empty() {
        "no interface is used: this machine has none".to_owned()
    } else {
        format!("no interface is used: {}", unused.join("; "))
    };
    findings.push(problem(
        Code::InterfacesNone,
        finding,
        "ip link set dev NAME up, and give it an address; or name it in interfaces.include: a name without a wildcard \
         overrides the patterns of interfaces.exclude",
    ));
}

fn polled(observed: &Observations, findings: &mut Vec<FindingView>) {
    let by_node = observed.node.running();
    if !observed.polled && !by_node.is_some_and(|status| status.interfaces_polled) {
        return;
    }
    let mdns = if observed.mdns.is_some() {
        ", and mDNS finds no interface"
    } else {
        ""
    };
    findings.push(warning(
        Code::InterfacesPolled,
        format!(
            "the kernel refuses to report changed interfaces (netlink): a change shows after up to 5 s{mdns}"
        ),
        "allow the address family AF_NETLINK (systemd: add it to RestrictAddressFamilies=)",
    ));
}

fn mtu(observed: &Observations, findings: &mut Vec<FindingView>) {
    for interface in used(observed).filter(|interface| !interface.loopback) {
        let needed = if interface.ipv6 {
            NEEDED_MTU_IPV6
        } else {
            NEEDED_MTU_IPV4
        };
        let name = interface.name;
        if let Some(mtu) = interface.mtu.filter(|mtu| *mtu < needed) {
            findings.push(
                warning(
                    Code::MtuSmall,
                    format!(
                        "its MTU is {mtu} bytes: longer datagrams are sent in fragments, which get lost more easily"
                    ),
                    format!("ip link set dev {name} mtu {NEEDED_MTU_IPV6}, or more; IPv6 needs as much"),
                )
                .about(name),
            );
        }
    }
}

fn mdns(shareable: &Result<(), String>) -> FindingView {
    match shareable {
        Ok(()) => ok(
            Code::Mdns,
            "port 5353/udp can be shared with other mDNS programs",
        ),
        Err(error) => {
            // The error ends with a short remedy, and the remedy here says more.
            let reason = error
                .rsplit_once(": ")
                .map_or(error.as_str(), |(reason, _)| reason);
            problem(
                Code::MdnsPortTaken,
                format!("failed to {reason}"),
                "stop that program, let it share the port (avahi-daemon and systemd-resolved do), or remove mdns from \
                 discovery.methods and publish",
            )
        }
    }
}
