//! The registry of a server: a durable set of records with their history.
//!
//! - [`Table`] answers look-ups: it holds all records, name bindings and history intervals in
//!   memory. It is pure.
//! - [`store`] makes the table durable: it keeps rows in one file, and reports when they are
//!   synced.
//! - [`export`] writes the table as a file for other programs.
//!
//! A change takes this path: [`Table::register`] accepts it, [`Table::take_dirty`] gives the rows
//! to store, and [`store::Writer::submit`] takes them. The node gets its acknowledgement only when
//! the ticket of that batch is durable. A renewal changes memory alone; [`Table::take_seen`] passes
//! its time to the store within a second.

#![allow(
    missing_docs,
    reason = "only this program uses these types; comments are for what a name does not say"
)]

pub mod export;
#[cfg(test)]
pub(crate) mod fixture;
mod row;
pub mod store;
mod table;

#[cfg(test)]
pub(crate) use row::decode as decode_row;
pub use row::{Interval, ROW_VERSION, RowError, StoredFormer, StoredNode};
pub use store::{Progress, StoreError, Writer};
pub(crate) use table::merge_seen;
pub use table::{
    Batch, Change, ClaimOutcome, CloneSighting, Counters, Filter, Forgotten, Imported, NodeRef,
    Outcome, Registration, RenewOutcome, Row, SEEN_EVERY, SeenPage, Settings, Table,
    UnverifiedClaim,
};
