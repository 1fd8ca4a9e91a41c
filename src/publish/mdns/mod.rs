//! Multicast DNS as the node uses it: showing a server to those who browse, publishing the node's record, browsing.
//!
//! One link for each taken interface. What is shown there follows from the plan ([`crate::publish::plan()`]) and from the
//! claim to the node's name on that link; a server that publishes nothing shows itself under an opaque name, so that
//! those whose queries find no way come to its address.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{InterfaceName, NodeName, Now, PublicationState, Role, Scope};
use crate::net::mdns::{self, Found, Heard, LINKS, Link, Shown, What, Wish};
use crate::net::{Interface, InterfaceAddress, Policy};
use crate::publish::{
    Change, Claim, ClaimEvent, ClaimState, CurrentState, Publication, ROLE_KEY, Target, Whose,
    host_label, text,
};
use crate::transport::random_seed;

/// What links say and the node has not looked at yet; further words are dropped.
const HEARD: usize = 256;
/// How long an address that this host had counts as its own: others may remember it for as long as its records' TTL of
/// 120 s (RFC 6762 §10).
const FORMER: Duration = Duration::from_secs(150);
/// Former addresses that are remembered.
const FORMERS: usize = 256;
/// Addresses taken of one found service.
const ADDRESSES_PER_SERVICE: usize = 8;
/// Bytes of the node's name in an instance's name, which has 63 (RFC 1035 §2.3.4), a hyphen and 16 random digits.
const NAMED: usize = 46;

/// What this node does by multicast DNS.
#[derive(Debug, Clone)]
pub(crate) struct MdnsSettings {
    /// The service type.
    pub(crate) service: Box<str>,
    pub(crate) name: NodeName,
    pub(crate) port: u16,
    pub(crate) role: Role,
    /// Whether the node's own record is published.
    pub(crate) publishes: bool,
    /// Whether this is a server that lets itself be found.
    pub(crate) advertises: bool,
    /// Whether a server that is not published shows no name of its own.
    pub(crate) hidden: bool,
}

/// How the node's own record stands on one link.
#[derive(Debug, Clone)]
pub(crate) struct LinkPublication {
    pub(crate) target: Target,
    /// The name that is shown, or is to be.
    pub(crate) name: String,
    pub(crate) interface: InterfaceName,
    pub(crate) state: PublicationState,
    /// The addresses that are shown.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why it does not stand there, or only in part.
    pub(crate) reason: Option<String>,
}

/// All links of a node.
pub(crate) struct Mdns {
    settings: MdnsSettings,
    /// Stands for the node where its name is not shown; random at every start.
    opaque: Box<str>,
    links: BTreeMap<u32, Joined>,
    browsing: bool,
    current: HashSet<IpAddr>,
    former: Vec<(IpAddr, Duration)>,
    floods: u64,
    said: mpsc::Sender<Heard>,
}

/// One interface.
struct Joined {
    link: Link,
    addresses: Vec<InterfaceAddress>,
    /// Those of them that are told to the link, best first.
    told: Vec<IpAddr>,
    /// What is to be shown once the name is held.
    wanted: Option<Publication>,
    current_state: CurrentState,
    claim: Option<Claim>,
    round: u32,
    /// Whether the kernel held the groups since it began.
    grouped: bool,
    failure: Option<String>,
}

impl Joined {
    /// Puts the claim back to the question, on a link that begins anew: what was heard does not count any more.
    fn ask_again(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.ask_again();
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.grouped = false;
        if self.wanted.is_some() {
            self.current_state = CurrentState::Unknown;
        }
    }

    /// It is not heard what others say: nothing is shown before it was asked for once more.
    fn halted(&mut self, failure: String) {
        self.failure = Some(failure);
        self.current_state = CurrentState::Unknown;
        self.grouped = false;
        if let Some(claim) = &mut self.claim {
            claim.ask_again();
        }
    }

    /// Whether another responder of this host keeps addresses from being shown.
    fn shows_a_part(&self) -> bool {
        match (self.claim.as_ref().map(Claim::state), &self.wanted) {
            (
                Some(ClaimState::Held {
                    beside: Some(beside),
                }),
                Some(publication),
            ) => publication.ips().any(|ip| !beside.contains(&ip)),
            _ => false,
        }
    }
}

impl Mdns {
    /// Nothing is shown yet; what the links hear comes out of the receiver.
    pub(crate) fn new(settings: MdnsSettings) -> (Self, mpsc::Receiver<Heard>) {
        let (said, heard) = mpsc::channel(HEARD);
        let mdns = Self {
            settings,
            opaque: format!("{:016x}", random_seed()).into(),
            links: BTreeMap::new(),
            browsing: false,
            current: HashSet::new(),
            former: Vec::new(),
            floods: 0,
            said,
        };
        (mdns, heard)
    }

    /// What stands on each link.
    pub(crate) fn current_state(&self) -> impl Iterator<Item = (Target, CurrentState)> {
        self.links
            .iter()
            .map(|(index, joined)| (target(*index, joined), joined.current_state.clone()))
    }

    /// Takes the interfaces as they are now: one link for each of [`links`].
    pub(crate) fn update(&mut self, now: Now, interfaces: &[Interface], policy: &Policy) {
        self.remember(now, interfaces);
        let taken = links(interfaces, policy);
        let is_there = |index: &u32, joined: &Joined| {
            taken
                .iter()
                .any(|interface| interface.index == *index && interface.name == joined.link.name())
        };
        let links = self.links.len();
        // A link that is dropped says goodbye by itself, where it still can.
        self.links.retain(|index, joined| is_there(index, joined));
        let mut changed = self.links.len() != links;
        for interface in &taken {
            let said = self.said.clone();
            let joined = self.links.entry(interface.index).or_insert_with(|| Joined {
                link: Link::start(interface, said),
                addresses: Vec::new(),
                told: Vec::new(),
                wanted: None,
                current_state: CurrentState::Nothing,
                claim: None,
                round: 0,
                grouped: false,
                failure: None,
            });
            let had = std::mem::replace(&mut joined.addresses, interface.addresses.clone());
            let stays = |one: &InterfaceAddress, all: &[InterfaceAddress]| {
                all.iter().any(|other| other.ip == one.ip)
            };
            let kept = had
                .iter()
                .filter(|address| stays(address, &joined.addresses))
                .count();
            changed |= kept != had.len() || kept != joined.addresses.len();
            joined.told = policy.on_link(interface);
            if self.settings.publishes && joined.claim.is_none() {
                joined.claim = Some(Claim::new(random_seed()));
            }
            // As on another network (RFC 6762 §8).
            if kept == 0 && !had.is_empty() {
                joined.ask_again();
            }
        }
        if changed {
            self.ask_beside();
        }
    }

    /// Asks again where another responder of this host has the name: what it shows may be another thing now.
    fn ask_beside(&mut self) {
        for joined in self.links.values_mut() {
            if joined.claim.as_mut().is_some_and(Claim::ask_beside) {
                joined.restart();
            }
        }
    }

    /// Takes what the plan says of a link; [`Mdns::follow`] carries it out.
    pub(crate) fn publish(&mut self, to: Target, change: Change) {
        let Target::Mdns { index, .. } = to else {
            return;
        };
        // A link that went took with it what stood there.
        let Some(joined) = self
            .links
            .get_mut(&index)
            .filter(|joined| target(index, joined) == to)
        else {
            return;
        };
        joined.wanted = change.into_wanted();
        // It stands when the link says so.
        joined.current_state = if joined.wanted.is_some() {
            CurrentState::Unknown
        } else {
            CurrentState::Nothing
        };
    }

    /// Asks, probes and announces again on every link, as after sleep (RFC 6762 §8).
    pub(crate) fn restart(&mut self) {
        self.links.values_mut().for_each(Joined::ask_again);
        self.follow();
    }

    /// Begins anew where the kernel has dropped the groups that it held; how many links that are.
    pub(crate) fn rejoin_lost(&mut self) -> usize {
        let mut lost = 0;
        for (index, joined) in &mut self.links {
            if joined.grouped && !mdns::holds_groups(*index, &joined.link.wish().addresses) {
                joined.restart();
                lost += 1;
            }
        }
        if lost > 0 {
            self.follow();
        }
        lost
    }

    /// Begins to browse, or stops it.
    pub(crate) fn browse(&mut self, on: bool) {
        self.browsing = on;
        self.follow();
    }

    /// Why nothing is browsed though it should be.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.links.is_empty() {
            return Some("no interface that the policy takes can carry it".to_owned());
        }
        let mut failures = self.links.values().map(|joined| joined.failure.as_ref());
        failures.all(|failure| failure.is_some()).then(|| {
            let first = self
                .links
                .values()
                .find_map(|joined| joined.failure.clone());
            first.map_or_else(String::new, |failure| format!("failed to {failure}"))
        })
    }

    /// The interfaces on which multicast DNS is spoken now.
    pub(crate) fn speaking(&self) -> impl Iterator<Item = InterfaceName> {
        let speaking = self
            .links
            .values()
            .filter(|joined| joined.failure.is_none() && !joined.link.wish().is_idle());
        speaking.map(|joined| joined.link.name())
    }

    /// How often a link was flooded with foreign records.
    pub(crate) fn floods(&self) -> u64 {
        self.floods
    }

    /// Takes what a link heard; gives addresses that may be servers.
    pub(crate) fn heard(&mut self, now: Now, heard: Heard) -> Vec<SocketAddr> {
        let Heard { interface, what } = heard;
        let whose = match &what {
            What::Host(answered) => self.whose(now, interface, answered),
            _ => Vec::new(),
        };
        let Some(joined) = self.links.get_mut(&interface) else {
            return Vec::new();
        };
        let mut event = None;
        match what {
            What::Begun => {
                joined.failure = None;
                joined.grouped = mdns::holds_groups(interface, &joined.link.wish().addresses);
                if let Some(claim) = &mut joined.claim {
                    claim.begun(now);
                }
            }
            What::Found(found) => {
                if !self.browsing || found.name.contains(&*self.opaque) {
                    return Vec::new();
                }
                let mut found = candidates(&found, &joined.addresses, interface);
                let itself = |address: &SocketAddr| {
                    address.port() == self.settings.port && self.current.contains(&address.ip())
                };
                found.retain(|address| !itself(address));
                return found;
            }
            What::Host(answered) => {
                let whose = |ip| {
                    whose
                        .iter()
                        .find(|(known, _)| *known == ip)
                        .map_or(Whose::Foreign, |(_, whose)| *whose)
                };
                event = joined
                    .claim
                    .as_mut()
                    .and_then(|claim| claim.heard(now, &answered, whose));
            }
            What::Gone(addresses) => {
                event = joined
                    .claim
                    .as_mut()
                    .and_then(|claim| claim.gone(&addresses))
            }
            What::Announced => {
                let shows = joined
                    .claim
                    .as_ref()
                    .is_some_and(|claim| matches!(claim.state(), ClaimState::Held { .. }));
                if let (true, Some(publication)) = (shows, &joined.wanted) {
                    joined.current_state = CurrentState::This(publication.clone());
                }
            }
            What::Renamed { from } => {
                tracing::debug!(%from, "a name was met while it was probed for: asking whose it is");
                event = joined.claim.as_mut().and_then(Claim::renamed);
            }
            What::Flooded { rest, again } => {
                self.floods += 1;
                let (interface, seconds) = (joined.link.name(), rest.as_secs());
                if again {
                    tracing::debug!(%interface, "flooded with foreign mDNS records still: begun anew in {seconds} s");
                } else {
                    tracing::warn!(
                        %interface,
                        "flooded with foreign mDNS records: begun anew without them in {seconds} s, and later each time \
                         while it lasts"
                    );
                }
                joined.halted(format!(
                    "speak multicast DNS in a flood of foreign records: in {seconds} s again"
                ));
                self.follow();
            }
            What::Failed(error) => {
                tracing::warn!(interface = %joined.link.name(), "failed to {error}; tried again every 10 s");
                joined.halted(error);
                self.follow();
            }
        }
        if let Some(event) = event {
            self.claimed(interface, event);
        }
        Vec::new()
    }

    /// When [`Mdns::advance`] is to be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.links
            .values()
            .filter_map(|joined| joined.claim.as_ref()?.deadline())
            .min()
    }

    /// Does what became due.
    pub(crate) fn advance(&mut self, now: Now) {
        let due = self.links.iter_mut().filter_map(|(index, joined)| {
            let partly = joined.shows_a_part();
            let event = joined.claim.as_mut()?.advance(now, partly)?;
            Some((*index, event))
        });
        for (index, event) in due.collect::<Vec<_>>() {
            self.claimed(index, event);
        }
    }

    /// Says goodbye on every link.
    pub(crate) async fn stop(&mut self) {
        let mut stopping = tokio::task::JoinSet::new();
        for (_, joined) in std::mem::take(&mut self.links) {
            stopping.spawn(joined.link.stop());
        }
        while stopping.join_next().await.is_some() {}
    }

    /// What stands where, for `status`.
    pub(crate) fn publications(&self) -> Vec<LinkPublication> {
        let mut views = Vec::new();
        for (index, joined) in &self.links {
            let Some(claim) = &joined.claim else { continue };
            let whole = format!("{}.local", host_label(&self.settings.name));
            let (name, addresses) = match (&joined.current_state, joined.link.wish().shown) {
                (CurrentState::This(_), Some(shown)) => {
                    (format!("{}.local", shown.host), shown.addresses)
                }
                _ => (whole.clone(), Vec::new()),
            };
            let (state, reason) = match (&joined.failure, claim.state(), &joined.current_state) {
                (Some(failure), ..) => (
                    PublicationState::Failed,
                    Some(format!("failed to {failure}")),
                ),
                (None, ClaimState::Contested { by, .. }, _) => {
                    (PublicationState::Conflict, Some(conflict(&whole, by)))
                }
                (None, ClaimState::Asking, _) => (PublicationState::Asking, None),
                (None, ClaimState::Held { .. }, CurrentState::This(_)) => {
                    let part = if name == whole {
                        "these addresses alone"
                    } else {
                        "other addresses"
                    };
                    let reason = || {
                        format!(
                            "another responder of this host shows {whole} with {part}; asked again now and then"
                        )
                    };
                    (
                        PublicationState::Published,
                        joined.shows_a_part().then(reason),
                    )
                }
                (None, ClaimState::Held { .. }, _) if joined.wanted.is_none() => (
                    PublicationState::Waiting,
                    Some("the interface has no address to be told".to_owned()),
                ),
                (None, ClaimState::Held { .. }, _) => (PublicationState::Waiting, None),
            };
            let target = target(*index, joined);
            let interface = joined.link.name();
            views.push(LinkPublication {
                target,
                name,
                interface,
                state,
                addresses,
                reason,
            });
        }
        views
    }

    fn claimed(&mut self, index: u32, event: ClaimEvent) {
        let Some(joined) = self.links.get_mut(&index) else {
            return;
        };
        let interface = joined.link.name();
        let whole = format!("{}.local", host_label(&self.settings.name));
        match event {
            ClaimEvent::Won { again: false } => {
                tracing::debug!(%interface, "nobody else has {whole}")
            }
            ClaimEvent::Won { again: true } => {
                tracing::info!(%interface, "{whole} is free again: published")
            }
            ClaimEvent::Lost(by) => {
                // It is wanted there still, and may stand as soon as the claim is won again.
                joined.current_state = CurrentState::Unknown;
                tracing::warn!(%interface, "{}", conflict(&whole, &by));
            }
            ClaimEvent::AskAgain => joined.restart(),
        }
        self.follow();
    }

    /// Tells each link what it is to do now.
    pub(crate) fn follow(&mut self) {
        for joined in self.links.values() {
            let before = joined.link.wish();
            let mut shown = self.shown(joined);
            if let (Some(shown), Some(before)) = (&mut shown, &before.shown) {
                // Probing is for the first time: a change of addresses is announced at once.
                shown.probe = Shown {
                    probe: before.probe,
                    ..shown.clone()
                } == *before
                    && before.probe;
            }
            // The crate answers for a host over both families, but says goodbye only over those that the host has
            // addresses of: a node that is published speaks over no others, or it would be remembered there.
            let speaks = |address: &&InterfaceAddress| match &joined.wanted {
                Some(publication) => publication
                    .ips()
                    .any(|told| told.is_ipv4() == address.ip.is_ipv4()),
                None => true,
            };
            joined.link.set(Wish {
                addresses: joined
                    .addresses
                    .iter()
                    .filter(speaks)
                    .map(|address| address.ip)
                    .collect(),
                shown,
                host: self
                    .settings
                    .publishes
                    .then(|| host_label(&self.settings.name).into()),
                browse: self.browsing.then(|| self.settings.service.clone()),
                round: joined.round,
            });
        }
    }

    fn shown(&self, joined: &Joined) -> Option<Shown> {
        let MdnsSettings {
            service,
            name,
            port,
            role,
            advertises,
            hidden,
            ..
        } = &self.settings;
        let (service, port) = (service.clone(), *port);
        let aside: Box<str> = format!("h-{}", self.opaque).into();
        match (joined.claim.as_ref().map(Claim::state), &joined.wanted) {
            (Some(ClaimState::Held { beside }), Some(publication)) => {
                let both = beside.as_ref().map(|beside| {
                    publication
                        .ips()
                        .filter(|ip| beside.contains(ip))
                        .collect::<Vec<_>>()
                });
                let text = text(publication);
                let instance = host_label(name).into();
                let (host, addresses) = match both {
                    None => (host_label(name).into(), publication.ips().collect()),
                    // The other responder tells none of these: the service stands on a host name of its own.
                    Some(both) if both.is_empty() => (aside, publication.ips().collect()),
                    Some(both) => (host_label(name).into(), both),
                };
                Some(Shown {
                    service,
                    instance,
                    host,
                    port,
                    addresses,
                    text,
                    probe: joined.claim.as_ref().is_some_and(Claim::probes),
                })
            }
            (Some(ClaimState::Asking), _) => None,
            _ if *advertises && !joined.told.is_empty() && !faces_internet(&joined.addresses) => {
                let (instance, text) = if *hidden {
                    (self.opaque.clone(), Vec::new())
                } else {
                    let text = vec![(ROLE_KEY.into(), role.to_string().into())];
                    (named_instance(name, &self.opaque), text)
                };
                let addresses = joined.told.clone();
                Some(Shown {
                    service,
                    instance,
                    host: aside,
                    port,
                    addresses,
                    text,
                    probe: false,
                })
            }
            _ => None,
        }
    }

    /// Whose each address is that was answered on a link.
    fn whose(&self, now: Now, link: u32, answered: &[IpAddr]) -> Vec<(IpAddr, Whose)> {
        let has = |joined: &Joined, ip| joined.addresses.iter().any(|address| address.ip == ip);
        let elsewhere = |ip| {
            let there = |(index, joined): (&u32, &Joined)| *index != link && has(joined, ip);
            !self.links.get(&link).is_some_and(|joined| has(joined, ip))
                && self.links.iter().any(there)
        };
        let former = |ip| {
            self.former
                .iter()
                .any(|(known, until)| *known == ip && now.elapsed < *until)
        };
        let whose = |ip| match ip {
            ip if elsewhere(ip) || (former(ip) && !self.current.contains(&ip)) => Whose::Elsewhere,
            ip if self.current.contains(&ip) => Whose::Ours,
            _ => Whose::Foreign,
        };
        answered.iter().map(|ip| (*ip, whose(*ip))).collect()
    }

    fn remember(&mut self, now: Now, interfaces: &[Interface]) {
        let current: HashSet<IpAddr> = interfaces
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(|address| address.ip))
            .collect();
        self.former
            .retain(|(ip, until)| now.elapsed < *until && !current.contains(ip));
        let gone = self
            .current
            .difference(&current)
            .map(|ip| (*ip, now.elapsed + FORMER));
        self.former
            .extend(gone.take(FORMERS.saturating_sub(self.former.len())));
        self.current = current;
    }
}

/// An instance's name that begins with the node's: one label, whatever the name.
fn named_instance(name: &NodeName, opaque: &str) -> Box<str> {
    let label = host_label(name);
    // A name is ASCII, so any place is between two characters.
    format!("{}-{opaque}", label.get(..NAMED).unwrap_or(label)).into()
}

/// Whether an interface looks like one of a host that stands on the Internet without a router between.
///
/// The crate answers unicast questions from wherever they come, which RFC 6762 §11 forbids: a server must not be shown
/// to the world by default, nor answer forged questions with longer answers. Publishing is the operator's own wish.
///
/// A global IPv4 address is the sign. A global IPv6 address is none by itself, as every home has them behind a router that
/// lets nobody in (RFC 6092); but it is where no address of a site stands beside it, as on a rented machine.
fn faces_internet(addresses: &[InterfaceAddress]) -> bool {
    let any = |scope, ipv4: bool| {
        addresses
            .iter()
            .any(|a| a.ip.is_ipv4() == ipv4 && Scope::of(a.ip) == scope)
    };
    let of_site = any(Scope::Private, true) || any(Scope::Private, false);
    any(Scope::Global, true) || (any(Scope::Global, false) && !of_site)
}

/// The interfaces that multicast DNS is spoken on: those that the policy takes and that can carry it.
pub(crate) fn links(interfaces: &[Interface], policy: &Policy) -> Vec<Interface> {
    policy
        .used(interfaces)
        .into_iter()
        .filter(|interface| interface.multicast)
        .take(LINKS)
        .collect()
}

fn target(index: u32, joined: &Joined) -> Target {
    Target::Mdns {
        index,
        interface: joined.link.name(),
    }
}

fn conflict(name: &str, by: &[IpAddr]) -> String {
    let by: Vec<_> = by.iter().map(ToString::to_string).collect();
    let by = if by.is_empty() {
        "another host".to_owned()
    } else {
        format!("a host at {}", by.join(", "))
    };
    format!(
        "{name} is taken by {by}: not published here. Choose another node.name, or rename that host; asked again within a minute"
    )
}

/// The addresses of a found service that may be a server's, as far as they lie on the link where it was found.
///
/// Whoever sends there may announce any address; nothing off the link is asked because of it.
pub(crate) fn candidates(found: &Found, link: &[InterfaceAddress], index: u32) -> Vec<SocketAddr> {
    let role = found
        .text
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(ROLE_KEY));
    if role.is_some_and(|(_, role)| role == "client") {
        return Vec::new();
    }
    let on_link = |address: &&SocketAddr| match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id() == index,
        address => link.iter().any(|own| own.reaches(address.ip())),
    };
    let mut candidates: Vec<_> = found
        .addresses
        .iter()
        .filter(|address| address.port() != 0)
        .filter(on_link)
        .collect();
    candidates.sort_unstable();
    candidates
        .into_iter()
        .take(ADDRESSES_PER_SERVICE)
        .copied()
        .collect()
}

/// Browsing for one command.
pub(crate) struct Browser {
    links: BTreeMap<u32, (Link, Vec<InterfaceAddress>)>,
    heard: mpsc::Receiver<Heard>,
}

impl Browser {
    /// Begins to browse on the interfaces that the policy took.
    pub(crate) fn start(service: &str, taken: &[Interface]) -> Self {
        let (said, heard) = mpsc::channel(HEARD);
        let links = taken
            .iter()
            .filter(|interface| interface.multicast)
            .take(LINKS)
            .map(|interface| {
                let link = Link::start(interface, said.clone());
                let addresses = interface
                    .addresses
                    .iter()
                    .map(|address| address.ip)
                    .collect();
                link.set(Wish {
                    addresses,
                    browse: Some(service.into()),
                    ..Wish::default()
                });
                (interface.index, (link, interface.addresses.clone()))
            });
        Self {
            links: links.collect(),
            heard,
        }
    }

    /// The next addresses that may be servers; waits for ever when there are none. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Vec<SocketAddr> {
        while let Some(Heard { interface, what }) = self.heard.recv().await {
            match what {
                What::Found(found) => {
                    let Some((_, addresses)) = self.links.get(&interface) else {
                        continue;
                    };
                    return candidates(&found, addresses, interface);
                }
                What::Failed(error) => tracing::warn!("failed to {error}"),
                _ => {}
            }
        }
        std::future::pending().await
    }
}

/// What an optional browser finds next; waits for ever without one.
pub(crate) async fn found(browser: &mut Option<Browser>) -> Vec<SocketAddr> {
    match browser {
        Some(browser) => browser.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
