//! What can be wrong with the node of this machine, as far as the node itself reports it.

use super::super::observations::{KeyState, NodeState, Observations};
use super::{ok, problem, some_of, warning};
use crate::api::view::{Code, FindingView, PublicationState, PublicationView, StatusView};
use crate::model::Role;

pub(super) fn diagnose(observed: &Observations, findings: &mut Vec<FindingView>) {
    let status = match &observed.node {
        NodeState::Running(status) => status,
        NodeState::Absent => {
            findings.push(ok(
                Code::NodeAbsent,
                "no node runs here with this state directory; the doctor checked without it",
            ));
            return;
        }
        NodeState::Unreachable { reason, remedy, .. } => {
            findings.push(warning(
                Code::NodeUnreachable,
                format!("the node of this machine cannot be queried: {reason}"),
                *remedy,
            ));
            return;
        }
    };
    findings.push(readiness(observed, status));
    outdated(observed, status, findings);
    refusals(status, findings);
    conflicts(status, findings);
    clones(status, findings);
    store(status, findings);
    not_published(observed, status, findings);
    files(status, findings);
}

fn readiness(observed: &Observations, status: &StatusView) -> FindingView {
    let name = &status.node.name;
    if status.health.ready {
        let pid = status.node.pid;
        ok(
            Code::Node,
            format!("'{name}' runs (PID {pid}) and is ready"),
        )
    } else {
        let reasons = status.health.reasons.join("; ");
        problem(
            Code::NodeNotReady,
            format!("'{name}' runs and is not ready: {reasons}"),
            not_ready_remedy(observed, status),
        )
    }
}

fn not_ready_remedy(observed: &Observations, status: &StatusView) -> &'static str {
    let network = &observed.network;
    let no_reaction = status
        .servers
        .iter()
        .all(|server| server.last_acknowledged.is_none() && server.last_refusal.is_none());
    let a_server_answered = network.peers.iter().any(|(_, serves)| *serves);
    let received = network
        .targets
        .iter()
        .all(|target| target.returned != Some(false));
    // No other finding shows this cause.
    if observed.setup.role == Role::Client && no_reaction && a_server_answered && received {
        "if it lasts, run hereabouts doctor on the server: it answers queries and acknowledges nothing, as a server \
         does whose disk is full"
    } else {
        "see the findings below for the cause, and hereabouts status for what the node tried"
    }
}

/// The findings of the doctor are about the configuration as it is now, and not about a node that
/// was started with another one.
fn outdated(observed: &Observations, status: &StatusView, findings: &mut Vec<FindingView>) {
    let mut differences = Vec::new();
    let key_ids = &status.node.key_ids;
    if let KeyState::Usable(ids) = &observed.key
        && ids != key_ids
    {
        let running = key_ids.join(", ");
        differences.push(format!("its keys are {running}, not {}", ids.join(", ")));
    }
    let channel = &observed.setup.channel;
    if status.node.channel != *channel {
        let running = &status.node.channel;
        differences.push(format!("its channel is '{running}', not '{channel}'"));
    }
    if !differences.is_empty() {
        findings.push(warning(
            Code::NodeOutdated,
            format!(
                "the node was started with another configuration: {}",
                differences.join("; ")
            ),
            "restart the node; the findings below are about the configuration as it is now",
        ));
    }
}

fn refusals(status: &StatusView, findings: &mut Vec<FindingView>) {
    for server in &status.servers {
        let Some(refusal) = &server.last_refusal else {
            continue;
        };
        let name = server
            .name
            .as_ref()
            .map_or_else(|| server.address.to_string(), ToString::to_string);
        findings.push(
            problem(
                Code::ServerRefuses,
                format!("the server refuses this node: {refusal}"),
                "do what the refusal says; the node tries again by itself, and at once when it is restarted",
            )
            .about(name),
        );
    }
}

fn conflicts(status: &StatusView, findings: &mut Vec<FindingView>) {
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
                    "set another node.name on one of the two, or free the name with 'hereabouts forget {}'",
                    conflict.name
                ),
            )
            .about(&conflict.name),
        );
    }
}

fn clones(status: &StatusView, findings: &mut Vec<FindingView>) {
    for clone in &status.clones {
        let sources = some_of(&clone.sources);
        findings.push(
            problem(
                Code::Clone,
                format!("two machines use one node id, as after a copy of a disk: {sources}"),
                "on the copy: delete identity.key in the state directory, set another node.name if the configuration \
                 names one, and restart it",
            )
            .about(&clone.name),
        );
    }
}

fn store(status: &StatusView, findings: &mut Vec<FindingView>) {
    let Some(registry) = &status.registry else {
        return;
    };
    if let Some(error) = &registry.store.last_error {
        findings.push(
            problem(
                Code::StoreFails,
                format!("the registry cannot be written: {error}"),
                "make room on the disk, or repair its file system: nothing is acknowledged meanwhile",
            )
            .about(&registry.store.path),
        );
    }
}

/// Files that the node offers or accepts, where that fails.
fn files(status: &StatusView, findings: &mut Vec<FindingView>) {
    for offer in &status.offers {
        if let Some(error) = &offer.error {
            let finding = format!("it is offered, and not served as it is now: {error}");
            let remedy =
                "fix the cause that the reason names; the node checks the file again by itself";
            findings.push(problem(Code::FileFails, finding, remedy).about(&offer.path));
        }
    }
    for accept in &status.accepts {
        if let Some(error) = &accept.error {
            let name = &accept.name;
            let finding = format!("the last attempt to pull '{name}' failed: {error}");
            let remedy =
                format!("fix the cause that the reason names, then run: hereabouts pull {name}");
            findings.push(problem(Code::FileFails, finding, remedy).about(&accept.path));
        }
    }
}

/// The targets where the node's own record is not published, though it should be.
fn not_published(observed: &Observations, status: &StatusView, findings: &mut Vec<FindingView>) {
    // A server that refuses, and an mDNS port that cannot be shared, have findings of their own.
    let reported_elsewhere = |view: &&PublicationView| match view.target.as_str() {
        "server" => true,
        "mdns" => view.state == PublicationState::Failed && matches!(observed.mdns, Some(Err(_))),
        _ => false,
    };
    let views = status.publications.iter();
    for view in views.filter(|view| !reported_elsewhere(view)) {
        let reason = view.reason.as_deref().unwrap_or("the reason is not known");
        let (finding, remedy) = match view.state {
            PublicationState::Conflict => {
                // The reason contains its remedy as a sentence of its own.
                let default =
                    "set another node.name on one of the two; the node tries again within a minute";
                let (finding, remedy) = reason.split_once(". ").unwrap_or((reason, default));
                (finding.to_owned(), remedy)
            }
            PublicationState::Failed => (
                format!("the name is not published by {}: {reason}", view.target),
                "fix the cause that the reason names; the node tries again by itself",
            ),
            PublicationState::Waiting
            | PublicationState::Asking
            | PublicationState::Published
            | PublicationState::Sent => continue,
        };
        let name = &view.name;
        let about = match view.interface {
            Some(interface) => format!("{name} on {interface}"),
            None => name.clone(),
        };
        findings.push(problem(Code::NotPublished, finding, remedy).about(about));
    }
}
