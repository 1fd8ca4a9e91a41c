//! Which service a link announces, and what a link has to do.

use std::net::IpAddr;

use super::{Claim, ClaimState, LinkSettings, LinkState, Mdns, Publication, host_label};
use crate::model::{NodeName, Scope};
use crate::net::InterfaceAddress;
use crate::net::mdns::AnnouncedService;
use crate::publish::{ROLE_KEY, text};

/// How many bytes of the node's name an instance name contains. An instance name has up to 63 bytes
/// (RFC 1035 §2.3.4), of which a hyphen and 16 random digits are needed.
const MAX_NAME_IN_INSTANCE: usize = 46;

impl Mdns {
    /// Gives each link its new [`LinkSettings`].
    pub(crate) fn follow(&mut self) {
        for link in self.links.values() {
            let before = link.link.settings();
            let mut shown = self.shown(link);
            if let (Some(shown), Some(before)) = (&mut shown, &before.shown) {
                // Only a new service is probed for: a change of addresses is announced at once.
                let unchanged = AnnouncedService {
                    probe: before.probe,
                    ..shown.clone()
                } == *before;
                shown.probe = unchanged && before.probe;
            }
            link.link.set(LinkSettings {
                addresses: link_addresses(link),
                shown,
                host: self
                    .settings
                    .publishes
                    .then(|| host_label(&self.settings.name).into()),
                browse: self.browsing.then(|| self.settings.service.clone()),
                round: link.round,
            });
        }
    }

    /// The service that a link announces now.
    fn shown(&self, link: &LinkState) -> Option<AnnouncedService> {
        match (link.claim.as_ref(), &link.wanted) {
            (Some(claim), Some(publication))
                if matches!(claim.state(), ClaimState::Held { .. }) =>
            {
                Some(self.published(claim, publication))
            }
            (Some(claim), _) if *claim.state() == ClaimState::Asking => None,
            _ => self.advertised(link),
        }
    }

    /// The node's own record.
    fn published(&self, claim: &Claim, publication: &Publication) -> AnnouncedService {
        let name = host_label(&self.settings.name);
        let all: Vec<IpAddr> = publication.ips().collect();
        let (host, addresses) = match claim.state() {
            ClaimState::Held {
                responder: Some(responder),
            } => {
                let shared = all.iter().copied().filter(|ip| responder.contains(ip));
                let shared: Vec<_> = shared.collect();
                // The other responder announces none of these addresses, so the service gets a host
                // name of its own.
                if shared.is_empty() {
                    (self.opaque_host(), all)
                } else {
                    (name.into(), shared)
                }
            }
            _ => (name.into(), all),
        };
        AnnouncedService {
            service: self.settings.service.clone(),
            instance: name.into(),
            host,
            port: self.settings.port,
            addresses,
            text: text(publication),
            probe: claim.probes(),
        }
    }

    /// A server that is not published, so that clients still find its address.
    fn advertised(&self, link: &LinkState) -> Option<AnnouncedService> {
        let settings = &self.settings;
        if !settings.advertises || link.announced.is_empty() || faces_internet(&link.addresses) {
            return None;
        }
        let (instance, text) = if settings.hidden {
            (self.opaque.clone(), Vec::new())
        } else {
            let text = vec![(ROLE_KEY.into(), settings.role.to_string().into())];
            (named_instance(&settings.name, &self.opaque), text)
        };
        Some(AnnouncedService {
            service: settings.service.clone(),
            instance,
            host: self.opaque_host(),
            port: settings.port,
            addresses: link.announced.clone(),
            text,
            probe: false,
        })
    }

    fn opaque_host(&self) -> Box<str> {
        format!("h-{}", self.opaque).into()
    }
}

/// The addresses that a link may send from.
///
/// The crate answers for a host over both families, but sends its goodbye only over those that the
/// host has addresses of. So a node that is published uses no other family, or its records would
/// outlive it there.
fn link_addresses(link: &LinkState) -> Vec<IpAddr> {
    let used = |ip: &IpAddr| match &link.wanted {
        Some(publication) => publication
            .ips()
            .any(|published| published.is_ipv4() == ip.is_ipv4()),
        None => true,
    };
    let addresses = link.addresses.iter().map(|address| address.ip);
    addresses.filter(used).collect()
}

/// An instance name that begins with the node's name: one label, whatever the name.
pub(super) fn named_instance(name: &NodeName, opaque: &str) -> Box<str> {
    let label = host_label(name);
    // A name is ASCII, so every byte index is a character boundary.
    let start = label.get(..MAX_NAME_IN_INSTANCE).unwrap_or(label);
    format!("{start}-{opaque}").into()
}

/// Whether an interface looks like one of a host on the Internet with no router between.
///
/// The crate answers unicast questions from any source, which RFC 6762 §11 forbids. So a server
/// must not be announced to the Internet by default, and must not answer forged questions with
/// longer answers. Publishing is the operator's own choice and is not affected.
///
/// A global IPv4 address is the sign. A global IPv6 address alone is none, because every home has
/// them behind a router that lets nothing in (RFC 6092). But it is a sign where the interface has
/// no private address as well, as on a rented machine.
pub(super) fn faces_internet(addresses: &[InterfaceAddress]) -> bool {
    let any = |scope, ipv4: bool| {
        addresses
            .iter()
            .any(|a| a.ip.is_ipv4() == ipv4 && Scope::of(a.ip) == scope)
    };
    let private = any(Scope::Private, true) || any(Scope::Private, false);
    any(Scope::Global, true) || (any(Scope::Global, false) && !private)
}
