//! The messages that the engine receives from servers: answers, announcements, goodbyes,
//! acknowledgements, refusals.

use std::net::SocketAddr;

use tracing::{debug, trace};

use super::{Engine, Event};
use crate::discovery::servers::Acknowledged;
use crate::discovery::{Method, explain_refusal};
use crate::model::{Lease, Now, Record};
use crate::wire::v1::{
    Answer, Message, Refusal, Refused, Regarding, Registered, SignedRecord, Subject,
};

impl Engine {
    /// Processes an opened message and the method by which it was received. Queries, registers and
    /// renewals are for the answering side, and ignored here.
    pub fn handle(&mut self, now: Now, from: SocketAddr, received_by: Method, message: &Message) {
        if self.stopped {
            return;
        }
        match message {
            Message::Answer(answer) => self.on_answer(now, from, answer),
            Message::Announcement(signed) => self.on_announcement(now, from, received_by, signed),
            Message::Goodbye(signed) => self.on_goodbye(now, signed),
            Message::Registered(registered) => self.on_acknowledgement(now, from, registered),
            Message::Refused(refused) => self.on_refusal(now, from, refused),
            Message::Query(_) | Message::Register(_) | Message::Renew(_) | Message::Notice(_) => {}
        }
    }

    fn on_answer(&mut self, now: Now, from: SocketAddr, answer: &Answer) {
        let Some(query) = self.queries.iter().find(|query| query.id == answer.id) else {
            trace!(
                peer = %from,
                id = answer.id,
                "ignored an answer: no query with this id is outstanding"
            );
            return;
        };
        let found_by = query.method;
        if let Subject::Own { record, .. } = &answer.subject {
            trace!(
                peer = %from,
                node = ?record.node,
                method = %found_by,
                id = answer.id,
                "a node answered a query"
            );
            self.on_server_record(now, from, record, found_by);
            self.note_method(&record.node, found_by, false);
        }
    }

    fn on_acknowledgement(&mut self, now: Now, from: SocketAddr, registered: &Registered) {
        let Some(index) = self.position_of_pending(from, registered.sequence) else {
            trace!(
                peer = %from,
                sequence = registered.sequence,
                "ignored an acknowledgement: nothing is pending at a server of this address"
            );
            return;
        };
        let server = &mut self.servers[index];
        let name = server.name.clone();
        let address = server.address;
        let found_by = server.found_by;
        match server.on_acknowledgement(now, registered) {
            Acknowledged::First => {
                self.on_first_acknowledgement(now);
                self.event(Event::Registered {
                    server: name,
                    address,
                    found_by,
                    seen: registered.seen,
                });
            }
            Acknowledged::Again {
                seen_changed,
                files_changed,
            } => {
                if seen_changed {
                    self.event(Event::SeenElsewhere {
                        server: name.clone(),
                        seen: registered.seen,
                    });
                }
                if files_changed {
                    self.event(Event::NewerFiles { server: name });
                }
            }
            Acknowledged::Unexpected => {}
        }
    }

    fn on_announcement(
        &mut self,
        now: Now,
        from: SocketAddr,
        received_by: Method,
        signed: &SignedRecord,
    ) {
        let Some(record) = self.verified_present(signed) else {
            return;
        };
        if !record.role.serves() || record.port == 0 {
            trace!(
                node = %record.name,
                peer = %from,
                "ignored an announcement: the node is no server"
            );
            return;
        }
        let address = with_scope_of(SocketAddr::new(from.ip(), record.port), from);
        match self.position_of(&signed.node) {
            Some(index) => {
                self.on_known_server_announcement(now, index, address, record);
                self.note_method(&signed.node, received_by, true);
            }
            None => {
                self.on_server_record(now, address, signed, received_by);
                if let Some(index) = self.position_of(&signed.node) {
                    self.servers[index].unsolicited = true;
                }
            }
        }
    }

    /// Processes the announcement of a known server: a restart is registered with at once, and
    /// another address is followed once the known one does not answer.
    fn on_known_server_announcement(
        &mut self,
        now: Now,
        index: usize,
        address: SocketAddr,
        record: Record,
    ) {
        let server = &mut self.servers[index];
        if record.order() <= server.order {
            trace!(
                server = %server.name,
                peer = %address,
                "an announcement of a known server is not newer"
            );
            return;
        }
        let restarted = record.epoch > server.order.0;
        server.order = record.order();
        server.name = record.name;
        if server.address == address || (restarted && server.address.ip() == address.ip()) {
            if restarted {
                debug!(
                    server = %server.name,
                    address = %server.address,
                    "a server started again; registering with it"
                );
                server.register_now(now);
            }
        } else if server.may_change_address() {
            debug!(
                server = %server.name,
                old = %server.address,
                new = %address,
                "a server that does not answer announced another address; using that one"
            );
            server.set_address(now, address);
        } else {
            // The server moved, or has several addresses.
            server.check_address(now, address);
        }
    }

    fn on_goodbye(&mut self, now: Now, signed: &SignedRecord) {
        let Some(index) = self.position_of(&signed.node) else {
            return;
        };
        let Some(record) = self.verified(signed) else {
            return;
        };
        if record.order() > self.servers[index].order && record.lease == Lease::ZERO {
            debug!(server = %record.name, "dropping a server: it said goodbye");
            self.drop_server(now, index, true);
        } else {
            debug!(
                server = %record.name,
                "ignored a goodbye: it is older than the server's last record, or has a lease"
            );
        }
    }

    fn on_refusal(&mut self, now: Now, from: SocketAddr, refused: &Refused) {
        match refused.regarding {
            Regarding::Query(id) => self.on_query_refused(now, from, id, &refused.refusal),
            Regarding::Sequence(sequence) => {
                self.on_record_refused(now, from, sequence, &refused.refusal);
            }
        }
    }

    fn on_record_refused(&mut self, now: Now, from: SocketAddr, sequence: u64, refusal: &Refusal) {
        let Some(index) = self.position_of_pending(from, sequence) else {
            trace!(
                peer = %from,
                sequence,
                reason = explain_refusal(refusal),
                "ignored a refusal: nothing is pending at a server of this address"
            );
            return;
        };
        let server = &mut self.servers[index];
        let name = server.name.clone();
        let reported_before = server.refusal.as_ref() == Some(refusal);
        server.on_refusal(now, refusal.clone(), &mut self.rng);
        if let Refusal::Outdated { epoch, sequence } = *refusal
            && self.own.overtake(epoch, sequence)
        {
            self.event(Event::EpochRaised {
                epoch: self.own.record().epoch,
            });
        }
        let is_routine = matches!(refusal, Refusal::UnknownRecord | Refusal::Outdated { .. });
        if !reported_before && !is_routine {
            self.event(Event::Refused {
                server: name,
                refusal: refusal.clone(),
            });
        }
    }

    /// The server of an address at which a message with this sequence number is pending. A machine
    /// that was set up again is two servers at one address for a while, so the address alone is not
    /// enough.
    fn position_of_pending(&self, from: SocketAddr, sequence: u64) -> Option<usize> {
        self.servers
            .iter()
            .position(|server| server.address == from && server.is_pending(sequence))
    }
}

/// Gives an IPv6 address the zone of another one (RFC 4007 §6).
fn with_scope_of(address: SocketAddr, from: SocketAddr) -> SocketAddr {
    match (address, from) {
        (SocketAddr::V6(mut address), SocketAddr::V6(from)) => {
            address.set_scope_id(from.scope_id());
            SocketAddr::V6(address)
        }
        (address, _) => address,
    }
}
