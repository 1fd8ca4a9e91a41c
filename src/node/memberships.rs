//! The running node's group memberships: joined where an interface is taken, and joined again when they may be lost.
//!
//! A membership is joined again when its interface changed in any way, when the kernel tells of an event and does not hold
//! the group any more, when nothing was heard in the group for long ([`super::silence`]), and after sleep ([`super::sleep`]).

use std::net::SocketAddr;

use super::event_loop::Node;
use super::sleep::Away;
use crate::model::Now;
use crate::net::{Family, Interface, Membership, RecvBatch, Report};
use crate::transport::Clock;

/// What is done after sleep.
const ANEW: &str = "joining groups and registering again";

impl Node {
    /// Joins the groups on what is taken now, and leaves them elsewhere.
    pub(super) fn reconcile(&mut self) {
        let reports = self.traffic.reconcile(&self.interfaces);
        self.tell_memberships(reports);
        self.follow();
    }

    /// Joins again on interfaces that are not what they were, where the groups were `joined` before and still are.
    pub(super) fn rejoin_changed(&mut self, before: &[Interface], joined: &[(u32, Family)]) {
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

    /// Joins again what the kernel has dropped, after an event that left the interfaces as they were.
    pub(super) fn rejoin_lost(&mut self) {
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

    /// Joins again where nobody was heard for long.
    pub(super) fn rejoin_silent(&mut self, now: Now) {
        let silent = self.silence.due(now);
        if !silent.is_empty() {
            tracing::debug!(
                groups = silent.len(),
                "nothing was heard in multicast groups for long: joining again"
            );
            self.rejoin(&silent);
        }
    }

    /// After sleep or a stop, memberships, leases and servers may all be gone.
    pub(super) fn notice_sleep(&mut self) {
        let now = self.clock.now();
        let Some(away) = self.sleep.noticed(now, Clock::suspended()) else {
            return;
        };
        match away {
            Away::Suspended(slept) => {
                tracing::info!("the machine slept for {} s: {ANEW}", slept.as_secs())
            }
            Away::Stopped(stood) => {
                tracing::info!("this node was stopped for {} s: {ANEW}", stood.as_secs())
            }
            Away::Set(by) => {
                tracing::info!(
                    "the clock was set forward by {} s, as after a pause: {ANEW}",
                    by.as_secs()
                )
            }
        }
        let joined = self.traffic.fanout.joined();
        self.rejoin(&joined);
        self.mdns.restart();
        self.core.was_away(now);
    }

    /// Notes that somebody else was heard in a group.
    pub(super) fn note_heard(&mut self, now: Now, batch: &mut RecvBatch, place: usize) {
        let Some((_, arrival)) = batch.get_mut(place) else {
            return;
        };
        if !arrival.to.is_multicast() {
            return;
        }
        let group = (arrival.interface, Family::of(arrival.to));
        // What comes back of one's own says nothing of the network.
        if self.silence.listens(now, group) && !self.is_own(arrival.from) {
            self.silence.heard(now, group);
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
        let which = |index, family| places.contains(&(index, family));
        let reports = self.traffic.fanout.rejoin(&self.traffic.sockets, which);
        self.core.counters_mut().rejoined += places.len() as u64;
        self.tell_memberships(reports);
        self.follow();
    }

    fn tell_memberships(&self, reports: Vec<Report>) {
        for report in reports {
            let (interface, family) = (report.interface, report.family);
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

    fn follow(&mut self) {
        let now = self.clock.now();
        self.silence.follow(now, &self.traffic.fanout.joined());
        if !self.traffic.fanout.retry_wanted() {
            self.rejoin_wait.reset();
        }
        self.rejoin_at = self
            .traffic
            .fanout
            .retry_wanted()
            .then(|| now.elapsed + self.rejoin_wait.wait());
    }
}
