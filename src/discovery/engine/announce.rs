//! Announcing this node's own record, and its goodbye.

use std::time::Duration;

use tracing::{debug, trace};

use super::{Engine, To};
use crate::discovery::Method;
use crate::model::{Address, Now};
use crate::wire::v1::{Message, SignedRecord};

/// The shortest pause between announcements of changes; the last change always gets one.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before an announcement is repeated: multicast datagrams are lost easily.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

impl Engine {
    /// Replaces this node's addresses by those that the interfaces hold now. A change is announced,
    /// and registered at once. Returns whether the record changed.
    pub fn set_addresses(&mut self, now: Now, addresses: Vec<Address>) -> bool {
        if self.stopped || !self.own.set_addresses(addresses) {
            return false;
        }
        debug!(
            addresses = self.own.record().addresses.len(),
            version = self.own.version(),
            "this node's addresses changed; announcing and registering them"
        );
        self.on_own_change(now);
        true
    }

    /// Says goodbye to all nodes and to each server; nothing is sent afterwards. Returns `None` if
    /// it was called before.
    pub fn stop(&mut self) -> Option<SignedRecord> {
        if std::mem::replace(&mut self.stopped, true) {
            return None;
        }
        self.browse(false);
        let signed = self.own.goodbye();
        let goodbye = Message::Goodbye(signed.clone());
        for method in self.announcing_methods() {
            self.send(To::All(method), goodbye.clone());
        }
        for index in 0..self.servers.len() {
            self.send(To::One(self.servers[index].address), goodbye.clone());
        }
        Some(signed)
    }

    fn on_own_change(&mut self, now: Now) {
        let earliest = self
            .announced_at
            .map_or(now.elapsed, |at| (at + MIN_INTERVAL).max(now.elapsed));
        self.announce_at = Some(self.announce_at.map_or(earliest, |at| at.min(earliest)));
        self.announce_repeats = 1;
        for server in &mut self.servers {
            server.register_now(now);
        }
        self.advance_servers(now);
    }

    pub(super) fn announce(&mut self, now: Now) {
        self.announced_at = Some(now.elapsed);
        self.announce_at = (self.announce_repeats > 0).then(|| now.elapsed + REPEAT_AFTER);
        self.announce_repeats = self.announce_repeats.saturating_sub(1);
        let announcement = Message::Announcement(self.own.signed().clone());
        for method in self.announcing_methods() {
            trace!(%method, "announcing this node's record");
            self.send(To::All(method), announcement.clone());
        }
    }

    /// All methods that reach nodes with unknown addresses: nodes that listen by any of them
    /// receive the message.
    fn announcing_methods(&self) -> Vec<Method> {
        self.settings
            .methods
            .iter()
            .copied()
            .filter(|method| matches!(method, Method::Multicast | Method::Broadcast))
            .collect()
    }
}
