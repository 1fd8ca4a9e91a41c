//! A node in the table, as look-ups return it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Table, now_ms};
use crate::model::{Lease, NodeId, NodeName, Now, Protocol, Record, State, Timestamp};
use crate::registry::row::{self, Interval};
use crate::wire::KeyId;
use crate::wire::v1::{Sighting, SignedRecord};

/// Another machine that uses a node's id and was refused lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneSighting {
    /// The source address of the machine whose records are accepted.
    pub source: SocketAddr,
    /// The source address of the machine that is refused.
    pub refused: SocketAddr,
    pub since: Timestamp,
}

#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    pub(super) table: &'a Table,
    pub(super) slot: u32,
}

impl<'a> NodeRef<'a> {
    pub fn id(&self) -> NodeId {
        self.table.hot(self.slot).id
    }

    /// The current name.
    pub fn name(&self) -> &'a NodeName {
        &self.table.cold(self.slot).name
    }

    /// Whether the name is bound to the node; if not, another node took it over.
    #[cfg(test)]
    pub(crate) fn is_bound(&self) -> bool {
        self.table.cold(self.slot).bound
    }

    /// Earlier names, oldest first, with the time at which the node took another one.
    pub fn former_names(&self) -> impl ExactSizeIterator<Item = (&'a NodeName, Timestamp)> {
        self.table
            .cold(self.slot)
            .former
            .iter()
            .map(|former| (&former.name, former.until))
    }

    /// The protocol by which the node is known. If it is a legacy protocol, the id is a stand-in
    /// and the record is empty.
    pub fn protocol(&self) -> Protocol {
        self.table.cold(self.slot).protocol
    }

    pub fn state(&self) -> State {
        self.table.hot(self.slot).presence.state()
    }

    /// The source address of the last message.
    pub fn source(&self) -> SocketAddr {
        self.table.hot(self.slot).source.address()
    }

    pub fn last_seen(&self) -> Timestamp {
        self.table.seen.entry(self.slot).last_seen
    }

    pub fn first_seen(&self) -> Timestamp {
        self.table.cold(self.slot).first_seen
    }

    /// The lease that was granted.
    pub fn lease(&self) -> Lease {
        self.table.hot(self.slot).lease
    }

    /// How long the lease still runs; zero if the node is absent.
    pub fn remaining(&self, now: Now) -> Duration {
        if !self.table.is_present(self.slot) {
            return Duration::ZERO;
        }
        let expires = self.table.hot(self.slot).expires;
        let left = expires.saturating_sub(now_ms(now));
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// The channel key that sealed the last register.
    pub fn key(&self) -> KeyId {
        self.table.cold(self.slot).key
    }

    /// The epoch and sequence number of the last message.
    pub fn order(&self) -> (u64, u64) {
        let hot = self.table.hot(self.slot);
        (hot.epoch, hot.sequence)
    }

    /// The newest full record; it is decoded at each call.
    #[expect(clippy::expect_used, reason = "the table encoded these bytes itself")]
    pub fn record(&self) -> Record {
        let cold = self.table.cold(self.slot);
        row::decode_detail(cold.signed.detail(), cold.name.clone())
            .expect("a record that the table encoded decodes")
    }

    /// The newest full record as the node signed it.
    pub fn signed(&self) -> SignedRecord {
        self.table.cold(self.slot).signed.signed(self.id())
    }

    pub fn sighting(&self) -> Sighting {
        Sighting {
            source: self.source(),
            last_seen: self.last_seen(),
            state: self.state(),
        }
    }

    /// The other machine, if two machines use this node id.
    pub fn clone_sighting(&self) -> Option<CloneSighting> {
        let clone_sighting = self.table.cold(self.slot).clone_sighting.as_ref()?;
        Some(CloneSighting {
            source: self.source(),
            refused: clone_sighting.source,
            since: clone_sighting.since,
        })
    }

    /// The addresses over time, oldest first.
    pub fn history(&self) -> impl ExactSizeIterator<Item = Interval> + use<'a> {
        self.table
            .cold(self.slot)
            .history
            .iter()
            .map(|span| span.interval())
    }
}

impl std::fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRef")
            .field("name", self.name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
