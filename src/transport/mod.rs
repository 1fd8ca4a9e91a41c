//! Sealed datagrams in and out: sockets, batches, key ring, counters and the clock that the rooms above read.
//!
//! A datagram comes in through `Traffic::open`, which drops whatever no peer of the channel sent, and counts the reason.
//! A message goes out sealed into the send batch, and leaves with `Traffic::flush`. An answer carries the
//! [`ReturnPath`] of its request, which limits its length. Nothing here decides which requests are answered.

#![allow(
    missing_docs,
    reason = "a room of the program, not a library: names and types say what most fields are"
)]

mod clock;
mod counters;
mod nonces;
mod return_path;
mod traffic;

pub(crate) use clock::Clock;
pub use counters::Counters;
pub(crate) use nonces::random_seed;
pub use return_path::{ReturnPath, Via};
pub(crate) use traffic::{Received, Traffic};
