//! What a rule set of nftables does to the datagrams of discovery. Pure.
//!
//! The rules are walked as the kernel walks them, for one made-up datagram of each kind. Whether a rule fits is known, is
//! known not to be, or can't be told from the rule alone (a named set, a rate, an interface); so is then the verdict.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// How deep jumps from chain to chain are followed: the kernel allows sixteen.
const DEPTH: u8 = 16;
/// The most rules that are looked at in all: a rule set of a cluster has tens of thousands.
const STEPS: u32 = 200_000;

/// A kind of datagram that discovery needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    /// Where it goes; `None` for any address of a machine.
    pub(super) to: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) ipv6: bool,
}

/// How a datagram is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Multicast,
    Broadcast,
    Unicast,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unicast => "unicast",
        }
    }
}

/// Whether a datagram comes in or goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

impl Direction {
    fn hooks(self) -> [&'static str; 3] {
        match self {
            Self::In => ["ingress", "prerouting", "input"],
            Self::Out => ["output", "postrouting", "egress"],
        }
    }
}

/// What drops a datagram, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) flow: Flow,
    /// Whether the rule set decides it beyond doubt.
    pub(super) certain: bool,
    /// What the rules that decide it look at.
    pub(super) criteria: Criteria,
    /// Table and chain, as `nft` takes them: `inet filter input`.
    pub(super) chain: String,
    /// The rule's handle; `None` where the chain's policy drops.
    pub(super) handle: Option<u64>,
}

/// What else than the datagram's kind and port rules look at: restrictions that a mend is to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Criteria {
    /// Where it comes from.
    pub(super) source: bool,
    /// By which interface it comes.
    pub(super) interface: bool,
}

impl Criteria {
    fn or(self, other: Self) -> Self {
        Self {
            source: self.source || other.source,
            interface: self.interface || other.interface,
        }
    }

    /// With what this expression looks at.
    fn and(self, expression: Option<&Value>) -> Self {
        let Some(expression) = expression else {
            return self;
        };
        let source = part(expression, &|kind, what| {
            kind == "payload" && text(what, "field") == "saddr"
        });
        let interface = part(expression, &|kind, what| {
            kind == "meta" && text(what, "key").starts_with("iif")
        });
        self.or(Self { source, interface })
    }
}

/// A program that makes the rules, so that a rule added by hand would not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    /// Its chains are called `ufw-…`.
    Ufw,
    /// Its table is called `firewalld`.
    Firewalld,
}

/// Every kind of datagram for these groups and ports.
pub(super) fn flows(
    groups: [IpAddr; 2],
    multicast_port: u16,
    broadcast_port: u16,
    port: u16,
) -> Vec<Flow> {
    let mut flows = Vec::new();
    for direction in [Direction::In, Direction::Out] {
        for group in groups {
            let (kind, ipv6) = (Kind::Multicast, group.is_ipv6());
            flows.push(Flow {
                kind,
                direction,
                to: Some(group),
                port: multicast_port,
                ipv6,
            });
        }
        let to = Some(Ipv4Addr::BROADCAST.into());
        flows.push(Flow {
            kind: Kind::Broadcast,
            direction,
            to,
            port: broadcast_port,
            ipv6: false,
        });
        for ipv6 in [false, true] {
            flows.push(Flow {
                kind: Kind::Unicast,
                direction,
                to: None,
                port,
                ipv6,
            });
        }
    }
    flows
}

/// What drops, or may drop, each of the flows, and who keeps the rules; `None` if the text is no rule set.
pub(super) fn evaluate(ruleset: &str, flows: &[Flow]) -> Option<(Vec<Verdict>, Option<Manager>)> {
    let parsed: Value = serde_json::from_str(ruleset).ok()?;
    let objects = parsed.get("nftables")?.as_array()?;
    let rules = Rules::new(objects);
    let mut found: Vec<Verdict> = Vec::new();
    for flow in flows {
        let bases = rules.chains.iter().filter(|chain| {
            let hook = text(chain, "hook");
            flow.direction.hooks().contains(&hook)
                && text(chain, "type") == "filter"
                && family_fits(chain, flow)
        });
        // Each chain of a hook has its say: one that drops is enough.
        found.extend(bases.filter_map(|base| rules.verdict(base, flow)));
    }
    Some((found, rules.manager()))
}

struct Rules<'a> {
    chains: Vec<&'a Value>,
    /// By family, table and chain.
    rules: BTreeMap<[&'a str; 3], Vec<&'a Value>>,
}

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    No,
    /// It can't be told.
    Maybe,
}

/// What may become of a datagram by a rule or in a chain: more than one of these where it can't be told.
#[derive(Debug, Default)]
struct May {
    accepted: bool,
    /// What drops it: a rule that surely fits rather than one that may fit, and else the first.
    dropped: Option<Verdict>,
    /// It leaves the chain undecided: at its end, or by a `return`.
    through: bool,
    /// The next rule of the chain has its say.
    next: bool,
}

impl May {
    fn accepted() -> Self {
        Self {
            accepted: true,
            ..Self::default()
        }
    }

    fn through() -> Self {
        Self {
            through: true,
            ..Self::default()
        }
    }

    fn next() -> Self {
        Self {
            next: true,
            ..Self::default()
        }
    }

    fn dropped(verdict: Verdict) -> Self {
        Self {
            dropped: Some(verdict),
            ..Self::default()
        }
    }

    fn or(self, other: Self) -> Self {
        let dropped = match (self.dropped, other.dropped) {
            (Some(first), Some(later)) if later.certain && !first.certain => Some(later),
            (first, later) => first.or(later),
        };
        Self {
            accepted: self.accepted || other.accepted,
            dropped,
            through: self.through || other.through,
            next: self.next || other.next,
        }
    }

    /// The same of a rule that fits, or may fit.
    fn where_it(self, fits: Fits) -> Self {
        match fits {
            Fits::Yes => self,
            Fits::No => Self::next(),
            Fits::Maybe => {
                let dropped = self.dropped.map(|verdict| Verdict {
                    certain: false,
                    ..verdict
                });
                Self {
                    dropped,
                    next: true,
                    ..self
                }
            }
        }
    }
}

struct Walk<'a> {
    flow: &'a Flow,
    /// What a rule that decides, or may decide, looks at.
    criteria: Criteria,
    steps: u32,
}

/// A rule, and the chain that it stands in.
#[derive(Clone, Copy)]
struct Place<'a> {
    rule: &'a Value,
    chain: &'a Value,
    depth: u8,
}

impl Place<'_> {
    fn drops(self, flow: &Flow) -> Verdict {
        let handle = self.rule.get("handle").and_then(Value::as_u64);
        Verdict {
            flow: *flow,
            certain: true,
            criteria: Criteria::default(),
            chain: name(self.chain),
            handle,
        }
    }
}

impl<'a> Rules<'a> {
    fn new(objects: &'a [Value]) -> Self {
        let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            rules
                .entry([
                    text(rule, "family"),
                    text(rule, "table"),
                    text(rule, "chain"),
                ])
                .or_default()
                .push(rule);
        }
        Self {
            chains: objects
                .iter()
                .filter_map(|object| object.get("chain"))
                .collect(),
            rules,
        }
    }

    fn manager(&self) -> Option<Manager> {
        self.chains
            .iter()
            .find_map(|chain| match (text(chain, "table"), text(chain, "name")) {
                ("firewalld", _) => Some(Manager::Firewalld),
                (_, name) if name.starts_with("ufw-") => Some(Manager::Ufw),
                _ => None,
            })
    }

    fn verdict(&self, base: &Value, flow: &Flow) -> Option<Verdict> {
        let mut walk = Walk {
            flow,
            criteria: Criteria::default(),
            steps: 0,
        };
        let mut may = self.walk(base, &mut walk, 0);
        if may.through {
            may = may.or(if text(base, "policy") == "drop" {
                let certain = true;
                May::dropped(Verdict {
                    flow: *flow,
                    certain,
                    criteria: Criteria::default(),
                    chain: name(base),
                    handle: None,
                })
            } else {
                May::accepted()
            });
        }
        // Such a chain belongs to one interface; whether the datagrams come by that one can't be told.
        let elsewhere = ["ingress", "egress"].contains(&text(base, "hook"));
        let certain = !may.accepted && !elsewhere;
        may.dropped.map(|verdict| Verdict {
            certain,
            criteria: walk.criteria,
            ..verdict
        })
    }

    fn walk(&self, chain: &Value, walk: &mut Walk<'_>, depth: u8) -> May {
        let mut may = May::default();
        let within = [
            text(chain, "family"),
            text(chain, "table"),
            text(chain, "name"),
        ];
        for rule in self.rules.get(&within).into_iter().flatten() {
            walk.steps += 1;
            if walk.steps > STEPS {
                may.accepted = true;
                break;
            }
            let Some(statements) = rule.get("expr").and_then(Value::as_array) else {
                continue;
            };
            let of_rule = self.apply(Place { rule, chain, depth }, statements, walk);
            let goes_on = of_rule.next;
            may = may.or(of_rule);
            if !goes_on {
                return May { next: false, ..may };
            }
        }
        May {
            through: true,
            next: false,
            ..may
        }
    }

    fn apply(&self, place: Place<'_>, statements: &[Value], walk: &mut Walk<'_>) -> May {
        let mut fits = Fits::Yes;
        let mut criteria = Criteria::default();
        for statement in statements {
            let Some((kind, content)) = first(statement) else {
                continue;
            };
            match kind {
                "match" => {
                    match matches(content, walk.flow) {
                        Fits::No => return May::next(),
                        Fits::Maybe => fits = Fits::Maybe,
                        Fits::Yes => {}
                    }
                    criteria = criteria.and(content.get("left"));
                }
                // A count, a log line or a mark changes no verdict.
                "counter" | "log" | "mangle" | "notrack" | "ct helper" | "ct timeout" => {}
                "vmap" => {
                    walk.criteria = walk.criteria.or(criteria.and(content.get("key")));
                    return self.vmap(place, content, walk).where_it(fits);
                }
                _ => match self.decides(place, kind, content, walk) {
                    Some(may) => {
                        walk.criteria = walk.criteria.or(criteria);
                        return may.where_it(fits);
                    }
                    // Rates and foreign extensions: not to be known from the rule.
                    None => fits = Fits::Maybe,
                },
            }
        }
        May::next()
    }

    /// What a statement decides; `None` if it is none that does.
    fn decides(
        &self,
        place: Place<'_>,
        kind: &str,
        content: &Value,
        walk: &mut Walk<'_>,
    ) -> Option<May> {
        Some(match kind {
            "accept" => May::accepted(),
            "drop" | "reject" => May::dropped(place.drops(walk.flow)),
            "return" => May::through(),
            "continue" => May::next(),
            "jump" | "goto" => self.jump(place, kind == "goto", content, walk),
            // A program decides.
            "queue" => May::accepted()
                .or(May::dropped(place.drops(walk.flow)))
                .where_it(Fits::Maybe),
            "tproxy" => May::accepted().where_it(Fits::Maybe),
            _ => return None,
        })
    }

    fn jump(&self, place: Place<'_>, goto: bool, content: &Value, walk: &mut Walk<'_>) -> May {
        let Place { chain, depth, .. } = place;
        let target = content.get("target");
        let found = self.chains.iter().find(|other| {
            other.get("name") == target
                && ["family", "table"]
                    .iter()
                    .all(|key| other.get(*key) == chain.get(*key))
        });
        let Some(target) = found.filter(|_| depth < DEPTH) else {
            return May::accepted().where_it(Fits::Maybe);
        };
        let may = self.walk(target, walk, depth + 1);
        // After a `goto` it is not this chain that goes on.
        if goto {
            may
        } else {
            May {
                through: false,
                next: may.through,
                ..may
            }
        }
    }

    /// A verdict map: each of its elements is a rule of its own, and at most one of them fits.
    fn vmap(&self, place: Place<'_>, content: &Value, walk: &mut Walk<'_>) -> May {
        let Some(key) = content.get("key").filter(|key| !impossible(key, walk.flow)) else {
            return May::next();
        };
        let Some(elements) = content
            .get("data")
            .and_then(|data| data.get("set"))
            .and_then(Value::as_array)
        else {
            // What a named one holds may change at any time.
            return May::accepted()
                .or(May::dropped(place.drops(walk.flow)))
                .where_it(Fits::Maybe);
        };
        let mut may = May::next();
        for element in elements {
            let Some([value, verdict]) = element.as_array().map(Vec::as_slice) else {
                continue;
            };
            let fits = contains(value, &|value| compared(key, value, walk.flow));
            let Some((kind, content)) = first(verdict).filter(|_| fits != Fits::No) else {
                continue;
            };
            let decided = self
                .decides(place, kind, content, walk)
                .unwrap_or_else(May::next);
            if fits == Fits::Yes {
                return decided;
            }
            may = may.or(decided.where_it(fits));
        }
        may
    }
}

/// The kind and the content of a statement or an expression.
fn first(object: &Value) -> Option<(&str, &Value)> {
    object
        .as_object()?
        .iter()
        .next()
        .map(|(kind, content)| (kind.as_str(), content))
}

/// Whether an expression is such a one, or has one within.
fn part(expression: &Value, is: &dyn Fn(&str, &Value) -> bool) -> bool {
    match first(expression) {
        Some(("concat" | "&" | "|" | "^" | "<<" | ">>", parts)) => parts
            .as_array()
            .is_some_and(|parts| parts.iter().any(|one| part(one, is))),
        Some((kind, content)) => is(kind, content),
        None => false,
    }
}

/// Whether an expression looks at what such a datagram does not have: a rule with it fits in no way, not even by `!=`.
///
/// nft adds a match for the protocol or the family before such an expression, and leaves it out of what it tells.
fn impossible(expression: &Value, flow: &Flow) -> bool {
    part(
        expression,
        &|kind, what| match (kind, text(what, "protocol")) {
            (
                "payload",
                "tcp" | "sctp" | "dccp" | "udplite" | "icmp" | "icmpv6" | "igmp" | "arp" | "esp"
                | "ah" | "comp",
            ) => true,
            ("payload", "ip") | ("ip option", _) => flow.ipv6,
            ("payload", "ip6") => !flow.ipv6,
            ("tcp option" | "sctp chunk" | "dccp option", _) => true,
            _ => false,
        },
    )
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn name(chain: &Value) -> String {
    [
        text(chain, "family"),
        text(chain, "table"),
        text(chain, "name"),
    ]
    .join(" ")
}

fn family_fits(chain: &Value, flow: &Flow) -> bool {
    match text(chain, "family") {
        "inet" | "netdev" => true,
        "ip" => !flow.ipv6,
        "ip6" => flow.ipv6,
        _ => false,
    }
}

/// Whether a `match` statement fits a flow.
fn matches(content: &Value, flow: &Flow) -> Fits {
    let (Some(left), Some(right)) = (content.get("left"), content.get("right")) else {
        return Fits::Maybe;
    };
    if impossible(left, flow) {
        return Fits::No;
    }
    match (text(content, "op"), compared(left, right, flow)) {
        ("==" | "in", fits) => fits,
        ("!=", Fits::Yes) => Fits::No,
        ("!=", Fits::No) => Fits::Yes,
        _ => Fits::Maybe,
    }
}

/// Whether an expression has one of these values.
fn compared(left: &Value, right: &Value, flow: &Flow) -> Fits {
    match first(left) {
        Some(("payload", what)) => payload(what, right, flow),
        Some(("meta", what)) => meta(text(what, "key"), right, flow),
        // A datagram that nobody asked for is new to connection tracking.
        Some(("ct", what)) if text(what, "key") == "state" => state(right),
        _ => Fits::Maybe,
    }
}

fn payload(what: &Value, right: &Value, flow: &Flow) -> Fits {
    match (text(what, "protocol"), text(what, "field")) {
        ("udp" | "th", "dport") => contains(right, &|value| number(value, u64::from(flow.port))),
        ("ip", "protocol") | ("ip6", "nexthdr") => contains(right, &|value| protocol(value)),
        ("ip" | "ip6", "daddr") => match flow.to {
            Some(to) => contains(right, &|value| address(value, to)),
            None => contains(right, &|value| never_a_host(value)),
        },
        _ => Fits::Maybe,
    }
}

fn meta(key: &str, right: &Value, flow: &Flow) -> Fits {
    match key {
        "l4proto" => contains(right, &|value| protocol(value)),
        "nfproto" => contains(right, &|value| {
            word(value, if flow.ipv6 { "ipv6" } else { "ipv4" })
        }),
        "protocol" => contains(right, &|value| {
            word(value, if flow.ipv6 { "ip6" } else { "ip" })
        }),
        "pkttype" if flow.direction == Direction::In => {
            let kind = if flow.kind == Kind::Unicast {
                "host"
            } else {
                flow.kind.as_str()
            };
            contains(right, &|value| word(value, kind))
        }
        // Discovery does not use the loopback interface; which other it is, a rule alone does not say.
        "iifname" | "oifname" | "iif" | "oif" if right.as_str() == Some("lo") => Fits::No,
        _ => Fits::Maybe,
    }
}

fn state(right: &Value) -> Fits {
    contains(right, &|value| match value.as_str() {
        Some("new" | "untracked") => Fits::Yes,
        Some(_) => Fits::No,
        None => Fits::Maybe,
    })
}

/// Whether one of the values that a right side stands for fits.
fn contains(right: &Value, fits: &dyn Fn(&Value) -> Fits) -> Fits {
    let list = right
        .as_array()
        .or_else(|| right.get("set").and_then(Value::as_array));
    let Some(list) = list else { return fits(right) };
    list.iter()
        .map(|value| {
            value
                .get("elem")
                .and_then(|elem| elem.get("val"))
                .unwrap_or(value)
        })
        .fold(Fits::No, |so_far, value| match (so_far, fits(value)) {
            (Fits::Yes, _) | (_, Fits::Yes) => Fits::Yes,
            (Fits::Maybe, _) | (_, Fits::Maybe) => Fits::Maybe,
            (Fits::No, Fits::No) => Fits::No,
        })
}

fn known(fits: bool) -> Fits {
    if fits { Fits::Yes } else { Fits::No }
}

fn number(value: &Value, wanted: u64) -> Fits {
    if let Some(number) = value.as_u64() {
        return known(number == wanted);
    }
    match value
        .get("range")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([from, to]) => match (from.as_u64(), to.as_u64()) {
            (Some(from), Some(to)) => known((from..=to).contains(&wanted)),
            _ => Fits::Maybe,
        },
        _ => Fits::Maybe,
    }
}

fn word(value: &Value, wanted: &str) -> Fits {
    value
        .as_str()
        .filter(|text| !text.starts_with('@'))
        .map_or(Fits::Maybe, |text| known(text == wanted))
}

fn protocol(value: &Value) -> Fits {
    match value.as_u64() {
        Some(number) => known(number == 17),
        None => word(value, "udp"),
    }
}

fn address(value: &Value, wanted: IpAddr) -> Fits {
    if let Some(text) = value.as_str() {
        return text
            .parse::<IpAddr>()
            .map_or(Fits::Maybe, |ip| known(ip == wanted));
    }
    if let Some((network, length)) = prefix(value) {
        return known(within(network, length, wanted));
    }
    match value
        .get("range")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
    {
        Some([from, to]) => match (ip(from), ip(to)) {
            (Some(from), Some(to)) => known(from <= wanted && wanted <= to),
            _ => Fits::Maybe,
        },
        _ => Fits::Maybe,
    }
}

/// A destination that is no address of a machine does not fit a unicast datagram; any other may.
fn never_a_host(value: &Value) -> Fits {
    let network = ip(value).or_else(|| prefix(value).map(|(network, _)| network));
    let special = |ip: IpAddr| ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if network.is_some_and(special) {
        Fits::No
    } else {
        Fits::Maybe
    }
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn prefix(value: &Value) -> Option<(IpAddr, u32)> {
    let prefix = value.get("prefix")?;
    Some((
        ip(prefix.get("addr")?)?,
        u32::try_from(prefix.get("len")?.as_u64()?).ok()?,
    ))
}

fn within(network: IpAddr, length: u32, ip: IpAddr) -> bool {
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    network.is_ipv4() == ip.is_ipv4() && network_of(network, length) == network_of(ip, length)
}

/// The network of an address: its first address, and bits of the prefix.
pub(super) fn network_of(ip: IpAddr, prefix: u8) -> (IpAddr, u8) {
    let first: IpAddr = match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            (ip & Ipv4Addr::from_bits(mask)).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix.into()))
                .unwrap_or(0);
            (ip & Ipv6Addr::from_bits(mask)).into()
        }
    };
    (first, prefix)
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
