//! Sealed datagrams in and out: sockets, batches, key ring, counters and the clock that the parts above read.
//!
//! A datagram comes in through [`Traffic::open`], which drops what no peer of the channel sent and counts why; what goes
//! out is sealed into the send batch and leaves with [`Traffic::flush`]. Nothing here decides what is answered.

mod clock;
mod counters;
mod traffic;

pub(crate) use clock::Clock;
pub use counters::Counters;
pub use traffic::Via;
pub(crate) use traffic::{Received, Traffic, random_seed};
