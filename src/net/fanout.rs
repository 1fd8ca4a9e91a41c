//! Group memberships on every interface, and the targets of a message to all nodes.
//!
//! A failure on one interface never affects another. It is kept for `status`, and
//! [`Fanout::reconcile`] tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use tracing::debug;

use super::fanout_settings::FanoutSettings;
use super::targets::{self, FanoutMethod, Target};
use super::{Family, Interface, Socket, Sockets, kernel_groups};
use crate::model::InterfaceName;

/// A change of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// The group is joined on the interface.
    Joined,
    /// It could not be joined; reported once for each new reason.
    Failed(String),
    /// The interface is absent or no longer used.
    Left,
}

/// One change of a membership, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The interface's name.
    pub interface: InterfaceName,
    pub index: u32,
    /// The family of the group.
    pub family: Family,
    pub what: Membership,
}

/// The state of a group on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupStatus {
    /// Not wanted: no address of the family, no multicast, or no socket that could receive it.
    #[default]
    None,
    Joined,
    /// The last try failed.
    Failed(String),
}

/// One family on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FamilyStatus {
    pub group: GroupStatus,
    /// Datagrams to all nodes that were sent.
    pub sent: u64,
    /// Datagrams to all nodes that the kernel refused.
    pub failed: u64,
    /// Why the last send failed; `None` after a send that succeeded.
    pub last_error: Option<String>,
}

/// One interface, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceStatus {
    pub name: InterfaceName,
    pub index: u32,
    pub ipv4: FamilyStatus,
    pub ipv6: FamilyStatus,
}

/// The memberships and targets of all used interfaces.
#[derive(Debug)]
pub struct Fanout {
    settings: FanoutSettings,
    interfaces: BTreeMap<u32, InterfaceStatus>,
    /// The families of used interfaces, by index.
    used: BTreeSet<(u32, Family)>,
    multicast: Vec<Target>,
    broadcast: Vec<Target>,
}

impl Fanout {
    /// Nothing is joined yet.
    pub fn new(settings: FanoutSettings) -> Self {
        Self {
            settings,
            interfaces: BTreeMap::new(),
            used: BTreeSet::new(),
            multicast: Vec::new(),
            broadcast: Vec::new(),
        }
    }

    /// Joins the groups on new interfaces, leaves them on absent ones, and tries failed joins
    /// again.
    ///
    /// `used` is the result of [`super::Policy::used`]. Returns the changes since the last call.
    pub fn reconcile(&mut self, sockets: &Sockets, used: &[Interface]) -> Vec<Report> {
        let mut reports = Vec::new();
        let now: BTreeMap<u32, &Interface> = used
            .iter()
            .map(|interface| (interface.index, interface))
            .collect();
        // An index with another name is another interface, which the kernel created after it had
        // removed the first.
        let absent = self.interfaces.extract_if(.., |index, known| {
            now.get(index).is_none_or(|new| new.name != known.name)
        });
        for (_, mut status) in absent {
            for family in [Family::Ipv4, Family::Ipv6] {
                self.settings
                    .want(sockets, &mut status, family, false, &mut reports);
            }
        }
        self.used.clear();
        for interface in now.values() {
            let status =
                self.interfaces
                    .entry(interface.index)
                    .or_insert_with(|| InterfaceStatus {
                        name: interface.name,
                        index: interface.index,
                        ipv4: FamilyStatus::default(),
                        ipv6: FamilyStatus::default(),
                    });
            for family in [Family::Ipv4, Family::Ipv6] {
                let addressed = interface.has(family);
                if addressed {
                    self.used.insert((interface.index, family));
                }
                let receives = sockets.family(family).is_some_and(Socket::receives_groups);
                let wanted = interface.multicast && addressed && receives;
                self.settings
                    .want(sockets, status, family, wanted, &mut reports);
            }
        }
        self.multicast = targets::multicast(&self.settings, used, sockets);
        self.broadcast = targets::broadcast_targets(self.settings.broadcast_port, used, sockets);
        reports
    }

    /// Leaves and joins groups again, chosen by interface index and family: for memberships that
    /// the kernel, a switch or an access point lost unnoticed.
    ///
    /// Returns only the failures.
    pub fn rejoin(
        &mut self,
        sockets: &Sockets,
        which: impl Fn(u32, Family) -> bool,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for status in self.interfaces.values_mut() {
            for family in [Family::Ipv4, Family::Ipv6] {
                if status.family(family).group != GroupStatus::None && which(status.index, family) {
                    let _ = self.settings.leave(sockets, family, status.index);
                    status.family_mut(family).group = GroupStatus::None;
                    self.settings
                        .want(sockets, status, family, true, &mut reports);
                }
            }
        }
        reports.retain(|report| matches!(report.what, Membership::Failed(_)));
        reports
    }

    /// The groups that are joined, by index and family.
    pub fn joined(&self) -> Vec<(u32, Family)> {
        let joined = self.interfaces.values().flat_map(|status| {
            let of = |family| {
                (status.family(family).group == GroupStatus::Joined)
                    .then_some((status.index, family))
            };
            [of(Family::Ipv4), of(Family::Ipv6)]
        });
        joined.flatten().collect()
    }

    /// The joined groups that the kernel no longer holds; none where the kernel does not report its
    /// groups.
    pub fn lost(&self) -> Vec<(u32, Family)> {
        let [ipv4, ipv6] = [Family::Ipv4, Family::Ipv6].map(kernel_groups::joined);
        let mut lost = self.joined();
        lost.retain(|(index, family)| {
            let held = if *family == Family::Ipv4 {
                &ipv4
            } else {
                &ipv6
            };
            held.as_ref()
                .is_some_and(|held| !held.contains(&(*index, self.group(*family))))
        });
        lost
    }

    /// Whether a join failed, so that calling [`Fanout::reconcile`] again later makes sense.
    pub fn needs_retry(&self) -> bool {
        let failed = |status: &FamilyStatus| matches!(status.group, GroupStatus::Failed(_));
        self.interfaces
            .values()
            .any(|status| failed(&status.ipv4) || failed(&status.ipv6))
    }

    /// The targets of a message to all nodes, as of the last [`Fanout::reconcile`].
    pub fn targets(&self, method: FanoutMethod) -> &[Target] {
        match method {
            FanoutMethod::Multicast => &self.multicast,
            FanoutMethod::Broadcast => &self.broadcast,
        }
    }

    /// Counts a send to a target; an interface that is absent meanwhile is ignored.
    pub fn count_send(&mut self, index: u32, family: Family, result: Result<(), &io::Error>) {
        let Some(status) = self.interfaces.get_mut(&index) else {
            return;
        };
        let status = status.family_mut(family);
        match result {
            Ok(()) => {
                status.sent += 1;
                status.last_error = None;
            }
            Err(error) => {
                status.failed += 1;
                status.last_error = Some(error.to_string());
            }
        }
    }

    /// Whether an interface was used at the last [`Fanout::reconcile`], and has an address of this
    /// family.
    pub fn uses(&self, index: u32, family: Family) -> bool {
        self.used.contains(&(index, family))
    }

    /// The group of a family.
    pub fn group(&self, family: Family) -> IpAddr {
        self.settings.group(family)
    }

    /// Every interface, by index.
    pub fn status(&self) -> Vec<InterfaceStatus> {
        self.interfaces.values().cloned().collect()
    }
}

impl InterfaceStatus {
    fn family(&self, family: Family) -> &FamilyStatus {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    fn family_mut(&mut self, family: Family) -> &mut FamilyStatus {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }
}

fn join_error(error: &io::Error, family: Family) -> String {
    match (error.raw_os_error(), family) {
        (Some(libc::ENOBUFS), Family::Ipv4) => {
            format!("{error}: raise net.ipv4.igmp_max_memberships, or exclude interfaces")
        }
        (Some(libc::ENOBUFS | libc::ENOMEM), _) => {
            format!("{error}: raise net.core.optmem_max, or exclude interfaces")
        }
        _ => error.to_string(),
    }
}

impl FanoutSettings {
    /// Joins or leaves one group, if that is needed.
    fn want(
        &self,
        sockets: &Sockets,
        status: &mut InterfaceStatus,
        family: Family,
        wanted: bool,
        reports: &mut Vec<Report>,
    ) {
        let interface = status.name;
        let index = status.index;
        let group = &mut status.family_mut(family).group;
        let what = match (wanted, &group) {
            (true, GroupStatus::Joined) | (false, GroupStatus::None) => return,
            (true, _) => match self.join(sockets, family, index) {
                Ok(()) => {
                    debug!(%interface, %family, group = %self.group(family), "the group is joined");
                    Membership::Joined
                }
                Err(error) => {
                    debug!(%interface, %family, group = %self.group(family), %error, "the group is not joined");
                    Membership::Failed(join_error(&error, family))
                }
            },
            (false, _) => {
                // The kernel has dropped the membership already if the interface is absent.
                let left = self.leave(sockets, family, index);
                debug!(%interface, %family, group = %self.group(family), error = left.err().map(tracing::field::display), "the group is left");
                Membership::Left
            }
        };
        let before = std::mem::replace(
            group,
            match &what {
                Membership::Joined => GroupStatus::Joined,
                Membership::Failed(why) => GroupStatus::Failed(why.clone()),
                Membership::Left => GroupStatus::None,
            },
        );
        if before != *group {
            reports.push(Report {
                interface,
                index,
                family,
                what,
            });
        }
    }

    fn join(&self, sockets: &Sockets, family: Family, index: u32) -> io::Result<()> {
        match sockets.join(self.group(family), index) {
            // The socket remembers an absent interface of this index; that membership receives
            // nothing any more.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let _ = self.leave(sockets, family, index);
                sockets.join(self.group(family), index)
            }
            other => other,
        }
    }

    fn leave(&self, sockets: &Sockets, family: Family, index: u32) -> io::Result<()> {
        sockets.leave(self.group(family), index)
    }
}

#[cfg(test)]
#[path = "fanout_tests.rs"]
mod tests;
