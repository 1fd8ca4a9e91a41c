//! Multicast DNS as a node uses it: it announces a server, publishes the node's record, and
//! browses.
//!
//! In go the interfaces, the changes of the plan ([`crate::publish::plan()`]) and the events of the
//! links. Out come a [`LinkSettings`] for each link, addresses that may be servers, and the publications
//! for `status`. There is one link per used interface.
//!
//! - [`Mdns`] owns the links and handles their events.
//! - [`link_state`] is one interface: its addresses, its claim to the name, and what it publishes.
//! - [`service`] decides which service a link announces.
//! - [`host_addresses`] distinguishes addresses of this host from those of other hosts.
//! - [`report`] describes the publications for `status`.
//! - [`browse`] finds servers.
//!
//! A server that publishes nothing announces itself under an opaque name, so that clients whose
//! queries do not reach it find its address. Nothing that a link receives is trusted: a browsed
//! address is only ever queried, and only if it lies on the link where it was found.

mod browse;
mod host_addresses;
mod link_state;
mod report;
mod service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{
    AddressOwner, Change, Claim, ClaimEvent, ClaimState, CurrentState, Publication, Target,
    host_label,
};
use crate::model::{InterfaceName, NodeName, Now, Role};
use crate::net::mdns::{
    self, FoundService, Link, LinkEvent, LinkEventKind, LinkSettings, MAX_LINKS,
};
use crate::net::{Interface, Policy};
use crate::transport::random_seed;
use host_addresses::HostAddresses;
use link_state::LinkState;

pub(crate) use browse::{Browser, next_candidates};

/// Events of links that wait to be handled; further events are dropped.
const EVENT_QUEUE: usize = 256;

/// LinkEventKind this node does by multicast DNS.
#[derive(Debug, Clone)]
pub(crate) struct MdnsSettings {
    /// The service type.
    pub(crate) service: Box<str>,
    pub(crate) name: NodeName,
    pub(crate) port: u16,
    pub(crate) role: Role,
    /// Whether the node's own record is published.
    pub(crate) publishes: bool,
    /// Whether this is a server that announces itself even if it is not published.
    pub(crate) advertises: bool,
    /// Whether a server that is not published announces no name of its own.
    pub(crate) hidden: bool,
}

impl MdnsSettings {
    /// `NAME.local`.
    fn host_name(&self) -> String {
        format!("{}.local", host_label(&self.name))
    }
}

/// All links of a node.
pub(crate) struct Mdns {
    settings: MdnsSettings,
    /// The name of the node where its own name is not announced; random at every start.
    opaque: Box<str>,
    links: BTreeMap<u32, LinkState>,
    browsing: bool,
    host_addresses: HostAddresses,
    floods: u64,
    events: mpsc::Sender<LinkEvent>,
}

impl Mdns {
    /// Announces nothing yet; the events of the links come out of the receiver.
    pub(crate) fn new(settings: MdnsSettings) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let mdns = Self {
            settings,
            opaque: format!("{:016x}", random_seed()).into(),
            links: BTreeMap::new(),
            browsing: false,
            host_addresses: HostAddresses::default(),
            floods: 0,
            events,
        };
        (mdns, receiver)
    }

    /// LinkEventKind each link publishes.
    pub(crate) fn current_state(&self) -> impl Iterator<Item = (Target, CurrentState)> {
        self.links
            .iter()
            .map(|(index, link)| (link.target(*index), link.current_state.clone()))
    }

    /// Takes the interfaces as they are now: one link for each of [`links`].
    pub(crate) fn update(&mut self, now: Now, interfaces: &[Interface], policy: &Policy) {
        self.host_addresses.update(now, interfaces);
        let used = links(interfaces, policy);
        let before = self.links.len();
        // A link that is dropped sends its goodbye by itself, if the interface still works.
        self.links.retain(|index, link| {
            used.iter()
                .any(|interface| interface.index == *index && interface.name == link.name())
        });
        let mut changed = self.links.len() != before;
        for interface in &used {
            let link = self.links.entry(interface.index).or_insert_with(|| {
                tracing::debug!(interface = %interface.name, "multicast DNS is used");
                LinkState::new(Link::start(interface, self.events.clone()))
            });
            changed |= link.update(interface, policy);
            if self.settings.publishes && link.claim.is_none() {
                link.claim = Some(Claim::new(random_seed()));
            }
        }
        if changed {
            self.recheck_responders();
        }
    }

    /// Queries again where another responder of this host has the name, because its addresses may
    /// have changed too.
    fn recheck_responders(&mut self) {
        for link in self.links.values_mut() {
            if link.claim.as_mut().is_some_and(Claim::recheck_responder) {
                link.restart();
            }
        }
    }

    /// Takes a change of the plan; [`Mdns::follow`] carries it out.
    pub(crate) fn publish(&mut self, target: Target, change: Change) {
        let Target::Mdns { index, .. } = target else {
            return;
        };
        // A link that no longer exists publishes nothing any more.
        let link = self.links.get_mut(&index);
        let Some(link) = link.filter(|link| link.target(index) == target) else {
            return;
        };
        link.wanted = change.into_wanted();
        // A publication is current once the link reports that it is announced.
        link.current_state = if link.wanted.is_some() {
            CurrentState::Unknown
        } else {
            CurrentState::Nothing
        };
    }

    /// Queries, probes and announces again on every link, as after sleep (RFC 6762 §8).
    pub(crate) fn restart(&mut self) {
        self.links.values_mut().for_each(LinkState::ask_again);
        self.follow();
    }

    /// Restarts the links whose group memberships the kernel has dropped; returns their number.
    pub(crate) fn rejoin_lost(&mut self) -> usize {
        let mut lost = 0;
        for (index, link) in &mut self.links {
            if link.grouped && !mdns::kernel_holds_groups(*index, &link.link.settings().addresses) {
                link.restart();
                lost += 1;
            }
        }
        if lost > 0 {
            self.follow();
        }
        lost
    }

    /// Starts or stops to browse.
    pub(crate) fn browse(&mut self, on: bool) {
        self.browsing = on;
        self.follow();
    }

    /// Why browsing does not work on any link; `None` if it works on one.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.links.is_empty() {
            return Some("no used interface can carry multicast DNS".to_owned());
        }
        let failures: Option<Vec<_>> = self.links.values().map(|l| l.failure.as_ref()).collect();
        let first = *failures?.first()?;
        Some(format!("failed to {first}"))
    }

    /// The interfaces on which multicast DNS is used now.
    pub(crate) fn active_interfaces(&self) -> impl Iterator<Item = InterfaceName> {
        self.links
            .values()
            .filter(|link| link.failure.is_none() && !link.link.settings().is_idle())
            .map(LinkState::name)
    }

    /// How often a link was flooded with foreign records.
    pub(crate) fn floods(&self) -> u64 {
        self.floods
    }

    /// Handles an event of a link; returns addresses that may be servers.
    pub(crate) fn on_event(&mut self, now: Now, event: LinkEvent) -> Vec<SocketAddr> {
        let LinkEvent {
            interface: index,
            what,
        } = event;
        let Some(link) = self.links.get_mut(&index) else {
            return Vec::new();
        };
        let claim_event = match what {
            LinkEventKind::Started => {
                link.on_started(now, index);
                None
            }
            LinkEventKind::Found(found) => return self.on_found(index, &found),
            LinkEventKind::Host(answered) => {
                let owner = |ip| self.host_addresses.owner(now, ip, index, &self.links);
                // The owners are looked up in all links, so before one of them is changed.
                let owners: BTreeMap<_, _> = answered.iter().map(|ip| (*ip, owner(*ip))).collect();
                let owner = |ip| owners.get(&ip).copied().unwrap_or(AddressOwner::OtherHost);
                let claim = self.links.get_mut(&index).and_then(|l| l.claim.as_mut());
                claim.and_then(|claim| claim.on_answers(now, &answered, owner))
            }
            LinkEventKind::Removed(addresses) => {
                let claim = link.claim.as_mut();
                claim.and_then(|claim| claim.on_expired(&addresses))
            }
            LinkEventKind::Announced => {
                link.on_announced();
                None
            }
            LinkEventKind::Renamed { from } => {
                let interface = link.name();
                tracing::debug!(%interface, name = %from, "a probe found the name in use");
                link.claim.as_mut().and_then(Claim::on_probe_conflict)
            }
            LinkEventKind::Flooded { rest, again } => {
                self.on_flooded(index, rest, again);
                None
            }
            LinkEventKind::Failed(error) => {
                let interface = link.name();
                tracing::warn!(%interface, "failed to {error}; trying again every 10 s");
                link.on_failed(error);
                self.follow();
                None
            }
        };
        if let Some(event) = claim_event {
            self.on_claim_event(index, event);
        }
        Vec::new()
    }

    /// Returns the addresses of a found service that may be a server's, without this node's own.
    fn on_found(&self, index: u32, found: &FoundService) -> Vec<SocketAddr> {
        let Some(link) = self.links.get(&index) else {
            return Vec::new();
        };
        if !self.browsing || found.name.contains(&*self.opaque) {
            return Vec::new();
        }
        let mut candidates = browse::candidates(found, &link.addresses, index);
        candidates.retain(|address| {
            address.port() != self.settings.port || !self.host_addresses.contains(address.ip())
        });
        tracing::debug!(
            interface = %link.name(),
            name = %found.name,
            ?candidates,
            "a service was found"
        );
        candidates
    }

    fn on_flooded(&mut self, index: u32, rest: Duration, again: bool) {
        self.floods += 1;
        let Some(link) = self.links.get_mut(&index) else {
            return;
        };
        let interface = link.name();
        let seconds = rest.as_secs();
        if again {
            tracing::debug!(
                %interface,
                "still flooded with foreign mDNS records: restarting in {seconds} s"
            );
        } else {
            tracing::warn!(
                %interface,
                "flooded with foreign mDNS records: restarting without them in {seconds} s, and later each time while \
                 the flood lasts"
            );
        }
        link.on_failed(format!(
            "use multicast DNS during a flood of foreign records: trying again in {seconds} s"
        ));
        self.follow();
    }

    fn on_claim_event(&mut self, index: u32, event: ClaimEvent) {
        let Some(link) = self.links.get_mut(&index) else {
            return;
        };
        let interface = link.name();
        let name = self.settings.host_name();
        match event {
            ClaimEvent::Won {
                after_conflict: false,
            } => tracing::debug!(%interface, %name, "no other host has the name"),
            ClaimEvent::Won {
                after_conflict: true,
            } => tracing::info!(%interface, "{name} is free again: publishing it"),
            ClaimEvent::Lost(addresses) => {
                // The record is still wanted here; it is published once the claim is won again.
                link.current_state = CurrentState::Unknown;
                tracing::warn!(%interface, "{}", report::conflict(&name, &addresses));
            }
            ClaimEvent::Restart => link.restart(),
        }
        self.follow();
    }

    /// When [`Mdns::advance`] has to be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.links
            .values()
            .filter_map(|link| link.claim.as_ref()?.deadline())
            .min()
    }

    /// Does what is due.
    pub(crate) fn advance(&mut self, now: Now) {
        let due = self.links.iter_mut().filter_map(|(index, link)| {
            let partial = link.is_partial();
            let event = link.claim.as_mut()?.advance(now, partial)?;
            Some((*index, event))
        });
        for (index, event) in due.collect::<Vec<_>>() {
            self.on_claim_event(index, event);
        }
    }

    /// Sends a goodbye on every link.
    pub(crate) async fn stop(&mut self) {
        let mut stopping = tokio::task::JoinSet::new();
        for (_, link) in std::mem::take(&mut self.links) {
            stopping.spawn(link.link.stop());
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// The interfaces that multicast DNS is used on: those that the policy uses and that carry
/// multicast.
pub(crate) fn links(interfaces: &[Interface], policy: &Policy) -> Vec<Interface> {
    policy
        .used(interfaces)
        .into_iter()
        .filter(|interface| interface.multicast)
        .take(MAX_LINKS)
        .collect()
}

#[cfg(test)]
mod tests;
