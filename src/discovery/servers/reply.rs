//! The replies of a server to registers and renewals: acknowledgements and refusals.

use std::time::Duration;

use tracing::{debug, trace};

use super::{Held, RETRY, Server};
use crate::discovery::explain_refusal;
use crate::discovery::own::renew_after;
use crate::discovery::schedule::jittered;
use crate::model::{Lease, Now, Timestamp};
use crate::wire::v1::{Refusal, Registered};

/// The pause after a refusal before the next register.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// The meaning of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::discovery) enum Acknowledged {
    /// Nothing that is pending was acknowledged.
    Unexpected,
    /// It is the first acknowledgement of this server.
    First,
    /// The server acknowledged before.
    Again {
        /// Whether the server sees this node at another address than before.
        seen_changed: bool,
        /// Whether the server offers other files than before.
        files_changed: bool,
    },
}

impl Held {
    /// What a server holds from an acknowledgement on.
    fn acknowledged(now: Now, registered: &Registered, base: u64, version: u64) -> Self {
        let milliseconds = |time: Timestamp| i64::try_from(time.0).unwrap_or(i64::MAX);
        Self {
            base,
            version,
            lease: registered.lease,
            until: now.elapsed + registered.lease.duration(),
            seen: registered.seen,
            acknowledged: now.wall,
            clock_offset: milliseconds(registered.clock) - milliseconds(now.wall),
            offers: registered.offers,
        }
    }
}

impl Server {
    pub(in crate::discovery) fn on_acknowledgement(
        &mut self,
        now: Now,
        registered: &Registered,
    ) -> Acknowledged {
        let Registered {
            sequence,
            seen,
            lease,
            ..
        } = *registered;
        // A lease of zero is no acknowledgement: it would end, and begin a search, at once, again
        // and again.
        let Some(pending) = self
            .pending
            .filter(|pending| pending.contains(sequence) && lease != Lease::ZERO)
        else {
            debug!(
                server = %self.name,
                sequence,
                %lease,
                "ignored an acknowledgement: nothing is pending, or its lease is zero"
            );
            return Acknowledged::Unexpected;
        };
        trace!(
            server = %self.name,
            address = %self.address,
            sequence,
            %lease,
            %seen,
            attempts = self.tries,
            "acknowledged"
        );
        self.pending = None;
        self.tries = 0;
        self.refusal = None;
        self.other_address = None;
        self.next = now.elapsed + renew_after(lease);
        let base = match &self.held {
            _ if pending.register => sequence,
            Some(held) => held.base,
            None => 0,
        };
        let held = Held::acknowledged(now, registered, base, pending.version);
        match self.held.replace(held) {
            None => Acknowledged::First,
            Some(before) => Acknowledged::Again {
                seen_changed: before.seen != seen,
                files_changed: registered.offers.is_some() && before.offers != registered.offers,
            },
        }
    }

    /// Processes a refusal of a pending message.
    pub(in crate::discovery) fn on_refusal(
        &mut self,
        now: Now,
        refusal: Refusal,
        rng: &mut fastrand::Rng,
    ) {
        self.pending = None;
        self.tries = 0;
        self.next = now.elapsed
            + match &refusal {
                Refusal::UnknownRecord | Refusal::Outdated { .. } => Duration::ZERO,
                Refusal::Rate { wait } => jittered((*wait).clamp(RETRY[0], AFTER_REFUSAL), rng),
                _ => jittered(AFTER_REFUSAL, rng),
            };
        let reason = explain_refusal(&refusal);
        match refusal {
            Refusal::UnknownRecord | Refusal::Outdated { .. } => {
                // The server does not hold the record that a renewal builds on, so the next try is
                // a register. A server that keeps refusing so is tried at the pace of retries, not
                // in a loop.
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
        debug!(
            server = %self.name,
            address = %self.address,
            reason,
            next = ?self.next.saturating_sub(now.elapsed),
            "a server refused a register or renewal"
        );
    }
}
