//! The rules that a schema can't express: limits of durations and addresses, and relations between
//! settings.
//!
//! A configuration whose every setting is valid by itself comes in; [`Violation`]s come out. The
//! module is pure: what depends on the machine is not a rule.

mod effect;
mod files;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, PublishTarget};

/// A broken rule, or a warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The JSON pointer of the setting that is marked.
    pub(super) pointer: String,
    pub(super) message: String,
    /// Whether the configuration can be used nevertheless.
    pub(super) is_warning: bool,
}

const DAY: u64 = 86_400;

/// Nodes renew at a third of the lease, and one lost datagram must not end it; a dead node expires
/// within a day.
const LEASE: RangeInclusive<Duration> = seconds(5, DAY);
/// Clients send by cron, which can't run more often than once a minute.
const DYNIP_LEASE: RangeInclusive<Duration> = seconds(60, 30 * DAY);
/// A DynIP server writes its whole file for each datagram.
const DYNIP_EVERY: RangeInclusive<Duration> = seconds(10, DAY);
/// A slow link needs a second; a peer that is silent for an hour is absent.
const SESSION_IDLE: RangeInclusive<Duration> = seconds(1, 3600);

const fn seconds(first: u64, last: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(first)..=Duration::from_secs(last)
}

/// Every broken rule and every warning. `is_set` says whether the file itself has a setting, by its
/// JSON pointer.
pub(super) fn violations(config: &Config, is_set: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    durations(config, &mut found);
    addresses(config, &mut found);
    files::violations(config, &mut found);
    effect::warnings(config, &is_set, &mut found);
    found
}

fn error(pointer: impl Into<String>, message: impl Into<String>) -> Violation {
    Violation {
        pointer: pointer.into(),
        message: message.into(),
        is_warning: false,
    }
}

fn warning(pointer: impl Into<String>, message: impl Into<String>) -> Violation {
    Violation {
        is_warning: true,
        ..error(pointer, message)
    }
}

fn durations(config: &Config, found: &mut Vec<Violation>) {
    if !LEASE.contains(&config.registry.lease.0) {
        found.push(error(
            "/registry/lease",
            "a lease must be between 5s and 24h",
        ));
    }
    if !SESSION_IDLE.contains(&config.sessions.idle.0) {
        found.push(error(
            "/sessions/idle",
            "the idle time of a session must be between 1s and 1h",
        ));
    }
    if config.discovery.fallback_after.0.is_zero() {
        found.push(error(
            "/discovery/fallback_after",
            "the wait before the next method can't be zero: write a duration such as 3s",
        ));
    }
    let dynip = config.compat.dynip.as_ref();
    if dynip.is_some_and(|dynip| !DYNIP_LEASE.contains(&dynip.lease.0)) {
        found.push(error(
            "/compat/dynip/lease",
            "the lease of a DynIP name must be between 1m and 30d",
        ));
    }
    for (i, target) in config.publish.iter().enumerate() {
        if let PublishTarget::Dynip { every, .. } = target
            && !DYNIP_EVERY.contains(&every.0)
        {
            found.push(error(
                format!("/publish/{i}/every"),
                "the interval between datagrams to a DynIP server must be between 10s and 24h",
            ));
        }
    }
}

fn addresses(config: &Config, found: &mut Vec<Violation>) {
    let multicast = &config.discovery.multicast;
    if !multicast.ipv4_group.is_multicast() {
        found.push(error(
            "/discovery/multicast/ipv4_group",
            "the address is not a multicast group: choose one in 224.0.0.0/4, such as 239.255.43.73",
        ));
    }
    if !multicast.ipv6_group.is_multicast() {
        found.push(error(
            "/discovery/multicast/ipv6_group",
            "the address is not a multicast group: choose one in ff00::/8, such as ff12::4373",
        ));
    }
    if config.listen.address.is_multicast() {
        found.push(error(
            "/listen/address",
            "a multicast group is not an address of this node: write the group to discovery.multicast",
        ));
    }
    for (i, address) in config.node.advertise.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() {
            found.push(error(
                format!("/node/advertise/{i}"),
                format!("{address} is not the address of one node: write a unicast address"),
            ));
        }
    }
    if config.interfaces.include.is_empty() {
        found.push(error(
            "/interfaces/include",
            "the list is empty, so no interface is used: write [\"*\"] to use all",
        ));
    }
    let families = config.interfaces.addresses;
    if !families.ipv4 && !families.ipv6 {
        found.push(error(
            "/interfaces/addresses",
            "ipv4 and ipv6 are both false, so no address is used: set one of them to true",
        ));
    }
}
