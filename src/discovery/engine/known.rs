//! The servers that the engine knows: how one is added, which method is said to have found it, and
//! when it is dropped.

use std::net::SocketAddr;

use tracing::{debug, trace};

use super::{Engine, Event, To};
use crate::discovery::Method;
use crate::discovery::servers::{Due, Server};
use crate::model::{Lease, NodeId, Now, Record};
use crate::wire::v1::SignedRecord;

impl Engine {
    /// Processes the record of a server that an answer or announcement brought: adds the server if
    /// it is new, and follows it to another address if it does not answer at the known one.
    pub(super) fn on_server_record(
        &mut self,
        now: Now,
        from: SocketAddr,
        signed: &SignedRecord,
        found_by: Method,
    ) {
        if !self.registers() {
            trace!(
                node = ?signed.node,
                peer = %from,
                "not used as a server: this node does not register with any"
            );
            return;
        }
        match self.position_of(&signed.node) {
            Some(index) => self.follow_server(now, index, from, signed),
            None => self.add_server(now, from, signed, found_by),
        }
    }

    /// Moves a known server that does not answer to the address from which its record came.
    fn follow_server(&mut self, now: Now, index: usize, from: SocketAddr, signed: &SignedRecord) {
        let server = &self.servers[index];
        if server.address == from || !server.may_change_address() || server.held.is_none() {
            trace!(
                server = %server.name,
                address = %server.address,
                peer = %from,
                "the server is known, and its address stays"
            );
            return;
        }
        // A record that is older than one received before is a replay, and a record that is not
        // signed proves nothing.
        if self
            .verified_present(signed)
            .is_some_and(|record| record.order() >= server.order)
        {
            debug!(
                server = %server.name,
                old = %server.address,
                new = %from,
                "the server does not answer at its old address; using the new one"
            );
            self.servers[index].set_address(now, from);
        }
    }

    fn add_server(
        &mut self,
        now: Now,
        address: SocketAddr,
        signed: &SignedRecord,
        found_by: Method,
    ) {
        if self.servers.len() >= self.settings.max_servers {
            trace!(
                node = ?signed.node,
                peer = %address,
                limit = self.settings.max_servers,
                "not used as a server: the limit discovery.max_servers is reached"
            );
            return;
        }
        let Some(record) = self.verified_present(signed) else {
            return;
        };
        if !record.role.serves() {
            trace!(
                node = %record.name,
                peer = %address,
                "not used as a server: the node is a client"
            );
            return;
        }
        let key = match self.own.identity().renewal_key_with_server(&signed.node) {
            Ok(key) => key,
            Err(error) => {
                debug!(
                    server = %record.name,
                    %address,
                    %error,
                    "not used as a server: no renewal key can be derived from its node id"
                );
                return;
            }
        };
        debug!(
            server = %record.name,
            node = ?signed.node,
            %address,
            method = %found_by,
            "found a server; registering with it"
        );
        self.servers.push(Server::new(
            now,
            address,
            signed.node,
            record.name.clone(),
            found_by,
            record.order(),
            key,
        ));
        self.advance_servers(now);
    }

    /// Updates by which method a server was found: the best one that brought an answer from it, or
    /// an announcement (`unsolicited`), in whichever order they came.
    pub(super) fn note_method(&mut self, node: &NodeId, by: Method, unsolicited: bool) {
        let Some(index) = self.position_of(node) else {
            return;
        };
        let rank = |method| {
            self.settings
                .methods
                .iter()
                .position(|known| *known == method)
        };
        let server = &self.servers[index];
        let better = match (rank(by), rank(server.found_by)) {
            (Some(by), Some(before)) => by < before,
            // A method that this node does not use itself can only have come from an announcement.
            (Some(_), None) => server.unsolicited,
            // Addresses of the configuration are no method of the list, and come before all of it.
            (None, _) => !unsolicited,
        };
        if better {
            trace!(
                server = %server.name,
                method = %by,
                before = %server.found_by,
                "a better method finds this server, too"
            );
            let server = &mut self.servers[index];
            server.found_by = by;
            server.unsolicited = unsolicited;
        }
    }

    pub(super) fn position_of(&self, node: &NodeId) -> Option<usize> {
        self.servers.iter().position(|server| server.id == *node)
    }

    /// Verifies a record of another node.
    pub(super) fn verified(&self, signed: &SignedRecord) -> Option<Record> {
        if signed.node == self.own.id() {
            trace!("ignored a record: it is this node's own");
            return None;
        }
        match signed.verify(|key| self.settings.keys.contains(&key)) {
            Ok(record) => Some(record),
            Err(error) => {
                debug!(node = ?signed.node, %error, "ignored a record: it does not verify");
                None
            }
        }
    }

    /// Verifies a record of another node that is no goodbye: a goodbye's lease is zero.
    pub(super) fn verified_present(&self, signed: &SignedRecord) -> Option<Record> {
        self.verified(signed)
            .filter(|record| record.lease != Lease::ZERO)
    }

    pub(super) fn advance_servers(&mut self, now: Now) {
        let mut index = 0;
        while index < self.servers.len() {
            match self.servers[index].due(now, &mut self.own, &mut self.rng) {
                Some(Due::Send(message)) => {
                    self.send(To::One(self.servers[index].address), *message);
                    index += 1;
                }
                Some(Due::Lost) => self.drop_server(now, index, false),
                None => index += 1,
            }
        }
    }

    pub(super) fn drop_server(&mut self, now: Now, index: usize, goodbye: bool) {
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

    /// Whether any server holds this node's record.
    pub(super) fn connected(&self) -> bool {
        self.servers.iter().any(|server| server.held.is_some())
    }
}
