use std::time::Duration;

use super::*;
use crate::model::State;
use crate::registry::fixture::{self, START, changed, ip, name, node_id, now, registration};
use crate::registry::table::{Outcome, Settings};
use crate::registry::{Filter, row};
use crate::wire::v1::Refusal;

const LEASE: Lease = Lease(600);

fn table() -> Table {
    Table::new(Settings::default())
}

fn claim(text: &str, index: u32) -> UnverifiedClaim {
    UnverifiedClaim {
        name: name(text),
        protocol: Protocol::Dynip,
        source: SocketAddr::new(ip(index), 40_000),
        lease: LEASE,
    }
}

fn joined(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Accepted {
            change: Change::Joined,
            ..
        }
    )
}

/// A new table with the rows that the store would hold.
fn reloaded(table: &mut Table, at: u64) -> Table {
    let mut rows = Vec::new();
    while table.is_dirty() {
        rows.extend(table.take_dirty().rows);
    }
    rows.sort_by_key(|row| row.slot);
    let mut loaded = Table::new(Settings::default());
    for row in rows {
        if let Some(bytes) = row.value {
            loaded.load(now(at), row::decode(row.slot, &bytes).unwrap());
        }
    }
    loaded
}

#[test]
fn claim_is_found_by_name_and_address_and_expires() {
    let mut table = table();
    assert_eq!(
        table.claim(now(0), &claim("laptop", 7)),
        ClaimOutcome::Accepted(Change::Joined)
    );
    let node = table.by_name(&name("laptop")).unwrap();
    assert_eq!(
        (node.protocol(), node.state(), node.source().ip()),
        (Protocol::Dynip, State::Present, ip(7))
    );
    assert_eq!(
        (
            node.lease(),
            node.last_seen(),
            node.record().addresses.len()
        ),
        (LEASE, START, 0)
    );
    assert_eq!(table.holder(ip(7)).unwrap().name(), &name("laptop"));
    assert_eq!(table.expire(now(600)), [stand_in(&name("laptop"))]);
    assert_eq!(
        table.by_name(&name("laptop")).unwrap().state(),
        State::Expired
    );
    assert_eq!(
        table.claim(now(700), &claim("laptop", 7)),
        ClaimOutcome::Accepted(Change::Returned)
    );
    assert_eq!(table.present(), 1);
}

#[test]
fn repetition_stores_no_row_and_another_address_makes_history() {
    let mut table = table();
    table.claim(now(0), &claim("laptop", 7));
    table.take_dirty();
    assert_eq!(
        table.claim(now(60), &claim("laptop", 7)),
        ClaimOutcome::Accepted(Change::Same)
    );
    assert!(!table.is_dirty() && table.is_seen_dirty());
    assert_eq!(
        table.by_name(&name("laptop")).unwrap().last_seen(),
        now(60).wall
    );
    assert_eq!(
        table.claim(now(120), &claim("laptop", 8)),
        ClaimOutcome::Accepted(Change::Moved)
    );
    assert!(table.is_dirty());
    let history: Vec<_> = table.by_name(&name("laptop")).unwrap().history().collect();
    let span = |index, from: u64, to: Option<u64>| {
        let (from, to) = (now(from).wall, to.map(|to| now(to).wall));
        Interval {
            ip: ip(index),
            evidence: Evidence::Observed,
            from,
            to,
            lost_by: None,
        }
    };
    assert_eq!(history, [span(7, 0, Some(120)), span(8, 120, None)]);
}

#[test]
fn claim_never_takes_a_name_from_an_authenticated_node() {
    let mut table = table();
    assert!(joined(&table.register(now(0), registration(1, 1, 1))));
    let before = table.by_name(&name("node-1")).unwrap().signed();
    assert_eq!(
        table.claim(now(1), &claim("node-1", 66)),
        ClaimOutcome::Owned { holder: node_id(1) }
    );
    // The same holds while the node is absent, as long as the name is reserved for it.
    table.expire(now(100));
    assert_eq!(
        table.claim(now(200), &claim("node-1", 66)),
        ClaimOutcome::Owned { holder: node_id(1) }
    );
    let node = table.by_name(&name("node-1")).unwrap();
    assert_eq!(
        (node.signed(), node.source().ip(), table.len()),
        (before, ip(1), 1)
    );
    assert_eq!(
        table.import(
            now(200),
            &name("node-1"),
            Protocol::Dynip,
            ip(66),
            now(150).wall,
            LEASE
        ),
        Imported::Owned
    );
    assert_eq!(
        (table.unverified(), table.counters().unverified_owned),
        (0, 2)
    );
    assert!(table.holder(ip(66)).is_none());
}

#[test]
fn former_name_of_a_node_is_reserved_against_claims() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.register(
        now(1),
        changed(1, 1, 2, |record| record.name = name("renamed")),
    );
    assert_eq!(
        table.claim(now(2), &claim("node-1", 66)),
        ClaimOutcome::Owned { holder: node_id(1) }
    );
}

#[test]
fn authenticated_node_takes_over_the_name_at_once() {
    let mut table = table();
    table.claim(now(0), &claim("node-1", 66));
    assert!(joined(&table.register(now(10), registration(1, 1, 1))));
    let node = table.by_name(&name("node-1")).unwrap();
    assert_eq!(
        (node.id(), node.protocol()),
        (node_id(1), Protocol::Hereabouts)
    );
    assert_eq!((table.present(), table.len()), (1, 2));
    assert_eq!(
        table.claim(now(11), &claim("node-1", 66)),
        ClaimOutcome::Owned { holder: node_id(1) }
    );
    // The earlier address of the name is still found.
    let past: Vec<_> = table
        .at(&name("node-1"), now(0).wall)
        .map(|(_, interval)| interval.ip)
        .collect();
    assert_eq!(past, [ip(66)]);
    // Once the name is free again, a claim is accepted again.
    table.forget(&name("node-1"));
    assert_eq!(
        table.claim(now(12), &claim("node-1", 67)),
        ClaimOutcome::Accepted(Change::Returned)
    );
    assert_eq!(
        table.by_name(&name("node-1")).unwrap().source().ip(),
        ip(67)
    );
}

#[test]
fn stand_in_can_neither_register_nor_renew() {
    let mut table = table();
    table.claim(now(0), &claim("laptop", 7));
    let id = table.by_name(&name("laptop")).unwrap().id();
    assert!(
        table
            .by_name(&name("laptop"))
            .unwrap()
            .signed()
            .verify(|_| true)
            .is_err()
    );
    assert!(table.renewal_key(&id).is_none());
}

#[test]
fn another_protocol_claims_the_same_name() {
    let mut table = table();
    table.claim(now(0), &claim("laptop", 7));
    table.take_dirty();
    let other = UnverifiedClaim {
        protocol: Protocol::Terminals,
        lease: Lease(60),
        ..claim("laptop", 7)
    };
    assert_eq!(
        table.claim(now(1), &other),
        ClaimOutcome::Accepted(Change::Same)
    );
    let node = table.by_name(&name("laptop")).unwrap();
    assert_eq!(
        (
            node.protocol(),
            node.lease(),
            node.record().lease,
            table.len()
        ),
        (Protocol::Terminals, Lease(60), Lease(60), 1)
    );
    assert!(table.is_dirty());
}

#[test]
fn invented_names_fill_their_own_limit_only() {
    let mut table = Table::new(Settings {
        max_unverified: 100,
        ..Settings::default()
    });
    for index in 0..1000 {
        table.claim(now(0), &claim(&format!("made-up-{index}"), index));
    }
    assert_eq!(
        (table.unverified(), table.counters().unverified_full),
        (100, 900)
    );
    assert!(joined(&table.register(now(1), registration(1, 1, 1))));
    // Present rows stay; absent rows make room.
    assert!(table.by_name(&name("made-up-0")).is_some());
    table.expire(now(600));
    table.register(now(600), registration(1, 1, 2));
    assert_eq!(
        table.claim(now(601), &claim("real", 5000)),
        ClaimOutcome::Accepted(Change::Joined)
    );
    assert_eq!(table.unverified(), 100);
    assert!(table.by_name(&name("node-1")).is_some());
}

#[test]
fn names_of_one_address_are_limited() {
    let mut table = table();
    for index in 0..100 {
        table.claim(now(0), &claim(&format!("name-{index}"), 9));
    }
    assert_eq!(table.unverified(), MAX_NAMES_PER_SOURCE);
    assert_eq!(
        table.claim(now(1), &claim("name-0", 9)),
        ClaimOutcome::Accepted(Change::Same)
    );
    assert_eq!(
        table.claim(now(1), &claim("elsewhere", 10)),
        ClaimOutcome::Accepted(Change::Joined)
    );
    // No further name can move there.
    assert_eq!(
        table.claim(now(1), &claim("elsewhere", 9)),
        ClaimOutcome::Full
    );
}

#[test]
fn full_table_accepts_no_claim_and_evicts_no_node_for_it() {
    let mut table = Table::new(Settings {
        max_nodes: 2,
        ..Settings::default()
    });
    table.register(now(0), registration(1, 1, 1));
    table.register(now(0), registration(2, 1, 1));
    assert_eq!(table.claim(now(1), &claim("laptop", 7)), ClaimOutcome::Full);
    assert_eq!((table.len(), table.unverified()), (2, 0));
}

#[test]
fn claims_survive_a_restart() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    table.claim(now(0), &claim("laptop", 7));
    table.claim(
        now(5),
        &UnverifiedClaim {
            protocol: Protocol::Terminals,
            ..claim("kiosk", 8)
        },
    );
    let mut loaded = reloaded(&mut table, 10);
    let protocols: Vec<_> = loaded
        .nodes(Filter::ALL, None)
        .map(|node| (node.name().to_string(), node.protocol()))
        .collect();
    let expected = [
        ("kiosk", Protocol::Terminals),
        ("laptop", Protocol::Dynip),
        ("node-1", Protocol::Hereabouts),
    ];
    assert_eq!(
        protocols,
        expected.map(|(name, protocol)| (name.to_owned(), protocol))
    );
    assert_eq!(loaded.unverified(), 2);
    assert_eq!(
        loaded.claim(now(11), &claim("laptop", 7)),
        ClaimOutcome::Accepted(Change::Same)
    );
    assert!(matches!(
        loaded.claim(now(11), &claim("node-1", 7)),
        ClaimOutcome::Owned { .. }
    ));
}

/// The row as version 2 wrote it; its intervals are open.
fn row_of_version_2(row: &crate::registry::Row) -> Vec<u8> {
    let mut bytes = row.value.clone().unwrap().into_vec();
    assert_eq!(bytes[1], row::ROW_VERSION);
    bytes[1] = 2;
    // An interval is an array of five elements that begins with an IPv4 address and ends with two
    // nulls; in version 2 it has four elements and ends with one.
    while let Some(start) = bytes
        .windows(6)
        .position(|window| window[0] == 0x85 && window[1] == 0x44 && window[2] == 10)
    {
        bytes[start] = 0x84;
        let end = bytes[start..]
            .windows(2)
            .position(|window| window == [0xf6, 0xf6])
            .unwrap();
        bytes.remove(start + end);
    }
    bytes
}

#[test]
fn row_of_version_2_has_certain_ends() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let bytes = row_of_version_2(&table.take_dirty().rows[0]);
    let node = row::decode(0, &bytes).unwrap();
    let history: Vec<_> = table.by_id(&node_id(1)).unwrap().history().collect();
    assert_eq!(node.history, history);
    assert!(history.iter().all(|interval| interval.lost_by.is_none()));
}

#[test]
fn row_of_version_1_is_of_our_own_protocol() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let mut bytes = row_of_version_2(&table.take_dirty().rows[0]);
    // A head of 20 elements (RFC 8949 §3.1) and the version; the protocol is the last byte.
    assert_eq!((bytes[0], bytes[1], bytes.last()), (0x94, 2, Some(&0)));
    (bytes[0], bytes[1]) = (0x93, 1);
    bytes.pop();
    let node = row::decode(0, &bytes).unwrap();
    assert_eq!(
        (node.protocol, node.record.name),
        (Protocol::Hereabouts, name("node-1"))
    );
}

#[test]
fn imported_file_is_applied_once() {
    let mut table = table();
    let day = 86_400;
    let now = fixture::now(200 * day);
    let at = |seconds_ago: u64| now.wall.minus(Duration::from_secs(seconds_ago));
    let file = [
        ("old", 1, at(150 * day)),
        ("recent", 2, at(day)),
        ("here", 3, at(60)),
    ];
    let import = |table: &mut Table| {
        file.map(|(text, index, at)| {
            table.import(now, &name(text), Protocol::Dynip, ip(index), at, LEASE)
        })
    };
    assert_eq!(import(&mut table), [Imported::Added; 3]);
    let state = |table: &Table, text: &str| {
        let node = table.by_name(&name(text)).unwrap();
        (
            node.state(),
            node.last_seen(),
            node.first_seen(),
            node.source().ip(),
            node.history().collect::<Vec<_>>(),
        )
    };
    let before = ["old", "recent", "here"].map(|text| state(&table, text));
    assert_eq!(
        (before[0].0, before[0].1, before[0].4.len()),
        (State::Expired, at(150 * day), 0)
    );
    assert_eq!((before[1].0, before[1].1), (State::Expired, at(day)));
    let span = |index, from, to| Interval {
        ip: ip(index),
        evidence: Evidence::Observed,
        from,
        to,
        lost_by: None,
    };
    assert_eq!(before[1].4, [span(2, at(day), Some(at(day)))]);
    assert_eq!(
        (before[2].0, before[2].4.as_slice()),
        (State::Present, &[span(3, at(60), None)][..])
    );

    table.take_dirty();
    assert_eq!(import(&mut table), [Imported::Same; 3]);
    assert!(!table.is_dirty());
    assert_eq!(
        ["old", "recent", "here"].map(|text| state(&table, text)),
        before
    );

    // An older file does not replace newer data.
    table.claim(now, &claim("recent", 9));
    assert_eq!(
        table.import(
            now,
            &name("recent"),
            Protocol::Dynip,
            ip(4),
            at(2 * day),
            LEASE
        ),
        Imported::Updated
    );
    let (state, last_seen, first_seen, source, history) = state(&table, "recent");
    assert_eq!(
        (state, last_seen, first_seen, source),
        (State::Present, now.wall, at(2 * day), ip(9))
    );
    let expected = [
        span(4, at(2 * day), Some(at(2 * day))),
        before[1].4[0],
        span(9, now.wall, None),
    ];
    assert_eq!(history, expected);
}

#[test]
fn authenticated_node_is_the_holder_of_an_address() {
    let mut table = table();
    table.register(now(0), changed(1, 1, 1, |record| record.addresses.clear()));
    table.claim(now(50), &claim("laptop", 1));
    assert_eq!(
        table.holder(ip(1)).unwrap().id(),
        node_id(1),
        "although the claim is newer"
    );
    assert_eq!(table.holders(ip(1), None).count(), 2);
}

#[test]
fn second_authenticated_node_is_refused_as_before() {
    let mut table = table();
    table.register(now(0), registration(1, 1, 1));
    let other = fixture::signed(2, registration(1, 1, 1).record);
    assert_eq!(
        table.register(now(1), other),
        Outcome::Refused(Refusal::NameHeld { holder: node_id(1) })
    );
}

#[test]
fn table_is_empty_after_all_has_expired() {
    let mut table = table();
    table.claim(now(0), &claim("laptop", 7));
    table.import(
        now(0),
        &name("older"),
        Protocol::Dynip,
        ip(8),
        START.minus(Duration::from_secs(86_400)),
        LEASE,
    );
    for _ in 0..10 {
        let Some(at) = table.next_deadline() else {
            break;
        };
        table.expire(Now {
            elapsed: at,
            wall: START.plus(at),
        });
    }
    assert_eq!(
        (table.len(), table.unverified(), table.next_deadline()),
        (0, 0, None)
    );
}
