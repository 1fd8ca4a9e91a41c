//! A server's durable set of records, with history.
//!
//! - [`Table`] answers: it holds every record, name binding and history interval in memory. Pure.
//! - [`store`] survives: it keeps rows of the table in one file, and says when they are synced.
//! - [`export`] writes the table as a file for other programs.
//!
//! The way of a change: [`Table::register`] takes it, [`Table::take_dirty`] gives the rows to store,
//! [`store::Writer::submit`] takes them, and the node is told only when the ticket of that batch is durable. A renewal
//! touches memory alone; its time goes with [`Table::take_seen`] into the store within a second.

pub mod export;
#[cfg(test)]
pub(crate) mod fixture;
mod row;
pub mod store;
mod table;

#[cfg(test)]
pub(crate) use row::decode as decode_row;
pub use row::{Interval, ROW_VERSION, RowError, Seen, StoredFormer, StoredNode};
pub use store::{Progress, StoreError, Writer};
pub(crate) use table::merge_seen;
pub use table::{
    Batch, Change, ClaimOutcome, CloneSighting, Counters, Filter, Forgotten, Imported, NodeRef,
    Outcome, Registration, RenewOutcome, Row, SEEN_EVERY, SeenPage, Settings, Table,
    UnverifiedClaim,
};
