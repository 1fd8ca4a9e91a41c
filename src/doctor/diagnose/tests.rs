//! Each finding, caused by what it is found from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::super::firewall::{Criteria, Direction, Flow, Manager, Kind, Verdict};
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

/// A machine where all is well, beside one other node.
fn well() -> Observations {
    let eth0 = ObservedInterface {
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
        key: KeyState::Usable(vec!["1a2b3c4d".to_owned()]),
        state: StateDirState::Usable("/var/lib/hereabouts".into()),
        node: NodeState::Absent,
        port: PortState::Free,
        deaf: None,
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

/// Nobody answers, and nothing else is wrong.
fn unanswered(observed: &mut Observations) {
    observed.setup.role = Role::Both;
    observed.network.peers.clear();
    observed.network
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
    change: impl Fn(&mut ProbedTarget),
) -> impl FnOnce(&mut Observations) {
    move |observed| {
        let such = |target: &&mut ProbedTarget| {
            target.method == FanoutMethod::Multicast && target.family == family
        };
        observed.network
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
    ill(Severity::Problem, Code::ConfigUnavailable, |observed| {
        observed.setup.unavailable = vec!["files.offer".to_owned()]
    });
    ill(Severity::Warning, Code::ListensOnOneAddress, |observed| {
        observed.setup.listen = "10.0.0.1:24373".parse().unwrap()
    });
    let open = "others may read /k; mend it: chmod 600 /k";
    let text = ill(Severity::Problem, Code::KeyUnusable, |observed| {
        observed.key = KeyState::Unusable(open.to_owned())
    });
    assert_eq!(text, ": others may read /k | chmod 600 /k");
    let full = "use /x: no space left. Make room on its disk, or set node.state_dir";
    let text = ill(Severity::Problem, Code::StateUnusable, |observed| {
        observed.state = StateDirState::Unusable(full.to_owned())
    });
    assert_eq!(
        text,
        ": failed to use /x: no space left | Make room on its disk, or set node.state_dir"
    );
    ill(Severity::Problem, Code::StateHeld, |observed| {
        observed.state = StateDirState::Held("/x".into())
    });
    let without_key = |observed: &mut Observations| {
        observed.key = KeyState::Missing;
        observed.network = ProbedNetwork::default();
        observed.servers[0].outcome = Outcome::NotAsked;
    };
    ill(Severity::Warning, Code::KeyNone, without_key);
    assert!(ills(|observed| observed.state = StateDirState::Creatable("/x".into())).is_empty());
}

#[test]
fn what_the_node_of_this_machine_tells() {
    ill(Severity::Warning, Code::NodeUnreachable, |observed| {
        observed.node = unreachable(false)
    });
    // Another user may read neither key nor state, and that is as it should be.
    ill(Severity::Warning, Code::NodeUnreachable, |observed| {
        observed.node = unreachable(true);
        observed.key = KeyState::Unusable("permission denied".to_owned());
        observed.state = StateDirState::Unusable("permission denied".to_owned());
        observed.port = PortState::InUse("listen: taken".to_owned());
    });
    let unready = |status: &mut StatusView| status.health.ready = false;
    let text = ill(Severity::Problem, Code::NodeNotReady, running(unready));
    assert!(
        text.contains("run hereabouts doctor on the server"),
        "{text}"
    );
    let deaf = ills(|observed| {
        running(unready)(observed);
        observed.network
            .targets
            .iter_mut()
            .for_each(|target| target.returned = Some(false));
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
    ill(Severity::Problem, Code::MdnsPortTaken, |observed| {
        with(failed("mdns"))(observed);
        observed.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()));
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
    ill(Severity::Problem, Code::PortTaken, |observed| {
        observed.port = PortState::InUse("listen: taken by PID 7".to_owned())
    });
    let deaf = |observed: &mut Observations| {
        observed.deaf = Some("listen on 239.255.43.73:24373: taken by PID 7".to_owned());
        observed.network
            .targets
            .iter_mut()
            .for_each(|target| target.returned = None);
    };
    assert!(
        ill(Severity::Warning, Code::PortTaken, deaf).contains("by PID 7: it asks servers itself")
    );
    ill(Severity::Problem, Code::PortUnusable, |observed| {
        observed.port = PortState::Unusable("listen: no".to_owned())
    });
    let mdns = |observed: &mut Observations| {
        observed.mdns = Some(Err("share port 5353/udp with PID 7: stop it".to_owned()))
    };
    let text = ill(Severity::Problem, Code::MdnsPortTaken, mdns);
    assert!(
        text.contains("failed to share port 5353/udp with PID 7 | stop that program"),
        "{text}"
    );
}

#[test]
fn interfaces() {
    let text = ill(Severity::Problem, Code::InterfacesNone, |observed| {
        observed.interfaces[0].taken = false;
        observed.interfaces[0].rule = "fits 'eth*' in interfaces.exclude".to_owned();
        observed.network.targets.clear();
        // Nobody was asked, so that nobody answered is no news.
        observed.network.peers.clear();
        observed.setup.role = Role::Both;
    });
    assert!(
        text.contains("eth0 fits 'eth*' in interfaces.exclude"),
        "{text}"
    );
    ill(Severity::Warning, Code::InterfacesPolled, |observed| {
        observed.polled = true
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
        let change = |observed: &mut Observations| {
            observed.interfaces[0].mtu = Some(mtu);
            observed.interfaces[0].ipv6 = ipv6;
        };
        assert_eq!(
            ills(change).iter().any(|ill| ill.code == Code::MtuSmall),
            small,
            "{mtu}"
        );
    }
    ill(Severity::Warning, Code::MtuSmall, |observed| {
        observed.interfaces[0].mtu = Some(1000)
    });
}

#[test]
fn multicast_that_does_not_come_back() {
    let text = ill(Severity::Warning, Code::MulticastOff, |observed| {
        observed.interfaces[0].multicast = false;
        observed.network
            .targets
            .retain(|target| target.method == FanoutMethod::Broadcast);
    });
    assert!(text.contains("ip link set dev eth0 multicast on"), "{text}");
    let refused = each_multicast(Family::Ipv6, |target| {
        target.returned = Some(false);
        target.sent = Sent::NotPermitted;
    });
    let text = ill(Severity::Problem, Code::MulticastNotSent, refused);
    assert!(
        text.contains("firewall of this machine forbids it") && text.contains("IPv6"),
        "{text}"
    );
    let failed = each_multicast(Family::Ipv6, |target| {
        target.returned = Some(false);
        target.sent = Sent::Failed("network is unreachable".to_owned());
    });
    assert!(
        ill(Severity::Problem, Code::MulticastNotSent, failed).contains("network is unreachable")
    );
    let deaf = each_multicast(Family::Ipv4, |target| target.returned = Some(false));
    let text = ill(Severity::Problem, Code::MulticastNotReceived, deaf);
    assert!(
        text.contains("1 node on the network answered") && text.contains("24373, incoming"),
        "{text}"
    );
    // Where a stranger holds the port, nothing can be told.
    assert!(ills(each_multicast(Family::Ipv4, |target| target.returned = None)).is_empty());
}

#[test]
fn broadcast_that_does_not_come_back() {
    let each = |change: fn(&mut ProbedTarget)| {
        move |observed: &mut Observations| {
            let such = |target: &&mut ProbedTarget| target.method == FanoutMethod::Broadcast;
            observed.network
                .targets
                .iter_mut()
                .filter(such)
                .for_each(change);
        }
    };
    ill(
        Severity::Problem,
        Code::BroadcastNotReceived,
        each(|target| target.returned = Some(false)),
    );
    let refused = each(|target| {
        target.returned = Some(false);
        target.sent = Sent::NotPermitted;
    });
    ill(Severity::Problem, Code::BroadcastNotSent, refused);
    // One of the two ways is enough.
    assert!(ills(|observed| observed.network.targets[3].returned = Some(false)).is_empty());
    // What is not used is not judged.
    let unused = |observed: &mut Observations| {
        observed.setup.broadcast = false;
        observed.network.targets[2].returned = Some(false);
        observed.network.targets[3].returned = Some(false);
    };
    assert!(ills(unused).is_empty());
}

#[test]
fn firewalls() {
    // A node holds the port, and nobody was heard by it.
    let deaf = |observed: &mut Observations| {
        running(|_| {})(observed);
        observed.firewall = verdict(Kind::Unicast, true, Some(7));
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
    let doubtful = |observed: &mut Observations| {
        unanswered(observed);
        observed.firewall = verdict(Kind::Unicast, false, None);
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
    assert!(ills(|observed| observed.firewall = verdict(Kind::Multicast, true, Some(7))).is_empty());
    assert!(ills(|observed| observed.firewall = verdict(Kind::Unicast, false, Some(7))).is_empty());
    assert!(
        !findings(|observed| observed.firewall = FirewallState::Unknown("no nft".to_owned()))
            .iter()
            .any(|finding| finding.code == Code::Firewall)
    );
}

/// The mend of a rule set that drops for sure, where it was decided by these.
fn firewall_mend(
    criteria: Criteria,
    manager: Option<Manager>,
    change: impl Fn(&mut Observations, &mut Verdict),
) -> String {
    let text = ill(Severity::Problem, Code::FirewallDrops, |observed| {
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
fn unicast_that_was_heard_leaves_a_doubt_about_the_rules_that_drop_it() {
    let certain = |observed: &mut Observations| observed.firewall = verdict(Kind::Unicast, true, Some(7));
    // The answers came to the node's port.
    ill(Severity::Warning, Code::FirewallMayDrop, certain);
    let server = |address: &str| acknowledged(address, "multicast");
    for (address, severity, code) in [
        ("10.0.0.9:24373", Severity::Warning, Code::FirewallMayDrop),
        ("[fe80::9]:24373", Severity::Problem, Code::FirewallDrops),
    ] {
        ill(severity, code, |observed| {
            running(|status| status.servers = vec![server(address)])(observed);
            certain(observed);
        });
    }
    ill(Severity::Warning, Code::FirewallMayDrop, |observed| {
        let counts = BTreeMap::from([("registers".to_owned(), 2)]);
        running(|status| status.counters = BTreeMap::from([("datagrams".to_owned(), counts)]))(
            observed,
        );
        certain(observed);
    });
}

#[test]
fn a_mend_keeps_whom_the_rules_let_in() {
    let nothing = |_: &mut Observations, _: &mut Verdict| {};
    let (source, interface) = (
        Criteria {
            source: true,
            interface: false,
        },
        Criteria {
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
    let remedy = firewall_mend(source, None, |observed, _| observed.interfaces[0].networks.clear());
    assert!(
        remedy.ends_with(" ip saddr NETWORK udp dport 24373 accept"),
        "{remedy}"
    );
    let remedy = firewall_mend(interface, None, nothing);
    assert_eq!(
        remedy,
        "nft insert rule inet filter input iifname eth0 udp dport 24373 accept"
    );
    let remedy = firewall_mend(source, Some(Manager::Ufw), nothing);
    assert!(
        remedy.ends_with("ufw allow from 10.0.0.0/24 to any port 24373 proto udp"),
        "{remedy}"
    );
    assert_eq!(
        firewall_mend(Criteria::default(), Some(Manager::Ufw), nothing),
        "ufw allow 24373/udp"
    );
    let remedy = firewall_mend(source, Some(Manager::Firewalld), nothing);
    assert!(
        remedy.contains("source address=10.0.0.0/24 port port=24373 protocol=udp accept'"),
        "{remedy}"
    );
    let remedy = firewall_mend(Criteria::default(), Some(Manager::Firewalld), nothing);
    assert_eq!(
        remedy,
        "firewall-cmd --permanent --add-port=24373/udp && firewall-cmd --reload"
    );
}

#[test]
fn a_mend_opens_every_port_that_is_shut() {
    let text = ill(Severity::Problem, Code::FirewallDrops, |observed| {
        running(|_| {})(observed);
        observed.network
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
fn nobody_answers() {
    let text = ill(Severity::Warning, Code::PeersNone, unanswered);
    assert!(
        text.contains("1a2b3c4d here") && text.contains("'home'"),
        "{text}"
    );
    let elsewhere = |observed: &mut Observations| {
        running(|status| status.registry = Some(registry(3, None)))(observed);
        unanswered(observed);
    };
    let text = ill(Severity::Warning, Code::PeersNone, elsewhere);
    assert!(
        text.contains("though 2 others are registered here") && text.contains("on other networks"),
        "{text}"
    );
    // The node found it by asking everybody: what keeps answers from the doctor does not keep them from the node.
    let held = |found_by: &'static str| {
        move |observed: &mut Observations| {
            unanswered(observed);
            observed.environment = Environment::Container;
            observed.interfaces[0].kind = Some("veth".into());
            running(|status| status.servers = vec![acknowledged("10.0.0.9:24373", found_by)])(observed);
        }
    };
    assert!(ills(held("broadcast")).is_empty());
    let codes: Vec<_> = ills(held("unicast")).iter().map(|ill| ill.code).collect();
    assert_eq!(codes, [Code::PeersNone, Code::ContainerNetwork]);
    let client = |observed: &mut Observations| {
        unanswered(observed);
        observed.setup.role = Role::Client;
    };
    let codes: Vec<_> = ills(client).iter().map(|ill| ill.code).collect();
    assert_eq!(codes, [Code::PeersNone, Code::ServerNone]);
    ill(Severity::Problem, Code::ServerNone, |observed| {
        observed.network.peers = BTreeSet::from([(OTHER, false)])
    });
}

#[test]
fn a_pod_or_a_container_where_nobody_answers() {
    for (environment, code, says) in [
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
        let told = ills(alone);
        let finding = told.iter().find(|ill| ill.code == code).unwrap();
        assert!(
            finding.remedy.as_ref().unwrap().contains(says),
            "{finding:?}"
        );
        // On the host's network, or with an answer, the container is not to blame.
        let on_host = |observed: &mut Observations| {
            alone(observed);
            observed.interfaces[0].kind = None;
        };
        assert!(!ills(on_host).iter().any(|ill| ill.code == code));
        assert!(ills(|observed| observed.environment = environment).is_empty());
    }
}

#[test]
fn broadcast_is_answered_and_multicast_is_not() {
    let silent = |family| each_multicast(family, |target| target.answered_by.clear());
    let text = ill(Severity::Warning, Code::MulticastUnanswered, |observed| {
        silent(Family::Ipv4)(observed);
        silent(Family::Ipv6)(observed);
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
    let foreign = |observed: &mut Observations| {
        unanswered(observed);
        observed.network.foreign = BTreeSet::from([stranger]);
    };
    let told = ills(foreign);
    assert_eq!(
        told.iter().map(|ill| ill.code).collect::<Vec<_>>(),
        [Code::PeersNone, Code::KeyDiffers]
    );
    assert!(told[1].finding.contains("10.0.0.66:24373"), "{told:?}");
    let counted = |observed: &mut Observations| {
        unanswered(observed);
        running(|status| {
            status.counters =
                [("dropped".to_owned(), [("unknown_key".to_owned(), 3)].into())].into();
        })(observed);
    };
    assert_eq!(ills(counted).last().unwrap().code, Code::KeyDiffers);
    // Where ours answer, strangers are nobody's ill.
    assert!(ills(|observed| observed.network.foreign = BTreeSet::from([stranger])).is_empty());
    let text = ill(Severity::Problem, Code::ChannelDiffers, |observed| {
        observed.network.channels = vec![(stranger, "work".to_owned())]
    });
    assert!(text.contains("called 'work', not 'home'"), "{text}");
}

#[test]
fn clocks() {
    let clock = |last: u8, node: Option<NodeId>| DifferingClock {
        from: ([10, 0, 0, last], 24373).into(),
        node,
        millis: -3_600_000,
    };
    let text = ill(Severity::Problem, Code::ClockDiffers, |observed| {
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
    assert!(
        ills(two)
            .iter()
            .all(|ill| ill.finding.contains("this machine's clock is wrong"))
    );
    let one_of_two = |observed: &mut Observations| {
        observed.network.clocks = vec![clock(8, Some(NodeId([8; 32])))];
        observed.network.peers.insert((NodeId([8; 32]), false));
    };
    assert!(ill(Severity::Problem, Code::ClockDiffers, one_of_two).contains("its clock is wrong"));
}

#[test]
fn servers() {
    let outcome =
        |outcome: Outcome| move |observed: &mut Observations| observed.servers[0].outcome = outcome;
    let reason = "look up 'hub:24373': unknown".to_owned();
    ill(
        Severity::Problem,
        Code::ServerUnresolved,
        outcome(Outcome::Unresolved(reason)),
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
