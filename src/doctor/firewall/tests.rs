use super::*;

const PORT: u16 = 24373;

/// A rule set with one chain of this hook and policy, and rules in nft's own JSON.
fn ruleset(hook: &str, policy: &str, rules: &[&str]) -> String {
    let mut objects = vec![
        r#"{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}"#.to_owned(),
        r#"{"table": {"family": "inet", "name": "filter", "handle": 1}}"#.to_owned(),
        format!(
            r#"{{"chain": {{"family": "inet", "table": "filter", "name": "{hook}", "handle": 1, "type": "filter",
               "hook": "{hook}", "prio": 0, "policy": "{policy}"}}}}"#
        ),
        r#"{"chain": {"family": "inet", "table": "filter", "name": "other", "handle": 2}}"#
            .to_owned(),
    ];
    for (number, rule) in rules.iter().enumerate() {
        let (chain, expr) = rule
            .strip_prefix("other ")
            .map_or((hook, *rule), |expr| ("other", expr));
        objects.push(format!(
            r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "{chain}", "handle": {}, "expr": [{expr}]}}}}"#,
            number + 10
        ));
    }
    format!(r#"{{"nftables": [{}]}}"#, objects.join(","))
}

fn all() -> Vec<Flow> {
    flows(
        [
            IpAddr::from([239, 255, 43, 73]),
            "ff12::4373".parse().unwrap(),
        ],
        PORT,
        PORT,
        PORT,
    )
}

/// The incoming flows that are dropped, as kind and family, with a question mark where that is
/// uncertain.
fn dropped(policy: &str, rules: &[&str]) -> Vec<String> {
    let (verdicts, _) = evaluate(&ruleset("input", policy, rules), &all()).unwrap();
    let line = |verdict: &Verdict| {
        let family = if verdict.flow.ipv6 { "6" } else { "4" };
        format!(
            "{}{family}{}",
            verdict.flow.kind.as_str(),
            if verdict.certain { "" } else { "?" }
        )
    };
    verdicts.iter().map(line).collect()
}

const EVERYTHING: [&str; 5] = [
    "multicast4",
    "multicast6",
    "broadcast4",
    "unicast4",
    "unicast6",
];

fn drop_port(port: u16) -> String {
    format!(
        r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "udp", "field": "dport"}}}}, "right": {port}}}}}, {{"drop": null}}"#
    )
}

fn accept(left: &str, right: &str) -> String {
    format!(
        r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}, {{"counter": {{"packets": 0, "bytes": 0}}}}, {{"accept": null}}"#
    )
}

const DPORT: &str = r#"{"payload": {"protocol": "udp", "field": "dport"}}"#;
const DADDR: &str = r#"{"payload": {"protocol": "ip", "field": "daddr"}}"#;

#[test]
fn empty_rule_set_drops_nothing() {
    assert_eq!(
        evaluate(r#"{"nftables": [{"metainfo": {}}]}"#, &all()),
        Some((Vec::new(), None))
    );
    assert!(dropped("accept", &[]).is_empty());
}

#[test]
fn policy_drops_flows_that_no_rule_accepts() {
    assert_eq!(dropped("drop", &[]), EVERYTHING);
    for right in [
        "24373",
        r#"{"set": [22, 24373]}"#,
        r#"{"set": [{"range": [24000, 25000]}]}"#,
    ] {
        assert!(
            dropped("drop", &[&accept(DPORT, right)]).is_empty(),
            "{right}"
        );
    }
    assert_eq!(dropped("drop", &[&accept(DPORT, "53")]), EVERYTHING);
}

#[test]
fn accepted_answers_do_not_hide_that_other_datagrams_are_dropped() {
    let established = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}"#;
    let loopback = accept(r#"{"meta": {"key": "iifname"}}"#, r#""lo""#);
    let tcp = accept(
        r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#,
        "22",
    );
    assert_eq!(dropped("drop", &[established, &loopback, &tcp]), EVERYTHING);
}

#[test]
fn rule_for_the_port_drops_every_flow_and_rule_for_another_port_none() {
    assert_eq!(dropped("accept", &[&drop_port(PORT)]), EVERYTHING);
    assert!(dropped("accept", &[&drop_port(53)]).is_empty());
    assert!(dropped("accept", &[&accept(DPORT, "24373"), &drop_port(PORT)]).is_empty());
}

#[test]
fn rule_for_groups_drops_multicast_only() {
    for right in [
        r#""239.255.43.73""#,
        r#"{"prefix": {"addr": "224.0.0.0", "len": 4}}"#,
    ] {
        let rule = accept(DADDR, right).replace("accept", "drop");
        assert_eq!(dropped("accept", &[&rule]), ["multicast4"], "{right}");
    }
    let rule =
        accept(r#"{"meta": {"key": "pkttype"}}"#, r#""broadcast""#).replace("accept", "drop");
    assert_eq!(dropped("accept", &[&rule]), ["broadcast4"]);
}

#[test]
fn rule_with_unknown_match_makes_the_verdict_uncertain() {
    let random = r#"{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100}}, "right": 30}}, {"drop": null}"#;
    let uncertain: Vec<_> = EVERYTHING.iter().map(|flow| format!("{flow}?")).collect();
    assert_eq!(dropped("accept", &[random]), uncertain);
    assert_eq!(dropped("drop", &[&accept(DPORT, r#""@ports""#)]), uncertain);
    // An earlier rule that certainly matches removes the uncertainty.
    assert!(dropped("accept", &[&accept(DPORT, "24373"), random]).is_empty());
}

#[test]
fn jumps_are_followed_and_a_loop_ends() {
    let jump = r#"{"jump": {"target": "other"}}"#;
    assert_eq!(
        dropped("accept", &[jump, &format!("other {}", drop_port(PORT))]),
        EVERYTHING
    );
    assert!(
        dropped(
            "drop",
            &[jump, &format!("other {}", accept(DPORT, "24373"))]
        )
        .is_empty()
    );
    assert_eq!(
        dropped("drop", &[jump, r#"other {"return": null}"#]),
        EVERYTHING
    );
    let circle = dropped("drop", &[jump, r#"other {"jump": {"target": "other"}}"#]);
    assert!(
        circle.iter().all(|verdict| verdict.ends_with('?')),
        "{circle:?}"
    );
}

/// A rule as nft prints it.
fn rule(op: &str, left: &str, right: &str, verdict: &str) -> String {
    format!(
        r#"{{"match": {{"op": "{op}", "left": {left}, "right": {right}}}}}, {{"{verdict}": null}}"#
    )
}

const SADDR: &str = r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#;
const LOCAL_NETWORK: &str = r#"{"prefix": {"addr": "192.168.0.0", "len": 16}}"#;

#[test]
fn rule_for_another_protocol_or_family_never_matches() {
    let tcp = r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#;
    let icmp = r#"{"payload": {"protocol": "icmpv6", "field": "type"}}"#;
    let flags = r#"{"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn"]]}"#;
    let both = format!(r#"{{"concat": [{SADDR}, {tcp}]}}"#);
    for op in ["==", "!="] {
        for (left, right) in [
            (tcp, "22"),
            (icmp, r#""echo-request""#),
            (flags, r#""syn""#),
            (&both, r#""@some""#),
        ] {
            assert!(
                dropped("accept", &[&rule(op, left, right, "drop")]).is_empty(),
                "{left} {op} {right}"
            );
            assert_eq!(
                dropped("drop", &[&rule(op, left, right, "accept")]),
                EVERYTHING,
                "{left} {op} {right}"
            );
        }
    }
    // A rule of the other family never matches. Whether a source matches is unknown.
    assert_eq!(
        dropped("accept", &[&rule("!=", SADDR, LOCAL_NETWORK, "drop")]),
        ["multicast4?", "broadcast4?", "unicast4?"]
    );
    let protocol = r#"{"payload": {"protocol": "ip", "field": "protocol"}}"#;
    assert_eq!(
        dropped("drop", &[&rule("==", protocol, r#""udp""#, "accept")]),
        ["multicast6", "unicast6"]
    );
    assert_eq!(
        dropped("accept", &[&rule("!=", protocol, r#""tcp""#, "drop")]),
        ["multicast4", "broadcast4", "unicast4"]
    );
    // These two match on a property of every datagram.
    let layer4 = r#"{"meta": {"key": "l4proto"}}"#;
    assert_eq!(
        dropped("accept", &[&rule("!=", layer4, r#""tcp""#, "drop")]),
        EVERYTHING
    );
    let family = r#"{"meta": {"key": "nfproto"}}"#;
    assert_eq!(
        dropped("accept", &[&rule("!=", family, r#""ipv4""#, "drop")]),
        ["multicast6", "unicast6"]
    );
}

#[test]
fn possible_return_makes_later_rules_uncertain() {
    let uncertain: Vec<_> = EVERYTHING.iter().map(|flow| format!("{flow}?")).collect();
    let kinds = r#"{"fib": {"result": "type", "flags": ["daddr"]}}"#;
    let returns = rule(
        "==",
        kinds,
        r#"{"set": ["local", "broadcast", "multicast"]}"#,
        "return",
    );
    assert_eq!(
        dropped("accept", &[&returns, r#"{"drop": null}"#]),
        uncertain
    );
    // The policy decides, whether the chain returns or ends.
    assert_eq!(dropped("drop", &[&returns]), EVERYTHING);
    // A datagram that is accepted only if the chain did not return may meet the policy.
    assert_eq!(
        dropped("drop", &[&returns, r#"{"accept": null}"#]),
        uncertain
    );
    let to = |word: &str| format!(r#"{{"{word}": {{"target": "other"}}}}"#);
    let may =
        |word: &str| rule("==", kinds, r#""local""#, "x").replace(r#"{"x": null}"#, &to(word));
    assert_eq!(
        dropped("accept", &[&may("goto"), r#"{"drop": null}"#]),
        uncertain
    );
    assert_eq!(
        dropped("accept", &[&may("jump"), r#"{"drop": null}"#]),
        EVERYTHING
    );
    // A return leaves only the chain that contains it.
    let within = format!("other {returns}");
    assert_eq!(
        dropped("accept", &[&to("jump"), r#"{"drop": null}"#, &within]),
        EVERYTHING
    );
    assert!(dropped("accept", &[&to("goto"), r#"{"drop": null}"#, &within]).is_empty());
    // After a goto the chain does not continue, even if the target chain is uncertain.
    let random =
        r#"other {"match": {"op": "<", "left": {"numgen": {}}, "right": 30}}, {"drop": null}"#;
    assert_eq!(
        dropped("accept", &[&to("goto"), r#"{"drop": null}"#, random]),
        uncertain
    );
}

#[test]
fn verdict_maps_are_evaluated() {
    let map = |key: &str, data: &str| format!(r#"{{"vmap": {{"key": {key}, "data": {data}}}}}"#);
    let state = map(
        r#"{"ct": {"key": "state"}}"#,
        r#"{"set": [["established", {"accept": null}], ["invalid", {"drop": null}], ["new", {"jump": {"target": "other"}}]]}"#,
    );
    assert!(dropped("accept", &[&state]).is_empty());
    assert_eq!(dropped("drop", &[&state]), EVERYTHING);
    assert_eq!(
        dropped("accept", &[&state, &format!("other {}", drop_port(PORT))]),
        EVERYTHING
    );
    let ports = map(
        DPORT,
        r#"{"set": [[{"range": [24000, 25000]}, {"drop": null}], [53, {"accept": null}]]}"#,
    );
    assert_eq!(dropped("accept", &[&ports]), EVERYTHING);
    let uncertain: Vec<_> = EVERYTHING.iter().map(|flow| format!("{flow}?")).collect();
    assert_eq!(dropped("accept", &[&map(DPORT, r#""@ports""#)]), uncertain);
    let interfaces = map(
        r#"{"meta": {"key": "iifname"}}"#,
        r#"{"set": [["lo", {"accept": null}], ["eth0", {"jump": {"target": "other"}}]]}"#,
    );
    assert_eq!(dropped("drop", &[&interfaces]), EVERYTHING);
    assert_eq!(
        dropped(
            "drop",
            &[&interfaces, &format!("other {}", accept(DPORT, "24373"))]
        ),
        uncertain
    );
    let tcp = map(
        r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#,
        r#""@ports""#,
    );
    assert_eq!(dropped("drop", &[&tcp]), EVERYTHING);
}

#[test]
fn queue_and_chain_of_one_interface_are_uncertain() {
    let uncertain: Vec<_> = EVERYTHING.iter().map(|flow| format!("{flow}?")).collect();
    assert_eq!(dropped("accept", &[r#"{"queue": {"num": 1}}"#]), uncertain);
    let ingress = ruleset("ingress", "accept", &[&drop_port(PORT)]);
    let (verdicts, _) = evaluate(&ingress, &all()).unwrap();
    assert!(
        !verdicts.is_empty() && verdicts.iter().all(|verdict| !verdict.certain),
        "{verdicts:?}"
    );
}

#[test]
fn criteria_of_the_deciding_rules_are_reported() {
    let criteria = |policy: &str, rules: &[&str]| {
        let (verdicts, _) = evaluate(&ruleset("input", policy, rules), &all()).unwrap();
        let first = verdicts.first().unwrap();
        (first.criteria.source, first.criteria.interface)
    };
    assert_eq!(criteria("drop", &[]), (false, false));
    assert_eq!(
        criteria("accept", &[&rule("!=", SADDR, LOCAL_NETWORK, "drop")]),
        (true, false)
    );
    assert_eq!(
        criteria("drop", &[&rule("==", SADDR, LOCAL_NETWORK, "accept")]),
        (true, false)
    );
    assert_eq!(
        criteria(
            "drop",
            &[&accept(r#"{"meta": {"key": "iifname"}}"#, r#""eth1""#)]
        ),
        (false, true)
    );
    // A rule that never matches such a datagram adds no criteria.
    let tcp = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}"#;
    let other = rule("==", SADDR, LOCAL_NETWORK, "accept")
        .replace(r#"{"accept""#, &format!(r#"{tcp}, {{"accept""#));
    assert_eq!(criteria("drop", &[&other]), (false, false));
}

#[test]
fn rule_and_chain_are_reported() {
    let (verdicts, _) =
        evaluate(&ruleset("output", "accept", &[&drop_port(PORT)]), &all()).unwrap();
    assert!(
        verdicts
            .iter()
            .all(|verdict| verdict.flow.direction == Direction::Out)
    );
    assert_eq!(
        (verdicts[0].chain.as_str(), verdicts[0].handle),
        ("inet filter output", Some(10))
    );
    let (verdicts, _) = evaluate(&ruleset("input", "drop", &[]), &all()).unwrap();
    assert_eq!(
        (verdicts[0].chain.as_str(), verdicts[0].handle),
        ("inet filter input", None)
    );
}

#[test]
fn invalid_rule_set_is_none() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"nftables": 1}"#,
        "Operation not permitted",
    ] {
        assert_eq!(evaluate(text, &all()), None, "{text}");
    }
    let odd = r#"{"nftables": [{"rule": 1}, {"chain": {"hook": "input", "type": "filter", "family": "inet"}}, 7]}"#;
    assert_eq!(evaluate(odd, &all()), Some((Vec::new(), None)));
}

#[test]
fn manager_is_known_by_its_names() {
    let kept = |table: &str, name: &str| {
        let text = format!(
            r#"{{"nftables": [{{"chain": {{"family": "ip", "table": "{table}", "name": "{name}"}}}}]}}"#
        );
        evaluate(&text, &all()).unwrap().1
    };
    assert_eq!(kept("filter", "ufw-user-input"), Some(Manager::Ufw));
    assert_eq!(kept("firewalld", "filter_INPUT"), Some(Manager::Firewalld));
    assert_eq!(kept("filter", "INPUT"), None);
}
