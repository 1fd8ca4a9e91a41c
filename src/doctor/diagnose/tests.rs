//! Each finding, caused by what it is found from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::super::firewall::{By, Direction, Flow, Keeper, Kind, Verdict};
use super::super::observations::*;
use super::diagnose;
use crate::api::view::*;
use crate::model::{InterfaceName, Labels, NodeId, Role, Timestamp};
use crate::net::{Family, FanoutMethod};

const OTHER: NodeId = NodeId([9; 32]);

fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

fn target(method: FanoutMethod, family: Family, to: &str) -> TargetSeen {
    TargetSeen {
        interface: name("eth0"),
        family,
        method,
        to: to.parse().unwrap(),
        sent: Sent::Yes,
        looped: Some(true),
        answered_by: BTreeSet::from([OTHER]),
    }
}

/// A machine where all is well, beside one other node.
fn well() -> Observations {
    let eth0 = InterfaceSeen {
        name: name("eth0"),
        taken: true,
        rule: "fits '*' in interfaces.include".to_owned(),
        loopback: false,
        multicast: true,
        kind: None,
        mtu: Some(1500),
        ipv6: true,
        networks: BTreeSet::from([
            ("10.0.0.0".parse().unwrap(), 24),
            ("fe80::".parse().unwrap(), 64),
        ]),
    };
    Observations {
        setup: Setup {
            source: Some("/etc/hereabouts/hereabouts.yaml".into()),
            unavailable: Vec::new(),
            role: Role::Client,
            channel: "home".to_owned(),
            multicast: true,
            broadcast: true,
            listen: "[::]:24373".parse().unwrap(),
            multicast_port: 24373,
            groups: [
                IpAddr::from([239, 255, 43, 73]),
                "ff12::4373".parse().unwrap(),
            ],
        },
        key: KeySeen::Usable(vec!["1a2b3c4d".to_owned()]),
        state: StateSeen::Usable("/var/lib/hereabouts".into()),
        node: NodeSeen::Absent,
        port: PortSeen::Free,
        deaf: None,
        interfaces: vec![eth0],
        polled: false,
        surroundings: Surroundings::Host,
        network: NetworkSeen {
            asked: true,
            targets: vec![
                target(FanoutMethod::Multicast, Family::Ipv4, "239.255.43.73:24373"),
                target(FanoutMethod::Multicast, Family::Ipv6, "[ff12::4373]:24373"),
                target(FanoutMethod::Broadcast, Family::Ipv4, "10.0.0.255:24373"),
                target(
                    FanoutMethod::Broadcast,
                    Family::Ipv4,
                    "255.255.255.255:24373",
                ),
            ],
            peers: BTreeSet::from([(OTHER, true)]),
            ..NetworkSeen::default()
        },
        firewall: FirewallSeen::Read {
            verdicts: Vec::new(),
            kept_by: None,
        },
        servers: vec![ServerSeen {
            name: "hub:24373".to_owned(),
            outcome: Outcome::Answered("10.0.0.9:24373".parse().unwrap()),
        }],
        mdns: Some(Ok(())),
    }
}

fn status() -> StatusView {
    StatusView {
        node: OwnView {
            name: "laptop".parse().unwrap(),
            node_id: NodeId([7; 32]),
            role: Role::Client,
            version: "0.1.0".to_owned(),
            channel: "home".to_owned(),
            key_ids: vec!["1a2b3c4d".to_owned()],
            epoch: 1,
            labels: Labels::default(),
            addresses: Vec::new(),
            pid: 12,
            started: Timestamp(0),
            uptime_seconds: 60,
        },
        config: ConfigView {
            file: None,
            state_dir: "/var/lib/hereabouts".to_owned(),
        },
        health: HealthView {
            ready: true,
            reasons: Vec::new(),
        },
        sockets: Vec::new(),
        methods: Vec::new(),
        interfaces: Vec::new(),
        interfaces_polled: false,
        servers: Vec::new(),
        registry: None,
        counters: BTreeMap::new(),
        conflicts: Vec::new(),
        clones: Vec::new(),
        publications: Vec::new(),
        compat: Vec::new(),
        offers: Vec::new(),
        accepts: Vec::new(),
        pydiscover: Vec::new(),
    }
}

fn registry(present: u64, error: Option<&str>) -> RegistryView {
    let path = "registry.redb".to_owned();
    let store = StoreView {
        path,
        size_bytes: None,
        last_error: error.map(str::to_owned),
    };
    RegistryView {
        present,
        expired: 0,
        left: 0,
        total: present,
        unauthenticated: 0,
        capacity: 9,
        durable_lag_ms: 0,
        store,
    }
}

fn unreachable(foreign: bool) -> NodeSeen {
    NodeSeen::Unreachable {
        why: "no permission".to_owned(),
        remedy: "as root",
        foreign,
    }
}

fn running(change: impl FnOnce(&mut StatusView)) -> impl FnOnce(&mut Observations) {
    let mut status = status();
    change(&mut status);
    |seen| {
        seen.node = NodeSeen::Running(Box::new(status));
        seen.port = PortSeen::Own;
    }
}

/// Nobody answers, and nothing else is wrong.
fn unanswered(seen: &mut Observations) {
    seen.setup.role = Role::Both;
    seen.network.peers.clear();
    seen.network
        .targets
        .iter_mut()
        .for_each(|target| target.answered_by.clear());
    seen.servers.clear();
}

fn findings(change: impl FnOnce(&mut Observations)) -> Vec<FindingView> {
    let mut seen = well();
    change(&mut seen);
    diagnose(&seen)
}

/// The findings that are not fine.
fn ills(change: impl FnOnce(&mut Observations)) -> Vec<FindingView> {
    findings(change)
        .into_iter()
        .filter(|finding| finding.severity != Severity::Ok)
        .collect()
}

/// The one finding that is not fine, with the mark and code that it has to have.
fn ill(severity: Severity, code: Code, change: impl FnOnce(&mut Observations)) -> String {
    let ills = ills(change);
    let [finding] = &ills[..] else {
        panic!("{code}: {ills:#?}")
    };
    assert_eq!(
        (finding.code, finding.severity),
        (code, severity),
        "{finding:?}"
    );
    let about = finding.about.clone().unwrap_or_default();
    format!(
        "{about}: {} | {}",
        finding.finding,
        finding.remedy.as_ref().expect("every ill has its mend")
    )
}

fn each_multicast(
    family: Family,
    change: impl Fn(&mut TargetSeen),
) -> impl FnOnce(&mut Observations) {
    move |seen| {
        let such = |target: &&mut TargetSeen| {
            target.method == FanoutMethod::Multicast && target.family == family
        };
        seen.network
            .targets
            .iter_mut()
            .filter(such)
            .for_each(change);
    }
}

fn verdict(kind: Kind, certain: bool, handle: Option<u64>) -> FirewallSeen {
    let flow = Flow {
        kind,
        direction: Direction::In,
        to: None,
        port: 24373,
        ipv6: false,
    };
    let verdicts = vec![Verdict {
        flow,
        certain,
        by: By::default(),
        chain: "inet filter input".to_owned(),
        handle,
    }];
    FirewallSeen::Read {
        verdicts,
        kept_by: None,
    }
}

#[test]
fn where_all_is_well_every_finding_says_so() {
    let told = findings(|_| {});
    assert!(
        told.iter()
            .all(|finding| finding.severity == Severity::Ok && finding.remedy.is_none()),
        "{told:#?}"
    );
    let codes: BTreeSet<_> = told.iter().map(|finding| finding.code).collect();
    let expected = [
        Code::Config,
        Code::Key,
        Code::State,
        Code::NodeAbsent,
        Code::Port,
        Code::Interfaces,
        Code::Multicast,
        Code::Broadcast,
        Code::Firewall,
        Code::Peers,
        Code::Server,
        Code::Mdns,
    ];
    assert_eq!(codes, BTreeSet::from(expected));
    assert!(
        findings(running(|_| {}))
            .iter()
            .any(|finding| finding.code == Code::Node)
    );
}

#[test]
fn files_and_settings() {
    ill(Severity::Problem, Code::ConfigUnavailable, |seen| {
        seen.setup.unavailable = vec!["files.offer".to_owned()]
    });
    ill(Severity::Warning, Code::ListensOnOneAddress, |seen| {
        seen.setup.listen = "10.0.0.1:24373".parse().unwrap()
    });
    let open = "others may read /k; mend it: chmod 600 /k";
    let text = ill(Severity::Problem, Code::KeyUnusable, |seen| {
        seen.key = KeySeen::Unusable(open.to_owned())
    });
    assert_eq!(text, ": others may read /k | chmod 600 /k");
    let full = "use /x: no space left. Make room on its disk, or set node.state_dir";
    let text = ill(Severity::Problem, Code::StateUnusable, |seen| {
        seen.state = StateSeen::Unusable(full.to_owned())
    });
    assert_eq!(
        text,
        ": failed to use /x: no space left | Make room on its disk, or set node.state_dir"
    );
    ill(Severity::Problem, Code::StateHeld, |seen| {
        seen.state = StateSeen::Held("/x".into())
    });
    let without_key = |seen: &mut Observations| {
        seen.key = KeySeen::None;
        seen.network = NetworkSeen::default();
        seen.servers[0].outcome = Outcome::NotAsked;
    };
    ill(Severity::Warning, Code::KeyNone, without_key);
    assert!(ills(|seen| seen.state = StateSeen::ToBeMade("/x".into())).is_empty());
}

#[test]
fn what_the_node_of_this_machine_tells() {
    ill(Severity::Warning, Code::NodeUnreachable, |seen| {
        seen.node = unreachable(false)
    });
    // Another user may read neither key nor state, and that is as it should be.
    ill(Severity::Warning, Code::NodeUnreachable, |seen| {
        seen.node = unreachable(true);
        seen.key = KeySeen::Unusable("permission denied".to_owned());
        seen.state = StateSeen::Unusable("permission denied".to_owned());
        seen.port = PortSeen::Taken("listen: taken".to_owned());
    });
    let unready = |status: &mut StatusView| status.health.ready = false;
    let text = ill(Severity::Problem, Code::NodeNotReady, running(unready));
    assert!(
        text.contains("run hereabouts doctor on the server"),
        "{text}"
    );
    let deaf = ills(|seen| {
        running(unready)(seen);
        seen.network
            .targets
            .iter_mut()
            .for_each(|target| target.looped = Some(false));
    });
    assert!(
        deaf[0]
            .remedy
            .as_ref()
            .is_some_and(|remedy| remedy.contains("see the findings below")),
        "{deaf:#?}"
    );
    let text = ill(
        Severity::Problem,
        Code::MulticastNotJoined,
        running(|status| {
            let group = |joined, error: Option<&str>| GroupView {
                group: "239.255.43.73".parse().unwrap(),
                joined,
                error: error.map(str::to_owned),
            };
            status.interfaces = vec![InterfaceView {
                name: name("eth0"),
                index: 2,
                taken: true,
                rule: String::new(),
                addresses: Vec::new(),
                groups: vec![
                    group(true, None),
                    group(false, Some("raise net.ipv4.igmp_max_memberships")),
                ],
                error: None,
            }];
        }),
    );
    assert!(text.contains("igmp_max_memberships"), "{text}");
    ill(
        Severity::Problem,
        Code::ServerRefuses,
        running(|status| {
            status.servers = vec![ServerView {
                address: "10.0.0.9:24373".parse().unwrap(),
                node_id: None,
                name: None,
                found_by: "unicast".to_owned(),
                lease_seconds: None,
                last_acknowledged: None,
                seen: None,
                last_refusal: Some("the name is held by another node".to_owned()),
            }];
        }),
    );
    ill(
        Severity::Warning,
        Code::NameConflict,
        running(|status| {
            status.conflicts = vec![ConflictView {
                name: "laptop".parse().unwrap(),
                holder: NodeId([7; 32]),
                claimant: NodeId([8; 32]),
                source: "10.0.0.3:24373".parse().unwrap(),
                last_time: Timestamp(0),
            }];
        }),
    );
    ill(
        Severity::Problem,
        Code::Clone,
        running(|status| {
            status.clones = vec![CloneView {
                node_id: NodeId([9; 32]),
                name: "kiosk".parse().unwrap(),
                sources: vec!["10.0.0.3:24373".parse().unwrap()],
                last_time: Timestamp(0),
            }];
        }),
    );
    ill(
        Severity::Problem,
        Code::StoreFails,
        running(|status| {
            status.registry = Some(registry(1, Some("no space left on device")));
        }),
    );
}

#[test]
fn what_the_node_was_started_with_and_what_it_fails_at() {
    let text = ill(
        Severity::Warning,
        Code::NodeOutdated,
        running(|status| {
            status.node.key_ids = vec!["5e6f7a8b".to_owned()];
            status.node.channel = "work".to_owned();
        }),
    );
    assert!(
        text.contains("its keys are 5e6f7a8b, not 1a2b3c4d; its channel is 'work', not 'home'"),
        "{text}"
    );
    let offer = OfferView {
        name: "f".to_owned(),
        path: "/srv/f".to_owned(),
        generation: None,
        size: None,
        digest: None,
        error: Some("no such file".to_owned()),
    };
    let text = ill(
        Severity::Problem,
        Code::FileFails,
        running(|status| status.offers = vec![offer]),
    );
    assert!(
        text.starts_with("/srv/f: it is offered, and not served as it is now: no such file"),
        "{text}"
    );
    let accept = AcceptView {
        name: "f".to_owned(),
        path: "/var/f".to_owned(),
        error: Some("no space left".to_owned()),
        ..AcceptView::default()
    };
    let text = ill(
        Severity::Problem,
        Code::FileFails,
        running(|status| status.accepts = vec![accept]),
    );
    assert!(
        text.contains("'f' failed: no space left") && text.ends_with("hereabouts pull f"),
        "{text}"
    );
}

#[test]
fn what_the_node_tells_and_nobody_has_there() {
    let publication = |target: &str, state, reason: Option<&str>| PublicationView {
        target: target.to_owned(),
        name: "laptop.local".to_owned(),
        interface: Some(name("eth0")),
        state,
        addresses: Vec::new(),
        reason: reason.map(str::to_owned),
    };
    let with =
        |publication: PublicationView| running(|status| status.publications = vec![publication]);
    let taken =
        "laptop.local is taken by a host at 10.0.0.9: not published here. Choose another node.name";
    let text = ill(
        Severity::Problem,
        Code::NotPublished,
        with(publication("mdns", PublicationState::Conflict, Some(taken))),
    );
    assert!(
        text.starts_with("laptop.local on eth0: laptop.local is taken by a host at 10.0.0.9"),
        "{text}"
    );
    assert!(text.ends_with(" | Choose another node.name"), "{text}");
    let failed = |target| {
        publication(
            target,
            PublicationState::Failed,
            Some("failed to share port 5353/udp"),
        )
    };
    let text = ill(Severity::Problem, Code::NotPublished, with(failed("dynip")));
    assert!(
        text.contains("not told to dynip: failed to share"),
        "{text}"
    );
    ill(Severity::Problem, Code::NotPublished, with(failed("mdns")));
    // Each of these is told by a finding of its own.
    assert!(ills(with(failed("server"))).is_empty());
    ill(Severity::Problem, Code::MdnsPortTaken, |seen| {
        with(failed("mdns"))(seen);
        seen.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()));
    });
    for state in [
        PublicationState::Waiting,
        PublicationState::Asking,
        PublicationState::Published,
    ] {
        assert!(ills(with(publication("mdns", state, None))).is_empty());
    }
}

#[test]
fn ports() {
    ill(Severity::Problem, Code::PortTaken, |seen| {
        seen.port = PortSeen::Taken("listen: taken by PID 7".to_owned())
    });
    let deaf = |seen: &mut Observations| {
        seen.deaf = Some("listen on 239.255.43.73:24373: taken by PID 7".to_owned());
        seen.network
            .targets
            .iter_mut()
            .for_each(|target| target.looped = None);
    };
    assert!(
        ill(Severity::Warning, Code::PortTaken, deaf).contains("by PID 7: it asks servers itself")
    );
    ill(Severity::Problem, Code::PortUnusable, |seen| {
        seen.port = PortSeen::Unusable("listen: no".to_owned())
    });
    let mdns = |seen: &mut Observations| {
        seen.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()))
    };
    let text = ill(Severity::Problem, Code::MdnsPortTaken, mdns);
    assert!(
        text.contains("failed to share port 5353/udp with PID 7 | stop that program"),
        "{text}"
    );
}

#[test]
fn interfaces() {
    let text = ill(Severity::Problem, Code::InterfacesNone, |seen| {
        seen.interfaces[0].taken = false;
        seen.interfaces[0].rule = "fits 'eth*' in interfaces.exclude".to_owned();
        seen.network.targets.clear();
        // Nobody was asked, so that nobody answered is no news.
        seen.network.peers.clear();
        seen.setup.role = Role::Both;
    });
    assert!(
        text.contains("eth0 fits 'eth*' in interfaces.exclude"),
        "{text}"
    );
    ill(Severity::Warning, Code::InterfacesPolled, |seen| {
        seen.polled = true
    });
    ill(
        Severity::Warning,
        Code::InterfacesPolled,
        running(|status| status.interfaces_polled = true),
    );
    for (mtu, ipv6, small) in [
        (1280, true, false),
        (1279, true, true),
        (1228, false, false),
        (1227, false, true),
    ] {
        let change = |seen: &mut Observations| {
            seen.interfaces[0].mtu = Some(mtu);
            seen.interfaces[0].ipv6 = ipv6;
        };
        assert_eq!(
            ills(change).iter().any(|ill| ill.code == Code::MtuSmall),
            small,
            "{mtu}"
        );
    }
    ill(Severity::Warning, Code::MtuSmall, |seen| {
        seen.interfaces[0].mtu = Some(1000)
    });
}

#[test]
fn multicast_that_does_not_come_back() {
    let text = ill(Severity::Warning, Code::MulticastOff, |seen| {
        seen.interfaces[0].multicast = false;
        seen.network
            .targets
            .retain(|target| target.method == FanoutMethod::Broadcast);
    });
    assert!(text.contains("ip link set dev eth0 multicast on"), "{text}");
    let refused = each_multicast(Family::Ipv6, |target| {
        target.looped = Some(false);
        target.sent = Sent::NotPermitted;
    });
    let text = ill(Severity::Problem, Code::MulticastNotSent, refused);
    assert!(
        text.contains("firewall of this machine forbids it") && text.contains("IPv6"),
        "{text}"
    );
    let failed = each_multicast(Family::Ipv6, |target| {
        target.looped = Some(false);
        target.sent = Sent::Failed("network is unreachable".to_owned());
    });
    assert!(
        ill(Severity::Problem, Code::MulticastNotSent, failed).contains("network is unreachable")
    );
    let deaf = each_multicast(Family::Ipv4, |target| target.looped = Some(false));
    let text = ill(Severity::Problem, Code::MulticastNotReceived, deaf);
    assert!(
        text.contains("1 node on the network answered") && text.contains("24373, incoming"),
        "{text}"
    );
    // Where a stranger holds the port, nothing can be told.
    assert!(ills(each_multicast(Family::Ipv4, |target| target.looped = None)).is_empty());
}

#[test]
fn broadcast_that_does_not_come_back() {
    let each = |change: fn(&mut TargetSeen)| {
        move |seen: &mut Observations| {
            let such = |target: &&mut TargetSeen| target.method == FanoutMethod::Broadcast;
            seen.network
                .targets
                .iter_mut()
                .filter(such)
                .for_each(change);
        }
    };
    ill(
        Severity::Problem,
        Code::BroadcastNotReceived,
        each(|target| target.looped = Some(false)),
    );
    let refused = each(|target| {
        target.looped = Some(false);
        target.sent = Sent::NotPermitted;
    });
    ill(Severity::Problem, Code::BroadcastNotSent, refused);
    // One of the two ways is enough.
    assert!(ills(|seen| seen.network.targets[3].looped = Some(false)).is_empty());
    // What is not used is not judged.
    let unused = |seen: &mut Observations| {
        seen.setup.broadcast = false;
        seen.network.targets[2].looped = Some(false);
        seen.network.targets[3].looped = Some(false);
    };
    assert!(ills(unused).is_empty());
}

#[test]
fn firewalls() {
    // A node holds the port, and nobody was heard by it.
    let deaf = |seen: &mut Observations| {
        running(|_| {})(seen);
        seen.firewall = verdict(Kind::Unicast, true, Some(7));
    };
    let text = ill(Severity::Problem, Code::FirewallDrops, deaf);
    assert!(
        text.contains("rule 7 of chain 'inet filter input' drops incoming unicast"),
        "{text}"
    );
    assert!(
        text.contains("nft insert rule inet filter input udp dport 24373 accept"),
        "{text}"
    );
    let doubtful = |seen: &mut Observations| {
        unanswered(seen);
        seen.firewall = verdict(Kind::Unicast, false, None);
    };
    let codes: Vec<_> = ills(doubtful)
        .iter()
        .map(|ill| (ill.code, ill.severity))
        .collect();
    assert_eq!(
        codes,
        [
            (Code::FirewallMayDrop, Severity::Warning),
            (Code::PeersNone, Severity::Warning)
        ]
    );
    // What was seen to pass is not dropped, whatever the rules look like; and a doubt ends where others answer.
    assert!(ills(|seen| seen.firewall = verdict(Kind::Multicast, true, Some(7))).is_empty());
    assert!(ills(|seen| seen.firewall = verdict(Kind::Unicast, false, Some(7))).is_empty());
    assert!(
        !findings(|seen| seen.firewall = FirewallSeen::Unknown("no nft".to_owned()))
            .iter()
            .any(|finding| finding.code == Code::Firewall)
    );
}

/// The mend of a rule set that drops for sure, where it was decided by these.
fn firewall_mend(
    by: By,
    kept_by: Option<Keeper>,
    change: impl Fn(&mut Observations, &mut Verdict),
) -> String {
    let text = ill(Severity::Problem, Code::FirewallDrops, |seen| {
        running(|_| {})(seen);
        let FirewallSeen::Read { mut verdicts, .. } = verdict(Kind::Unicast, true, Some(7)) else {
            return;
        };
        verdicts.iter_mut().for_each(|verdict| {
            verdict.by = by;
            change(seen, verdict);
        });
        seen.firewall = FirewallSeen::Read { verdicts, kept_by };
    });
    text.split_once(" | ").unwrap().1.to_owned()
}

/// A server that has the node in its registry.
fn acknowledged(address: &str, found_by: &str) -> ServerView {
    ServerView {
        address: address.parse().unwrap(),
        node_id: None,
        name: None,
        found_by: found_by.to_owned(),
        lease_seconds: Some(60),
        last_acknowledged: Some(Timestamp(1)),
        seen: None,
        last_refusal: None,
    }
}

#[test]
fn unicast_that_was_heard_leaves_a_doubt_about_the_rules_that_drop_it() {
    let certain = |seen: &mut Observations| seen.firewall = verdict(Kind::Unicast, true, Some(7));
    // The answers came to the node's port.
    ill(Severity::Warning, Code::FirewallMayDrop, certain);
    let server = |address: &str| acknowledged(address, "multicast");
    for (address, severity, code) in [
        ("10.0.0.9:24373", Severity::Warning, Code::FirewallMayDrop),
        ("[fe80::9]:24373", Severity::Problem, Code::FirewallDrops),
    ] {
        ill(severity, code, |seen| {
            running(|status| status.servers = vec![server(address)])(seen);
            certain(seen);
        });
    }
    ill(Severity::Warning, Code::FirewallMayDrop, |seen| {
        let counts = BTreeMap::from([("registers".to_owned(), 2)]);
        running(|status| status.counters = BTreeMap::from([("datagrams".to_owned(), counts)]))(
            seen,
        );
        certain(seen);
    });
}

#[test]
fn a_mend_keeps_whom_the_rules_let_in() {
    let nothing = |_: &mut Observations, _: &mut Verdict| {};
    let (source, interface) = (
        By {
            source: true,
            interface: false,
        },
        By {
            source: false,
            interface: true,
        },
    );
    let remedy = firewall_mend(source, None, nothing);
    assert!(
        remedy.contains("if other machines are meant to be let in"),
        "{remedy}"
    );
    assert!(
        remedy.ends_with(
            "nft insert rule inet filter input ip saddr 10.0.0.0/24 udp dport 24373 accept"
        ),
        "{remedy}"
    );
    let remedy = firewall_mend(source, None, |_, verdict| verdict.flow.ipv6 = true);
    assert!(
        remedy.ends_with(" ip6 saddr fe80::/64 udp dport 24373 accept"),
        "{remedy}"
    );
    // Without an address of the family, the network is left to whoever reads it.
    let remedy = firewall_mend(source, None, |seen, _| seen.interfaces[0].networks.clear());
    assert!(
        remedy.ends_with(" ip saddr NETWORK udp dport 24373 accept"),
        "{remedy}"
    );
    let remedy = firewall_mend(interface, None, nothing);
    assert_eq!(
        remedy,
        "nft insert rule inet filter input iifname eth0 udp dport 24373 accept"
    );
    let remedy = firewall_mend(source, Some(Keeper::Ufw), nothing);
    assert!(
        remedy.ends_with("ufw allow from 10.0.0.0/24 to any port 24373 proto udp"),
        "{remedy}"
    );
    assert_eq!(
        firewall_mend(By::default(), Some(Keeper::Ufw), nothing),
        "ufw allow 24373/udp"
    );
    let remedy = firewall_mend(source, Some(Keeper::Firewalld), nothing);
    assert!(
        remedy.contains("source address=10.0.0.0/24 port port=24373 protocol=udp accept'"),
        "{remedy}"
    );
    let remedy = firewall_mend(By::default(), Some(Keeper::Firewalld), nothing);
    assert_eq!(
        remedy,
        "firewall-cmd --permanent --add-port=24373/udp && firewall-cmd --reload"
    );
}

#[test]
fn a_mend_opens_every_port_that_is_shut() {
    let text = ill(Severity::Problem, Code::FirewallDrops, |seen| {
        running(|_| {})(seen);
        seen.network
            .targets
            .iter_mut()
            .for_each(|target| target.looped = None);
        let verdicts =
            [(Kind::Multicast, 24373), (Kind::Unicast, 24400)].map(|(kind, port)| Verdict {
                flow: Flow {
                    kind,
                    direction: Direction::In,
                    to: None,
                    port,
                    ipv6: false,
                },
                certain: true,
                by: By::default(),
                chain: "inet filter input".to_owned(),
                handle: None,
            });
        seen.firewall = FirewallSeen::Read {
            verdicts: verdicts.to_vec(),
            kept_by: None,
        };
    });
    assert!(
        text.contains("drops incoming multicast, unicast to UDP ports 24373, 24400"),
        "{text}"
    );
    assert!(text.contains("udp dport { 24373, 24400 } accept"), "{text}");
}

#[test]
fn nobody_answers() {
    let text = ill(Severity::Warning, Code::PeersNone, unanswered);
    assert!(
        text.contains("1a2b3c4d here") && text.contains("'home'"),
        "{text}"
    );
    let elsewhere = |seen: &mut Observations| {
        running(|status| status.registry = Some(registry(3, None)))(seen);
        unanswered(seen);
    };
    let text = ill(Severity::Warning, Code::PeersNone, elsewhere);
    assert!(
        text.contains("though 2 others are registered here") && text.contains("on other networks"),
        "{text}"
    );
    // The node found it by asking everybody: what keeps answers from the doctor does not keep them from the node.
    let held = |found_by: &'static str| {
        move |seen: &mut Observations| {
            unanswered(seen);
            seen.surroundings = Surroundings::Container;
            seen.interfaces[0].kind = Some("veth".into());
            running(|status| status.servers = vec![acknowledged("10.0.0.9:24373", found_by)])(seen);
        }
    };
    assert!(ills(held("broadcast")).is_empty());
    let codes: Vec<_> = ills(held("unicast")).iter().map(|ill| ill.code).collect();
    assert_eq!(codes, [Code::PeersNone, Code::ContainerNetwork]);
    let client = |seen: &mut Observations| {
        unanswered(seen);
        seen.setup.role = Role::Client;
    };
    let codes: Vec<_> = ills(client).iter().map(|ill| ill.code).collect();
    assert_eq!(codes, [Code::PeersNone, Code::ServerNone]);
    ill(Severity::Problem, Code::ServerNone, |seen| {
        seen.network.peers = BTreeSet::from([(OTHER, false)])
    });
}

#[test]
fn a_pod_or_a_container_where_nobody_answers() {
    for (surroundings, code, says) in [
        (Surroundings::Pod, Code::PodNetwork, "hostNetwork"),
        (
            Surroundings::Container,
            Code::ContainerNetwork,
            "network_mode: host",
        ),
    ] {
        let alone = |seen: &mut Observations| {
            unanswered(seen);
            seen.surroundings = surroundings;
            seen.interfaces[0].kind = Some("veth".into());
        };
        let told = ills(alone);
        let finding = told.iter().find(|ill| ill.code == code).unwrap();
        assert!(
            finding.remedy.as_ref().unwrap().contains(says),
            "{finding:?}"
        );
        // On the host's network, or with an answer, the container is not to blame.
        let on_host = |seen: &mut Observations| {
            alone(seen);
            seen.interfaces[0].kind = None;
        };
        assert!(!ills(on_host).iter().any(|ill| ill.code == code));
        assert!(ills(|seen| seen.surroundings = surroundings).is_empty());
    }
}

#[test]
fn broadcast_is_answered_and_multicast_is_not() {
    let silent = |family| each_multicast(family, |target| target.answered_by.clear());
    let text = ill(Severity::Warning, Code::MulticastUnanswered, |seen| {
        silent(Family::Ipv4)(seen);
        silent(Family::Ipv6)(seen);
    });
    assert!(text.contains("IGMP snooping"), "{text}");
    let text = ill(
        Severity::Warning,
        Code::MulticastUnanswered,
        silent(Family::Ipv4),
    );
    assert!(
        text.contains("broadcast and IPv6 multicast, and not IPv4"),
        "{text}"
    );
    assert!(ills(silent(Family::Ipv6)).is_empty());
}

#[test]
fn other_keys_and_channels() {
    let stranger: SocketAddr = "10.0.0.66:24373".parse().unwrap();
    let foreign = |seen: &mut Observations| {
        unanswered(seen);
        seen.network.foreign = BTreeSet::from([stranger]);
    };
    let told = ills(foreign);
    assert_eq!(
        told.iter().map(|ill| ill.code).collect::<Vec<_>>(),
        [Code::PeersNone, Code::KeyDiffers]
    );
    assert!(told[1].finding.contains("10.0.0.66:24373"), "{told:?}");
    let counted = |seen: &mut Observations| {
        unanswered(seen);
        running(|status| {
            status.counters =
                [("dropped".to_owned(), [("unknown_key".to_owned(), 3)].into())].into();
        })(seen);
    };
    assert_eq!(ills(counted).last().unwrap().code, Code::KeyDiffers);
    // Where ours answer, strangers are nobody's ill.
    assert!(ills(|seen| seen.network.foreign = BTreeSet::from([stranger])).is_empty());
    let text = ill(Severity::Problem, Code::ChannelDiffers, |seen| {
        seen.network.channels = vec![(stranger, "work".to_owned())]
    });
    assert!(text.contains("called 'work', not 'home'"), "{text}");
}

#[test]
fn clocks() {
    let clock = |last: u8, node: Option<NodeId>| ClockSeen {
        from: ([10, 0, 0, last], 24373).into(),
        node,
        millis: -3_600_000,
    };
    let text = ill(Severity::Problem, Code::ClockDiffers, |seen| {
        seen.network.clocks = vec![clock(9, Some(OTHER))]
    });
    assert!(
        text.contains("3600 s behind") && text.contains("one of the two is wrong"),
        "{text}"
    );
    let two = |seen: &mut Observations| {
        seen.network.clocks = vec![clock(9, Some(OTHER)), clock(8, Some(NodeId([8; 32])))];
        seen.network.peers.insert((NodeId([8; 32]), false));
    };
    assert!(
        ills(two)
            .iter()
            .all(|ill| ill.finding.contains("this machine's clock is wrong"))
    );
    let one_of_two = |seen: &mut Observations| {
        seen.network.clocks = vec![clock(8, Some(NodeId([8; 32])))];
        seen.network.peers.insert((NodeId([8; 32]), false));
    };
    assert!(ill(Severity::Problem, Code::ClockDiffers, one_of_two).contains("its clock is wrong"));
}

#[test]
fn servers() {
    let outcome =
        |outcome: Outcome| move |seen: &mut Observations| seen.servers[0].outcome = outcome;
    let why = "look up 'hub:24373': unknown".to_owned();
    ill(
        Severity::Problem,
        Code::ServerUnresolved,
        outcome(Outcome::Unresolved(why)),
    );
    let text = ill(
        Severity::Problem,
        Code::ServerSilent,
        outcome(Outcome::Silent(vec!["10.0.0.9:24373".parse().unwrap()])),
    );
    assert!(
        text.starts_with("hub:24373: no answer from 10.0.0.9:24373"),
        "{text}"
    );
}

#[test]
fn every_finding_has_a_test_here_and_a_place_in_the_docs() {
    let tests = include_str!("tests.rs");
    let docs = include_str!("../../../docs/reference/troubleshooting.md");
    for code in Code::ALL {
        // What can't be loaded never comes here: the command line tells it, with a test there.
        let tested = tests.contains(&format!("Code::{code:?},"))
            || tests.contains(&format!("Code::{code:?})"));
        assert!(tested || *code == Code::ConfigInvalid, "{code} has no test");
        assert!(
            docs.contains(&format!("`{code}`")),
            "{code} is not in docs/reference/troubleshooting.md"
        );
    }
}
