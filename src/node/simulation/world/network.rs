//! Events and outputs: how datagrams, batches and look-ups travel through the world.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Event, Host, PORT, World};
use crate::discovery::{Method, To};
use crate::node::{Core, Datagram, Output};
use crate::transport::{ReturnPath, Via};
use crate::wire::seal;
use crate::wire::v1::{Message, Refusal};

impl World {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Datagram { to, from, bytes } => self.on_datagram(to, from, bytes),
            Event::Synced {
                host,
                incarnation,
                ticket,
            } => self.on_synced(host, incarnation, ticket),
            Event::Resolved {
                host,
                incarnation,
                configured,
            } => self.on_resolved(host, incarnation, configured),
            Event::Browsed { host, incarnation } => self.on_browsed(host, incarnation),
        }
    }

    fn on_datagram(&mut self, to: usize, from: SocketAddr, mut bytes: Vec<u8>) {
        let now = self.now(to);
        let length = bytes.len();
        let Some(core) = &mut self.hosts[to].core else {
            return;
        };
        self.stats.delivered += 1;
        let opened = seal::open(&self.key_ring, &mut bytes).unwrap();
        let message = Message::decode(opened.payload).unwrap();
        let via = Via {
            local: None,
            interface: 1,
        };
        let datagram = Datagram {
            path: ReturnPath::new(from, via, length),
            received_by: Method::Multicast,
            key: opened.key,
            nonce: &opened.nonce,
        };
        core.handle(now, datagram, &message);
        core.store();
        self.drain_outputs(to);
    }

    fn on_synced(&mut self, host: usize, incarnation: u32, ticket: u64) {
        let now = self.now(host);
        let state = &mut self.hosts[host];
        if state.incarnation != incarnation {
            return;
        }
        while state
            .unsynced
            .front()
            .is_some_and(|(waiting, _)| *waiting <= ticket)
        {
            if let Some((_, batch)) = state.unsynced.pop_front() {
                state.disk.apply(batch);
            }
        }
        if let Some(core) = &mut state.core {
            core.durable(now, ticket);
        }
        self.drain_outputs(host);
    }

    fn on_resolved(&mut self, host: usize, incarnation: u32, configured: usize) {
        let now = self.now(host);
        if self.hosts[host].incarnation != incarnation {
            return;
        }
        let address = self.hosts[self.hosts[host].configured[configured]].address;
        if let Some(core) = &mut self.hosts[host].core {
            core.resolved(now, configured, vec![address]);
        }
        self.drain_outputs(host);
    }

    /// Shows a browsing host all running servers on its link, along with an address that no host has.
    fn on_browsed(&mut self, host: usize, incarnation: u32) {
        let now = self.now(host);
        if self.hosts[host].incarnation != incarnation || !self.hosts[host].browsing {
            return;
        }
        self.stats.browsed += 1;
        let (link, part) = (self.hosts[host].link, self.hosts[host].part);
        let shown = |other: &&Host| {
            other.link == link && other.part == part && other.core.is_some() && other.role.serves()
        };
        let mut addresses: Vec<_> = self
            .hosts
            .iter()
            .filter(shown)
            .map(|other| other.address)
            .collect();
        addresses.insert(
            0,
            SocketAddr::new(Ipv4Addr::new(10, 0, 0, 250).into(), PORT),
        );
        if let Some(core) = &mut self.hosts[host].core {
            addresses
                .into_iter()
                .for_each(|address| core.candidate(now, address));
        }
        self.drain_outputs(host);
        self.schedule(Duration::from_secs(2), Event::Browsed { host, incarnation });
    }

    /// Does everything that a core asks for.
    pub(super) fn drain_outputs(&mut self, index: usize) {
        while let Some(output) = self.hosts[index].core.as_mut().and_then(Core::output) {
            self.on_output(index, output);
        }
    }

    fn on_output(&mut self, index: usize, output: Output) {
        let incarnation = self.hosts[index].incarnation;
        match output {
            Output::Reply { path, message } => self.reply(index, path, &message),
            Output::Send {
                to: To::One(to),
                message,
            } => {
                let bytes = self.seal(&message);
                self.transmit(index, to, &bytes);
            }
            Output::Send {
                to: To::All(_),
                message,
            } => self.send_to_all(index, &message),
            Output::Resolve { configured } => {
                let delay = Duration::from_millis(self.rng.u64(1..20));
                let event = Event::Resolved {
                    host: index,
                    incarnation,
                    configured,
                };
                self.schedule(delay, event);
            }
            Output::Browse { on } => {
                self.hosts[index].browsing = on;
                if on {
                    let delay = Duration::from_millis(self.rng.u64(50..1500));
                    let event = Event::Browsed {
                        host: index,
                        incarnation,
                    };
                    self.schedule(delay, event);
                }
            }
            Output::Store { ticket, batch } => {
                assert!(!batch.is_empty(), "an empty batch has no ticket of its own");
                self.hosts[index].unsynced.push_back((ticket, batch));
                let delay = Duration::from_millis(self.rng.u64(1..30));
                let event = Event::Synced {
                    host: index,
                    incarnation,
                    ticket,
                };
                self.schedule(delay, event);
            }
            Output::Event(_) | Output::Notice { .. } => {}
        }
    }

    fn reply(&mut self, index: usize, path: ReturnPath, message: &Message) {
        let bytes = self.seal(message);
        assert!(
            bytes.len() <= path.limit(),
            "a {} of {} bytes is longer than {} bytes",
            message.kind(),
            bytes.len(),
            path.limit()
        );
        if let Message::Registered(registered) = message {
            self.stats.acknowledged += 1;
            self.check_acknowledged(index, path.to, registered.sequence);
        }
        if let Message::Refused(refused) = message
            && matches!(refused.refusal, Refusal::Clock { .. })
        {
            self.stats.refused_clocks += 1;
        }
        self.transmit(index, path.to, &bytes);
    }

    fn send_to_all(&mut self, index: usize, message: &Message) {
        if !self.groups {
            self.stats.cut += 1;
            return;
        }
        let bytes = self.seal(message);
        for to in 0..self.hosts.len() {
            // A host's own multicast comes back, as it does on a real network.
            if self.hosts[to].link == self.hosts[index].link {
                self.transmit(index, self.hosts[to].address, &bytes);
            }
        }
    }

    fn seal(&mut self, message: &Message) -> Vec<u8> {
        let nonce = std::array::from_fn(|_| self.rng.u8(..));
        let mut out = vec![0; seal::MAX_DATAGRAM];
        let length = message
            .seal(self.key_ring.first(), &nonce, &mut out)
            .unwrap();
        out.truncate(length);
        out
    }

    fn transmit(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        let Some(target) = self.hosts.iter().position(|host| host.address == to) else {
            return;
        };
        if self.hosts[target].part != self.hosts[from].part {
            self.stats.cut += 1;
            return;
        }
        if self.rng.f64() < self.faults.loss {
            self.stats.lost += 1;
            return;
        }
        let copies = if self.rng.f64() < self.faults.duplicates {
            2
        } else {
            1
        };
        self.stats.duplicated += copies - 1;
        for _ in 0..copies {
            let delay = Duration::from_micros(200) + self.faults.delay.mul_f64(self.rng.f64());
            let from = self.hosts[from].address;
            self.schedule(
                delay,
                Event::Datagram {
                    to: target,
                    from,
                    bytes: bytes.to_vec(),
                },
            );
        }
    }
}
