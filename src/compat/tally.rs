//! What the ancestors' wires count and know, shared between their tasks and `status`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Timestamp;

/// PyDiscover servers that are remembered.
const SERVERS: usize = 64;

/// Shared counts and findings; a clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Known>>);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Counts by name, `wire.what`.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// PyDiscover servers that answered.
    pub(super) servers: BTreeMap<SocketAddr, Server>,
    /// By target, why the last datagram to it could not be sent.
    pub(super) failures: BTreeMap<String, String>,
    /// Targets to which the last datagram was sent.
    pub(super) told: BTreeSet<String>,
}

/// A PyDiscover server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Its key/values.
    pub(super) info: BTreeMap<String, String>,
    /// When it answered last.
    pub(super) last: Timestamp,
}

impl Tally {
    /// Counts one.
    pub(super) fn count(&self, what: &'static str) {
        *self.known().counts.entry(what).or_default() += 1;
    }

    /// Notes whether a target could be sent to; whether that is news.
    pub(super) fn sent(&self, target: &str, result: Result<(), String>) -> bool {
        let mut known = self.known();
        match result {
            Ok(()) => {
                known.told.insert(target.to_owned());
                known.failures.remove(target).is_some()
            }
            Err(reason) => {
                known.told.remove(target);
                known.failures.insert(target.to_owned(), reason).is_none()
            }
        }
    }

    /// Notes a PyDiscover server; whether it is new or tells something else than before.
    pub(super) fn server(&self, address: SocketAddr, server: Server) -> bool {
        let mut known = self.known();
        if known.servers.len() >= SERVERS && !known.servers.contains_key(&address) {
            let oldest = known
                .servers
                .iter()
                .min_by_key(|(_, server)| server.last)
                .map(|(address, _)| *address);
            oldest.map(|address| known.servers.remove(&address));
        }
        let info = server.info.clone();
        known
            .servers
            .insert(address, server)
            .is_none_or(|before| before.info != info)
    }

    /// What is known so far. Held for a moment only.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // A count that a panic left half-done is still a count.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_remembered_are_limited_and_the_oldest_goes() {
        let tally = Tally::default();
        let server = |at: u32| Server {
            info: BTreeMap::new(),
            last: Timestamp(at.into()),
        };
        for index in 0..1000_u32 {
            let address = SocketAddr::from((std::net::Ipv4Addr::from_bits(index), 50000));
            assert!(tally.server(address, server(index)));
            assert!(!tally.server(address, server(index)));
        }
        let known = tally.known();
        assert_eq!(known.servers.len(), SERVERS);
        assert!(
            known
                .servers
                .values()
                .all(|server| server.last >= Timestamp(1000 - SERVERS as u64))
        );
    }

    #[test]
    fn failure_is_news_once_and_so_is_its_end() {
        let tally = Tally::default();
        let steps = [Err("no route"), Err("no route"), Ok(()), Ok(())];
        let news = steps.map(|step| tally.sent("hub:28630", step.map_err(str::to_owned)));
        assert_eq!(news, [true, false, true, false]);
    }
}
