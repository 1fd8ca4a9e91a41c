//! The publications of the links, for `status`.

use std::net::IpAddr;

use super::{Claim, ClaimState, CurrentState, LinkState, Mdns, Target};
use crate::model::{InterfaceName, PublicationState};

/// The state of the node's own record on one link.
#[derive(Debug, Clone)]
pub(crate) struct LinkPublication {
    pub(crate) target: Target,
    /// The host name that is announced, or will be.
    pub(crate) name: String,
    pub(crate) interface: InterfaceName,
    pub(crate) state: PublicationState,
    /// The addresses that are announced.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why the record is not announced, or only in part.
    pub(crate) reason: Option<String>,
}

impl Mdns {
    /// The publication of each link that has a claim.
    pub(crate) fn publications(&self) -> Vec<LinkPublication> {
        self.links
            .iter()
            .filter_map(|(index, link)| self.publication(*index, link))
            .collect()
    }

    fn publication(&self, index: u32, link: &LinkState) -> Option<LinkPublication> {
        let claim = link.claim.as_ref()?;
        let host_name = self.settings.host_name();
        let (name, addresses) = match (&link.current_state, link.link.settings().shown) {
            (CurrentState::This(_), Some(shown)) => {
                (format!("{}.local", shown.host), shown.addresses)
            }
            _ => (host_name.clone(), Vec::new()),
        };
        let (state, reason) = state(link, claim, &name, &host_name);
        Some(LinkPublication {
            target: link.target(index),
            name,
            interface: link.name(),
            state,
            addresses,
            reason,
        })
    }
}

/// The state of a publication that is announced under `name`, and its reason.
fn state(
    link: &LinkState,
    claim: &Claim,
    name: &str,
    host_name: &str,
) -> (PublicationState, Option<String>) {
    if let Some(failure) = &link.failure {
        return (
            PublicationState::Failed,
            Some(format!("failed to {failure}")),
        );
    }
    match (claim.state(), &link.current_state) {
        (ClaimState::Conflict { addresses }, _) => (
            PublicationState::Conflict,
            Some(conflict(host_name, addresses)),
        ),
        (ClaimState::Asking, _) => (PublicationState::Asking, None),
        (ClaimState::Held { .. }, CurrentState::This(_)) => {
            let part = if name == host_name {
                "these addresses alone"
            } else {
                "other addresses"
            };
            let reason = link.is_partial().then(|| {
                format!(
                    "another mDNS responder of this host announces {host_name} with {part}; it is checked again every \
                     10 to 20 minutes"
                )
            });
            (PublicationState::Published, reason)
        }
        (ClaimState::Held { .. }, _) => {
            let reason = "the interface has no address that may be announced";
            let reason = link.wanted.is_none().then(|| reason.to_owned());
            (PublicationState::Waiting, reason)
        }
    }
}

/// The doctor shows what follows the first period as the remedy.
pub(super) fn conflict(name: &str, addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let owner = if addresses.is_empty() {
        "another host".to_owned()
    } else {
        format!("a host at {}", addresses.join(", "))
    };
    format!(
        "{name} is taken by {owner}: not published here. Choose another node.name, or rename that host; the node tries \
         again within a minute"
    )
}
