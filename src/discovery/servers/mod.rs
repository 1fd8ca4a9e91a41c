//! A server that this node registers with, and the state of that registration.
//!
//! [`Server`] decides when a register or renewal is sent, and interprets acknowledgements and
//! refusals. It is pure: the engine passes messages in and sends what [`Server::due`] gives.

mod reply;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, trace};

pub(super) use self::reply::Acknowledged;
use super::Method;
use super::own::OwnRecord;
use super::schedule::jittered;
use crate::model::{Lease, NodeId, NodeName, Now, Timestamp};
use crate::wire::identity::RenewalKey;
use crate::wire::v1::{Message, Refusal};

/// Pauses between tries of a register or renewal that brings no answer; the last one repeats.
///
/// There are several short ones: where one datagram in three is lost, more than half of all tries
/// fail.
const RETRY: [Duration; 10] = [
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(2),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// The maximum number of tries to register with a server that does not hold this node's record,
/// before the server is dropped.
const MAX_REGISTER_TRIES: usize = RETRY.len();

#[derive(Debug)]
pub struct Server {
    /// Where registers and renewals are sent.
    pub address: SocketAddr,
    pub id: NodeId,
    pub name: NodeName,
    /// The best method that found it.
    pub found_by: Method,
    /// Where a newer record of the server came from; it is tried when `address` does not answer.
    other_address: Option<SocketAddr>,
    /// Whether the server was found by an announcement alone, without a query.
    pub(super) unsolicited: bool,
    /// The order of the server's own newest record.
    pub(super) order: (u64, u64),
    /// The last acknowledgement, as long as its lease runs.
    pub held: Option<Held>,
    /// The last refusal, until the next acknowledgement.
    pub refusal: Option<Refusal>,
    key: RenewalKey,
    pending: Option<Pending>,
    tries: usize,
    next: Duration,
}

/// What a server acknowledged.
#[derive(Debug, Clone)]
pub struct Held {
    /// The sequence number of the full record that the server holds.
    pub(super) base: u64,
    /// The version of this node's own record that the server holds.
    version: u64,
    /// The lease that the server granted.
    pub lease: Lease,
    until: Duration,
    /// This node's address as the server saw it.
    pub seen: SocketAddr,
    /// When the last acknowledgement came, by this node's clock.
    pub acknowledged: Timestamp,
    /// The server's clock minus this node's, in milliseconds.
    pub clock_offset: i64,
    /// A number that stands for the set of files that the server offers.
    offers: Option<u64>,
}

/// The sequence numbers sent since the last acknowledgement; a register comes before its renewals.
#[derive(Debug, Clone, Copy)]
struct Pending {
    register: bool,
    version: u64,
    first: u64,
    last: u64,
}

/// What is due at a server.
pub(super) enum Due {
    /// This message is to be sent to it.
    Send(Box<Message>),
    /// The server is to be dropped.
    Lost,
}

impl Server {
    pub(super) fn new(
        now: Now,
        address: SocketAddr,
        id: NodeId,
        name: NodeName,
        found_by: Method,
        order: (u64, u64),
        key: RenewalKey,
    ) -> Self {
        Self {
            address,
            other_address: None,
            id,
            name,
            found_by,
            unsolicited: false,
            order,
            held: None,
            refusal: None,
            key,
            pending: None,
            tries: 0,
            next: now.elapsed,
        }
    }

    /// Whether another address of the server may replace the current one: nothing is held there, or
    /// it does not answer.
    pub(super) fn may_change_address(&self) -> bool {
        self.held.is_none() || self.tries > 1
    }

    /// Whether the server acknowledged the current version of the own record.
    pub fn has_current(&self, own: &OwnRecord) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.version == own.version())
    }

    pub(super) fn deadline(&self) -> Duration {
        self.next
    }

    /// Returns what is due, if anything.
    pub(super) fn due(
        &mut self,
        now: Now,
        own: &mut OwnRecord,
        rng: &mut fastrand::Rng,
    ) -> Option<Due> {
        if now.elapsed < self.next {
            return None;
        }
        if self.is_lost(now) {
            return Some(Due::Lost);
        }
        if self.tries > 1
            && let Some(address) = self.other_address.take()
        {
            debug!(
                server = %self.name,
                old = %self.address,
                new = %address,
                "the server does not answer at its old address; trying its newer one"
            );
            self.set_address(now, address);
        }
        let wait = RETRY[self.tries.min(RETRY.len() - 1)];
        self.tries += 1;
        self.next = now.elapsed + jittered(wait, rng);
        let (message, register, sequence) = self.next_message(own);
        if let Some(held) = &self.held {
            self.next = self.next.min(held.until.max(now.elapsed + RETRY[0]));
        }
        match &mut self.pending {
            Some(pending) if pending.register == register && pending.version == own.version() => {
                pending.last = sequence;
            }
            pending => {
                *pending = Some(Pending {
                    register,
                    version: own.version(),
                    first: sequence,
                    last: sequence,
                });
            }
        }
        trace!(
            server = %self.name,
            address = %self.address,
            attempt = self.tries,
            sequence,
            message = if register { "register" } else { "renewal" },
            next = ?self.next.saturating_sub(now.elapsed),
            "sending to a server"
        );
        Some(Due::Send(Box::new(message)))
    }

    fn is_lost(&self, now: Now) -> bool {
        match &self.held {
            Some(held) if now.elapsed >= held.until => {
                debug!(
                    server = %self.name,
                    address = %self.address,
                    attempts = self.tries,
                    lease = %held.lease,
                    "dropping a server: it acknowledged nothing for a whole lease"
                );
                true
            }
            // This drops a server that refused before, too: it does not answer any more.
            None if self.tries >= MAX_REGISTER_TRIES => {
                debug!(
                    server = %self.name,
                    address = %self.address,
                    attempts = self.tries,
                    "dropping a server: it answered no register"
                );
                true
            }
            _ => false,
        }
    }

    /// Creates a renewal if the server holds the current record, else a register. Returns the
    /// message, whether it is a register, and its sequence number.
    fn next_message(&self, own: &mut OwnRecord) -> (Message, bool, u64) {
        match &self.held {
            Some(held) if held.version == own.version() => {
                let renewal = own.renewal(held.base, &self.key, &self.id);
                let sequence = renewal.sequence;
                (Message::Renew(renewal), false, sequence)
            }
            _ => {
                let signed = own.for_registering().clone();
                (Message::Register(signed), true, own.record().sequence)
            }
        }
    }

    /// The sequence number of the last message that is pending.
    #[cfg(test)]
    pub(super) fn last_pending(&self) -> Option<u64> {
        self.pending.map(|pending| pending.last)
    }

    /// Whether a message with this sequence number is pending.
    pub(super) fn is_pending(&self, sequence: u64) -> bool {
        self.pending
            .is_some_and(|pending| pending.contains(sequence))
    }

    /// Checks at once whether the server still answers at its address. It is tried at
    /// `other_address` if two tries bring no answer.
    pub(super) fn check_address(&mut self, now: Now, other_address: SocketAddr) {
        debug!(
            server = %self.name,
            address = %self.address,
            other = %other_address,
            "a server announced itself from another address; checking the known one first"
        );
        self.other_address = Some(other_address);
        self.register_now(now);
    }

    /// Replaces an address at which the server does not answer.
    pub(super) fn set_address(&mut self, now: Now, address: SocketAddr) {
        self.address = address;
        self.other_address = None;
        self.next = now.elapsed;
        self.tries = 0;
    }

    /// Makes a register or renewal due now.
    pub(super) fn register_now(&mut self, now: Now) {
        self.next = now.elapsed;
        self.tries = 0;
        self.refusal = None;
    }
}

impl Pending {
    fn contains(&self, sequence: u64) -> bool {
        (self.first..=self.last).contains(&sequence)
    }
}
