//! Which addresses are this host's, now and until recently.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{AddressOwner, LinkState};
use crate::model::Now;
use crate::net::Interface;

/// How long an address that this host had counts as its own. Other hosts may remember it for the
/// TTL of its records, which is 120 s (RFC 6762 §10).
const FORMER_LIFETIME: Duration = Duration::from_secs(150);
/// How many former addresses are remembered.
const MAX_FORMER: usize = 256;

#[derive(Default)]
pub(super) struct HostAddresses {
    current: HashSet<IpAddr>,
    /// Each with the time until which it is remembered.
    former: Vec<(IpAddr, Duration)>,
}

impl HostAddresses {
    pub(super) fn update(&mut self, now: Now, interfaces: &[Interface]) {
        let current: HashSet<IpAddr> = interfaces
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(|address| address.ip))
            .collect();
        self.former
            .retain(|(ip, until)| now.elapsed < *until && !current.contains(ip));
        let removed = self
            .current
            .difference(&current)
            .map(|ip| (*ip, now.elapsed + FORMER_LIFETIME));
        let free = MAX_FORMER.saturating_sub(self.former.len());
        self.former.extend(removed.take(free));
        self.current = current;
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.current.contains(&ip)
    }

    /// Which host has an address that was answered on the link `index`.
    pub(super) fn owner(
        &self,
        now: Now,
        ip: IpAddr,
        index: u32,
        links: &BTreeMap<u32, LinkState>,
    ) -> AddressOwner {
        let here = links.get(&index).is_some_and(|link| link.has(ip));
        let elsewhere = links
            .iter()
            .any(|(other, link)| *other != index && link.has(ip));
        let former = self
            .former
            .iter()
            .any(|(known, until)| *known == ip && now.elapsed < *until);
        if (elsewhere && !here) || (former && !self.contains(ip)) {
            AddressOwner::ThisNode
        } else if self.contains(ip) {
            AddressOwner::ThisHost
        } else {
            AddressOwner::OtherHost
        }
    }
}
