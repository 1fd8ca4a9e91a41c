//! Browsing: services that were found, and the addresses of them that may be servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::EVENT_QUEUE;
use crate::net::mdns::{FoundService, Link, LinkEvent, LinkEventKind, LinkSettings, MAX_LINKS};
use crate::net::{Interface, InterfaceAddress};
use crate::publish::ROLE_KEY;

/// How many addresses of one found service are returned.
pub(super) const MAX_ADDRESSES_PER_SERVICE: usize = 8;

/// The addresses of a found service that may be a server's, as far as they lie on the link `index`.
///
/// Any host on the link may announce any address, so an address that is not on the link is never
/// queried.
pub(super) fn candidates(
    found: &FoundService,
    link: &[InterfaceAddress],
    index: u32,
) -> Vec<SocketAddr> {
    let role = found
        .text
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(ROLE_KEY));
    if role.is_some_and(|(_, role)| role == "client") {
        return Vec::new();
    }
    let on_link = |address: &&SocketAddr| match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id() == index,
        address => link.iter().any(|own| own.reaches(address.ip())),
    };
    let mut candidates: Vec<_> = found
        .addresses
        .iter()
        .filter(|address| address.port() != 0)
        .filter(on_link)
        .copied()
        .collect();
    candidates.sort_unstable();
    candidates.truncate(MAX_ADDRESSES_PER_SERVICE);
    candidates
}

/// Browsing for one command, without a node.
pub(crate) struct Browser {
    links: BTreeMap<u32, (Link, Vec<InterfaceAddress>)>,
    events: mpsc::Receiver<LinkEvent>,
}

impl Browser {
    /// Starts to browse on these interfaces.
    pub(crate) fn start(service: &str, used: &[Interface]) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let links = used
            .iter()
            .filter(|interface| interface.multicast)
            .take(MAX_LINKS)
            .map(|interface| {
                let link = Link::start(interface, sender.clone());
                let addresses = interface.addresses.iter();
                link.set(LinkSettings {
                    addresses: addresses.map(|address| address.ip).collect(),
                    browse: Some(service.into()),
                    ..LinkSettings::default()
                });
                (interface.index, (link, interface.addresses.clone()))
            })
            .collect();
        Self { links, events }
    }

    /// The next addresses that may be servers; waits forever if there are none. May be dropped at
    /// any time.
    pub(crate) async fn next(&mut self) -> Vec<SocketAddr> {
        while let Some(LinkEvent { interface, what }) = self.events.recv().await {
            match what {
                LinkEventKind::Found(found) => {
                    if let Some((_, addresses)) = self.links.get(&interface) {
                        return candidates(&found, addresses, interface);
                    }
                }
                LinkEventKind::Failed(error) => {
                    let link = self.links.get(&interface).map(|(link, _)| link.name());
                    tracing::warn!(
                        interface = link.map(tracing::field::display),
                        "failed to {error}"
                    );
                }
                _ => {}
            }
        }
        std::future::pending().await
    }
}

/// LinkEventKind an optional browser finds next; waits forever without one.
pub(crate) async fn next_candidates(browser: &mut Option<Browser>) -> Vec<SocketAddr> {
    match browser {
        Some(browser) => browser.next().await,
        None => std::future::pending().await,
    }
}
