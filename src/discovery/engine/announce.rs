//! Telling everybody of this node's own record.

use std::time::Duration;

use super::{Engine, To};
use crate::discovery::Method;
use crate::model::{Address, Now};
use crate::wire::v1::{Message, SignedRecord};

/// Between announcements of changes; the last change always gets one.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// The second announcement of a start or a change, as multicast is lost easily.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Takes the addresses that the interfaces hold now; a change is announced and registered at once.
    pub fn set_addresses(&mut self, now: Now, addresses: Vec<Address>) -> bool {
        if self.stopped || !self.own.set_addresses(addresses) {
            return false;
        }
        self.content_changed(now);
        true
    }

    /// Says goodbye to everybody and to each server; nothing is sent afterwards. `None` if it was said before.
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

    fn content_changed(&mut self, now: Now) {
        let earliest = self
            .announced_at
            .map_or(now.elapsed, |at| (at + ANNOUNCE_EVERY).max(now.elapsed));
        self.announce_at = Some(self.announce_at.map_or(earliest, |at| at.min(earliest)));
        self.announce_repeats = 1;
        for server in &mut self.servers {
            server.register_now(now);
        }
        self.advance_servers(now);
    }

    pub(super) fn announce(&mut self, now: Now) {
        self.announced_at = Some(now.elapsed);
        self.announce_at = (self.announce_repeats > 0).then(|| now.elapsed + ANNOUNCE_AGAIN);
        self.announce_repeats = self.announce_repeats.saturating_sub(1);
        let announcement = Message::Announcement(self.own.signed().clone());
        for method in self.announcing_methods() {
            self.send(To::All(method), announcement.clone());
        }
    }

    /// Whoever listens by any of the methods shall hear it.
    fn announcing_methods(&self) -> Vec<Method> {
        self.settings
            .methods
            .iter()
            .copied()
            .filter(|m| matches!(m, Method::Multicast | Method::Broadcast))
            .collect()
    }
}
