//! The servers that a node registers with.

use std::net::SocketAddr;
use std::time::Duration;

use super::Method;
use super::own::{OwnRecord, renew_after};
use super::schedule::jittered;
use crate::model::{Lease, NodeId, NodeName, Now, Timestamp};
use crate::wire::identity::RenewalKey;
use crate::wire::v1::{Message, Refusal, Registered};

/// Between tries of a register or renewal that brought no answer; the last one stays.
///
/// Several of each length at first: where one datagram in three is lost, more than half of all tries bring nothing.
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
/// Tries to register with a server that never acknowledged anything, before it is forgotten.
const CANDIDATE_TRIES: usize = RETRY.len();
/// Until a refused register is tried again.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A server that answered, and how this node stands with it.
#[derive(Debug)]
pub struct Server {
    /// Where it is asked and registered with.
    pub address: SocketAddr,
    /// Who it is.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// The best method that brought it.
    pub found_by: Method,
    /// Where a newer record of its own came from, which is tried when `address` stays silent.
    elsewhere: Option<SocketAddr>,
    /// Whether it was heard without having been asked, and nothing better than that is known.
    pub(super) overheard: bool,
    /// The newest record of its own that was heard.
    pub(super) order: (u64, u64),
    /// What it acknowledged.
    pub held: Option<Held>,
    /// The last refusal, until the next acknowledgement.
    pub refusal: Option<Refusal>,
    key: RenewalKey,
    /// Sequence numbers sent since the last acknowledgement: register first, renewals after it.
    pending: Option<Pending>,
    tries: usize,
    next: Duration,
}

/// What a server acknowledged.
#[derive(Debug, Clone)]
pub struct Held {
    /// The sequence number of the full record it holds.
    pub(super) base: u64,
    /// The version of the own record that it holds.
    version: u64,
    /// The lease it granted.
    pub lease: Lease,
    until: Duration,
    /// This node's address as the server saw it.
    pub seen: SocketAddr,
    /// When it acknowledged last, by this node's clock.
    pub acknowledged: Timestamp,
    /// The server's clock less this node's, in milliseconds.
    pub clock_offset: i64,
    /// The mark of what it offers.
    offers: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    register: bool,
    version: u64,
    first: u64,
    last: u64,
}

/// How a node stands with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// A register is under way.
    Registering,
    /// The server holds the record.
    Registered,
    /// The server refused.
    Refused,
    /// The last renewals brought no answer; the lease still runs.
    Silent,
}

/// What became due.
pub(super) enum Due {
    /// Send this.
    Send(Box<Message>),
    /// The server is given up.
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
            elsewhere: None,
            id,
            name,
            found_by,
            overheard: false,
            order,
            held: None,
            refusal: None,
            key,
            pending: None,
            tries: 0,
            next: now.elapsed,
        }
    }

    /// How this node stands with the server.
    pub fn state(&self) -> ServerState {
        match (&self.held, &self.refusal) {
            (_, Some(_)) => ServerState::Refused,
            (Some(_), None) if self.tries > 1 => ServerState::Silent,
            (Some(_), None) => ServerState::Registered,
            (None, None) => ServerState::Registering,
        }
    }

    /// Whether the server can be reached at another address just as well.
    pub(super) fn wavers(&self) -> bool {
        self.held.is_none() || self.tries > 1
    }

    /// Whether it acknowledged what the own record says now.
    pub fn has_current(&self, own: &OwnRecord) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.version == own.version())
    }

    pub(super) fn deadline(&self) -> Duration {
        self.next
    }

    /// What is due, if anything.
    pub(super) fn due(
        &mut self,
        now: Now,
        own: &mut OwnRecord,
        rng: &mut fastrand::Rng,
    ) -> Option<Due> {
        if now.elapsed < self.next {
            return None;
        }
        let lost = match &self.held {
            Some(held) => now.elapsed >= held.until,
            // One that refused, too: it is not there any more.
            None => self.tries >= CANDIDATE_TRIES,
        };
        if lost {
            return Some(Due::Lost);
        }
        if let Some(address) = self.elsewhere.take_if(|_| self.tries > 1) {
            self.moved(now, address);
        }
        let wait = RETRY[self.tries.min(RETRY.len() - 1)];
        self.tries += 1;
        self.next = now.elapsed + jittered(wait, rng);
        let renews = self
            .held
            .as_ref()
            .filter(|held| held.version == own.version())
            .map(|held| held.base);
        let (message, register, sequence) = match renews {
            Some(base) => {
                let renewal = own.renewal(base, &self.key, &self.id);
                let sequence = renewal.sequence;
                (Message::Renew(renewal), false, sequence)
            }
            None => {
                let signed = own.for_registering().clone();
                (Message::Register(signed), true, own.record().sequence)
            }
        };
        if let Some(held) = &self.held {
            self.next = self.next.min(held.until.max(now.elapsed + RETRY[0]));
        }
        match &mut self.pending {
            Some(pending) if pending.register == register && pending.version == own.version() => {
                pending.last = sequence
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
        Some(Due::Send(Box::new(message)))
    }

    /// Takes an acknowledgement; whether it is the first of this server.
    pub(super) fn acknowledged(&mut self, now: Now, registered: &Registered) -> Acknowledged {
        let Registered {
            sequence,
            seen,
            lease,
            clock,
            offers,
        } = *registered;
        // No lease is none: taking it for one would begin a search at once, again and again.
        let awaited = |p: &Pending| (p.first..=p.last).contains(&sequence) && lease != Lease::ZERO;
        let Some(pending) = self.pending.filter(awaited) else {
            return Acknowledged::Stray;
        };
        self.pending = None;
        self.tries = 0;
        self.refusal = None;
        self.elsewhere = None;
        self.next = now.elapsed + renew_after(lease);
        let base = if pending.register {
            sequence
        } else {
            self.held.as_ref().map_or(0, |held| held.base)
        };
        let before = self.held.replace(Held {
            base,
            version: pending.version,
            lease,
            until: now.elapsed + lease.duration(),
            seen,
            acknowledged: now.wall,
            clock_offset: i64::try_from(clock.0).unwrap_or(i64::MAX)
                - i64::try_from(now.wall.0).unwrap_or(i64::MAX),
            offers,
        });
        match before {
            None => Acknowledged::First,
            Some(before) => Acknowledged::Again {
                elsewhere: before.seen != seen,
                newer_files: offers.is_some() && before.offers != offers,
            },
        }
    }

    /// The sequence number sent last, if it is under way.
    #[cfg(test)]
    pub(super) fn awaited(&self) -> Option<u64> {
        self.pending.map(|pending| pending.last)
    }

    /// Whether a refusal with this sequence number is about something under way.
    pub(super) fn awaits(&self, sequence: u64) -> bool {
        self.pending
            .is_some_and(|p| (p.first..=p.last).contains(&sequence))
    }

    /// Takes a refusal of something under way.
    pub(super) fn refused(&mut self, now: Now, refusal: Refusal, rng: &mut fastrand::Rng) {
        self.pending = None;
        self.tries = 0;
        self.next = now.elapsed
            + match &refusal {
                Refusal::UnknownRecord | Refusal::Outdated { .. } => Duration::ZERO,
                Refusal::Rate { wait } => jittered((*wait).clamp(RETRY[0], AFTER_REFUSAL), rng),
                _ => jittered(AFTER_REFUSAL, rng),
            };
        match refusal {
            Refusal::UnknownRecord | Refusal::Outdated { .. } => {
                // The server has no use for renewals of what it does not hold: the next try is a register. A server that
                // keeps saying so is tried at the pace of retries, not in a loop.
                self.tries = if self.held.is_none() {
                    RETRY.len() / 2
                } else {
                    0
                };
                if self.held.take().is_none() {
                    self.next += RETRY[0];
                }
            }
            refusal => self.refusal = Some(refusal),
        }
    }

    /// Asks at once whether it is still there, and goes elsewhere if two tries bring no answer.
    pub(super) fn doubt(&mut self, now: Now, elsewhere: SocketAddr) {
        self.elsewhere = Some(elsewhere);
        self.register_now(now);
    }

    /// Takes another address, as this one went silent.
    pub(super) fn moved(&mut self, now: Now, address: SocketAddr) {
        self.address = address;
        self.elsewhere = None;
        self.next = now.elapsed;
        self.tries = 0;
    }

    /// Registers or renews at once.
    pub(super) fn register_now(&mut self, now: Now) {
        self.next = now.elapsed;
        self.tries = 0;
        self.refusal = None;
    }
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Of nothing that is under way.
    Stray,
    /// The first of this server.
    First,
    /// One of many.
    Again {
        /// Whether the server sees this node at another address than before.
        elsewhere: bool,
        /// Whether the server offers something else than before.
        newer_files: bool,
    },
}
