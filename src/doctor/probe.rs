//! Asking the network: one question for each place where a node would ask, so that each answer tells its way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::observations::{
    ClockSeen, NetworkSeen, NotJoined, Outcome, Sent, ServerSeen, TargetSeen,
};
use crate::api::view::StatusView;
use crate::config::Config;
use crate::model::{NodeId, Now};
use crate::net::{
    self, Family, FanoutMethod, Interface, Membership, RecvBatch, SendBatch, SocketSettings,
    Sockets, Source,
};
use crate::settings;
use crate::transport::Clock;
use crate::transport::{Received, Traffic, random_seed};
use crate::wire::keyring::KeyRing;
use crate::wire::v1::{Answer, Message, Query, Refusal, Refused, Regarding, Subject, Want};

/// When each question is asked, counted from the first time: a datagram may be lost.
const ASK_AT: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(400),
    Duration::from_millis(1000),
];
/// Over how long nodes spread their answers.
const WINDOW: Duration = Duration::from_millis(300);
/// How long answers are waited for in all.
const LIMIT: Duration = Duration::from_millis(1800);
/// The most of anything that is kept of what strangers send.
const KEPT: usize = 64;
/// The most peers that are told apart.
const PEERS: usize = 4096;
/// The most corrections of the clock that are sent.
const CORRECTIONS: usize = 64;

/// What is asked, of whom, and what came of it.
struct Questions {
    traffic: Traffic,
    clock: Clock,
    own: Option<NodeId>,
    /// Whether what comes back to this socket itself tells that a question went the whole way.
    hears_itself: bool,
    asked: Vec<Question>,
    want: Want,
    network: NetworkSeen,
    clock_of: BTreeMap<SocketAddr, usize>,
    corrected: usize,
}

/// One question, and what came of it.
struct Question {
    id: u64,
    to: SocketAddr,
    source: Option<Source>,
    sent: Sent,
    /// Whether it came back to this machine; `None` where that can't be told.
    looped: Option<bool>,
    answered_by: BTreeSet<NodeId>,
}

impl Question {
    fn new(to: SocketAddr, source: Option<Source>, looped: Option<bool>) -> Self {
        Self {
            id: random_seed(),
            to,
            source,
            sent: Sent::Yes,
            looped,
            answered_by: BTreeSet::new(),
        }
    }
}

/// The addresses of sockets that may hear groups and broadcasts.
struct Ears(Vec<SocketAddr>);

impl Ears {
    /// Those of a node's sockets.
    fn of_sockets(sockets: &Sockets) -> Self {
        Self(
            sockets
                .addresses()
                .chain(sockets.group_addresses())
                .collect(),
        )
    }

    /// Those of a running node.
    fn of_node(status: &StatusView) -> Self {
        let datagrams = ["datagrams (UDP)", "multicast", "broadcast"];
        let such = status
            .sockets
            .iter()
            .filter(|socket| datagrams.contains(&socket.purpose.as_str()));
        Self(such.map(|socket| socket.address).collect())
    }

    /// Whether what is sent there comes to one of them, if nothing stops it: a socket that is bound to an address of this
    /// machine hears neither groups nor broadcasts.
    fn hear(&self, method: FanoutMethod, family: Family, port: u16) -> bool {
        self.0.iter().any(|address| {
            let ip = address.ip();
            let everybody = match method {
                FanoutMethod::Multicast => ip.is_multicast(),
                FanoutMethod::Broadcast => ip == IpAddr::V4(Ipv4Addr::BROADCAST),
            };
            address.port() == port && Family::of(ip) == family && (ip.is_unspecified() || everybody)
        })
    }
}

/// Asks every node by each method on each interface. `sockets` are bound to the node's own port, where that is free;
/// `held` says that a stranger holds it.
pub(super) async fn network(
    config: &Config,
    key_ring: KeyRing,
    sockets: Option<Sockets>,
    node: Option<&StatusView>,
    held: bool,
    interfaces: &[Interface],
) -> NetworkSeen {
    let hears_itself = sockets.is_some();
    let sockets = match sockets {
        Some(sockets) => sockets,
        None => match ephemeral(config) {
            Ok(sockets) => sockets,
            Err(_) => return NetworkSeen::default(),
        },
    };
    let mut traffic = Traffic::new(
        sockets,
        settings::fanout(config),
        settings::policy(config),
        key_ring,
    );
    let reports = traffic.reconcile(interfaces);
    let not_joined = reports.into_iter().filter_map(|report| match report.what {
        Membership::Failed(why) => Some(NotJoined {
            interface: report.interface,
            group: traffic.fanout.group(report.family),
            why,
        }),
        Membership::Joined | Membership::Left => None,
    });
    let not_joined = not_joined.collect();
    let targets: Vec<_> = [FanoutMethod::Multicast, FanoutMethod::Broadcast]
        .into_iter()
        .flat_map(|method| {
            traffic
                .fanout
                .targets(method)
                .iter()
                .map(move |target| (method, *target))
        })
        .collect();
    let ears = match node {
        _ if hears_itself => Ears::of_sockets(&traffic.sockets),
        Some(status) if !held => Ears::of_node(status),
        _ => Ears(Vec::new()),
    };
    let asked = targets.iter().map(|(method, target)| {
        let looped = ears
            .hear(*method, target.family, target.to.port())
            .then_some(false);
        Question::new(target.to, Some(target.source), looped)
    });
    let (asked, own) = (asked.collect(), node.map(|status| status.node.node_id));
    let mut questions = Questions::new(traffic, own, hears_itself, asked, Want::All);
    questions.ask().await;
    let Questions {
        asked, mut network, ..
    } = questions;
    let seen = targets
        .into_iter()
        .zip(asked)
        .map(|((method, target), question)| TargetSeen {
            interface: target.interface,
            family: target.family,
            method,
            to: target.to,
            sent: question.sent,
            looped: question.looped,
            answered_by: question.answered_by,
        });
    network.targets = seen.collect();
    // One node has several addresses, and each was told the time.
    let mut nodes = BTreeSet::new();
    network
        .clocks
        .retain(|clock| clock.node.is_none_or(|node| nodes.insert(node)));
    NetworkSeen {
        asked: true,
        not_joined,
        ..network
    }
}

/// Looks up each configured server and asks it.
pub(super) async fn servers(config: &Config, key_ring: Option<KeyRing>) -> Vec<ServerSeen> {
    let mut asking = tokio::task::JoinSet::new();
    for (place, name) in settings::servers(config).into_iter().enumerate() {
        let (config, key_ring) = (config.clone(), key_ring.clone());
        asking.spawn(async move {
            let outcome = server(&config, key_ring, &name).await;
            (place, ServerSeen { name, outcome })
        });
    }
    let mut seen: Vec<_> = asking.join_all().await;
    seen.sort_by_key(|(place, _)| *place);
    seen.into_iter().map(|(_, server)| server).collect()
}

async fn server(config: &Config, key_ring: Option<KeyRing>, name: &str) -> Outcome {
    let addresses = match net::resolve(name).await {
        Ok(addresses) => addresses,
        Err(error) => return Outcome::Unresolved(error.to_string()),
    };
    let (Some(key_ring), Ok(sockets)) = (key_ring, ephemeral(config)) else {
        return Outcome::NotAsked;
    };
    let traffic = Traffic::new(
        sockets,
        settings::fanout(config),
        settings::policy(config),
        key_ring,
    );
    let asked = addresses
        .iter()
        .map(|address| Question::new(*address, None, None))
        .collect();
    let mut questions = Questions::new(traffic, None, false, asked, Want::Servers);
    questions.ask().await;
    let answered = questions
        .asked
        .iter()
        .find(|question| !question.answered_by.is_empty());
    answered.map_or(Outcome::Silent(addresses), |question| {
        Outcome::Answered(question.to)
    })
}

fn ephemeral(config: &Config) -> Result<Sockets, net::BindError> {
    let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    Sockets::bind(&SocketSettings {
        address,
        port: 0,
        ttl: config.discovery.multicast.ttl,
    })
}

impl Questions {
    fn new(
        traffic: Traffic,
        own: Option<NodeId>,
        hears_itself: bool,
        asked: Vec<Question>,
        want: Want,
    ) -> Self {
        let (network, clock_of) = (NetworkSeen::default(), BTreeMap::new());
        Self {
            traffic,
            clock: Clock::new(),
            own,
            hears_itself,
            asked,
            want,
            network,
            clock_of,
            corrected: 0,
        }
    }

    /// Asks, asks again what is not answered, and hears until the limit; for servers, until each has answered.
    async fn ask(&mut self) {
        let mut batch = RecvBatch::new();
        let mut rounds = ASK_AT.into_iter();
        let mut next = rounds.next();
        loop {
            let now = self.clock.now();
            let settled = self.want == Want::Servers
                && self.asked.iter().any(|asked| !asked.answered_by.is_empty());
            if now.elapsed >= LIMIT || settled {
                return;
            }
            if next.is_some_and(|at| at <= now.elapsed) {
                next = rounds.next();
                self.send_all().await;
            }
            let wake = self.clock.instant(Some(next.unwrap_or(LIMIT).min(LIMIT)));
            let count = tokio::select! {
                received = self.traffic.sockets.recv(&mut batch) => received.unwrap_or(0),
                () = tokio::time::sleep_until(wake) => 0,
            };
            for place in 0..count {
                self.hear(&mut batch, place).await;
            }
        }
    }

    async fn send_all(&mut self) {
        for place in 0..self.asked.len() {
            let Question {
                id,
                to,
                source,
                looped,
                ref answered_by,
                ..
            } = self.asked[place];
            if !answered_by.is_empty() && looped != Some(false) {
                continue;
            }
            let now = self.clock.now();
            let sent = self.send(to, source, &self.query(id, now)).await;
            self.asked[place].sent = sent;
        }
    }

    fn query(&self, id: u64, now: Now) -> Message {
        Message::Query(Query {
            id,
            want: self.want.clone(),
            clock: now.wall,
            window: WINDOW,
        })
    }

    async fn send(&self, to: SocketAddr, source: Option<Source>, message: &Message) -> Sent {
        let mut nonce = [0; 24];
        if let Err(error) = getrandom::fill(&mut nonce) {
            return Sent::Failed(error.to_string());
        }
        let mut batch = SendBatch::new();
        // A message that can't be sealed has the length 0, which queues nothing.
        let fill = |buffer: &mut [u8; net::DATAGRAM_MAX]| {
            message
                .seal(self.traffic.key_ring.first(), &nonce, buffer)
                .unwrap_or(0)
        };
        let mut failure = None;
        if batch.push(to, source, fill).is_ok() {
            self.traffic
                .sockets
                .flush(&mut batch, |_, error| failure = Some(error))
                .await;
        }
        match failure {
            None => Sent::Yes,
            // The answer of a packet filter that drops what goes out.
            Some(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Sent::NotPermitted
            }
            Some(error) => Sent::Failed(error.to_string()),
        }
    }

    async fn hear(&mut self, batch: &mut RecvBatch, place: usize) {
        let mut counters = crate::transport::Counters::default();
        let received = match self.traffic.open(batch, place, &mut counters) {
            Ok(received) => received,
            // Hints are shorter than what counts as foreign elsewhere: here they are what is looked for.
            Err(Some(rejected)) if counters.all().contains_key("dropped.unknown_key") => {
                if self.network.foreign.len() < KEPT {
                    self.network.foreign.insert(rejected.from);
                }
                return;
            }
            Err(_) => return,
        };
        let now = self.clock.now();
        match &received.message {
            Message::Query(query) if self.hears_itself => {
                if let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == query.id) {
                    asked.looped = Some(true);
                }
            }
            Message::Answer(answer) => self.answered(&received, answer),
            Message::Refused(Refused {
                regarding: Regarding::Query(id),
                refusal: Refusal::Clock { clock },
            }) => {
                let asked = self.asked.iter().any(|asked| asked.id == *id);
                if !asked || self.corrected == CORRECTIONS {
                    return;
                }
                self.corrected += 1;
                let millis = i64::try_from(clock.0).unwrap_or(i64::MAX)
                    - i64::try_from(now.wall.0).unwrap_or(i64::MAX);
                if !self.clock_of.contains_key(&received.from) {
                    self.clock_of
                        .insert(received.from, self.network.clocks.len());
                    self.network.clocks.push(ClockSeen {
                        from: received.from,
                        node: None,
                        millis,
                    });
                }
                let corrected = Now {
                    wall: *clock,
                    ..now
                };
                let message = self.query(*id, corrected);
                self.send(received.from, None, &message).await;
            }
            Message::Refused(Refused {
                refusal: Refusal::Channel { name },
                ..
            }) => {
                let told = self
                    .network
                    .channels
                    .iter()
                    .any(|(_, known)| **known == **name);
                if !told && self.network.channels.len() < KEPT {
                    self.network
                        .channels
                        .push((received.from, name.to_string()));
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, received: &Received, answer: &Answer) {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.id == answer.id) else {
            return;
        };
        let Subject::Own { record: signed, .. } = &answer.subject else {
            return;
        };
        let key_ring = &self.traffic.key_ring;
        let Ok(record) = signed.verify(|key| key_ring.by_id(key).is_some()) else {
            return;
        };
        if self.own == Some(signed.node) {
            asked.looped = Some(true);
            return;
        }
        if asked.answered_by.len() < PEERS {
            asked.answered_by.insert(signed.node);
        }
        if self.network.peers.len() < PEERS {
            self.network
                .peers
                .insert((signed.node, record.role.serves()));
        }
        if let Some(clock) = self
            .clock_of
            .get(&received.from)
            .and_then(|place| self.network.clocks.get_mut(*place))
        {
            clock.node = Some(signed.node);
        }
    }
}
