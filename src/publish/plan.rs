//! What has to change at each target. Pure.
//!
//! Two rules hold at all times. *Unknown* is never treated as *empty*, so no record is withdrawn
//! because something could not be read. A target that already publishes what is wanted is not
//! touched, so nothing flaps.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::model::{Address, InterfaceName, Labels, NodeName, Record, Role};

/// Where a record is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// All nodes of the channel: the announcement, and the answer of a server about itself.
    Channel,
    /// The servers of the channel: the engine registers with each, retries and renews.
    Servers,
    /// Multicast DNS on one interface.
    Mdns {
        index: u32,
        /// An index with another name is another interface.
        interface: InterfaceName,
    },
    /// A DynIP server. It acknowledges nothing, so its state is never confirmed.
    Dynip {
        /// Its index among the DynIP servers that the configuration names.
        configured: usize,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel => f.pad("channel"),
            Self::Servers => f.pad("server"),
            Self::Mdns { .. } => f.pad("mdns"),
            Self::Dynip { .. } => f.pad("dynip"),
        }
    }
}

/// A node's record as one target gets it; a field that the target does not get is empty or zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub name: NodeName,
    pub port: u16,
    pub role: Role,
    pub labels: Labels,
    /// Best first.
    pub addresses: Vec<Address>,
}

impl Publication {
    /// The addresses without their origin.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|address| address.ip)
    }
}

impl From<&Record> for Publication {
    fn from(record: &Record) -> Self {
        let Record {
            name,
            port,
            role,
            labels,
            addresses,
            ..
        } = record.clone();
        Self {
            name,
            port,
            role,
            labels,
            addresses,
        }
    }
}

/// What a target has to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Not known now: the target stays as it is.
    Unknown,
    Nothing,
    This(Publication),
}

/// What a target publishes, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CurrentState {
    /// Not confirmed, or not readable.
    Unknown,
    /// Nothing of this node.
    Nothing,
    This(Publication),
}

/// What to do at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The target publishes nothing, or it is not known what it publishes: publish this.
    Publish(Publication),
    /// The target publishes another record: replace it.
    Replace { from: Publication, to: Publication },
    /// Withdraw what the target publishes, or may publish.
    Withdraw,
}

impl Change {
    /// What the target publishes afterwards; `None` for nothing.
    pub fn into_wanted(self) -> Option<Publication> {
        match self {
            Self::Publish(to) | Self::Replace { to, .. } => Some(to),
            Self::Withdraw => None,
        }
    }
}

/// The changes that lead from the current state of each target to what is wanted.
///
/// A target that is not wanted at all any more, such as a removed interface, is withdrawn.
pub fn plan(
    current_state: &BTreeMap<Target, CurrentState>,
    wanted: &BTreeMap<Target, Wanted>,
) -> Vec<(Target, Change)> {
    let mut changes = Vec::new();
    for (target, current) in current_state {
        if !wanted.contains_key(target) && *current != CurrentState::Nothing {
            changes.push((*target, Change::Withdraw));
        }
    }
    for (target, wanted) in wanted {
        let change = match (
            current_state.get(target).unwrap_or(&CurrentState::Nothing),
            wanted,
        ) {
            (_, Wanted::Unknown) | (CurrentState::Nothing, Wanted::Nothing) => None,
            (CurrentState::Nothing | CurrentState::Unknown, Wanted::This(to)) => {
                Some(Change::Publish(to.clone()))
            }
            (CurrentState::This(from), Wanted::This(to)) if from == to => None,
            (CurrentState::This(from), Wanted::This(to)) => Some(Change::Replace {
                from: from.clone(),
                to: to.clone(),
            }),
            (CurrentState::This(_) | CurrentState::Unknown, Wanted::Nothing) => {
                Some(Change::Withdraw)
            }
        };
        changes.extend(change.map(|change| (*target, change)));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Origin;

    fn record(last: u8) -> Publication {
        let name = NodeName::parse("hub").unwrap();
        let ip = [10, 0, 0, last].into();
        let addresses = vec![Address {
            ip,
            interface: None,
            origin: Origin::Interface,
        }];
        Publication {
            name,
            port: 24373,
            role: Role::Both,
            labels: Labels::default(),
            addresses,
        }
    }

    fn eth(index: u32) -> Target {
        Target::Mdns {
            index,
            interface: InterfaceName::parse("eth0").unwrap(),
        }
    }

    fn planned(current_state: Option<CurrentState>, wanted: Option<Wanted>) -> Vec<Change> {
        let current_state = current_state
            .map(|current_state| (eth(1), current_state))
            .into_iter()
            .collect();
        let wanted = wanted.map(|wanted| (eth(1), wanted)).into_iter().collect();
        plan(&current_state, &wanted)
            .into_iter()
            .map(|(_, change)| change)
            .collect()
    }

    #[test]
    fn unknown_is_never_empty() {
        // Nothing is withdrawn because the addresses could not be read.
        for current_state in [
            CurrentState::Unknown,
            CurrentState::Nothing,
            CurrentState::This(record(1)),
        ] {
            assert_eq!(planned(Some(current_state), Some(Wanted::Unknown)), []);
        }
        // An unconfirmed record counts neither as correct nor as absent.
        let publish = Change::Publish(record(1));
        assert_eq!(
            planned(Some(CurrentState::Unknown), Some(Wanted::This(record(1)))),
            [publish]
        );
        assert_eq!(
            planned(Some(CurrentState::Unknown), Some(Wanted::Nothing)),
            [Change::Withdraw]
        );
        assert_eq!(
            planned(Some(CurrentState::Unknown), None),
            [Change::Withdraw]
        );
    }

    #[test]
    fn wanted_record_is_not_touched() {
        assert_eq!(
            planned(
                Some(CurrentState::This(record(1))),
                Some(Wanted::This(record(1)))
            ),
            []
        );
        assert_eq!(
            planned(Some(CurrentState::Nothing), Some(Wanted::Nothing)),
            []
        );
        assert_eq!(planned(None, Some(Wanted::Nothing)), []);
        assert_eq!(planned(Some(CurrentState::Nothing), None), []);
    }

    #[test]
    fn differing_record_is_published_replaced_or_withdrawn() {
        let one = record(1);
        let two = record(2);
        assert_eq!(
            planned(None, Some(Wanted::This(one.clone()))),
            [Change::Publish(one.clone())]
        );
        let replace = Change::Replace {
            from: one.clone(),
            to: two.clone(),
        };
        assert_eq!(
            planned(
                Some(CurrentState::This(one.clone())),
                Some(Wanted::This(two))
            ),
            [replace]
        );
        assert_eq!(
            planned(Some(CurrentState::This(one.clone())), Some(Wanted::Nothing)),
            [Change::Withdraw]
        );
        assert_eq!(
            planned(Some(CurrentState::This(one)), None),
            [Change::Withdraw]
        );
    }

    #[test]
    fn each_target_is_planned_for_itself() {
        let current_state = BTreeMap::from([
            (Target::Servers, CurrentState::This(record(1))),
            (eth(1), CurrentState::This(record(1))),
            (eth(2), CurrentState::Unknown),
        ]);
        let wanted = BTreeMap::from([
            (Target::Servers, Wanted::This(record(1))),
            (eth(2), Wanted::Unknown),
            (eth(3), Wanted::This(record(3))),
        ]);
        let expected = [
            (eth(1), Change::Withdraw),
            (eth(3), Change::Publish(record(3))),
        ];
        assert_eq!(plan(&current_state, &wanted), expected);
    }

    proptest::proptest! {
        #[test]
        fn applied_plan_leaves_no_changes(
            current_state in proptest::collection::btree_map(0..4_u32, 0..4_u8, 0..4),
            wanted in proptest::collection::btree_map(0..4_u32, 0..4_u8, 0..4),
        ) {
            let mut current_state: BTreeMap<_, _> = current_state
                .into_iter()
                .map(|(index, kind)| {
                    let state = match kind {
                        0 => CurrentState::Unknown,
                        1 => CurrentState::Nothing,
                        last => CurrentState::This(record(last)),
                    };
                    (eth(index), state)
                })
                .collect();
            let wanted: BTreeMap<_, _> = wanted
                .into_iter()
                .map(|(index, kind)| {
                    let wanted = match kind {
                        0 => Wanted::Unknown,
                        1 => Wanted::Nothing,
                        last => Wanted::This(record(last)),
                    };
                    (eth(index), wanted)
                })
                .collect();
            for (target, change) in plan(&current_state, &wanted) {
                let state = change.into_wanted().map_or(CurrentState::Nothing, CurrentState::This);
                current_state.insert(target, state);
            }
            proptest::prop_assert_eq!(plan(&current_state, &wanted), Vec::new());
        }
    }
}
