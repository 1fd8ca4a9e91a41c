//! The sections about the network: servers, methods, publications, sockets and interfaces.

use super::super::table::{Emphasis, Table, ago, or_dash};
use crate::api::view::{MethodState, PublicationState, StatusView};
use crate::model::Timestamp;

pub(super) fn servers(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "SERVER",
        "ADDRESS",
        "FOUND BY",
        "LEASE",
        "LAST ACKNOWLEDGED",
        "SEEN AS",
        "LAST REFUSAL",
    ]);
    for server in &status.servers {
        let emphasis = Emphasis::bad_if(server.last_refusal.is_some());
        let cells = [
            or_dash(server.name.as_ref()),
            server.address.to_string(),
            server.found_by.clone(),
            or_dash(server.lease_seconds.map(|seconds| format!("{seconds} s"))),
            server
                .last_acknowledged
                .map_or_else(|| "never".to_owned(), |time| ago(time, now)),
            or_dash(server.seen),
            or_dash(server.last_refusal.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

pub(super) fn methods(status: &StatusView) -> Table {
    let mut table = Table::new(&["METHOD", "STATE", "SERVERS", "REASON"]);
    for method in &status.methods {
        let (emphasis, state) = match method.state {
            MethodState::NotYet => (Emphasis::Dim, "not yet"),
            MethodState::Trying => (Emphasis::Normal, "trying"),
            MethodState::Found => (Emphasis::Normal, "found"),
            MethodState::Failed => (Emphasis::Bad, "failed"),
        };
        let reason = or_dash(method.reason.as_ref());
        table.row(
            emphasis,
            [
                method.method.clone(),
                state.to_owned(),
                method.servers.to_string(),
                reason,
            ],
        );
    }
    table
}

pub(super) fn publications(status: &StatusView) -> Table {
    let mut table = Table::new(&[
        "TARGET",
        "NAME",
        "INTERFACE",
        "STATE",
        "ADDRESSES",
        "REASON",
    ]);
    for publication in &status.publications {
        let (emphasis, state) = match publication.state {
            PublicationState::Waiting => (Emphasis::Dim, "waiting"),
            PublicationState::Asking => (Emphasis::Dim, "asking"),
            PublicationState::Published => (Emphasis::Normal, "published"),
            PublicationState::Sent => (Emphasis::Normal, "sent"),
            PublicationState::Conflict => (Emphasis::Bad, "conflict"),
            PublicationState::Failed => (Emphasis::Bad, "failed"),
        };
        let cells = [
            publication.target.clone(),
            publication.name.clone(),
            or_dash(publication.interface),
            state.to_owned(),
            publication
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            or_dash(publication.reason.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

pub(super) fn sockets(status: &StatusView) -> Table {
    let mut table = Table::new(&["PURPOSE", "ADDRESS", "INTERFACE"]);
    for socket in &status.sockets {
        let interface = socket
            .interface
            .map_or_else(|| "all".to_owned(), |name| name.to_string());
        table.row(
            Emphasis::Normal,
            [
                socket.purpose.clone(),
                socket.address.to_string(),
                interface,
            ],
        );
    }
    table
}

pub(super) fn interfaces(status: &StatusView) -> Table {
    let mut table = Table::new(&["INTERFACE", "USE", "RULE", "ADDRESSES", "GROUPS", "ERROR"]);
    for interface in &status.interfaces {
        let mut errors: Vec<_> = interface.error.iter().cloned().collect();
        let mut joined = Vec::new();
        for group in &interface.groups {
            if group.joined {
                joined.push(group.group.to_string());
            } else {
                let error = or_dash(group.error.as_ref());
                errors.push(format!("not in {}: {error}", group.group));
            }
        }
        let emphasis = match (errors.is_empty(), interface.used) {
            (false, _) => Emphasis::Bad,
            (true, true) => Emphasis::Normal,
            (true, false) => Emphasis::Dim,
        };
        let cells = [
            interface.name.to_string(),
            if interface.used { "used" } else { "not used" }.to_owned(),
            interface.rule.clone(),
            interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            joined.join(" "),
            errors.join("; "),
        ];
        table.row(emphasis, cells);
    }
    table
}
