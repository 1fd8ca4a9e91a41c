//! The sections about the registry and about its sources: conflicts, clones, and legacy protocols.

use super::super::table::{Emphasis, Table, ago, or_dash, printable};
use super::kibibytes;
use crate::api::view::StatusView;
use crate::model::Timestamp;

pub(super) fn registry(status: &StatusView) -> Table {
    let mut table = Table::new(&[
        "PRESENT",
        "EXPIRED",
        "LEFT",
        "TOTAL",
        "UNVERIFIED",
        "CAPACITY",
        "LAG",
        "STORE",
        "SIZE",
        "ERROR",
    ]);
    if let Some(registry) = &status.registry {
        let emphasis = Emphasis::bad_if(registry.store.last_error.is_some());
        let cells = [
            registry.present.to_string(),
            registry.expired.to_string(),
            registry.left.to_string(),
            registry.total.to_string(),
            registry.unauthenticated.to_string(),
            registry.capacity.to_string(),
            format!("{} ms", registry.durable_lag_ms),
            registry.store.path.clone(),
            or_dash(registry.store.size_bytes.map(kibibytes)),
            or_dash(registry.store.last_error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

pub(super) fn conflicts(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "HOLDER", "CLAIMANT", "FROM", "LAST"]);
    for conflict in &status.conflicts {
        let cells = [
            conflict.name.to_string(),
            conflict.holder.short(),
            conflict.claimant.short(),
            conflict.source.to_string(),
            ago(conflict.last_time, now),
        ];
        table.row(Emphasis::Bad, cells);
    }
    table
}

pub(super) fn clones(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "NODE ID", "FROM", "LAST"]);
    for clone in &status.clones {
        let sources: Vec<_> = clone.sources.iter().map(ToString::to_string).collect();
        let cells = [
            clone.name.to_string(),
            clone.node_id.short(),
            sources.join(" "),
            ago(clone.last_time, now),
        ];
        table.row(Emphasis::Bad, cells);
    }
    table
}

pub(super) fn compat(status: &StatusView) -> Table {
    let mut table = Table::new(&["PROTOCOL", "SIDE", "TARGET", "WEAKNESS", "ERROR"]);
    for part in &status.compat {
        let emphasis = Emphasis::bad_if(part.last_error.is_some());
        let cells = [
            part.protocol.clone(),
            part.side.clone(),
            or_dash(part.target.as_ref()),
            part.weakness.clone(),
            or_dash(part.last_error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

pub(super) fn pydiscover(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["ANSWERED FROM", "INFO", "LAST"]);
    for server in &status.pydiscover {
        let info: Vec<_> = server
            .info
            .iter()
            .map(|(key, value)| printable(&format!("{key}={value}")))
            .collect();
        table.row(
            Emphasis::Normal,
            [
                server.source.to_string(),
                info.join(" "),
                ago(server.last_time, now),
            ],
        );
    }
    table
}
