//! What is heard of servers: answers, announcements, goodbyes, acknowledgements and refusals.

use std::net::SocketAddr;

use super::{Engine, Event, To};
use crate::discovery::Method;
use crate::discovery::servers::{Acknowledged, Due, Server};
use crate::model::{Lease, NodeId, Now, Record};
use crate::wire::v1::{Message, Refusal, Refused, Regarding, SignedRecord, Subject};

impl Engine {
    /// Takes a message for the asking side, and the way it came by; queries, registers and renewals are not for it.
    pub fn handle(&mut self, now: Now, from: SocketAddr, came_by: Method, message: &Message) {
        if self.stopped {
            return;
        }
        match message {
            Message::Answer(answer) => {
                let Some(query) = self.queries.iter().find(|query| query.id == answer.id) else {
                    return;
                };
                let found_by = query.method;
                if let Subject::Own { record, .. } = &answer.subject {
                    self.heard_server(now, from, record, found_by);
                    self.brought(&record.node, found_by, false);
                }
            }
            Message::Announcement(signed) => self.heard_announcement(now, from, came_by, signed),
            Message::Goodbye(signed) => self.heard_goodbye(now, signed),
            Message::Registered(registered) => {
                // A machine that was set up anew is two servers at one address for a while.
                let sequence = registered.sequence;
                let Some(server) = self
                    .servers
                    .iter_mut()
                    .find(|server| server.address == from && server.awaits(sequence))
                else {
                    return;
                };
                let (name, address, found_by) =
                    (server.name.clone(), server.address, server.found_by);
                match server.acknowledged(now, registered) {
                    Acknowledged::First => {
                        self.found(now);
                        self.event(Event::Registered {
                            server: name,
                            address,
                            found_by,
                            seen: registered.seen,
                        });
                    }
                    Acknowledged::Again {
                        elsewhere,
                        newer_files,
                    } => {
                        if elsewhere {
                            self.event(Event::SeenElsewhere {
                                server: name.clone(),
                                seen: registered.seen,
                            });
                        }
                        if newer_files {
                            self.event(Event::NewerFiles { server: name });
                        }
                    }
                    Acknowledged::Stray => {}
                }
            }
            Message::Refused(refused) => self.heard_refusal(now, from, refused),
            Message::Query(_) | Message::Register(_) | Message::Renew(_) | Message::Notice(_) => {}
        }
    }

    fn heard_server(
        &mut self,
        now: Now,
        from: SocketAddr,
        signed: &SignedRecord,
        found_by: Method,
    ) {
        if !self.registers() {
            return;
        }
        if let Some(index) = self
            .servers
            .iter()
            .position(|server| server.id == signed.node)
        {
            let server = &self.servers[index];
            // A record that is older than what was heard is played back, and what is not signed says nothing at all.
            if server.address != from
                && server.wavers()
                && server.held.is_some()
                && self
                    .verified_present(signed)
                    .is_some_and(|record| record.order() >= server.order)
            {
                self.servers[index].moved(now, from);
            }
            return;
        }
        let room = self.servers.len() < self.settings.max_servers;
        let Some(record) = self
            .verified_present(signed)
            .filter(|record| record.role.serves() && room)
        else {
            return;
        };
        let Ok(key) = self.own.identity().renewal_key_with_server(&signed.node) else {
            return;
        };
        self.servers.push(Server::new(
            now,
            from,
            signed.node,
            record.name.clone(),
            found_by,
            record.order(),
            key,
        ));
        self.advance_servers(now);
    }

    /// Notes how a server can be found: by the best method that brought an answer of it, or an announcement
    /// (`overheard`), whichever did so first.
    fn brought(&mut self, node: &NodeId, by: Method, overheard: bool) {
        let place = |method| {
            self.settings
                .methods
                .iter()
                .position(|known| *known == method)
        };
        let Some(server) = self.servers.iter_mut().find(|server| server.id == *node) else {
            return;
        };
        let better = match (place(by), place(server.found_by)) {
            (Some(by), Some(before)) => by < before,
            // A method that this node does not use itself can only have been overheard.
            (Some(_), None) => server.overheard,
            // The addresses that the configuration names are no method of the list, and come before all of it.
            (None, _) => !overheard,
        };
        if better {
            (server.found_by, server.overheard) = (by, overheard);
        }
    }

    fn heard_announcement(
        &mut self,
        now: Now,
        from: SocketAddr,
        came_by: Method,
        signed: &SignedRecord,
    ) {
        // Only servers matter here, and a known one is not verified again unless it says something new.
        let serves = |record: &Record| record.role.serves() && record.port != 0;
        let Some(record) = self.verified_present(signed).filter(serves) else {
            return;
        };
        let address = SocketAddr::new(from.ip(), record.port);
        let address = with_scope_of(address, from);
        match self
            .servers
            .iter_mut()
            .find(|server| server.id == signed.node)
        {
            Some(server) => {
                let restarted = record.epoch > server.order.0;
                if record.order() > server.order {
                    server.order = record.order();
                    server.name = record.name;
                    if server.address == address
                        || (restarted && server.address.ip() == address.ip())
                    {
                        if restarted {
                            server.register_now(now);
                        }
                    } else if server.wavers() {
                        server.moved(now, address);
                    } else {
                        // It moved, or has several addresses.
                        server.doubt(now, address);
                    }
                }
                self.brought(&signed.node, came_by, true);
            }
            None => {
                self.heard_server(now, address, signed, came_by);
                if let Some(server) = self
                    .servers
                    .last_mut()
                    .filter(|server| server.id == signed.node)
                {
                    server.overheard = true;
                }
            }
        }
    }

    fn heard_goodbye(&mut self, now: Now, signed: &SignedRecord) {
        let Some(index) = self
            .servers
            .iter()
            .position(|server| server.id == signed.node)
        else {
            return;
        };
        let Some(record) = self.verified(signed) else {
            return;
        };
        if record.order() > self.servers[index].order && record.lease == Lease::ZERO {
            self.lose(now, index, true);
        }
    }

    fn heard_refusal(&mut self, now: Now, from: SocketAddr, refused: &Refused) {
        match refused.regarding {
            Regarding::Query(id) => self.query_refused(now, from, id, &refused.refusal),
            Regarding::Sequence(sequence) => {
                let Some(server) = self
                    .servers
                    .iter_mut()
                    .find(|server| server.address == from && server.awaits(sequence))
                else {
                    return;
                };
                let name = server.name.clone();
                let told_before = server.refusal.as_ref() == Some(&refused.refusal);
                server.refused(now, refused.refusal.clone(), &mut self.rng);
                if let Refusal::Outdated { epoch, sequence } = refused.refusal
                    && self.own.overtake(epoch, sequence)
                {
                    self.event(Event::EpochRaised {
                        epoch: self.own.record().epoch,
                    });
                }
                if !told_before
                    && !matches!(
                        refused.refusal,
                        Refusal::UnknownRecord | Refusal::Outdated { .. }
                    )
                {
                    self.event(Event::Refused {
                        server: name,
                        refusal: refused.refusal.clone(),
                    });
                }
            }
        }
    }

    /// Verifies a record and leaves out this node's own.
    fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        if signed.node == self.own.id() {
            return None;
        }
        signed.verify(|key| self.settings.keys.contains(&key)).ok()
    }

    /// The same, but for goodbyes: a record with lease zero says that its node is there no more.
    fn verified_present(&self, signed: &SignedRecord) -> Option<Record> {
        self.verified(signed)
            .filter(|record| record.lease != Lease::ZERO)
    }

    pub(super) fn advance_servers(&mut self, now: Now) {
        let mut index = 0;
        while index < self.servers.len() {
            match self.servers[index].due(now, &mut self.own, &mut self.rng) {
                Some(Due::Send(message)) => {
                    let message = *message;
                    self.send(To::One(self.servers[index].address), message);
                    index += 1;
                }
                Some(Due::Lost) => self.lose(now, index, false),
                None => index += 1,
            }
        }
    }

    fn lose(&mut self, now: Now, index: usize, goodbye: bool) {
        let server = self.servers.remove(index);
        if server.held.is_some() || goodbye {
            self.event(Event::Lost {
                server: server.name,
                address: server.address,
                goodbye,
            });
        }
        if !self.connected() {
            self.search(now);
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.servers.iter().any(|server| server.held.is_some())
    }
}

/// An address with the zone of another one, where it needs one (RFC 4007 §6).
fn with_scope_of(address: SocketAddr, from: SocketAddr) -> SocketAddr {
    match (address, from) {
        (SocketAddr::V6(mut address), SocketAddr::V6(from)) => {
            address.set_scope_id(from.scope_id());
            SocketAddr::V6(address)
        }
        (address, _) => address,
    }
}
