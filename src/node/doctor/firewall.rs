//! What a rule set of nftables does to the datagrams of discovery. Pure.
//!
//! The rules are walked as the kernel walks them, for one made-up datagram of each kind. Whether a rule fits is known, is
//! known not to be, or can't be told from the rule alone (a named set, a rate, an interface); so is then the verdict.

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
    fn hooks(self) -> [&'static str; 2] {
        match self {
            Self::In => ["prerouting", "input"],
            Self::Out => ["output", "postrouting"],
        }
    }
}

/// What drops a datagram, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) flow: Flow,
    /// Whether the rule set decides it beyond doubt.
    pub(super) certain: bool,
    /// Table and chain, as `nft` takes them: `inet filter input`.
    pub(super) chain: String,
    /// The rule's handle; `None` where the chain's policy drops.
    pub(super) handle: Option<u64>,
}

/// A program that makes the rules, so that a rule added by hand would not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Its chains are called `ufw-…`.
    Ufw,
    /// Its table is called `firewalld`.
    Firewalld,
}

/// Every kind of datagram for these groups and ports.
pub(super) fn flows(groups: [IpAddr; 2], multicast_port: u16, broadcast_port: u16, port: u16) -> Vec<Flow> {
    let mut flows = Vec::new();
    for direction in [Direction::In, Direction::Out] {
        for group in groups {
            let (kind, ipv6) = (Kind::Multicast, group.is_ipv6());
            flows.push(Flow { kind, direction, to: Some(group), port: multicast_port, ipv6 });
        }
        let to = Some(Ipv4Addr::BROADCAST.into());
        flows.push(Flow { kind: Kind::Broadcast, direction, to, port: broadcast_port, ipv6: false });
        for ipv6 in [false, true] {
            flows.push(Flow { kind: Kind::Unicast, direction, to: None, port, ipv6 });
        }
    }
    flows
}

/// What drops, or may drop, each of the flows, and who keeps the rules; `None` if the text is no rule set.
pub(super) fn judge(ruleset: &str, flows: &[Flow]) -> Option<(Vec<Verdict>, Option<Keeper>)> {
    let parsed: Value = serde_json::from_str(ruleset).ok()?;
    let objects = parsed.get("nftables")?.as_array()?;
    let rules = Rules {
        chains: objects.iter().filter_map(|object| object.get("chain")).collect(),
        rules: objects.iter().filter_map(|object| object.get("rule")).collect(),
    };
    let mut found: Vec<Verdict> = Vec::new();
    for flow in flows {
        let bases = rules.chains.iter().filter(|chain| {
            let hook = text(chain, "hook");
            flow.direction.hooks().contains(&hook) && text(chain, "type") == "filter" && family_fits(chain, flow)
        });
        // Each chain of a hook has its say: one that drops is enough.
        found.extend(bases.filter_map(|base| rules.verdict(base, flow)));
    }
    Some((found, rules.kept_by()))
}

struct Rules<'a> {
    chains: Vec<&'a Value>,
    rules: Vec<&'a Value>,
}

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    No,
    /// It can't be told.
    Maybe,
}

/// How the walk through a chain ended.
enum End {
    Accepted,
    /// By a rule: whether beyond doubt.
    Dropped(bool, Verdict),
    /// The chain's end was reached, or a `return`.
    Through,
}

struct Walk<'a> {
    flow: &'a Flow,
    /// Whether a rule that may fit may have accepted, so that nothing later is certain.
    maybe_accepted: bool,
    steps: u32,
}

impl Rules<'_> {
    fn kept_by(&self) -> Option<Keeper> {
        self.chains.iter().find_map(|chain| match (text(chain, "table"), text(chain, "name")) {
            ("firewalld", _) => Some(Keeper::Firewalld),
            (_, name) if name.starts_with("ufw-") => Some(Keeper::Ufw),
            _ => None,
        })
    }

    fn verdict(&self, base: &Value, flow: &Flow) -> Option<Verdict> {
        let mut walk = Walk { flow, maybe_accepted: false, steps: 0 };
        match self.walk(base, &mut walk, 0) {
            End::Accepted => None,
            End::Dropped(certain, verdict) => Some(Verdict { certain, ..verdict }),
            End::Through if text(base, "policy") == "drop" => {
                Some(Verdict { flow: *flow, certain: !walk.maybe_accepted, chain: name(base), handle: None })
            }
            End::Through => None,
        }
    }

    fn walk(&self, chain: &Value, walk: &mut Walk<'_>, depth: u8) -> End {
        let mut doubtful = None;
        let within = |rule: &&&Value| {
            ["family", "table"].iter().all(|key| rule.get(*key) == chain.get(*key))
                && rule.get("chain") == chain.get("name")
        };
        for rule in self.rules.iter().filter(within) {
            walk.steps += 1;
            if walk.steps > STEPS {
                break;
            }
            let Some(statements) = rule.get("expr").and_then(Value::as_array) else { continue };
            let end = match self.apply(rule, statements, chain, walk, depth) {
                Step::Next => continue,
                Step::End(end) => end,
            };
            match end {
                End::Dropped(false, verdict) => doubtful = doubtful.or(Some(verdict)),
                end @ End::Dropped(true, _) => return end,
                End::Accepted => return doubtful.map_or(End::Accepted, |verdict| End::Dropped(false, verdict)),
                End::Through => break,
            }
        }
        doubtful.map_or(End::Through, |verdict| End::Dropped(false, verdict))
    }

    fn apply(&self, rule: &Value, statements: &[Value], chain: &Value, walk: &mut Walk<'_>, depth: u8) -> Step {
        let mut fits = Fits::Yes;
        for statement in statements {
            let Some((kind, content)) = statement.as_object().and_then(|object| object.iter().next()) else {
                continue;
            };
            match kind.as_str() {
                "match" => match matches(content, walk.flow) {
                    Fits::No => return Step::Next,
                    Fits::Maybe => fits = Fits::Maybe,
                    Fits::Yes => {}
                },
                "accept" => {
                    if fits == Fits::Yes {
                        return Step::End(End::Accepted);
                    }
                    walk.maybe_accepted = true;
                    return Step::Next;
                }
                "drop" | "reject" => {
                    let certain = fits == Fits::Yes && !walk.maybe_accepted;
                    let handle = rule.get("handle").and_then(Value::as_u64);
                    let verdict = Verdict { flow: *walk.flow, certain, chain: name(chain), handle };
                    return Step::End(End::Dropped(certain, verdict));
                }
                "return" => {
                    return if fits == Fits::Yes { Step::End(End::Through) } else { Step::Next };
                }
                "jump" | "goto" => return self.jump(kind == "goto", content, chain, fits, walk, depth),
                // A count, a log line or a mark changes no verdict.
                "counter" | "log" | "mangle" | "notrack" | "ct helper" | "ct timeout" => {}
                // Rates, verdict maps, foreign extensions, queues: not to be known from the rule.
                "vmap" | "queue" | "tproxy" => {
                    walk.maybe_accepted = true;
                    return Step::Next;
                }
                _ => fits = Fits::Maybe,
            }
        }
        Step::Next
    }

    fn jump(&self, goto: bool, content: &Value, chain: &Value, fits: Fits, walk: &mut Walk<'_>, depth: u8) -> Step {
        let target = content.get("target");
        let found = self.chains.iter().find(|other| {
            other.get("name") == target && ["family", "table"].iter().all(|key| other.get(*key) == chain.get(*key))
        });
        let Some(target) = found.filter(|_| depth < DEPTH) else {
            walk.maybe_accepted = true;
            return Step::Next;
        };
        match (self.walk(target, walk, depth + 1), fits) {
            (End::Accepted, Fits::Yes) => Step::End(End::Accepted),
            (End::Accepted, _) => {
                walk.maybe_accepted = true;
                Step::Next
            }
            (End::Dropped(certain, verdict), fits) => Step::End(End::Dropped(certain && fits == Fits::Yes, verdict)),
            (End::Through, Fits::Yes) if goto => Step::End(End::Through),
            (End::Through, _) => Step::Next,
        }
    }
}

enum Step {
    Next,
    End(End),
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn name(chain: &Value) -> String {
    [text(chain, "family"), text(chain, "table"), text(chain, "name")].join(" ")
}

fn family_fits(chain: &Value, flow: &Flow) -> bool {
    match text(chain, "family") {
        "inet" => true,
        "ip" => !flow.ipv6,
        "ip6" => flow.ipv6,
        _ => false,
    }
}

/// Whether a `match` statement fits a flow.
fn matches(content: &Value, flow: &Flow) -> Fits {
    let (Some(left), Some(right)) = (content.get("left"), content.get("right")) else { return Fits::Maybe };
    let equal = match left.as_object().and_then(|object| object.iter().next()) {
        Some((kind, what)) => match kind.as_str() {
            "payload" => payload(what, right, flow),
            "meta" => meta(text(what, "key"), right, flow),
            // A datagram that nobody asked for is new to connection tracking.
            "ct" if text(what, "key") == "state" => state(right),
            _ => Fits::Maybe,
        },
        None => Fits::Maybe,
    };
    match (text(content, "op"), equal) {
        ("==" | "in", fits) => fits,
        ("!=", Fits::Yes) => Fits::No,
        ("!=", Fits::No) => Fits::Yes,
        _ => Fits::Maybe,
    }
}

fn payload(what: &Value, right: &Value, flow: &Flow) -> Fits {
    match (text(what, "protocol"), text(what, "field")) {
        ("udp" | "th", "dport") => contains(right, &|value| number(value, u64::from(flow.port))),
        ("udp" | "th", "sport") => Fits::Maybe,
        ("udp", _) => Fits::Maybe,
        ("tcp" | "sctp" | "icmp" | "icmpv6" | "igmp" | "arp" | "dccp" | "esp" | "ah", _) => Fits::No,
        ("ip", "protocol") | ("ip6", "nexthdr") => contains(right, &|value| protocol(value)),
        ("ip", _) if flow.ipv6 => Fits::No,
        ("ip6", _) if !flow.ipv6 => Fits::No,
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
        "nfproto" => contains(right, &|value| word(value, if flow.ipv6 { "ipv6" } else { "ipv4" })),
        "pkttype" if flow.direction == Direction::In => {
            let kind = if flow.kind == Kind::Unicast { "host" } else { flow.kind.as_str() };
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
    let list = right.as_array().or_else(|| right.get("set").and_then(Value::as_array));
    let Some(list) = list else { return fits(right) };
    list.iter().map(|value| value.get("elem").and_then(|elem| elem.get("val")).unwrap_or(value)).fold(
        Fits::No,
        |so_far, value| match (so_far, fits(value)) {
            (Fits::Yes, _) | (_, Fits::Yes) => Fits::Yes,
            (Fits::Maybe, _) | (_, Fits::Maybe) => Fits::Maybe,
            (Fits::No, Fits::No) => Fits::No,
        },
    )
}

fn known(fits: bool) -> Fits {
    if fits { Fits::Yes } else { Fits::No }
}

fn number(value: &Value, wanted: u64) -> Fits {
    if let Some(number) = value.as_u64() {
        return known(number == wanted);
    }
    match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([from, to]) => match (from.as_u64(), to.as_u64()) {
            (Some(from), Some(to)) => known((from..=to).contains(&wanted)),
            _ => Fits::Maybe,
        },
        _ => Fits::Maybe,
    }
}

fn word(value: &Value, wanted: &str) -> Fits {
    value.as_str().filter(|text| !text.starts_with('@')).map_or(Fits::Maybe, |text| known(text == wanted))
}

fn protocol(value: &Value) -> Fits {
    match value.as_u64() {
        Some(number) => known(number == 17),
        None => word(value, "udp"),
    }
}

fn address(value: &Value, wanted: IpAddr) -> Fits {
    if let Some(text) = value.as_str() {
        return text.parse::<IpAddr>().map_or(Fits::Maybe, |ip| known(ip == wanted));
    }
    if let Some((network, length)) = prefix(value) {
        return known(within(network, length, wanted));
    }
    match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
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
    if network.is_some_and(special) { Fits::No } else { Fits::Maybe }
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn prefix(value: &Value) -> Option<(IpAddr, u32)> {
    let prefix = value.get("prefix")?;
    Some((ip(prefix.get("addr")?)?, u32::try_from(prefix.get("len")?.as_u64()?).ok()?))
}

fn within(network: IpAddr, length: u32, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            network & Ipv4Addr::from_bits(mask) == ip & Ipv4Addr::from_bits(mask)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            network & Ipv6Addr::from_bits(mask) == ip & Ipv6Addr::from_bits(mask)
        }
        _ => false,
    }
}

#[cfg(test)]
#[path = "firewall_tests.rs"]
mod tests;
