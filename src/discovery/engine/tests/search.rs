use super::*;

#[test]
fn first_method_asks_at_once_then_less_often_and_the_next_method_joins() {
    let mut engine = engine();
    let sent = pass(&mut engine, 29_000);
    let asked = |method| {
        let sent = sent.iter().filter(|(_, output)| {
            matches!(output, Output::Send { to: To::All(by), message: Message::Query(_) } if *by == method)
        });
        sent.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    assert_eq!(asked(Method::Multicast)[..4], [0, 250, 1000, 3000]);
    assert_eq!(asked(Method::Broadcast)[..4], [3000, 3250, 4000, 6000]);
    assert!(sent.iter().any(|(_, o)| matches!(
        o,
        Output::Event(Event::Fallback {
            method: Method::Broadcast
        })
    )));
}

#[test]
fn configured_servers_are_looked_up_and_asked_from_the_start() {
    let mut engine = engine_with(1);
    engine.advance(at(0));
    assert!(outputs(&mut engine).contains(&Output::Resolve { configured: 0 }));
    engine.resolved(
        at(40),
        0,
        vec![address("192.0.2.1:24373"), address("[2001:db8::1]:24373")],
    );
    let asked: Vec<_> = queries(&mut engine).into_iter().map(|(to, _)| to).collect();
    assert_eq!(
        asked,
        [
            To::One(address("192.0.2.1:24373")),
            To::One(address("[2001:db8::1]:24373"))
        ]
    );
    let sent = pass(&mut engine, 5000);
    assert!(
        sent.iter()
            .any(|(_, o)| matches!(o, Output::Resolve { .. })),
        "without an answer the name is looked up again"
    );
}

#[test]
fn configured_server_that_is_reached_leaves_nothing_due_at_once() {
    let mut engine = engine_with(1);
    engine.advance(at(0));
    engine.resolved(at(1), 0, vec![address(SERVER)]);
    answer(&mut engine, at(2), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(3), sequence);
    for millis in [300, 1100, 3100, 10_000] {
        engine.advance(at(millis));
        let next = engine.deadline().unwrap();
        assert!(
            next > at(millis).elapsed,
            "at {millis} ms the deadline is not in the future: {next:?}"
        );
    }
}

#[test]
fn method_that_starts_late_sends_its_last_frequent_query_before_the_next_method() {
    let mut engine = engine();
    engine.advance(at(40));
    let asked = pass(&mut engine, 3_100);
    let methods = asked.iter().filter_map(|(millis, output)| match output {
        Output::Send {
            to: To::All(by),
            message: Message::Query(_),
        } if *millis >= 2_000 => Some(*by),
        _ => None,
    });
    assert_eq!(
        methods.collect::<Vec<_>>(),
        [Method::Multicast, Method::Broadcast]
    );
}

#[test]
fn unused_interfaces_come_and_go_and_the_methods_continue() {
    let mut engine = engine_with(1);
    let mut sent = Vec::new();
    for second in 1..=8 {
        sent.extend(pass(&mut engine, second * 1000));
        if engine.configured[0].resolving {
            engine.resolved(at(second * 1000), 0, Vec::new());
        }
        engine.routes_changed(at(second * 1000));
    }
    let fell_back =
        |(_, output): &(u64, Output)| matches!(output, Output::Event(Event::Fallback { .. }));
    assert!(sent.iter().any(fell_back), "{sent:?}");
    let resolves = sent
        .iter()
        .filter(|(_, output)| matches!(output, Output::Resolve { .. }))
        .count();
    assert!(
        (7..=9).contains(&resolves),
        "one look-up for each change: {resolves}"
    );
}

#[test]
fn refused_clock_is_answered_with_the_servers_time_and_the_same_id() {
    let mut engine = engine();
    engine.advance(at(0));
    let (_, asked) = queries(&mut engine).remove(0);
    let clock = at(0).wall.plus(Duration::from_secs(3600));
    let refused = Refused {
        regarding: Regarding::Query(asked.id),
        refusal: Refusal::Clock { clock },
    };
    engine.handle(
        at(5),
        address(SERVER),
        Method::Unicast,
        &Message::Refused(refused),
    );
    let again = queries(&mut engine);
    assert_eq!(
        again,
        [(To::One(address(SERVER)), Query { clock, ..asked })]
    );
}

#[test]
fn endless_clock_refusals_are_followed_a_few_times_only() {
    let mut engine = engine();
    engine.advance(at(0));
    let (_, asked) = queries(&mut engine).remove(0);
    let refused = Refused {
        regarding: Regarding::Query(asked.id),
        refusal: Refusal::Clock { clock: at(0).wall },
    };
    let mut followed = 0;
    for _ in 0..100 {
        engine.handle(
            at(5),
            address(SERVER),
            Method::Unicast,
            &Message::Refused(refused.clone()),
        );
        followed += queries(&mut engine).len();
    }
    assert_eq!(followed, usize::from(MAX_CLOCK_RETRIES));
}

fn browsing() -> Engine {
    let mut engine = engine();
    engine.settings.methods = vec![Method::Multicast, Method::Mdns];
    engine.search(at(0));
    let sent = pass(&mut engine, 3_000);
    assert!(
        sent.iter()
            .any(|(at, output)| *at == 3_000 && *output == Output::Browse { on: true }),
        "{sent:?}"
    );
    engine
}

#[test]
fn mdns_browses_when_it_starts_and_stops_when_a_server_is_held() {
    let mut engine = browsing();
    let candidate = address(SERVER);
    engine.candidate(at(3_500), candidate);
    engine.candidate(at(3_600), candidate);
    let asked = queries(&mut engine);
    assert_eq!(
        asked.len(),
        1,
        "a candidate is asked once a round: {asked:?}"
    );
    assert_eq!(asked[0].0, To::One(candidate));
    assert_eq!(engine.methods(at(3_600))[1].candidates, 1);
    answer(&mut engine, at(3_700), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(3_710), sequence);
    assert_eq!(engine.servers()[0].found_by, Method::Mdns);
    assert!(outputs(&mut engine).contains(&Output::Browse { on: false }));
    let methods = engine.methods(at(9_000));
    assert_eq!(
        (methods[0].state, methods[1].state),
        (MethodState::Unanswered, MethodState::Found(1))
    );
    engine.candidate(at(9_000), address("10.0.0.7:24373"));
    assert!(
        queries(&mut engine).is_empty(),
        "no query is sent once a server is held"
    );
}

#[test]
fn mdns_does_not_start_when_an_earlier_method_found_a_server() {
    let mut engine = engine();
    engine.settings.methods = vec![Method::Multicast, Method::Mdns];
    engine.search(at(0));
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(2), sequence);
    outputs(&mut engine);
    let sent = pass(&mut engine, 60_000);
    assert!(
        !sent
            .iter()
            .any(|(_, output)| matches!(output, Output::Browse { .. })),
        "{sent:?}"
    );
}

#[test]
fn many_candidates_are_asked_within_limits_and_the_true_one_is_asked() {
    let mut engine = browsing();
    let candidates = (0..1000_u16).map(|n| SocketAddr::from(([10, 9, (n >> 8) as u8, n as u8], 1)));
    candidates
        .clone()
        .for_each(|candidate| engine.candidate(at(3_100), candidate));
    assert_eq!(queries(&mut engine).len(), MAX_CANDIDATES);
    pass(&mut engine, 5_000);
    engine.candidate(at(5_000), address(SERVER));
    assert!(
        queries(&mut engine)
            .iter()
            .any(|(to, _)| *to == To::One(address(SERVER)))
    );
}

#[test]
fn candidate_without_the_key_is_never_used() {
    let mut engine = browsing();
    engine.candidate(at(3_500), address(SERVER));
    // The answer opened, but no such query was sent.
    let record = own(2, "server", Role::Server, 1).signed().clone();
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    let stray = Answer {
        id: 1,
        seen: address("10.0.0.9:24373"),
        subject,
    };
    engine.handle(
        at(3_600),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(stray),
    );
    assert!(engine.servers().is_empty());
    let status = &engine.methods(at(30_000))[1];
    assert_eq!(
        (status.state, status.candidates),
        (MethodState::Unanswered, 1)
    );
}
