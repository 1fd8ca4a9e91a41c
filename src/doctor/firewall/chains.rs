//! Follows the chains, rules and verdicts of a rule set for one datagram.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expressions::{
    Match, any_match, compare, kind_and_content, match_statement, never_matches, text,
};
use super::{Criteria, Flow, Manager, Verdict};

/// How deep jumps from chain to chain are followed; the kernel allows sixteen.
const MAX_DEPTH: u8 = 16;
/// How many rules are evaluated in all; the rule set of a cluster has tens of thousands.
const MAX_STEPS: u32 = 200_000;

pub(super) struct RuleSet<'a> {
    chains: Vec<&'a Value>,
    /// By family, table and chain.
    rules: BTreeMap<[&'a str; 3], Vec<&'a Value>>,
}

/// What a rule or a chain can do with a datagram: more than one of these where that is unknown.
#[derive(Debug, Default)]
struct Outcomes {
    accepted: bool,
    /// What drops it. A rule that certainly matches goes before one that may match, and otherwise
    /// the first one counts.
    dropped: Option<Verdict>,
    /// The chain ends without a decision: at its end, or by a `return`.
    undecided: bool,
    /// The next rule of the chain is evaluated.
    next: bool,
}

impl Outcomes {
    fn accepted() -> Self {
        Self {
            accepted: true,
            ..Self::default()
        }
    }

    fn undecided() -> Self {
        Self {
            undecided: true,
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

    /// A program or a named map decides.
    fn unknown(verdict: Verdict) -> Self {
        Self::accepted()
            .or(Self::dropped(verdict))
            .if_rule(Match::Unknown)
    }

    fn or(self, other: Self) -> Self {
        let dropped = match (self.dropped, other.dropped) {
            (Some(first), Some(later)) if later.certain && !first.certain => Some(later),
            (first, later) => first.or(later),
        };
        Self {
            accepted: self.accepted || other.accepted,
            dropped,
            undecided: self.undecided || other.undecided,
            next: self.next || other.next,
        }
    }

    /// The outcomes of a rule that matches, does not match, or may match.
    fn if_rule(self, matches: Match) -> Self {
        match matches {
            Match::Yes => self,
            Match::No => Self::next(),
            Match::Unknown => {
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

/// The evaluation of one base chain for one flow.
struct Evaluation<'a> {
    flow: &'a Flow,
    /// What the rules that decide, or may decide, match on.
    criteria: Criteria,
    steps: u32,
}

/// A rule, and the chain that contains it.
#[derive(Clone, Copy)]
struct RuleContext<'a> {
    rule: &'a Value,
    chain: &'a Value,
    depth: u8,
}

impl RuleContext<'_> {
    fn dropping(self, flow: &Flow) -> Verdict {
        Verdict {
            flow: *flow,
            certain: true,
            criteria: Criteria::default(),
            chain: name(self.chain),
            handle: self.rule.get("handle").and_then(Value::as_u64),
        }
    }
}

impl<'a> RuleSet<'a> {
    pub(super) fn new(objects: &'a [Value]) -> Self {
        let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            let chain = [
                text(rule, "family"),
                text(rule, "table"),
                text(rule, "chain"),
            ];
            rules.entry(chain).or_default().push(rule);
        }
        let chains = objects.iter().filter_map(|object| object.get("chain"));
        Self {
            chains: chains.collect(),
            rules,
        }
    }

    pub(super) fn manager(&self) -> Option<Manager> {
        self.chains
            .iter()
            .find_map(|chain| match (text(chain, "table"), text(chain, "name")) {
                ("firewalld", _) => Some(Manager::Firewalld),
                (_, name) if name.starts_with("ufw-") => Some(Manager::Ufw),
                _ => None,
            })
    }

    /// What drops the flow, or may drop it, in each base chain of its direction.
    pub(super) fn verdicts(&self, flow: &Flow) -> Vec<Verdict> {
        let bases = self.chains.iter().filter(|chain| {
            flow.direction.hooks().contains(&text(chain, "hook"))
                && text(chain, "type") == "filter"
                && family_fits(chain, flow)
        });
        bases.filter_map(|base| self.verdict(base, flow)).collect()
    }

    fn verdict(&self, base: &Value, flow: &Flow) -> Option<Verdict> {
        let mut evaluation = Evaluation {
            flow,
            criteria: Criteria::default(),
            steps: 0,
        };
        let mut outcomes = self.evaluate_chain(base, &mut evaluation, 0);
        if outcomes.undecided {
            let policy = if text(base, "policy") == "drop" {
                Outcomes::dropped(Verdict {
                    flow: *flow,
                    certain: true,
                    criteria: Criteria::default(),
                    chain: name(base),
                    handle: None,
                })
            } else {
                Outcomes::accepted()
            };
            outcomes = outcomes.or(policy);
        }
        // A chain of these hooks belongs to one interface, and it is unknown whether the datagrams
        // use that interface.
        let one_interface = ["ingress", "egress"].contains(&text(base, "hook"));
        let certain = !outcomes.accepted && !one_interface;
        outcomes.dropped.map(|verdict| Verdict {
            certain,
            criteria: evaluation.criteria,
            ..verdict
        })
    }

    fn evaluate_chain(
        &self,
        chain: &Value,
        evaluation: &mut Evaluation<'_>,
        depth: u8,
    ) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let key = [
            text(chain, "family"),
            text(chain, "table"),
            text(chain, "name"),
        ];
        for rule in self.rules.get(&key).into_iter().flatten() {
            evaluation.steps += 1;
            if evaluation.steps > MAX_STEPS {
                outcomes.accepted = true;
                break;
            }
            let Some(statements) = rule.get("expr").and_then(Value::as_array) else {
                continue;
            };
            let context = RuleContext { rule, chain, depth };
            let of_rule = self.evaluate_rule(context, statements, evaluation);
            let continues = of_rule.next;
            outcomes = outcomes.or(of_rule);
            if !continues {
                outcomes.next = false;
                return outcomes;
            }
        }
        Outcomes {
            undecided: true,
            next: false,
            ..outcomes
        }
    }

    fn evaluate_rule(
        &self,
        context: RuleContext<'_>,
        statements: &[Value],
        evaluation: &mut Evaluation<'_>,
    ) -> Outcomes {
        let mut matches = Match::Yes;
        let mut criteria = Criteria::default();
        for statement in statements {
            let Some((kind, content)) = kind_and_content(statement) else {
                continue;
            };
            match kind {
                "match" => {
                    match match_statement(content, evaluation.flow) {
                        Match::No => return Outcomes::next(),
                        Match::Unknown => matches = Match::Unknown,
                        Match::Yes => {}
                    }
                    criteria = criteria.and(content.get("left"));
                }
                // A counter, a log line or a mark changes no verdict.
                "counter" | "log" | "mangle" | "notrack" | "ct helper" | "ct timeout" => {}
                "vmap" => {
                    let of_map = criteria.and(content.get("key"));
                    evaluation.criteria = evaluation.criteria.or(of_map);
                    let outcomes = self.verdict_map(context, content, evaluation);
                    return outcomes.if_rule(matches);
                }
                _ => match self.verdict_statement(context, kind, content, evaluation) {
                    Some(outcomes) => {
                        evaluation.criteria = evaluation.criteria.or(criteria);
                        return outcomes.if_rule(matches);
                    }
                    // Rates and extensions: whether they match does not show in the rule.
                    None => matches = Match::Unknown,
                },
            }
        }
        Outcomes::next()
    }

    /// The outcomes of a verdict statement; `None` for any other statement.
    fn verdict_statement(
        &self,
        context: RuleContext<'_>,
        kind: &str,
        content: &Value,
        evaluation: &mut Evaluation<'_>,
    ) -> Option<Outcomes> {
        Some(match kind {
            "accept" => Outcomes::accepted(),
            "drop" | "reject" => Outcomes::dropped(context.dropping(evaluation.flow)),
            "return" => Outcomes::undecided(),
            "continue" => Outcomes::next(),
            "jump" | "goto" => self.jump(context, kind == "goto", content, evaluation),
            // A program decides.
            "queue" => Outcomes::unknown(context.dropping(evaluation.flow)),
            "tproxy" => Outcomes::accepted().if_rule(Match::Unknown),
            _ => return None,
        })
    }

    fn jump(
        &self,
        context: RuleContext<'_>,
        goto: bool,
        content: &Value,
        evaluation: &mut Evaluation<'_>,
    ) -> Outcomes {
        let RuleContext { chain, depth, .. } = context;
        let target = content.get("target");
        let found = self.chains.iter().find(|other| {
            other.get("name") == target
                && ["family", "table"]
                    .iter()
                    .all(|key| other.get(*key) == chain.get(*key))
        });
        let Some(target) = found else {
            return Outcomes::accepted().if_rule(Match::Unknown);
        };
        if depth >= MAX_DEPTH {
            return Outcomes::accepted().if_rule(Match::Unknown);
        }
        let outcomes = self.evaluate_chain(target, evaluation, depth + 1);
        // After a `goto`, this chain does not continue.
        if goto {
            outcomes
        } else {
            Outcomes {
                undecided: false,
                next: outcomes.undecided,
                ..outcomes
            }
        }
    }

    /// A verdict map: each of its elements is a rule of its own, and at most one of them matches.
    fn verdict_map(
        &self,
        context: RuleContext<'_>,
        content: &Value,
        evaluation: &mut Evaluation<'_>,
    ) -> Outcomes {
        let Some(key) = content.get("key") else {
            return Outcomes::next();
        };
        if never_matches(key, evaluation.flow) {
            return Outcomes::next();
        }
        let Some(elements) = content
            .get("data")
            .and_then(|data| data.get("set"))
            .and_then(Value::as_array)
        else {
            // The content of a named map may change at any time.
            return Outcomes::unknown(context.dropping(evaluation.flow));
        };
        let mut outcomes = Outcomes::next();
        for element in elements {
            let Some([value, verdict]) = element.as_array().map(Vec::as_slice) else {
                continue;
            };
            let matches = any_match(value, &|value| compare(key, value, evaluation.flow));
            if matches == Match::No {
                continue;
            }
            let Some((kind, content)) = kind_and_content(verdict) else {
                continue;
            };
            let decided = self
                .verdict_statement(context, kind, content, evaluation)
                .unwrap_or_else(Outcomes::next);
            if matches == Match::Yes {
                return decided;
            }
            outcomes = outcomes.or(decided.if_rule(matches));
        }
        outcomes
    }
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
