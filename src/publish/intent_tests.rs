use super::*;
use crate::model::Origin;

fn addresses(last: &[u8]) -> Vec<Address> {
    let address = |last: &u8| Address {
        ip: [10, 0, 0, *last].into(),
        interface: None,
        origin: Origin::Interface,
    };
    last.iter().map(address).collect()
}

fn intent() -> Intent {
    Intent {
        name: NodeName::parse("hub").unwrap(),
        port: 24373,
        role: Role::Both,
        labels: Labels::new([("rack", "7")]).unwrap(),
        servers: true,
        mdns: true,
        dynip: 2,
    }
}

fn eth(index: u32) -> Target {
    Target::Mdns {
        index,
        interface: InterfaceName::parse("eth0").unwrap(),
    }
}

fn network(channel: &[u8], links: &[(u32, &[u8])]) -> Network {
    let link = |(index, published): &(u32, &[u8])| {
        let interface = InterfaceName::parse("eth0").unwrap();
        LinkAddresses {
            index: *index,
            interface,
            addresses: addresses(published),
        }
    };
    Network {
        addresses: addresses(channel),
        links: links.iter().map(link).collect(),
    }
}

fn record(last: &[u8]) -> Publication {
    let Intent {
        name,
        port,
        role,
        labels,
        ..
    } = intent();
    Publication {
        name,
        port,
        role,
        labels,
        addresses: addresses(last),
    }
}

fn named() -> Publication {
    Publication {
        port: 0,
        labels: Labels::default(),
        ..record(&[])
    }
}

const DYNIP: [Target; 2] = [
    Target::Dynip { configured: 0 },
    Target::Dynip { configured: 1 },
];

/// All targets, each with the record that it got.
fn current_state(channel: &[u8], links: &[(u32, &[u8])]) -> BTreeMap<Target, CurrentState> {
    let mut current_state = BTreeMap::from([
        (Target::Channel, CurrentState::This(record(channel))),
        (Target::Servers, CurrentState::This(record(channel))),
    ]);
    current_state.extend(
        links
            .iter()
            .map(|(index, published)| (eth(*index), CurrentState::This(record(published)))),
    );
    current_state.extend(DYNIP.map(|target| (target, CurrentState::This(named()))));
    current_state
}

#[test]
fn every_target_gets_its_own_record_at_first() {
    let network = network(&[1, 2], &[(1, &[1]), (2, &[2])]);
    let expected = [
        (Target::Channel, Change::Publish(record(&[1, 2]))),
        (Target::Servers, Change::Publish(record(&[1, 2]))),
        (eth(1), Change::Publish(record(&[1]))),
        (eth(2), Change::Publish(record(&[2]))),
        (DYNIP[0], Change::Publish(named())),
        (DYNIP[1], Change::Publish(named())),
    ];
    assert_eq!(intent().changes(&BTreeMap::new(), Some(&network)), expected);
}

#[test]
fn current_record_is_not_touched_at_any_target() {
    let channel: &[u8] = &[1];
    let links: &[(u32, &[u8])] = &[(1, &[1])];
    assert_eq!(
        intent().changes(
            &current_state(channel, links),
            Some(&network(channel, links))
        ),
        []
    );
}

#[test]
fn unknown_network_withdraws_and_changes_nothing() {
    assert_eq!(
        intent().changes(&current_state(&[1], &[(1, &[1])]), None),
        []
    );
    let unknown =
        [Target::Channel, Target::Servers, eth(1)].map(|target| (target, CurrentState::Unknown));
    let changes = intent().changes(&BTreeMap::from(unknown), None);
    // The name is known without the network.
    assert_eq!(
        changes,
        DYNIP.map(|target| (target, Change::Publish(named())))
    );
}

#[test]
fn changed_addresses_are_published_only_where_they_are_used() {
    let replace = |from: &[u8], to: &[u8]| Change::Replace {
        from: record(from),
        to: record(to),
    };
    let current_state = current_state(&[1, 2], &[(1, &[1]), (2, &[2])]);
    let expected = [
        (Target::Channel, replace(&[1, 2], &[1, 3])),
        (Target::Servers, replace(&[1, 2], &[1, 3])),
        (eth(2), replace(&[2], &[3])),
    ];
    assert_eq!(
        intent().changes(
            &current_state,
            Some(&network(&[1, 3], &[(1, &[1]), (2, &[3])]))
        ),
        expected
    );
}

#[test]
fn unacknowledged_record_is_published_again() {
    let mut current_state = current_state(&[1], &[]);
    current_state.insert(Target::Servers, CurrentState::Unknown);
    current_state.insert(DYNIP[1], CurrentState::Unknown);
    let expected = [
        (Target::Servers, Change::Publish(record(&[1]))),
        (DYNIP[1], Change::Publish(named())),
    ];
    assert_eq!(
        intent().changes(&current_state, Some(&network(&[1], &[]))),
        expected
    );
}

#[test]
fn host_without_addresses_stays_registered_and_is_withdrawn_from_its_links() {
    let changes = intent().changes(
        &current_state(&[1], &[(1, &[1]), (2, &[1])]),
        Some(&network(&[], &[(1, &[])])),
    );
    let expected = [
        // The removed link.
        (eth(2), Change::Withdraw),
        (
            Target::Channel,
            Change::Replace {
                from: record(&[1]),
                to: record(&[]),
            },
        ),
        (
            Target::Servers,
            Change::Replace {
                from: record(&[1]),
                to: record(&[]),
            },
        ),
        // The link without an address.
        (eth(1), Change::Withdraw),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn target_that_is_not_configured_is_withdrawn_once() {
    let quiet = Intent {
        servers: false,
        mdns: false,
        dynip: 1,
        ..intent()
    };
    for network in [None, Some(network(&[1], &[(1, &[1])]))] {
        let changes = quiet.changes(&current_state(&[1], &[(1, &[1])]), network.as_ref());
        let withdrawn =
            [DYNIP[1], Target::Servers, eth(1)].map(|target| (target, Change::Withdraw));
        assert_eq!(changes, withdrawn);
        let current_state = BTreeMap::from([
            (Target::Channel, CurrentState::This(record(&[1]))),
            (Target::Servers, CurrentState::Nothing),
            (eth(1), CurrentState::Nothing),
        ]);
        assert_eq!(
            quiet.changes(&current_state, network.as_ref()),
            [(DYNIP[0], Change::Publish(named()))]
        );
    }
    assert!(quiet.wants(Target::Channel) && quiet.wants(DYNIP[0]));
    assert!(
        ![Target::Servers, eth(1), DYNIP[1]]
            .into_iter()
            .any(|target| quiet.wants(target))
    );
}
