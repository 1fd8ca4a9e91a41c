//! The largest node, versions before and after, refusals, and properties of the codec.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::api::view::{
    AddressView, ChangeKind, ChangeView, Evidence, FileView, HealthView, HistoryView, HolderView,
};
use crate::model::{Address, Labels, NodeId, NodeName, Origin, Protocol, Role, State, Timestamp};

fn name() -> impl Strategy<Value = NodeName> {
    "[a-z]{1,20}(\\.[a-z0-9]{1,20}){0,2}".prop_map(|text| text.parse().unwrap())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical())
    ]
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.0).prop_map(Timestamp)
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-z]{1,8}", "[a-z \"\\\\]{0,8}", 0..4)
        .prop_map(|map| Labels::new(map).unwrap())
}

fn address() -> impl Strategy<Value = AddressView> {
    (ip(), prop::option::of("[a-z]{1,4}[0-9]"), any::<bool>()).prop_map(
        |(ip, interface, advertised)| {
            AddressView::from(&Address {
                ip,
                interface: interface.map(|name| name.parse().unwrap()),
                origin: if advertised {
                    Origin::Advertised
                } else {
                    Origin::Interface
                },
            })
        },
    )
}

fn file() -> impl Strategy<Value = FileView> {
    (
        "[a-z./]{1,63}",
        any::<u64>(),
        time(),
        prop::option::of("[a-zé\" ]{0,100}"),
    )
        .prop_map(|(name, generation, reported, error)| FileView {
            name,
            generation,
            reported,
            error,
        })
}

prop_compose! {
    fn node()(
        (node_id, name, state, role, addresses, port) in (
            any::<[u8; 32]>().prop_map(NodeId),
            name(),
            prop_oneof![Just(State::Present), Just(State::Expired), Just(State::Left)],
            prop_oneof![Just(Role::Client), Just(Role::Server), Just(Role::Both)],
            prop::collection::vec(address(), 0..12),
            any::<u16>(),
        ),
        (source, labels, first_seen, last_seen, lease_seconds, expires_in_seconds) in (
            prop::option::of(socket()),
            labels(),
            prop::option::of(time()),
            time(),
            any::<u32>(),
            prop::option::of(any::<u64>()),
        ),
        (key, protocol, epoch, cloned, former_names, files) in (
            prop::option::of("[0-9a-f]{8}"),
            prop_oneof![
                Just(Protocol::Hereabouts),
                Just(Protocol::Dynip),
                Just(Protocol::Terminals),
            ],
            any::<u64>(),
            any::<bool>(),
            prop::collection::vec(name(), 0..3),
            prop::collection::vec(file(), 0..3),
        ),
    ) -> NodeView {
        NodeView {
            name, node_id, state, role, addresses, port, source, labels, first_seen, last_seen,
            lease_seconds, expires_in_seconds, protocol, key, epoch, cloned, former_names, files,
        }
    }
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![Just(Evidence::Announced), Just(Evidence::Observed)]
}

fn history() -> impl Strategy<Value = Item> {
    (
        name(),
        any::<[u8; 32]>(),
        ip(),
        evidence(),
        time(),
        prop::option::of(time()),
        prop::option::of(time()),
    )
        .prop_map(|(name, node_id, address, evidence, from, to, lost_by)| {
            Item::from(HistoryView {
                name,
                node_id: NodeId(node_id),
                address,
                evidence,
                from,
                to,
                lost_by,
            })
        })
}

fn holder() -> impl Strategy<Value = Item> {
    (
        ip(),
        any::<bool>(),
        prop::option::of(evidence()),
        prop::option::of(time()),
        prop::option::of(time()),
        any::<bool>(),
        node(),
    )
        .prop_map(|(address, current, evidence, from, to, probable, node)| {
            Item::from(HolderView {
                address,
                current,
                evidence,
                from,
                to,
                lost_by: to,
                probable,
                node,
            })
        })
}

fn change() -> impl Strategy<Value = Item> {
    let kind = prop_oneof![
        Just(ChangeKind::Arrived),
        Just(ChangeKind::Changed),
        Just(ChangeKind::Left),
        Just(ChangeKind::Expired),
        Just(ChangeKind::Conflict),
        Just(ChangeKind::Cloned),
        Just(ChangeKind::Forgotten),
        Just(ChangeKind::Reported),
    ];
    (
        time(),
        kind,
        name(),
        prop::option::of(socket()),
        prop::option::of(node()),
        any::<u64>(),
    )
        .prop_map(|(time, change, name, source, node, missed)| {
            Item::from(ChangeView {
                time,
                change,
                name,
                source,
                node,
                missed,
            })
        })
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![node().prop_map(Item::from), history(), holder(), change()]
}

fn request() -> impl Strategy<Value = Request> {
    let labels = prop::collection::btree_map("[a-z]{1,8}", "[a-z ]{0,8}", 0..4);
    let at = || prop::option::of(time());
    let after = || prop::option::of("[a-z0-9]{1,20}");
    prop_oneof![
        (labels, any::<bool>(), after()).prop_map(|(labels, absent, after)| Request::Nodes {
            labels,
            absent,
            after,
        }),
        (name(), at()).prop_map(|(name, at)| Request::Node { name, at }),
        (ip(), at()).prop_map(|(address, at)| Request::Holder { address, at }),
        (name(), after()).prop_map(|(name, after)| Request::History { name, after }),
        Just(Request::Watch),
    ]
}

/// A node that is as large as the limits allow, with errors that JSON escapes.
fn largest_node(error: &str) -> NodeView {
    let name = |number: usize| -> NodeName {
        let label = "x".repeat(NodeName::MAX_LABEL);
        format!("{label}.{number:0>63}").parse().unwrap()
    };
    let address = AddressView::from(&Address {
        ip: "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(),
        interface: Some("interface-15-ch".parse().unwrap()),
        origin: Origin::Advertised,
    });
    let file = |number: usize| FileView {
        name: format!("{number:0>63}"),
        generation: u64::MAX,
        reported: Timestamp::MAX,
        error: Some(error.repeat(1000)),
    };
    NodeView {
        name: name(0),
        node_id: NodeId([7; 32]),
        state: State::Present,
        role: Role::Client,
        addresses: vec![address; 100],
        port: u16::MAX,
        source: Some(
            "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
                .parse()
                .unwrap(),
        ),
        labels: Labels::new([("k", "\"".repeat(254))]).unwrap(),
        first_seen: Some(Timestamp::MAX),
        last_seen: Timestamp::MAX,
        lease_seconds: u32::MAX,
        expires_in_seconds: Some(u64::MAX),
        protocol: Protocol::Hereabouts,
        key: Some("1a2b3c4d".to_owned()),
        epoch: u64::MAX,
        cloned: false,
        former_names: (0..100).map(name).collect(),
        files: (0..100).map(file).collect(),
    }
}

#[test]
fn largest_node_fits_a_frame() {
    for error in ["x", "\"", "\\", "é", "\u{1}", "\u{9f}"] {
        let text = encode_item(largest_node(error).into()).unwrap();
        assert!(text.len() <= MAX_TEXT, "{error:?}: {}", text.len());
        let Item::Node(node) = decode_item(&text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(node.addresses.len(), Record::MAX_ADDRESSES);
        assert_eq!(node.former_names.len(), NodeView::MAX_FORMER_NAMES);
        assert_eq!(node.files.len(), NodeView::MAX_FILES);
        let error = node.files[0].error.as_ref().unwrap();
        assert!(!error.is_empty() && error.len() <= Report::MAX_ERROR);
        assert!(!error.contains(char::is_control));
    }
}

#[test]
fn texts_are_stable() {
    let request = Request::Nodes {
        labels: [("site".to_owned(), "home".to_owned())].into(),
        absent: true,
        after: None,
    };
    assert_eq!(
        encode_request(&request).unwrap(),
        r#"{"type":"nodes","labels":{"site":"home"},"absent":true,"after":null}"#
    );
    let interval = HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([0; 32]),
        address: "192.0.2.9".parse().unwrap(),
        evidence: Evidence::Observed,
        from: Timestamp(1),
        to: None,
        lost_by: None,
    };
    assert_eq!(
        encode_item(interval.into()).unwrap(),
        concat!(
            r#"{"history":{"name":"laptop","#,
            r#""node_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#,
            r#""address":"192.0.2.9","evidence":"observed","#,
            r#""from":"1970-01-01T00:00:00.001Z","to":null,"lost_by":null}}"#
        )
    );
}

#[test]
fn requests_that_change_a_node_are_refused() {
    for text in [
        r#"{"type":"status"}"#,
        r#"{"type":"health"}"#,
        r#"{"type":"push","name":"a","timeout_ms":1}"#,
        r#"{"type":"pull"}"#,
        r#"{"type":"forget","name":"laptop"}"#,
        r#"{"type":"import","protocol":"dynip","records":[]}"#,
        r#"{"type":"announce"}"#,
        r#"{"type":"lookup","name":"laptop"}"#,
        r#"{"type":"lookup_holder","address":"192.0.2.1"}"#,
    ] {
        assert!(
            matches!(decode_request(text), Err(TextError::NotRemote)),
            "{text}"
        );
        let request: Request = serde_json::from_str(text).unwrap();
        assert!(matches!(
            encode_request(&request),
            Err(TextError::NotRemote)
        ));
    }
}

#[test]
fn items_of_the_own_node_are_refused() {
    let health = Item::from(HealthView::default());
    let text = serde_json::to_string(&health).unwrap();
    assert!(matches!(encode_item(health), Err(TextError::NotRemote)));
    assert!(matches!(decode_item(&text), Err(TextError::NotRemote)));
}

#[test]
fn wrong_texts_are_refused() {
    let deep = format!(
        r#"{{"type":"watch","later":{}{}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    for text in [
        "",
        "nonsense",
        r#"{"type":"explode"}"#,
        r#"{"type":"history"}"#,
        r#"{"type":"history","name":"UPPER CASE"}"#,
        r#"{"type":"watch"} trailing"#,
        &deep,
    ] {
        assert!(
            matches!(decode_request(text), Err(TextError::Json(_))),
            "{text}"
        );
    }
    assert!(decode_item(r#"{"planet":{}}"#).is_err());
}

#[test]
fn unknown_keys_are_skipped() {
    assert_eq!(
        decode_request(r#"{"type":"watch","later":{"version":[2]}}"#).unwrap(),
        Request::Watch
    );
    let text = encode_item(largest_node("x").into()).unwrap();
    let later = text.replacen(r#"{"name""#, r#"{"later":[{}],"name""#, 1);
    assert_ne!(text, later);
    assert_eq!(decode_item(&later).unwrap(), decode_item(&text).unwrap());
}

proptest! {
    #[test]
    fn request_roundtrip(request in request()) {
        let text = encode_request(&request).unwrap();
        prop_assert!(text.len() < crate::session::MAX_REQUEST - 5);
        prop_assert_eq!(decode_request(&text).unwrap(), request);
    }

    #[test]
    fn item_roundtrip(item in item()) {
        let text = encode_item(item.clone()).unwrap();
        prop_assert_eq!(decode_item(&text).unwrap(), item);
    }

    #[test]
    fn decode_no_panic(text in ".{0,300}") {
        let _ = decode_request(&text);
        let _ = decode_item(&text);
    }

    /// If a damaged text still decodes, its encoding is stable.
    #[test]
    fn damaged_item_decode_no_panic(
        item in item(),
        changes in prop::collection::vec((any::<usize>(), 0x20_u8..0x7f), 1..4),
    ) {
        let mut text = encode_item(item).unwrap().into_bytes();
        let length = text.len();
        for (at, byte) in changes {
            text[at % length] = byte;
        }
        if let Ok(text) = String::from_utf8(text)
            && let Ok(decoded) = decode_item(&text)
        {
            let text = encode_item(decoded).unwrap();
            prop_assert_eq!(encode_item(decode_item(&text).unwrap()).unwrap(), text);
        }
    }
}
