//! The sections about files: offers and accepted files.

use super::super::table::{Emphasis, Table, ago, or_dash};
use super::kibibytes;
use crate::api::view::StatusView;
use crate::model::Timestamp;

pub(super) fn offers(status: &StatusView) -> Table {
    let mut table = Table::new(&["FILE", "GENERATION", "SIZE", "PATH", "ERROR"]);
    for offer in &status.offers {
        let emphasis = Emphasis::bad_if(offer.error.is_some());
        let cells = [
            offer.name.clone(),
            or_dash(offer.generation),
            or_dash(offer.size.map(kibibytes)),
            offer.path.clone(),
            or_dash(offer.error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

pub(super) fn accepts(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "FILE",
        "GENERATION",
        "PULLED",
        "FROM",
        "LAST ATTEMPT",
        "PATH",
        "ERROR",
    ]);
    for accept in &status.accepts {
        let emphasis = Emphasis::bad_if(accept.error.is_some());
        let from = accept.server_name.as_ref().map(ToString::to_string);
        let cells = [
            accept.name.clone(),
            or_dash(accept.generation),
            or_dash(accept.pulled.map(|time| ago(time, now))),
            or_dash(from.or_else(|| accept.server.map(|server| server.short()))),
            or_dash(accept.last_attempt.map(|time| ago(time, now))),
            accept.path.clone(),
            or_dash(accept.error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}
