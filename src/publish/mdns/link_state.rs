//! One interface on which multicast DNS is used.

use std::net::IpAddr;

use super::{Claim, ClaimState, CurrentState, Publication, Target};
use crate::model::{InterfaceName, Now};
use crate::net::mdns::{self, Link};
use crate::net::{Interface, InterfaceAddress, Policy};

pub(super) struct LinkState {
    pub(super) link: Link,
    pub(super) addresses: Vec<InterfaceAddress>,
    /// The addresses that may be announced on the link, best first.
    pub(super) announced: Vec<IpAddr>,
    /// LinkEventKind to publish once the name is held.
    pub(super) wanted: Option<Publication>,
    pub(super) current_state: CurrentState,
    /// `None` where the node's own record is not published.
    pub(super) claim: Option<Claim>,
    /// Raised to restart the link.
    pub(super) round: u32,
    /// Whether the kernel held the group memberships when the link last started.
    pub(super) grouped: bool,
    pub(super) failure: Option<String>,
}

impl LinkState {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            addresses: Vec::new(),
            announced: Vec::new(),
            wanted: None,
            current_state: CurrentState::Nothing,
            claim: None,
            round: 0,
            grouped: false,
            failure: None,
        }
    }

    pub(super) fn name(&self) -> InterfaceName {
        self.link.name()
    }

    pub(super) fn target(&self, index: u32) -> Target {
        Target::Mdns {
            index,
            interface: self.name(),
        }
    }

    /// Takes the interface as it is now; returns whether its addresses changed.
    pub(super) fn update(&mut self, interface: &Interface, policy: &Policy) -> bool {
        let before = std::mem::replace(&mut self.addresses, interface.addresses.clone());
        let kept = before.iter().filter(|address| self.has(address.ip)).count();
        self.announced = policy.on_link(interface);
        // No address is left: the interface is on another network (RFC 6762 §8).
        if kept == 0 && !before.is_empty() {
            self.ask_again();
        }
        kept != before.len() || kept != self.addresses.len()
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }

    /// Restarts the claim and the link: what was received before does not count any more.
    pub(super) fn ask_again(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.restart();
        }
        self.restart();
    }

    pub(super) fn restart(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.grouped = false;
        if self.wanted.is_some() {
            self.current_state = CurrentState::Unknown;
        }
        tracing::debug!(interface = %self.name(), "the mDNS link restarts");
    }

    pub(super) fn on_started(&mut self, now: Now, index: u32) {
        self.failure = None;
        self.grouped = mdns::kernel_holds_groups(index, &self.link.settings().addresses);
        if let Some(claim) = &mut self.claim {
            claim.on_link_started(now);
        }
        tracing::trace!(interface = %self.name(), grouped = self.grouped, "the mDNS link started");
    }

    pub(super) fn on_announced(&mut self) {
        let claim = self.claim.as_ref().map(Claim::state);
        let held = matches!(claim, Some(ClaimState::Held { .. }));
        if let (true, Some(publication)) = (held, &self.wanted) {
            let name = &publication.name;
            tracing::debug!(interface = %self.name(), %name, "the record is announced");
            self.current_state = CurrentState::This(publication.clone());
        }
    }

    /// The link receives nothing for now: nothing is announced before the name was queried again.
    pub(super) fn on_failed(&mut self, failure: String) {
        self.failure = Some(failure);
        self.current_state = CurrentState::Unknown;
        self.grouped = false;
        if let Some(claim) = &mut self.claim {
            claim.restart();
        }
    }

    /// Whether another responder of this host keeps an address from being announced.
    pub(super) fn is_partial(&self) -> bool {
        let claim = self.claim.as_ref().map(Claim::state);
        match (claim, &self.wanted) {
            (
                Some(ClaimState::Held {
                    responder: Some(responder),
                }),
                Some(publication),
            ) => publication.ips().any(|ip| !responder.contains(&ip)),
            _ => false,
        }
    }
}
