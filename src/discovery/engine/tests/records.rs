use super::*;

#[test]
fn engine_that_does_not_register_knows_no_server() {
    // No server holds a record of this node then, so nothing has to be withdrawn there.
    let mut engine = engine();
    engine.settings.registers = false;
    let announcement = || Message::Announcement(own(2, "server", Role::Server, 1).signed().clone());
    engine.handle(at(1), address(SERVER), Method::Multicast, &announcement());
    assert!(engine.servers().is_empty());
    engine.settings.registers = true;
    engine.handle(at(1), address(SERVER), Method::Multicast, &announcement());
    assert_eq!(
        engine.servers().len(),
        1,
        "the same announcement counts once the node registers"
    );
}

#[test]
fn answers_to_no_query_and_of_clients_are_ignored() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Client);
    engine.queries.back_mut().unwrap().id ^= 1;
    let asked = engine.queries.back().unwrap().id;
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    assert_eq!(engine.servers().len(), 1, "only the outstanding id counts");
    engine.servers.clear();
    engine.queries.clear();
    let record = own(3, "server", Role::Server, 1).signed().clone();
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    let stray = Answer {
        id: asked,
        seen: address(SERVER),
        subject,
    };
    engine.handle(
        at(2),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(stray),
    );
    assert!(engine.servers().is_empty());
}

#[test]
fn forged_record_adds_no_server() {
    let mut engine = engine();
    engine.advance(at(0));
    let mut record = own(2, "server", Role::Server, 1).signed().clone();
    record.signature[5] ^= 1;
    let id = engine.queries.back().unwrap().id;
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    engine.handle(
        at(1),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(Answer {
            id,
            seen: address(SERVER),
            subject,
        }),
    );
    assert!(engine.servers().is_empty());
}

#[test]
fn goodbye_of_a_server_begins_a_search_and_its_replay_does_not() {
    let mut engine = registered();
    let mut server = own(2, "server", Role::Server, 1);
    let goodbye = server.goodbye();
    engine.handle(
        at(1000),
        address(SERVER),
        Method::Unicast,
        &Message::Goodbye(goodbye.clone()),
    );
    assert!(engine.servers().is_empty());
    engine.advance(at(1001));
    assert!(!queries(&mut engine).is_empty());
    // The server is back with a later epoch; the captured goodbye belongs to the start before.
    let id = engine.queries.back().unwrap().id;
    let record = own(2, "server", Role::Server, 2).signed().clone();
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    engine.handle(
        at(1100),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(Answer {
            id,
            seen: address(SERVER),
            subject,
        }),
    );
    engine.handle(
        at(1200),
        address(SERVER),
        Method::Unicast,
        &Message::Goodbye(goodbye),
    );
    assert_eq!(engine.servers().len(), 1);
}

#[test]
fn announced_server_is_used_without_a_query() {
    let mut engine = engine();
    let record = own(2, "server", Role::Both, 1).signed().clone();
    engine.handle(
        at(100),
        address("10.0.0.5:50000"),
        Method::Broadcast,
        &Message::Announcement(record),
    );
    assert_eq!(engine.servers()[0].found_by, Method::Broadcast);
    assert_eq!(
        engine.servers()[0].address,
        address("10.0.0.5:24373"),
        "the port of the record, not of the datagram"
    );
}

#[test]
fn silent_server_is_followed_to_another_address_only_by_its_signed_record_and_no_older_one() {
    let mut engine = registered();
    // The server's next record is followed by two renewals without an answer.
    let newer = own(2, "server", Role::Server, 2).signed().clone();
    engine.handle(
        at(1_000),
        address(SERVER),
        Method::Multicast,
        &Message::Announcement(newer.clone()),
    );
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(1_010), sequence);
    pass(&mut engine, 35_000);
    assert!(engine.servers()[0].may_change_address());
    let elsewhere = "10.0.0.66:24373";
    let mut answered = |record: SignedRecord| {
        let id = engine.queries.back().unwrap().id;
        let answer = Answer {
            id,
            seen: address("10.0.0.9:24373"),
            subject: Subject::Own {
                record,
                info: Labels::default(),
            },
        };
        engine.handle(
            at(35_000),
            address(elsewhere),
            Method::Unicast,
            &Message::Answer(answer),
        );
        engine.servers()[0].address
    };
    let mut forged = newer.clone();
    forged.signature[7] ^= 1;
    assert_eq!(answered(forged), address(SERVER));
    assert_eq!(
        answered(own(2, "server", Role::Server, 1).signed().clone()),
        address(SERVER)
    );
    assert_eq!(
        answered(own(2, "server", Role::Server, 3).goodbye()),
        address(SERVER)
    );
    assert_eq!(answered(newer), address(elsewhere));
}

#[test]
fn server_that_announces_itself_from_another_address_is_checked_at_once_and_followed_if_it_moved() {
    let elsewhere = address("10.0.0.66:24373");
    // The server started again, or has another address in the same run.
    for (epoch, changed) in [(2, false), (1, true)] {
        for still_there in [false, true] {
            let mut engine = registered();
            let mut server = own(2, "server", Role::Server, epoch);
            if changed {
                server.set_addresses(vec![Address {
                    ip: elsewhere.ip(),
                    interface: None,
                    origin: Origin::Interface,
                }]);
            }
            let announcement = Message::Announcement(server.signed().clone());
            engine.handle(at(5_000), elsewhere, Method::Multicast, &announcement);
            assert_eq!(
                engine.servers()[0].address,
                address(SERVER),
                "the known address is checked first"
            );
            let asked = pass(&mut engine, 5_010);
            let renewed = |output: &Output| matches!(output, Output::Send { to: To::One(to), message: Message::Renew(_) } if *to == address(SERVER));
            assert!(asked.iter().any(|(_, output)| renewed(output)), "{asked:?}");
            if still_there {
                let last_pending = engine.servers()[0].last_pending().unwrap();
                acknowledge(&mut engine, at(5_020), last_pending);
            }
            pass(&mut engine, 8_000);
            let expected = if still_there {
                address(SERVER)
            } else {
                elsewhere
            };
            assert_eq!(
                engine.servers()[0].address,
                expected,
                "epoch {epoch}, still there: {still_there}"
            );
        }
    }
}

#[test]
fn no_more_servers_are_used_than_configured() {
    let mut engine = engine();
    for identity in 2..9 {
        let record = own(identity, &format!("server{identity}"), Role::Server, 1)
            .signed()
            .clone();
        engine.handle(
            at(100),
            address(&format!("10.0.0.{identity}:24373")),
            Method::Unicast,
            &Message::Announcement(record),
        );
    }
    assert_eq!(engine.servers().len(), 2);
}

#[test]
fn goodbye_in_any_message_adds_no_server() {
    let mut engine = engine();
    engine.advance(at(0));
    let goodbye = own(2, "server", Role::Server, 1).goodbye();
    engine.handle(
        at(10),
        address(SERVER),
        Method::Multicast,
        &Message::Announcement(goodbye.clone()),
    );
    let id = engine.queries.back().unwrap().id;
    let subject = Subject::Own {
        record: goodbye,
        info: Labels::default(),
    };
    let answer = Answer {
        id,
        seen: address("10.0.0.9:24373"),
        subject,
    };
    engine.handle(
        at(20),
        address(SERVER),
        Method::Unicast,
        &Message::Answer(answer),
    );
    assert!(engine.servers().is_empty());
}
