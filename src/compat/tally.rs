//! Counters and results of the legacy protocols, shared between their tasks and `status`.
//!
//! Tasks write, the event loop reads. All of it is bounded: counters have fixed names, and servers have a limit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Timestamp;

/// How many PyDiscover servers are stored.
const MAX_SERVERS: usize = 64;

/// Shared counters and results; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Counters by `protocol.name`.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// PyDiscover servers that answered.
    pub(super) servers: BTreeMap<SocketAddr, Server>,
    /// By target, why the last datagram could not be sent.
    pub(super) failures: BTreeMap<String, String>,
    /// Targets to which the last datagram was sent.
    pub(super) sent: BTreeSet<String>,
}

/// A PyDiscover server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Its pairs.
    pub(super) info: BTreeMap<String, String>,
    /// When it answered last.
    pub(super) last: Timestamp,
}

impl Tally {
    /// Adds one to a counter.
    pub(super) fn count(&self, name: &'static str) {
        *self.known().counts.entry(name).or_default() += 1;
    }

    /// Stores whether the last datagram to a target was sent. Returns whether that is news: the first failure, or its end.
    pub(super) fn set_result(&self, target: &str, result: Result<(), String>) -> bool {
        let mut known = self.known();
        match result {
            Ok(()) => {
                known.sent.insert(target.to_owned());
                known.failures.remove(target).is_some()
            }
            Err(reason) => {
                known.sent.remove(target);
                known.failures.insert(target.to_owned(), reason).is_none()
            }
        }
    }

    /// Stores a PyDiscover server. Returns whether the server is new, or its pairs changed. At the limit the server that
    /// answered longest ago is removed.
    pub(super) fn set_server(&self, address: SocketAddr, server: Server) -> bool {
        let mut known = self.known();
        if known.servers.len() >= MAX_SERVERS && !known.servers.contains_key(&address) {
            let oldest = known
                .servers
                .iter()
                .min_by_key(|(_, server)| server.last)
                .map(|(address, _)| *address);
            if let Some(address) = oldest {
                known.servers.remove(&address);
            }
        }
        let info = server.info.clone();
        known
            .servers
            .insert(address, server)
            .is_none_or(|before| before.info != info)
    }

    /// Locks the values; hold the guard only for a moment.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // A panic leaves no value half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_servers_are_limited_and_the_oldest_is_removed() {
        let tally = Tally::default();
        let server = |at: u32| Server {
            info: BTreeMap::new(),
            last: Timestamp(at.into()),
        };
        for index in 0..1000_u32 {
            let address = SocketAddr::from((std::net::Ipv4Addr::from_bits(index), 50000));
            assert!(tally.set_server(address, server(index)));
            assert!(!tally.set_server(address, server(index)));
        }
        let known = tally.known();
        assert_eq!(known.servers.len(), MAX_SERVERS);
        assert!(
            known
                .servers
                .values()
                .all(|server| server.last >= Timestamp(1000 - MAX_SERVERS as u64))
        );
    }

    #[test]
    fn failure_is_news_once_and_so_is_its_end() {
        let tally = Tally::default();
        let steps = [Err("no route"), Err("no route"), Ok(()), Ok(())];
        let news = steps.map(|step| tally.set_result("hub:28630", step.map_err(str::to_owned)));
        assert_eq!(news, [true, false, true, false]);
    }
}
