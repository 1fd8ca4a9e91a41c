use super::*;

#[test]
fn answer_of_an_announced_server_sets_its_method() {
    let mut engine = engine();
    engine.advance(at(0));
    let id = queries(&mut engine)[0].1.id;
    let record = own(2, "server", Role::Both, 1).signed().clone();
    engine.handle(
        at(1),
        address(SERVER),
        Method::Broadcast,
        &Message::Announcement(record.clone()),
    );
    assert_eq!(engine.servers()[0].found_by, Method::Broadcast);
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    let answer = Answer {
        id,
        seen: address(SERVER),
        subject,
    };
    engine.handle(
        at(2),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(answer),
    );
    assert_eq!(engine.servers()[0].found_by, Method::Multicast);
}

#[test]
fn best_answered_method_wins_in_any_order() {
    let mut engine = engine();
    // The event loop is late, as on a busy machine, and the server did not run at the first
    // queries.
    engine.advance(at(40));
    let asked = pass(&mut engine, 3_100);
    let id = |method| {
        let mut ids = asked.iter().filter_map(|(_, output)| match output {
            Output::Send {
                to: To::All(by),
                message: Message::Query(query),
            } if *by == method => Some(query.id),
            _ => None,
        });
        ids.next_back().unwrap()
    };
    let subject = Subject::Own {
        record: own(2, "server", Role::Server, 1).signed().clone(),
        info: Labels::default(),
    };
    let mut answered = |millis, id| {
        let answer = Answer {
            id,
            seen: address("10.0.0.9:24373"),
            subject: subject.clone(),
        };
        engine.handle(
            at(millis),
            address(SERVER),
            Method::Unicast,
            &Message::Answer(answer),
        );
        engine.servers()[0].found_by
    };
    assert_eq!(answered(3_200, id(Method::Broadcast)), Method::Broadcast);
    assert_eq!(answered(3_201, id(Method::Multicast)), Method::Multicast);
    assert_eq!(
        answered(3_202, id(Method::Broadcast)),
        Method::Multicast,
        "a worse method changes nothing"
    );
}

#[test]
fn server_that_starts_during_the_fallback_keeps_the_method_of_its_announcement() {
    let mut engine = engine();
    pass(&mut engine, 4_500);
    // Multicast has sent its frequent queries, and broadcast has one left.
    let record = own(2, "server", Role::Server, 1).signed().clone();
    engine.handle(
        at(4_500),
        address(SERVER),
        Method::Multicast,
        &Message::Announcement(record),
    );
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(4_510), sequence);
    let asked = pass(&mut engine, 6_100);
    let by_broadcast = asked.iter().any(|(_, output)| {
        matches!(
            output,
            Output::Send {
                to: To::All(Method::Broadcast),
                message: Message::Query(_)
            }
        )
    });
    assert!(by_broadcast, "{asked:?}");
    answer(&mut engine, at(6_200), SERVER, 2, Role::Server);
    assert_eq!(engine.servers()[0].found_by, Method::Multicast);
}

#[test]
fn server_that_answered_the_fallback_gets_the_better_method_of_its_announcement() {
    let mut engine = engine();
    pass(&mut engine, 3_100);
    answer(&mut engine, at(3_200), SERVER, 2, Role::Server);
    let announces = |engine: &mut Engine, by| {
        let record = own(2, "server", Role::Server, 1).signed().clone();
        engine.handle(
            at(3_300),
            address(SERVER),
            by,
            &Message::Announcement(record),
        );
        engine.servers()[0].found_by
    };
    for no_better in [Method::Broadcast, Method::Mdns, Method::Unicast] {
        assert_eq!(announces(&mut engine, no_better), Method::Broadcast);
    }
    assert_eq!(announces(&mut engine, Method::Multicast), Method::Multicast);
}

#[test]
fn server_announced_by_an_unused_method_gets_the_method_of_its_answer() {
    for announced_by in [Method::Mdns, Method::Unicast] {
        let mut engine = engine();
        pass(&mut engine, 3_100);
        let record = own(2, "server", Role::Server, 1).signed().clone();
        engine.handle(
            at(3_200),
            address(SERVER),
            announced_by,
            &Message::Announcement(record),
        );
        answer(&mut engine, at(3_300), SERVER, 2, Role::Server);
        assert_eq!(
            engine.servers()[0].found_by,
            Method::Broadcast,
            "{announced_by}"
        );
    }
}

#[test]
fn configured_server_is_found_by_unicast_whichever_query_it_answers() {
    let mut engine = engine_with(1);
    engine.advance(at(0));
    answer(&mut engine, at(10), SERVER, 2, Role::Server);
    assert_eq!(engine.servers()[0].found_by, Method::Multicast);
    let multicast = engine.queries.back().unwrap().id;
    engine.resolved(at(20), 0, vec![address(SERVER)]);
    answer(&mut engine, at(30), SERVER, 2, Role::Server);
    assert_eq!(engine.servers()[0].found_by, Method::Unicast);
    engine.queries.retain(|query| query.id == multicast);
    answer(&mut engine, at(40), SERVER, 2, Role::Server);
    assert_eq!(engine.servers()[0].found_by, Method::Unicast);
}
