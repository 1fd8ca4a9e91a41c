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
        r#"{"chain": {"family": "inet", "table": "filter", "name": "other", "handle": 2}}"#.to_owned(),
    ];
    for (number, rule) in rules.iter().enumerate() {
        let (chain, expr) = rule.strip_prefix("other ").map_or((hook, *rule), |expr| ("other", expr));
        objects.push(format!(
            r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "{chain}", "handle": {}, "expr": [{expr}]}}}}"#,
            number + 10
        ));
    }
    format!(r#"{{"nftables": [{}]}}"#, objects.join(","))
}

fn all() -> Vec<Flow> {
    flows([IpAddr::from([239, 255, 43, 73]), "ff12::4373".parse().unwrap()], PORT, PORT, PORT)
}

/// What is dropped coming in, as `kind family`, with a question mark where it is in doubt.
fn dropped(policy: &str, rules: &[&str]) -> Vec<String> {
    let (verdicts, _) = judge(&ruleset("input", policy, rules), &all()).unwrap();
    let line = |verdict: &Verdict| {
        let family = if verdict.flow.ipv6 { "6" } else { "4" };
        format!("{}{family}{}", verdict.flow.kind.as_str(), if verdict.certain { "" } else { "?" })
    };
    verdicts.iter().map(line).collect()
}

const EVERYTHING: [&str; 5] = ["multicast4", "multicast6", "broadcast4", "unicast4", "unicast6"];

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
fn an_empty_rule_set_drops_nothing() {
    assert_eq!(judge(r#"{"nftables": [{"metainfo": {}}]}"#, &all()), Some((Vec::new(), None)));
    assert!(dropped("accept", &[]).is_empty());
}

#[test]
fn a_policy_drops_what_no_rule_accepts() {
    assert_eq!(dropped("drop", &[]), EVERYTHING);
    for right in ["24373", r#"{"set": [22, 24373]}"#, r#"{"set": [{"range": [24000, 25000]}]}"#] {
        assert!(dropped("drop", &[&accept(DPORT, right)]).is_empty(), "{right}");
    }
    assert_eq!(dropped("drop", &[&accept(DPORT, "53")]), EVERYTHING);
}

#[test]
fn answers_that_were_asked_for_do_not_hide_that_the_rest_is_dropped() {
    let established = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}"#;
    let loopback = accept(r#"{"meta": {"key": "iifname"}}"#, r#""lo""#);
    let tcp = accept(r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#, "22");
    assert_eq!(dropped("drop", &[established, &loopback, &tcp]), EVERYTHING);
}

#[test]
fn a_rule_for_the_port_drops_all_and_one_for_another_port_nothing() {
    assert_eq!(dropped("accept", &[&drop_port(PORT)]), EVERYTHING);
    assert!(dropped("accept", &[&drop_port(53)]).is_empty());
    assert!(dropped("accept", &[&accept(DPORT, "24373"), &drop_port(PORT)]).is_empty());
}

#[test]
fn a_rule_for_groups_drops_multicast_only() {
    for right in [r#""239.255.43.73""#, r#"{"prefix": {"addr": "224.0.0.0", "len": 4}}"#] {
        let rule = accept(DADDR, right).replace("accept", "drop");
        assert_eq!(dropped("accept", &[&rule]), ["multicast4"], "{right}");
    }
    let rule = accept(r#"{"meta": {"key": "pkttype"}}"#, r#""broadcast""#).replace("accept", "drop");
    assert_eq!(dropped("accept", &[&rule]), ["broadcast4"]);
}

#[test]
fn a_rule_that_can_not_be_judged_makes_a_doubt() {
    let random =
        r#"{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100}}, "right": 30}}, {"drop": null}"#;
    let doubts: Vec<_> = EVERYTHING.iter().map(|flow| format!("{flow}?")).collect();
    assert_eq!(dropped("accept", &[random]), doubts);
    assert_eq!(dropped("drop", &[&accept(DPORT, r#""@ports""#)]), doubts);
    // What comes first and is certain ends the doubt.
    assert!(dropped("accept", &[&accept(DPORT, "24373"), random]).is_empty());
}

#[test]
fn jumps_are_followed_and_a_circle_of_them_ends() {
    let jump = r#"{"jump": {"target": "other"}}"#;
    assert_eq!(dropped("accept", &[jump, &format!("other {}", drop_port(PORT))]), EVERYTHING);
    assert!(dropped("drop", &[jump, &format!("other {}", accept(DPORT, "24373"))]).is_empty());
    assert_eq!(dropped("drop", &[jump, r#"other {"return": null}"#]), EVERYTHING);
    let circle = dropped("drop", &[jump, r#"other {"jump": {"target": "other"}}"#]);
    assert!(circle.iter().all(|verdict| verdict.ends_with('?')), "{circle:?}");
}

#[test]
fn the_rule_and_its_chain_are_named() {
    let (verdicts, _) = judge(&ruleset("output", "accept", &[&drop_port(PORT)]), &all()).unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.flow.direction == Direction::Out));
    assert_eq!((verdicts[0].chain.as_str(), verdicts[0].handle), ("inet filter output", Some(10)));
    let (verdicts, _) = judge(&ruleset("input", "drop", &[]), &all()).unwrap();
    assert_eq!((verdicts[0].chain.as_str(), verdicts[0].handle), ("inet filter input", None));
}

#[test]
fn what_is_no_rule_set_is_none() {
    for text in ["", "{}", "[]", r#"{"nftables": 1}"#, "Operation not permitted"] {
        assert_eq!(judge(text, &all()), None, "{text}");
    }
    let odd = r#"{"nftables": [{"rule": 1}, {"chain": {"hook": "input", "type": "filter", "family": "inet"}}, 7]}"#;
    assert_eq!(judge(odd, &all()), Some((Vec::new(), None)));
}

#[test]
fn who_keeps_the_rules_is_known_by_their_names() {
    let kept = |table: &str, name: &str| {
        let text =
            format!(r#"{{"nftables": [{{"chain": {{"family": "ip", "table": "{table}", "name": "{name}"}}}}]}}"#);
        judge(&text, &all()).unwrap().1
    };
    assert_eq!(kept("filter", "ufw-user-input"), Some(Keeper::Ufw));
    assert_eq!(kept("firewalld", "filter_INPUT"), Some(Keeper::Firewalld));
    assert_eq!(kept("filter", "INPUT"), None);
}
