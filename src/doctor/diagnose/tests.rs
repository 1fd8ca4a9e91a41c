//! Each finding, from the observation that causes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::super::firewall::{Criteria, Direction, Flow, Kind, Manager, Verdict};
use super::super::observations::*;
use super::diagnose;
use crate::api::view::*;
use crate::model::{InterfaceName, Labels, NodeId, Role, Timestamp};
use crate::net::{Family, FanoutMethod};

const OTHER: NodeId = NodeId([9; 32]);

fn name(text: &str) -> InterfaceName {
    InterfaceName::parse(text).unwrap()
}

fn target(method: FanoutMethod, family: Family, to: &str) -> ProbedTarget {
    ProbedTarget {
        interface: name("eth0"),
        family,
        method,
        to: to.parse().unwrap(),
        sent: Sent::Yes,
        returned: Some(true),
        answered_by: BTreeSet::from([OTHER]),
    }
}

/// A machine where all is well, with one other node on its network.
fn well() -> Observations {
    let eth0 = ObservedInterface {
        name: name("eth0"),
        used: true,
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
        key: KeyState::Usable(vec!["1a2b3c4d".to_owned()]),
        state: StateDirState::Usable("/var/lib/hereabouts".into()),
        node: NodeState::Absent,
        port: PortState::Free,
        group_ports_failure: None,
        interfaces: vec![eth0],
        polled: false,
        environment: Environment::Host,
        network: ProbedNetwork {
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
            ..ProbedNetwork::default()
        },
        firewall: FirewallState::Read {
            verdicts: Vec::new(),
            manager: None,
        },
        servers: vec![ProbedServer {
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

fn unreachable(foreign: bool) -> NodeState {
    NodeState::Unreachable {
        reason: "no permission".to_owned(),
        remedy: "as root",
        foreign,
    }
}

fn running(change: impl FnOnce(&mut StatusView)) -> impl FnOnce(&mut Observations) {
    let mut status = status();
    change(&mut status);
    |observed| {
        observed.node = NodeState::Running(Box::new(status));
        observed.port = PortState::Own;
    }
}

/// No node answers, and nothing else is wrong.
fn unanswered(observed: &mut Observations) {
    observed.setup.role = Role::Both;
    observed.network.peers.clear();
    observed
        .network
        .targets
        .iter_mut()
        .for_each(|target| target.answered_by.clear());
    observed.servers.clear();
}

fn findings(change: impl FnOnce(&mut Observations)) -> Vec<FindingView> {
    let mut observed = well();
    change(&mut observed);
    diagnose(&observed)
}

/// The findings that are not `ok`.
fn problems(change: impl FnOnce(&mut Observations)) -> Vec<FindingView> {
    findings(change)
        .into_iter()
        .filter(|finding| finding.severity != Severity::Ok)
        .collect()
}

/// The only finding that is not `ok`, which must have this severity and code.
fn only_problem(severity: Severity, code: Code, change: impl FnOnce(&mut Observations)) -> String {
    let problems = problems(change);
    let [finding] = &problems[..] else {
        panic!("{code}: {problems:#?}")
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
        finding.remedy.as_ref().expect("every problem has a remedy")
    )
}

fn each_multicast(
    family: Family,
    change: impl Fn(&mut ProbedTarget),
) -> impl FnOnce(&mut Observations) {
    move |observed| {
        let such = |target: &&mut ProbedTarget| {
            target.method == FanoutMethod::Multicast && target.family == family
        };
        observed
            .network
            .targets
            .iter_mut()
            .filter(such)
            .for_each(change);
    }
}

fn verdict(kind: Kind, certain: bool, handle: Option<u64>) -> FirewallState {
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
        criteria: Criteria::default(),
        chain: "inet filter input".to_owned(),
        handle,
    }];
    FirewallState::Read {
        verdicts,
        manager: None,
    }
}

#[test]
fn every_finding_is_ok_where_all_is_well() {
    let all = findings(|_| {});
    assert!(
        all.iter()
            .all(|finding| finding.severity == Severity::Ok && finding.remedy.is_none()),
        "{all:#?}"
    );
    let codes: BTreeSet<_> = all.iter().map(|finding| finding.code).collect();
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
fn problems_of_files_and_settings() {
    only_problem(Severity::Problem, Code::ConfigUnavailable, |observed| {
        observed.setup.unavailable = vec!["files.offer".to_owned()]
    });
    only_problem(Severity::Warning, Code::ListensOnOneAddress, |observed| {
        observed.setup.listen = "10.0.0.1:24373".parse().unwrap()
    });
    let open = "others may read /k; remedy: chmod 600 /k";
    let text = only_problem(Severity::Problem, Code::KeyUnusable, |observed| {
        observed.key = KeyState::Unusable(open.to_owned())
    });
    assert_eq!(text, ": others may read /k | chmod 600 /k");
    let full = "use /x: no space left. Make room on its disk, or set node.state_dir";
    let text = only_problem(Severity::Problem, Code::StateUnusable, |observed| {
        observed.state = StateDirState::Unusable(full.to_owned())
    });
    assert_eq!(
        text,
        ": failed to use /x: no space left | Make room on its disk, or set node.state_dir"
    );
    only_problem(Severity::Problem, Code::StateHeld, |observed| {
        observed.state = StateDirState::Held("/x".into())
    });
    let without_key = |observed: &mut Observations| {
        observed.key = KeyState::Missing;
        observed.network = ProbedNetwork::default();
        observed.servers[0].outcome = Outcome::NotAsked;
    };
    only_problem(Severity::Warning, Code::KeyNone, without_key);
    assert!(problems(|observed| observed.state = StateDirState::Creatable("/x".into())).is_empty());
}

#[test]
fn reports_of_the_node_of_this_machine() {
    only_problem(Severity::Warning, Code::NodeUnreachable, |observed| {
        observed.node = unreachable(false)
    });
    // Another user can read neither key nor state, as it should be.
    only_problem(Severity::Warning, Code::NodeUnreachable, |observed| {
        observed.node = unreachable(true);
        observed.key = KeyState::Unusable("permission denied".to_owned());
        observed.state = StateDirState::Unusable("permission denied".to_owned());
        observed.port = PortState::InUse("listen: taken".to_owned());
    });
    let unready = |status: &mut StatusView| status.health.ready = false;
    let text = only_problem(Severity::Problem, Code::NodeNotReady, running(unready));
    assert!(
        text.contains("run hereabouts doctor on the server"),
        "{text}"
    );
    let not_returned = problems(|observed| {
        running(unready)(observed);
        observed
            .network
            .targets
            .iter_mut()
            .for_each(|target| target.returned = Some(false));
    });
    assert!(
        not_returned[0]
            .remedy
            .as_ref()
            .is_some_and(|remedy| remedy.contains("see the findings below")),
        "{not_returned:#?}"
    );
    let text = only_problem(
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
                used: true,
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
    only_problem(
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
    only_problem(
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
    only_problem(
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
    only_problem(
        Severity::Problem,
        Code::StoreFails,
        running(|status| {
            status.registry = Some(registry(1, Some("no space left on device")));
        }),
    );
}

#[test]
fn outdated_configuration_and_failing_files() {
    let text = only_problem(
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
    let text = only_problem(
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
    let text = only_problem(
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
fn record_that_is_not_published() {
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
    let conflict =
        "laptop.local is taken by a host at 10.0.0.9: not published here. Choose another node.name";
    let text = only_problem(
        Severity::Problem,
        Code::NotPublished,
        with(publication(
            "mdns",
            PublicationState::Conflict,
            Some(conflict),
        )),
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
    let text = only_problem(Severity::Problem, Code::NotPublished, with(failed("dynip")));
    assert!(
        text.contains("not published by dynip: failed to share"),
        "{text}"
    );
    only_problem(Severity::Problem, Code::NotPublished, with(failed("mdns")));
    // Each of these has a finding of its own.
    assert!(problems(with(failed("server"))).is_empty());
    only_problem(Severity::Problem, Code::MdnsPortTaken, |observed| {
        with(failed("mdns"))(observed);
        observed.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()));
    });
    for state in [
        PublicationState::Waiting,
        PublicationState::Asking,
        PublicationState::Published,
    ] {
        assert!(problems(with(publication("mdns", state, None))).is_empty());
    }
}

#[test]
fn problems_of_ports() {
    only_problem(Severity::Problem, Code::PortTaken, |observed| {
        observed.port = PortState::InUse("listen: taken by PID 7".to_owned())
    });
    let not_returned = |observed: &mut Observations| {
        observed.group_ports_failure =
            Some("listen on 239.255.43.73:24373: taken by PID 7".to_owned());
        observed
            .network
            .targets
            .iter_mut()
            .for_each(|target| target.returned = None);
    };
    assert!(
        only_problem(Severity::Warning, Code::PortTaken, not_returned)
            .contains("by PID 7: it asks servers itself")
    );
    only_problem(Severity::Problem, Code::PortUnusable, |observed| {
        observed.port = PortState::Unusable("listen: no".to_owned())
    });
    let mdns = |observed: &mut Observations| {
        observed.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()))
    };
    let text = only_problem(Severity::Problem, Code::MdnsPortTaken, mdns);
    assert!(
        text.contains("failed to share port 5353/udp with PID 7 | stop that program"),
        "{text}"
    );
}

#[test]
fn problems_of_interfaces() {
    let text = only_problem(Severity::Problem, Code::InterfacesNone, |observed| {
        observed.interfaces[0].used = false;
        observed.interfaces[0].rule = "fits 'eth*' in interfaces.exclude".to_owned();
        observed.network.targets.clear();
        // No query was sent, so the missing answers have no finding.
        observed.network.peers.clear();
        observed.setup.role = Role::Both;
    });
    assert!(
        text.contains("eth0 fits 'eth*' in interfaces.exclude"),
        "{text}"
    );
    only_problem(Severity::Warning, Code::InterfacesPolled, |observed| {
        observed.polled = true
    });
    only_problem(
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
        let change = |observed: &mut Observations| {
            observed.interfaces[0].mtu = Some(mtu);
            observed.interfaces[0].ipv6 = ipv6;
        };
        assert_eq!(
            problems(change)
                .iter()
                .any(|only_problem| only_problem.code == Code::MtuSmall),
            small,
            "{mtu}"
        );
    }
    only_problem(Severity::Warning, Code::MtuSmall, |observed| {
        observed.interfaces[0].mtu = Some(1000)
    });
}

#[test]
fn multicast_that_does_not_come_back() {
    let text = only_problem(Severity::Warning, Code::MulticastOff, |observed| {
        observed.interfaces[0].multicast = false;
        observed
            .network
            .targets
            .retain(|target| target.method == FanoutMethod::Broadcast);
    });
    assert!(text.contains("ip link set dev eth0 multicast on"), "{text}");
    let refused = each_multicast(Family::Ipv6, |target| {
        target.returned = Some(false);
        target.sent = Sent::NotPermitted;
    });
    let text = only_problem(Severity::Problem, Code::MulticastNotSent, refused);
    assert!(
        text.contains("firewall of this machine forbids it") && text.contains("IPv6"),
        "{text}"
    );
    let failed = each_multicast(Family::Ipv6, |target| {
        target.returned = Some(false);
        target.sent = Sent::Failed("network is unreachable".to_owned());
    });
    assert!(
        only_problem(Severity::Problem, Code::MulticastNotSent, failed)
            .contains("network is unreachable")
    );
    let not_returned = each_multicast(Family::Ipv4, |target| target.returned = Some(false));
    let text = only_problem(Severity::Problem, Code::MulticastNotReceived, not_returned);
    assert!(
        text.contains("1 node on the network answered") && text.contains("24373, incoming"),
        "{text}"
    );
    // Where another program holds the port, nothing can be observed.
    assert!(problems(each_multicast(Family::Ipv4, |target| target.returned = None)).is_empty());
}

#[test]
fn broadcast_that_does_not_come_back() {
    let each = |change: fn(&mut ProbedTarget)| {
        move |observed: &mut Observations| {
            let such = |target: &&mut ProbedTarget| target.method == FanoutMethod::Broadcast;
            observed
                .network
                .targets
                .iter_mut()
                .filter(such)
                .for_each(change);
        }
    };
    only_problem(
        Severity::Problem,
        Code::BroadcastNotReceived,
        each(|target| target.returned = Some(false)),
    );
    let refused = each(|target| {
        target.returned = Some(false);
        target.sent = Sent::NotPermitted;
    });
    only_problem(Severity::Problem, Code::BroadcastNotSent, refused);
    // One of the two destinations is enough.
    assert!(problems(|observed| observed.network.targets[3].returned = Some(false)).is_empty());
    // A method that is not used has no finding.
    let unused = |observed: &mut Observations| {
        observed.setup.broadcast = false;
        observed.network.targets[2].returned = Some(false);
        observed.network.targets[3].returned = Some(false);
    };
    assert!(problems(unused).is_empty());
}

#[test]
fn problems_of_firewalls() {
    // A node holds the port, and received nothing.
    let not_returned = |observed: &mut Observations| {
        running(|_| {})(observed);
        observed.firewall = verdict(Kind::Unicast, true, Some(7));
    };
    let text = only_problem(Severity::Problem, Code::FirewallDrops, not_returned);
    assert!(
        text.contains("rule 7 of chain 'inet filter input' drops incoming unicast"),
        "{text}"
    );
    assert!(
        text.contains("nft insert rule inet filter input udp dport 24373 accept"),
        "{text}"
    );
    let doubtful = |observed: &mut Observations| {
        unanswered(observed);
        observed.firewall = verdict(Kind::Unicast, false, None);
    };
    let codes: Vec<_> = problems(doubtful)
        .iter()
        .map(|only_problem| (only_problem.code, only_problem.severity))
        .collect();
    assert_eq!(
        codes,
        [
            (Code::FirewallMayDrop, Severity::Warning),
            (Code::PeersNone, Severity::Warning)
        ]
    );
    // A datagram that passed is not dropped, whatever the rules are; and no doubt remains where
    // other nodes answer.
    assert!(
        problems(|observed| observed.firewall = verdict(Kind::Multicast, true, Some(7))).is_empty()
    );
    assert!(
        problems(|observed| observed.firewall = verdict(Kind::Unicast, false, Some(7))).is_empty()
    );
    assert!(
        !findings(|observed| observed.firewall = FirewallState::Unknown("no nft".to_owned()))
            .iter()
            .any(|finding| finding.code == Code::Firewall)
    );
}

/// The remedy of a rule set that certainly drops, by rules with these criteria.
fn firewall_remedy(
    criteria: Criteria,
    manager: Option<Manager>,
    change: impl Fn(&mut Observations, &mut Verdict),
) -> String {
    let text = only_problem(Severity::Problem, Code::FirewallDrops, |observed| {
        running(|_| {})(observed);
        let FirewallState::Read { mut verdicts, .. } = verdict(Kind::Unicast, true, Some(7)) else {
            return;
        };
        verdicts.iter_mut().for_each(|verdict| {
            verdict.criteria = criteria;
            change(observed, verdict);
        });
        observed.firewall = FirewallState::Read { verdicts, manager };
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
fn received_unicast_makes_a_dropping_rule_uncertain() {
    let certain =
        |observed: &mut Observations| observed.firewall = verdict(Kind::Unicast, true, Some(7));
    // The answers came to the node's port.
    only_problem(Severity::Warning, Code::FirewallMayDrop, certain);
    let server = |address: &str| acknowledged(address, "multicast");
    for (address, severity, code) in [
        ("10.0.0.9:24373", Severity::Warning, Code::FirewallMayDrop),
        ("[fe80::9]:24373", Severity::Problem, Code::FirewallDrops),
    ] {
        only_problem(severity, code, |observed| {
            running(|status| status.servers = vec![server(address)])(observed);
            certain(observed);
        });
    }
    only_problem(Severity::Warning, Code::FirewallMayDrop, |observed| {
        let counts = BTreeMap::from([("registers".to_owned(), 2)]);
        running(|status| status.counters = BTreeMap::from([("datagrams".to_owned(), counts)]))(
            observed,
        );
        certain(observed);
    });
}

#[test]
fn remedy_keeps_the_restrictions_of_the_rules() {
    let nothing = |_: &mut Observations, _: &mut Verdict| {};
    let source = Criteria {
        source: true,
        interface: false,
    };
    let interface = Criteria {
        source: false,
        interface: true,
    };
    let remedy = firewall_remedy(source, None, nothing);
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
    let remedy = firewall_remedy(source, None, |_, verdict| verdict.flow.ipv6 = true);
    assert!(
        remedy.ends_with(" ip6 saddr fe80::/64 udp dport 24373 accept"),
        "{remedy}"
    );
    // Without an address of the family, the operator has to fill in the network.
    let remedy = firewall_remedy(source, None, |observed, _| {
        observed.interfaces[0].networks.clear()
    });
    assert!(
        remedy.ends_with(" ip saddr NETWORK udp dport 24373 accept"),
        "{remedy}"
    );
    let remedy = firewall_remedy(interface, None, nothing);
    assert_eq!(
        remedy,
        "nft insert rule inet filter input iifname eth0 udp dport 24373 accept"
    );
    let remedy = firewall_remedy(source, Some(Manager::Ufw), nothing);
    assert!(
        remedy.ends_with("ufw allow from 10.0.0.0/24 to any port 24373 proto udp"),
        "{remedy}"
    );
    assert_eq!(
        firewall_remedy(Criteria::default(), Some(Manager::Ufw), nothing),
        "ufw allow 24373/udp"
    );
    let remedy = firewall_remedy(source, Some(Manager::Firewalld), nothing);
    assert!(
        remedy.contains("source address=10.0.0.0/24 port port=24373 protocol=udp accept'"),
        "{remedy}"
    );
    let remedy = firewall_remedy(Criteria::default(), Some(Manager::Firewalld), nothing);
    assert_eq!(
        remedy,
        "firewall-cmd --permanent --add-port=24373/udp && firewall-cmd --reload"
    );
}

#[test]
fn remedy_opens_every_dropped_port() {
    let text = only_problem(Severity::Problem, Code::FirewallDrops, |observed| {
        running(|_| {})(observed);
        observed
            .network
            .targets
            .iter_mut()
            .for_each(|target| target.returned = None);
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
                criteria: Criteria::default(),
                chain: "inet filter input".to_owned(),
                handle: None,
            });
        observed.firewall = FirewallState::Read {
            verdicts: verdicts.to_vec(),
            manager: None,
        };
    });
    assert!(
        text.contains("drops incoming multicast, unicast to UDP ports 24373, 24400"),
        "{text}"
    );
    assert!(text.contains("udp dport { 24373, 24400 } accept"), "{text}");
}

#[test]
fn no_node_answers() {
    let text = only_problem(Severity::Warning, Code::PeersNone, unanswered);
    assert!(
        text.contains("1a2b3c4d here") && text.contains("'home'"),
        "{text}"
    );
    let elsewhere = |observed: &mut Observations| {
        running(|status| status.registry = Some(registry(3, None)))(observed);
        unanswered(observed);
    };
    let text = only_problem(Severity::Warning, Code::PeersNone, elsewhere);
    assert!(
        text.contains("though 2 others are registered here") && text.contains("on other networks"),
        "{text}"
    );
    // The node found the server by broadcast: what drops answers to the doctor does not drop those
    // to the node.
    let held = |found_by: &'static str| {
        move |observed: &mut Observations| {
            unanswered(observed);
            observed.environment = Environment::Container;
            observed.interfaces[0].kind = Some("veth".into());
            running(|status| status.servers = vec![acknowledged("10.0.0.9:24373", found_by)])(
                observed,
            );
        }
    };
    assert!(problems(held("broadcast")).is_empty());
    let codes: Vec<_> = problems(held("unicast"))
        .iter()
        .map(|only_problem| only_problem.code)
        .collect();
    assert_eq!(codes, [Code::PeersNone, Code::ContainerNetwork]);
    let client = |observed: &mut Observations| {
        unanswered(observed);
        observed.setup.role = Role::Client;
    };
    let codes: Vec<_> = problems(client)
        .iter()
        .map(|only_problem| only_problem.code)
        .collect();
    assert_eq!(codes, [Code::PeersNone, Code::ServerNone]);
    only_problem(Severity::Problem, Code::ServerNone, |observed| {
        observed.network.peers = BTreeSet::from([(OTHER, false)])
    });
}

#[test]
fn pod_or_container_where_no_node_answers() {
    for (environment, code, text) in [
        (Environment::Pod, Code::PodNetwork, "hostNetwork"),
        (
            Environment::Container,
            Code::ContainerNetwork,
            "network_mode: host",
        ),
    ] {
        let alone = |observed: &mut Observations| {
            unanswered(observed);
            observed.environment = environment;
            observed.interfaces[0].kind = Some("veth".into());
        };
        let findings = problems(alone);
        let finding = findings
            .iter()
            .find(|only_problem| only_problem.code == code)
            .unwrap();
        assert!(
            finding.remedy.as_ref().unwrap().contains(text),
            "{finding:?}"
        );
        // On the host's network, or with an answer, the container is not the cause.
        let on_host = |observed: &mut Observations| {
            alone(observed);
            observed.interfaces[0].kind = None;
        };
        assert!(
            !problems(on_host)
                .iter()
                .any(|only_problem| only_problem.code == code)
        );
        assert!(problems(|observed| observed.environment = environment).is_empty());
    }
}

#[test]
fn broadcast_is_answered_and_multicast_is_not() {
    let silent = |family| each_multicast(family, |target| target.answered_by.clear());
    let text = only_problem(Severity::Warning, Code::MulticastUnanswered, |observed| {
        silent(Family::Ipv4)(observed);
        silent(Family::Ipv6)(observed);
    });
    assert!(text.contains("IGMP snooping"), "{text}");
    let text = only_problem(
        Severity::Warning,
        Code::MulticastUnanswered,
        silent(Family::Ipv4),
    );
    assert!(
        text.contains("broadcast and IPv6 multicast, and not IPv4"),
        "{text}"
    );
    assert!(problems(silent(Family::Ipv6)).is_empty());
}

#[test]
fn differing_keys_and_channels() {
    let foreign_host: SocketAddr = "10.0.0.66:24373".parse().unwrap();
    let foreign = |observed: &mut Observations| {
        unanswered(observed);
        observed.network.foreign = BTreeSet::from([foreign_host]);
    };
    let findings = problems(foreign);
    assert_eq!(
        findings
            .iter()
            .map(|only_problem| only_problem.code)
            .collect::<Vec<_>>(),
        [Code::PeersNone, Code::KeyDiffers]
    );
    assert!(
        findings[1].finding.contains("10.0.0.66:24373"),
        "{findings:?}"
    );
    let counted = |observed: &mut Observations| {
        unanswered(observed);
        running(|status| {
            status.counters =
                [("dropped".to_owned(), [("unknown_key".to_owned(), 3)].into())].into();
        })(observed);
    };
    assert_eq!(problems(counted).last().unwrap().code, Code::KeyDiffers);
    // Foreign datagrams are no problem where our own nodes answer.
    assert!(
        problems(|observed| observed.network.foreign = BTreeSet::from([foreign_host])).is_empty()
    );
    let text = only_problem(Severity::Problem, Code::ChannelDiffers, |observed| {
        observed.network.channels = vec![(foreign_host, "work".to_owned())]
    });
    assert!(text.contains("called 'work', not 'home'"), "{text}");
}

#[test]
fn differing_clocks() {
    let clock = |last: u8, node: Option<NodeId>| DifferingClock {
        from: ([10, 0, 0, last], 24373).into(),
        node,
        millis: -3_600_000,
    };
    let text = only_problem(Severity::Problem, Code::ClockDiffers, |observed| {
        observed.network.clocks = vec![clock(9, Some(OTHER))]
    });
    assert!(
        text.contains("3600 s behind") && text.contains("one of the two is wrong"),
        "{text}"
    );
    let two = |observed: &mut Observations| {
        observed.network.clocks = vec![clock(9, Some(OTHER)), clock(8, Some(NodeId([8; 32])))];
        observed.network.peers.insert((NodeId([8; 32]), false));
    };
    assert!(problems(two).iter().all(|only_problem| {
        only_problem
            .finding
            .contains("this machine's clock is wrong")
    }));
    let one_of_two = |observed: &mut Observations| {
        observed.network.clocks = vec![clock(8, Some(NodeId([8; 32])))];
        observed.network.peers.insert((NodeId([8; 32]), false));
    };
    assert!(
        only_problem(Severity::Problem, Code::ClockDiffers, one_of_two)
            .contains("its clock is wrong")
    );
}

#[test]
fn silent_and_unresolved_servers() {
    let outcome =
        |outcome: Outcome| move |observed: &mut Observations| observed.servers[0].outcome = outcome;
    let reason = "look up 'hub:24373': unknown".to_owned();
    only_problem(
        Severity::Problem,
        Code::ServerUnresolved,
        outcome(Outcome::Unresolved(reason)),
    );
    let text = only_problem(
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
fn every_code_has_a_test() {
    let tests = include_str!("tests.rs");
    for code in Code::ALL {
        // The command line reports a configuration that cannot be loaded, and has the test for it.
        let tested = tests.contains(&format!("Code::{code:?},"))
            || tests.contains(&format!("Code::{code:?})"));
        assert!(tested || *code == Code::ConfigInvalid, "{code} has no test");
    }
}
