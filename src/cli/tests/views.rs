//! Views with something in every field.

use crate::api::view::*;
use crate::model::{Labels, NodeId, Origin, Protocol, Role, Scope, State, Timestamp};

pub(crate) const TIME: Timestamp = Timestamp(1_795_200_000_000);

/// A node that is present, with these addresses.
pub(crate) fn node(name: &str, addresses: &[&str]) -> NodeView {
    let address = |text: &&str| {
        let address = text.parse().unwrap();
        let (interface, origin) = (Some("eth0".parse().unwrap()), Origin::Interface);
        AddressView {
            address,
            interface,
            scope: Scope::of(address),
            origin,
        }
    };
    NodeView {
        name: name.parse().unwrap(),
        node_id: NodeId([7; 32]),
        state: State::Present,
        role: Role::Client,
        addresses: addresses.iter().map(address).collect(),
        port: 24373,
        source: Some("192.0.2.9:24373".parse().unwrap()),
        labels: Labels::new([("site", "home")]).unwrap(),
        first_seen: Some(TIME),
        last_seen: TIME,
        lease_seconds: 90,
        expires_in_seconds: Some(60),
        protocol: Protocol::Hereabouts,
        key: Some("1a2b3c4d".to_owned()),
        epoch: 3,
        cloned: false,
        former_names: Vec::new(),
        files: vec![FileView {
            name: "catalogue".to_owned(),
            generation: 4,
            reported: TIME,
            error: Some("the disk is full".to_owned()),
        }],
    }
}

pub(crate) fn found(name: &str) -> FoundView {
    let node = node(name, &["192.168.1.20"]);
    FoundView {
        name: node.name,
        node_id: node.node_id,
        role: Role::Both,
        source: "192.168.1.20:24373".parse().unwrap(),
        addresses: node.addresses,
        port: node.port,
        labels: node.labels,
        info: Labels::new([("services", "10.0.0.1")]).unwrap(),
        seen: "192.168.1.4:50000".parse().unwrap(),
        method: "multicast".to_owned(),
        after_ms: 3,
    }
}

pub(crate) fn announced(error: Option<&str>) -> AnnouncedView {
    AnnouncedView {
        server: "192.168.1.2:24373".parse().unwrap(),
        name: Some("hub".parse().unwrap()),
        node_id: Some(NodeId([1; 32])),
        seen: error
            .is_none()
            .then(|| "192.168.1.4:24373".parse().unwrap()),
        lease_seconds: error.is_none().then_some(90),
        error: error.map(str::to_owned),
    }
}

pub(crate) fn finding(code: Code, severity: Severity, text: &str) -> FindingView {
    let remedy = (severity != Severity::Ok).then(|| "fix it".to_owned());
    let about = (severity != Severity::Ok).then(|| "eth0".to_owned());
    FindingView {
        code,
        severity,
        about,
        finding: text.to_owned(),
        remedy,
    }
}

pub(crate) fn interval(to: Option<Timestamp>) -> HistoryView {
    HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([7; 32]),
        address: "192.168.1.20".parse().unwrap(),
        evidence: Evidence::Announced,
        from: TIME,
        to,
        lost_by: None,
    }
}

pub(crate) fn holder(current: bool) -> HolderView {
    HolderView {
        address: "192.168.1.20".parse().unwrap(),
        current,
        evidence: Some(Evidence::Observed),
        from: Some(TIME),
        to: None,
        lost_by: None,
        probable: false,
        node: node("laptop", &["192.168.1.20"]),
    }
}

pub(crate) fn status() -> StatusView {
    let own = node("hub", &["192.168.1.2"]);
    StatusView {
        node: OwnView {
            name: own.name.clone(),
            node_id: own.node_id,
            role: Role::Both,
            version: "0.1.0".to_owned(),
            channel: "home".to_owned(),
            key_ids: vec!["1a2b3c4d".to_owned(), "5e6f7a8b".to_owned()],
            epoch: 3,
            labels: own.labels,
            addresses: own.addresses,
            pid: 12,
            started: TIME,
            uptime_seconds: 7_300,
        },
        config: ConfigView {
            file: None,
            state_dir: "/var/lib/hereabouts".to_owned(),
        },
        health: HealthView {
            ready: false,
            reasons: vec!["no server yet".to_owned()],
        },
        sockets: vec![SocketView {
            purpose: "sessions (TCP)".to_owned(),
            address: "[::]:24373".parse().unwrap(),
            interface: None,
        }],
        methods: vec![
            MethodView {
                method: "multicast".to_owned(),
                state: MethodState::Failed,
                reason: Some("no answer within 3 s".to_owned()),
                servers: 0,
            },
            MethodView {
                method: "broadcast".to_owned(),
                state: MethodState::NotYet,
                reason: None,
                servers: 0,
            },
        ],
        publications: vec![
            PublicationView {
                target: "server".to_owned(),
                name: "hub".to_owned(),
                interface: None,
                state: PublicationState::Published,
                addresses: vec!["192.168.1.2".parse().unwrap()],
                reason: None,
            },
            PublicationView {
                target: "mdns".to_owned(),
                name: "hub.local".to_owned(),
                interface: Some("eth0".parse().unwrap()),
                state: PublicationState::Conflict,
                addresses: Vec::new(),
                reason: Some("hub.local is taken by a host at 192.168.1.9".to_owned()),
            },
            PublicationView {
                target: "dynip".to_owned(),
                name: "old.example.org:28630".to_owned(),
                interface: None,
                state: PublicationState::Sent,
                addresses: Vec::new(),
                reason: None,
            },
        ],
        interfaces: vec![
            InterfaceView {
                name: "eth0".parse().unwrap(),
                index: 2,
                used: true,
                rule: "interfaces.include: *".to_owned(),
                addresses: vec!["192.168.1.2".parse().unwrap()],
                groups: vec![GroupView {
                    group: "ff12::4373".parse().unwrap(),
                    joined: false,
                    error: Some("no such device".to_owned()),
                }],
                error: None,
            },
            InterfaceView {
                name: "docker0".parse().unwrap(),
                index: 3,
                used: false,
                rule: "interfaces.exclude: docker*".to_owned(),
                addresses: Vec::new(),
                groups: Vec::new(),
                error: None,
            },
        ],
        servers: vec![ServerView {
            address: "192.168.1.2:24373".parse().unwrap(),
            node_id: None,
            name: None,
            found_by: "unicast".to_owned(),
            lease_seconds: None,
            last_acknowledged: None,
            seen: None,
            last_refusal: Some("too many requests".to_owned()),
        }],
        registry: Some(RegistryView {
            present: 2,
            expired: 1,
            left: 0,
            total: 3,
            unauthenticated: 1,
            capacity: 1_000_000,
            durable_lag_ms: 0,
            store: StoreView {
                path: "/var/lib/hereabouts/registry.redb".to_owned(),
                size_bytes: Some(1_572_864),
                last_error: None,
            },
        }),
        offers: vec![OfferView {
            name: "catalogue".to_owned(),
            path: "/srv/catalogue.db".to_owned(),
            generation: Some(4),
            size: Some(1_048_576),
            digest: Some("ab".repeat(32)),
            error: Some("it was written while it was read".to_owned()),
        }],
        accepts: vec![AcceptView {
            name: "prices".to_owned(),
            path: "/var/lib/kiosk/prices.db".to_owned(),
            generation: Some(11),
            size: Some(2_097_152),
            digest: Some("cd".repeat(32)),
            pulled: Some(TIME),
            server: Some(NodeId([6; 32])),
            server_name: Some("hub".parse().unwrap()),
            last_attempt: Some(TIME),
            error: Some("the disk is full".to_owned()),
        }],
        counters: [("dropped".to_owned(), [("replayed".to_owned(), 4)].into())].into(),
        interfaces_polled: false,
        conflicts: vec![ConflictView {
            name: "laptop".parse().unwrap(),
            holder: NodeId([7; 32]),
            claimant: NodeId([8; 32]),
            source: "192.168.1.66:24373".parse().unwrap(),
            last_time: TIME,
        }],
        compat: vec![CompatView {
            protocol: "dynip".to_owned(),
            side: "client".to_owned(),
            target: Some("old-hub:28630".to_owned()),
            weakness: "anyone on the way reads this node's name".to_owned(),
            last_error: Some("no route to host".to_owned()),
        }],
        pydiscover: vec![PydiscoverView {
            source: "192.168.1.9:50000".parse().unwrap(),
            info: [("services".to_owned(), "10.0.0.1".to_owned())].into(),
            last_time: TIME,
        }],
        clones: vec![CloneView {
            node_id: NodeId([9; 32]),
            name: "kiosk".parse().unwrap(),
            sources: vec![
                "192.168.1.30:24373".parse().unwrap(),
                "192.168.1.31:24373".parse().unwrap(),
            ],
            last_time: TIME,
        }],
    }
}

pub(crate) fn change() -> ChangeView {
    let node = node("laptop", &["10.9.0.5"]);
    ChangeView {
        time: TIME,
        change: ChangeKind::Arrived,
        name: node.name.clone(),
        source: node.source,
        node: Some(node),
        missed: 0,
    }
}
