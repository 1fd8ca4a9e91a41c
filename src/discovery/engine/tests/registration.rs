use super::*;

#[test]
fn server_that_answers_is_registered_with_and_ends_the_fallback() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(20), SERVER, 2, Role::Server);
    let registers: Vec<_> = outputs(&mut engine)
        .into_iter()
        .filter(|output| {
            matches!(output, Output::Send { to: To::One(to), message: Message::Register(_) } if *to == address(SERVER))
        })
        .collect();
    assert_eq!(registers.len(), 1);
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(30), sequence);
    let events = outputs(&mut engine);
    assert!(events.iter().any(|o| matches!(
        o,
        Output::Event(Event::Registered {
            found_by: Method::Multicast,
            ..
        })
    )));
    let later = pass(&mut engine, 20_000);
    assert!(
        !later.iter().any(|(at, o)| {
            *at > 3100
                && matches!(
                    o,
                    Output::Send {
                        to: To::All(_),
                        message: Message::Query(_)
                    }
                )
        }),
        "a registered node sends no more queries: {later:?}"
    );
    assert_eq!(
        engine.methods(at(20_000))[1].state,
        crate::discovery::MethodState::Waiting
    );
}

#[test]
fn lease_is_renewed_at_a_third_and_a_silent_server_is_lost_at_its_end() {
    let mut engine = registered();
    let sent = pass(&mut engine, 89_000);
    let renewals: Vec<_> = sent
        .iter()
        .filter(|(_, o)| {
            matches!(
                o,
                Output::Send {
                    message: Message::Renew(_),
                    ..
                }
            )
        })
        .map(|(at, _)| *at)
        .collect();
    assert!((30_000..30_100).contains(&renewals[0]), "{renewals:?}");
    assert!(
        renewals.len() > 3,
        "the renewal is tried again: {renewals:?}"
    );
    let lost = pass(&mut engine, 95_000);
    assert!(
        lost.iter()
            .any(|(_, o)| matches!(o, Output::Event(Event::Lost { goodbye: false, .. })))
    );
    assert!(lost.iter().any(|(_, o)| matches!(
        o,
        Output::Send {
            to: To::All(_),
            message: Message::Query(_)
        }
    )));
}

#[test]
fn acknowledged_renewal_keeps_the_server() {
    let mut engine = registered();
    let sent = pass(&mut engine, 30_100);
    let Some((
        millis,
        Output::Send {
            message: Message::Renew(renewal),
            ..
        },
    )) = sent.iter().find(|(_, o)| {
        matches!(
            o,
            Output::Send {
                message: Message::Renew(_),
                ..
            }
        )
    })
    else {
        panic!("no renewal in {sent:?}")
    };
    assert_eq!(renewal.base, engine.own().record().sequence);
    acknowledge(&mut engine, at(millis + 1), renewal.sequence);
    outputs(&mut engine);
    let later = pass(&mut engine, millis + 29_000);
    assert!(!later.iter().any(|(_, o)| matches!(
        o,
        Output::Send {
            message: Message::Renew(_) | Message::Register(_),
            ..
        }
    )));
    let server = &engine.servers()[0];
    assert!(server.held.is_some() && !server.may_change_address());
}

#[test]
fn changed_files_of_a_server_are_reported_with_the_renewal_that_shows_them() {
    let mut engine = registered();
    let mut reported = Vec::new();
    for (second, offers) in [
        (30, Some(7)),
        (60, Some(7)),
        (90, Some(8)),
        (120, None),
        (150, Some(8)),
    ] {
        pass(&mut engine, second * 1000 + 5000);
        let sequence = engine.servers()[0].last_pending().unwrap();
        let (now, seen) = (at(second * 1000 + 5000), address("10.0.0.9:24373"));
        let registered = Registered {
            sequence,
            seen,
            lease: Lease(90),
            clock: now.wall,
            offers,
        };
        engine.handle(
            now,
            address(SERVER),
            Method::Unicast,
            &Message::Registered(registered),
        );
        let news = outputs(&mut engine)
            .iter()
            .any(|o| matches!(o, Output::Event(Event::NewerFiles { .. })));
        reported.push(news);
    }
    assert_eq!(reported, [true, false, true, false, true]);
}

#[test]
fn unknown_record_is_registered_again() {
    let mut engine = registered();
    let sent = pass(&mut engine, 30_100);
    let Some((
        _,
        Output::Send {
            message: Message::Renew(renewal),
            ..
        },
    )) = sent.into_iter().find(|(_, o)| {
        matches!(
            o,
            Output::Send {
                message: Message::Renew(_),
                ..
            }
        )
    })
    else {
        panic!("no renewal")
    };
    let refused = Refused {
        regarding: Regarding::Sequence(renewal.sequence),
        refusal: Refusal::UnknownRecord,
    };
    engine.handle(
        at(30_200),
        address(SERVER),
        Method::Unicast,
        &Message::Refused(refused),
    );
    let sent = pass(&mut engine, 30_300);
    let register = sent.iter().find_map(|(_, o)| match o {
        Output::Send {
            message: Message::Register(signed),
            ..
        } => Some(signed.clone()),
        _ => None,
    });
    let record = register.expect("it registers").verify(|_| true).unwrap();
    assert!(
        record.sequence > renewal.sequence,
        "the record must be newer than the last renewal"
    );
}

#[test]
fn epoch_that_a_server_has_is_overtaken_and_reported() {
    let mut engine = registered();
    engine.set_addresses(
        at(5000),
        vec![Address {
            ip: "10.0.0.3".parse().unwrap(),
            interface: None,
            origin: Origin::Interface,
        }],
    );
    outputs(&mut engine);
    let sequence = engine.own().record().sequence;
    let refusal = Refusal::Outdated {
        epoch: 7,
        sequence: 3,
    };
    engine.handle(
        at(5100),
        address(SERVER),
        Method::Unicast,
        &Message::Refused(Refused {
            regarding: Regarding::Sequence(sequence),
            refusal,
        }),
    );
    assert!(outputs(&mut engine).contains(&Output::Event(Event::EpochRaised { epoch: 8 })));
    let sent = pass(&mut engine, 7000);
    assert!(sent.iter().any(|(_, o)| matches!(
        o,
        Output::Send {
            message: Message::Register(_),
            ..
        }
    )));
}

#[test]
fn held_name_is_reported_once_and_tried_again_after_a_minute() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    outputs(&mut engine);
    let holder = NodeId([9; 32]);
    let refuse = |engine: &mut Engine, now| {
        let sequence = engine.own().record().sequence;
        let refused = Refused {
            regarding: Regarding::Sequence(sequence),
            refusal: Refusal::NameHeld { holder },
        };
        engine.handle(
            now,
            address(SERVER),
            Method::Unicast,
            &Message::Refused(refused),
        );
        outputs(engine)
            .iter()
            .filter(|o| matches!(o, Output::Event(Event::Refused { .. })))
            .count()
    };
    assert_eq!(refuse(&mut engine, at(10)), 1);
    let sent = pass(&mut engine, 75_000);
    let tries = sent
        .iter()
        .filter(|(_, o)| {
            matches!(
                o,
                Output::Send {
                    message: Message::Register(_),
                    ..
                }
            )
        })
        .count();
    assert!(tries >= 1);
    assert_eq!(
        refuse(&mut engine, at(75_001)),
        0,
        "the same refusal is not reported again"
    );
}

#[test]
fn server_that_refused_and_disappeared_is_dropped() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    let refused = |engine: &mut Engine, now, sequence| {
        let refusal = Refusal::NameHeld {
            holder: NodeId([7; 32]),
        };
        let refused = Refused {
            regarding: Regarding::Sequence(sequence),
            refusal,
        };
        engine.handle(
            now,
            address(SERVER),
            Method::Unicast,
            &Message::Refused(refused),
        );
    };
    refused(&mut engine, at(2), sequence);
    // A server that keeps refusing stays, so that `status` shows its reason.
    let mut refusals = 0;
    for second in 1..=300 {
        pass(&mut engine, second * 1000);
        if let Some(sequence) = engine.servers()[0].last_pending() {
            refused(&mut engine, at(second * 1000), sequence);
            refusals += 1;
        }
    }
    assert!(
        refusals >= 3 && engine.servers()[0].refusal.is_some(),
        "{refusals}"
    );
    pass(&mut engine, 400_000);
    assert!(engine.servers().is_empty());
}

#[test]
fn acknowledgement_without_a_lease_is_ignored() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    let seen = address("10.0.0.9:24373");
    let message = Message::Registered(Registered {
        sequence,
        seen,
        lease: Lease::ZERO,
        clock: at(2).wall,
        offers: None,
    });
    engine.handle(at(2), address(SERVER), Method::Unicast, &message);
    assert!(engine.servers()[0].held.is_none());
    acknowledge(&mut engine, at(3), sequence);
    assert!(engine.servers()[0].held.is_some());
}

#[test]
fn numbers_that_no_node_reaches_are_ignored() {
    let mut own = own(1, "client", Role::Client, 1);
    assert!(
        !own.overtake(u64::MAX, 0),
        "following it would leave no epoch for the next start"
    );
    assert_eq!(own.record().epoch, 1);
    assert!(
        own.overtake(1, u64::MAX - 1),
        "a new epoch begins before the sequence numbers end"
    );
    assert_eq!(own.record().order(), (2, 1));
    assert!(!own.overtake(2, 1000));
    assert_eq!(own.record().order(), (2, 1001));
}

#[test]
fn two_servers_at_one_address_are_distinguished_by_the_acknowledged_sequence() {
    let mut engine = registered();
    // The machine was set up again and has another identity; the old one is not dropped before its
    // lease ends.
    let record = own(3, "server", Role::Server, 1).signed().clone();
    engine.handle(
        at(1000),
        address(SERVER),
        Method::Multicast,
        &Message::Announcement(record),
    );
    assert_eq!(engine.servers().len(), 2);
    let registers = outputs(&mut engine)
        .into_iter()
        .filter_map(|output| match output {
            Output::Send {
                message: Message::Register(signed),
                ..
            } => signed.verify(|_| true).ok(),
            _ => None,
        });
    let sequence = registers
        .map(|record| record.sequence)
        .next()
        .expect("it registers");
    acknowledge(&mut engine, at(1010), sequence);
    let ours = Identity::from_seed(&[3; 32]).id();
    assert!(
        engine
            .servers()
            .iter()
            .any(|server| server.id == ours && server.held.is_some())
    );
}
