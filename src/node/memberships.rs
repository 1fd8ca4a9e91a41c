//! The running node's group memberships: joined on each interface in use, and joined again when they may be lost.
//!
//! A membership is joined again when its interface changed in any way, when the kernel reports an event and does not hold
//! the group any more, when nothing was received in the group for long ([`super::silence`]), and after sleep
//! ([`super::sleep`]).

use std::net::SocketAddr;

use super::parts::Node;
use super::sleep::Pause;
use crate::model::Now;
use crate::net::{Family, Interface, Membership, RecvBatch, Report};
use crate::transport::Clock;

/// The log's words for the actions after sleep.
const RESUMING: &str = "joining groups and registering again";

impl Node {
    /// Follows a change of the interfaces: memberships, legacy protocols, publications and the search.
    pub(super) fn on_interfaces(&mut self, interfaces: Vec<Interface>) {
        let now = self.clock.now();
        if !self.interfaces.is_empty() && interfaces == self.interfaces {
            self.rejoin_lost();
            return;
        }
        let joined = self.traffic.fanout.joined();
        let before = std::mem::replace(&mut self.interfaces, interfaces);
        self.rejoin_wait.reset();
        self.reconcile();
        self.rejoin_changed(&before, &joined);
        let used = self.traffic.policy.used(&self.interfaces);
        let same = used == self.traffic.policy.used(&before);
        tracing::debug!(
            interfaces = self.interfaces.len(),
            used = used.len(),
            same,
            "the interfaces changed"
        );
        self.compat.set_interfaces(used);
        self.publish(now);
        self.core.addresses_known(now);
        if same {
            self.core.routes_changed(now);
        } else {
            self.core.network_changed(now);
        }
    }

    /// Joins the groups on the interfaces that are used now, and leaves them on all others.
    pub(super) fn reconcile(&mut self) {
        let reports = self.traffic.reconcile(&self.interfaces);
        self.log_memberships(reports);
        self.schedule_rejoins();
    }

    /// Joins again on interfaces that changed, where the groups were `joined` before and still are.
    fn rejoin_changed(&mut self, before: &[Interface], joined: &[(u32, Family)]) {
        let changed = |index: u32| {
            let now = self
                .interfaces
                .iter()
                .find(|interface| interface.index == index);
            before
                .iter()
                .find(|interface| interface.index == index)
                .is_some_and(|before| now != Some(before))
        };
        let mut places = self.traffic.fanout.joined();
        places.retain(|place| joined.contains(place) && changed(place.0));
        self.rejoin(&places);
    }

    /// Joins the groups again that the kernel has dropped, after an event that left the interfaces as they were.
    fn rejoin_lost(&mut self) {
        let lost = self.traffic.fanout.lost();
        if !lost.is_empty() {
            tracing::info!(
                groups = lost.len(),
                "the kernel had dropped multicast groups: joined again"
            );
            self.rejoin(&lost);
        }
        let links = self.mdns.rejoin_lost();
        if links > 0 {
            tracing::info!(
                links,
                "the kernel had dropped the groups of multicast DNS: joined again"
            );
        }
    }

    /// Joins the groups again where nothing was received for long.
    pub(super) fn rejoin_silent(&mut self, now: Now) {
        let silent = self.silence.due(now);
        if !silent.is_empty() {
            tracing::debug!(
                groups = silent.len(),
                "nothing was received in multicast groups for long: joining again"
            );
            self.rejoin(&silent);
        }
    }

    /// Resumes after sleep or a stop: memberships, leases and servers may all be lost.
    pub(super) fn notice_sleep(&mut self) {
        let now = self.clock.now();
        let Some(pause) = self.sleep.noticed(now, Clock::suspended()) else {
            return;
        };
        match pause {
            Pause::Suspended(duration) => {
                tracing::info!("the machine slept for {} s: {RESUMING}", duration.as_secs())
            }
            Pause::Stopped(duration) => {
                tracing::info!(
                    "this node was stopped for {} s: {RESUMING}",
                    duration.as_secs()
                )
            }
            Pause::ClockSet(by) => {
                tracing::info!(
                    "the clock was set forward by {} s, as after a pause: {RESUMING}",
                    by.as_secs()
                )
            }
        }
        let joined = self.traffic.fanout.joined();
        self.rejoin(&joined);
        self.mdns.restart();
        self.core.resume(now);
    }

    /// Notes that a group is alive, as another node sent to it.
    pub(super) fn note_group_activity(&mut self, now: Now, batch: &mut RecvBatch, place: usize) {
        let Some((_, arrival)) = batch.get_mut(place) else {
            return;
        };
        if !arrival.to.is_multicast() {
            return;
        }
        let group = (arrival.interface, Family::of(arrival.to));
        // This node's own datagrams that come back prove nothing about the network.
        if self.silence.wants(now, group) && !self.is_own(arrival.from) {
            self.silence.received(now, group);
        }
    }

    fn is_own(&self, from: SocketAddr) -> bool {
        let mut addresses = self
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses);
        from.port() == self.traffic.sockets.port()
            && addresses.any(|address| address.ip == from.ip())
    }

    fn rejoin(&mut self, places: &[(u32, Family)]) {
        if places.is_empty() {
            return;
        }
        let reports = self
            .traffic
            .fanout
            .rejoin(&self.traffic.sockets, |index, family| {
                places.contains(&(index, family))
            });
        self.core.counters_mut().rejoined += places.len() as u64;
        self.log_memberships(reports);
        self.schedule_rejoins();
    }

    fn log_memberships(&self, reports: Vec<Report>) {
        for report in reports {
            let interface = report.interface;
            let family = report.family;
            match report.what {
                Membership::Joined => {
                    tracing::info!(%interface, %family, "joined the multicast group")
                }
                Membership::Left => tracing::info!(%interface, %family, "left the multicast group"),
                Membership::Failed(error) => {
                    tracing::warn!(%interface, %family, %error, "failed to join the multicast group; tried again");
                }
            }
        }
    }

    /// Notes which groups are joined, and when failed joins are tried again.
    fn schedule_rejoins(&mut self) {
        let now = self.clock.now();
        self.silence.follow(now, &self.traffic.fanout.joined());
        if !self.traffic.fanout.needs_retry() {
            self.rejoin_wait.reset();
        }
        self.rejoin_at = self
            .traffic
            .fanout
            .needs_retry()
            .then(|| now.elapsed + self.rejoin_wait.wait());
    }
}
