use std::net::SocketAddr;

use super::search::{CANDIDATES, CLOCK_RETRIES_PER_QUERY};
use super::*;
use crate::discovery::{MethodState, OwnSettings};
use crate::model::{Address, Labels, Lease, NodeId, NodeName, Origin, Role, Timestamp};
use crate::wire::identity::Identity;
use crate::wire::v1::{
    Answer, Query, Refusal, Refused, Regarding, Registered, SignedRecord, Subject,
};

const KEY: KeyId = KeyId([1, 2, 3, 4]);
const SERVER: &str = "10.0.0.1:24373";

fn at(millis: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(millis),
        wall: Timestamp(1_795_150_000_000 + millis),
    }
}

fn own(identity: u8, name: &str, role: Role, epoch: u64) -> OwnRecord {
    let name = NodeName::parse(name).unwrap();
    let settings = OwnSettings {
        name,
        epoch,
        boot: 9,
        lease: Lease(90),
        port: 24373,
        role,
        labels: Labels::default(),
    };
    OwnRecord::new(Identity::from_seed(&[identity; 32]), KEY, settings)
}

fn engine_with(configured: usize) -> Engine {
    let settings = EngineSettings {
        registers: true,
        methods: vec![Method::Multicast, Method::Broadcast],
        fallback_after: Duration::from_secs(3),
        max_servers: 2,
        configured,
        keys: vec![KEY],
        seed: 1,
    };
    Engine::new(at(0), settings, own(1, "client", Role::Client, 1))
}

fn engine() -> Engine {
    engine_with(0)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn outputs(engine: &mut Engine) -> Vec<Output> {
    std::iter::from_fn(|| engine.output()).collect()
}

fn queries(engine: &mut Engine) -> Vec<(To, Query)> {
    let queries = outputs(engine)
        .into_iter()
        .filter_map(|output| match output {
            Output::Send {
                to,
                message: Message::Query(query),
            } => Some((to, query)),
            _ => None,
        });
    queries.collect()
}

/// Lets the engine's deadlines pass up to a moment; what it sent, with when.
fn pass(engine: &mut Engine, until: u64) -> Vec<(u64, Output)> {
    let mut all = Vec::new();
    while let Some(deadline) = engine.deadline()
        && deadline <= at(until).elapsed
    {
        let millis = u64::try_from(deadline.as_micros().div_ceil(1000)).unwrap();
        engine.advance(at(millis));
        all.extend(outputs(engine).into_iter().map(|output| (millis, output)));
    }
    all
}

fn answer(engine: &mut Engine, now: Now, from: &str, identity: u8, role: Role) {
    let id = engine.queries.back().unwrap().id;
    let record = own(identity, "server", role, 1).signed().clone();
    let subject = Subject::Own {
        record,
        info: Labels::default(),
    };
    let answer = Answer {
        id,
        seen: address("10.0.0.9:24373"),
        subject,
    };
    engine.handle(
        now,
        address(from),
        Method::Unicast,
        &Message::Answer(answer),
    );
}

/// An engine that registered with a server at 10.0.0.1.
fn registered() -> Engine {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    let sequence = engine.own().record().sequence;
    acknowledge(&mut engine, at(2), sequence);
    outputs(&mut engine);
    engine
}

fn acknowledge(engine: &mut Engine, now: Now, sequence: u64) {
    let seen = address("10.0.0.9:24373");
    let message = Message::Registered(Registered {
        sequence,
        seen,
        lease: Lease(90),
        clock: now.wall,
        offers: None,
    });
    engine.handle(now, address(SERVER), Method::Unicast, &message);
}

#[test]
fn the_first_method_asks_at_once_then_ever_more_rarely_and_the_next_one_joins_in() {
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
fn engine_that_does_not_register_holds_no_server_whatever_it_hears() {
    // So nothing of it stands at a server, and the plan has nothing to take back there.
    let mut engine = engine();
    engine.settings.registers = false;
    let announcement = || Message::Announcement(own(2, "server", Role::Server, 1).signed().clone());
    engine.handle(at(1), address(SERVER), Method::Multicast, &announcement());
    assert!(engine.servers().is_empty());
    engine.settings.registers = true;
    engine.handle(at(1), address(SERVER), Method::Multicast, &announcement());
    assert_eq!(engine.servers().len(), 1, "the same announcement else does");
}

#[test]
fn a_server_that_answers_is_registered_with_and_ends_the_fallback() {
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
        "a registered node does not go on asking: {later:?}"
    );
    assert_eq!(
        engine.methods(at(20_000))[1].state,
        crate::discovery::MethodState::Waiting
    );
}

#[test]
fn answers_to_nothing_asked_and_of_clients_count_for_nothing() {
    let mut engine = engine();
    engine.advance(at(0));
    answer(&mut engine, at(1), SERVER, 2, Role::Client);
    engine.queries.back_mut().unwrap().id ^= 1;
    let asked = engine.queries.back().unwrap().id;
    answer(&mut engine, at(1), SERVER, 2, Role::Server);
    assert_eq!(
        engine.servers().len(),
        1,
        "the id that is outstanding counts"
    );
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
fn forged_records_make_no_server() {
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
fn a_lease_is_renewed_at_a_third_and_a_silent_server_is_lost_at_its_end() {
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
    assert!(renewals.len() > 3, "it tries again: {renewals:?}");
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
fn an_acknowledged_renewal_keeps_the_server() {
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
    assert_eq!(
        engine.servers()[0].state(),
        crate::discovery::ServerState::Registered
    );
}

#[test]
fn other_files_at_a_server_are_told_with_the_renewal_that_shows_them() {
    let mut engine = registered();
    let mut told = Vec::new();
    for (second, offers) in [
        (30, Some(7)),
        (60, Some(7)),
        (90, Some(8)),
        (120, None),
        (150, Some(8)),
    ] {
        pass(&mut engine, second * 1000 + 5000);
        let sequence = engine.servers()[0].awaited().unwrap();
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
        told.push(news);
    }
    assert_eq!(told, [true, false, true, false, true]);
}

#[test]
fn a_new_address_is_registered_at_once_and_announced_within_a_second() {
    let mut engine = registered();
    pass(&mut engine, 10_000);
    let ip = "10.0.0.77".parse().unwrap();
    let addresses = vec![Address {
        ip,
        interface: None,
        origin: Origin::Interface,
    }];
    assert!(engine.set_addresses(at(10_000), addresses.clone()));
    let now = outputs(&mut engine);
    assert!(now.iter().any(|o| matches!(
        o,
        Output::Send {
            to: To::One(_),
            message: Message::Register(_)
        }
    )));
    let soon = pass(&mut engine, 11_000);
    assert!(soon.iter().any(|(_, o)| matches!(
        o,
        Output::Send {
            to: To::All(_),
            message: Message::Announcement(_)
        }
    )));
    assert!(
        !engine.set_addresses(at(12_000), addresses),
        "the same addresses are no change"
    );
}

#[test]
fn a_refused_clock_is_answered_with_the_servers_time_and_the_same_id() {
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
fn clock_refusals_without_end_are_followed_a_few_times_only() {
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
    assert_eq!(followed, usize::from(CLOCK_RETRIES_PER_QUERY));
}

#[test]
fn a_servers_goodbye_begins_a_new_search_and_an_old_one_played_back_does_not() {
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
    // The server is back with a later epoch; the captured goodbye is not about this start.
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
fn an_unknown_record_is_registered_anew() {
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
        "what was renewed since must not make the record look old"
    );
}

#[test]
fn an_epoch_that_a_server_has_is_overtaken_and_told() {
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
fn a_held_name_is_told_once_and_tried_again_after_a_minute() {
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
        "the same refusal is no news"
    );
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
        "no answer: the name is looked up again"
    );
}

#[test]
fn a_configured_server_that_is_reached_leaves_nothing_due_at_once() {
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
            "at {millis} ms it wakes at once for ever: {next:?}"
        );
    }
}

#[test]
fn an_announcing_server_is_taken_without_asking() {
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
        "its record's port, not the datagram's"
    );
}

#[test]
fn what_an_overheard_server_answers_says_how_it_is_found() {
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
fn the_best_method_that_was_answered_names_a_server_whichever_answer_came_first() {
    let mut engine = engine();
    // The loop comes late, as on a busy machine, and the server was not there for the first questions.
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
        "a lesser method says nothing new"
    );
}

#[test]
fn server_that_comes_when_the_fallback_asks_alone_is_named_by_what_it_was_heard_by() {
    let mut engine = engine();
    pass(&mut engine, 4_500);
    // Multicast has asked its quick questions, broadcast has one left.
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
fn server_that_answered_by_the_fallback_is_named_by_the_better_method_that_it_is_heard_by() {
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
fn server_overheard_by_a_method_that_is_not_used_here_is_named_by_what_it_answers() {
    for heard_by in [Method::Mdns, Method::Unicast] {
        let mut engine = engine();
        pass(&mut engine, 3_100);
        let record = own(2, "server", Role::Server, 1).signed().clone();
        engine.handle(
            at(3_200),
            address(SERVER),
            heard_by,
            &Message::Announcement(record),
        );
        answer(&mut engine, at(3_300), SERVER, 2, Role::Server);
        assert_eq!(
            engine.servers()[0].found_by,
            Method::Broadcast,
            "{heard_by}"
        );
    }
}

#[test]
fn server_that_the_configuration_names_is_found_by_unicast_whatever_else_it_answers() {
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

#[test]
fn late_start_of_a_method_puts_its_last_quick_question_behind_no_other_method() {
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
fn silent_server_is_followed_to_another_address_only_by_a_record_it_signed_and_no_older_one() {
    let mut engine = registered();
    // Its next record, then two renewals without an answer.
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
    assert!(engine.servers()[0].wavers());
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
fn server_that_announces_itself_from_another_address_is_asked_at_once_and_followed_if_it_is_there_no_more()
 {
    let elsewhere = address("10.0.0.66:24373");
    // Started anew, or with another address in the same run.
    for (epoch, changed) in [(2, false), (1, true)] {
        for there_still in [false, true] {
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
                "not before it was asked where it was"
            );
            let asked = pass(&mut engine, 5_010);
            let renewed = |output: &Output| matches!(output, Output::Send { to: To::One(to), message: Message::Renew(_) } if *to == address(SERVER));
            assert!(asked.iter().any(|(_, output)| renewed(output)), "{asked:?}");
            if there_still {
                let awaited = engine.servers()[0].awaited().unwrap();
                acknowledge(&mut engine, at(5_020), awaited);
            }
            pass(&mut engine, 8_000);
            let expected = if there_still {
                address(SERVER)
            } else {
                elsewhere
            };
            assert_eq!(
                engine.servers()[0].address,
                expected,
                "epoch {epoch}, there still: {there_still}"
            );
        }
    }
}

#[test]
fn interfaces_that_are_left_out_come_and_go_and_the_methods_go_on() {
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
    assert!((7..=9).contains(&resolves), "each time once: {resolves}");
}

#[test]
fn server_that_refused_and_went_makes_room() {
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
    // One that goes on refusing stays: its reason is for people to see.
    let mut refusals = 0;
    for second in 1..=300 {
        pass(&mut engine, second * 1000);
        if let Some(sequence) = engine.servers()[0].awaited() {
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
fn a_stop_says_goodbye_to_everybody_and_is_the_last_word() {
    let mut engine = registered();
    engine.stop();
    let goodbyes = outputs(&mut engine);
    assert_eq!(
        goodbyes.len(),
        3,
        "two methods and one server: {goodbyes:?}"
    );
    assert!(goodbyes.iter().all(|o| matches!(
        o,
        Output::Send {
            message: Message::Goodbye(_),
            ..
        }
    )));
    assert_eq!(engine.deadline(), None);
    assert!(engine.stop().is_none());
}

#[test]
fn no_more_servers_are_taken_than_configured() {
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
fn two_servers_at_one_address_are_told_apart_by_what_they_acknowledge() {
    let mut engine = registered();
    // The machine was set up anew and has another identity; the old one is not given up before its lease ends.
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

#[test]
fn a_goodbye_makes_no_server_whatever_it_is_wrapped_into() {
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

#[test]
fn an_acknowledgement_without_a_lease_is_none() {
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
fn numbers_that_no_node_reaches_are_not_believed() {
    let mut own = own(1, "client", Role::Client, 1);
    assert!(
        !own.overtake(u64::MAX, 0),
        "a lie would leave no epoch for the next start"
    );
    assert_eq!(own.record().epoch, 1);
    assert!(
        own.overtake(1, u64::MAX - 1),
        "a new epoch begins rather than count over the end"
    );
    assert_eq!(own.record().order(), (2, 1));
    assert!(!own.overtake(2, 1000));
    assert_eq!(own.record().order(), (2, 1001));
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
fn mdns_browses_when_its_turn_comes_and_stops_when_a_server_is_held() {
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
        "nothing is asked once a server is held"
    );
}

#[test]
fn mdns_does_not_begin_where_a_method_before_it_found_a_server() {
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
fn a_crowd_of_candidates_is_asked_within_limits_and_the_true_one_gets_its_turn() {
    let mut engine = browsing();
    let crowd = (0..1000_u16).map(|n| SocketAddr::from(([10, 9, (n >> 8) as u8, n as u8], 1)));
    crowd
        .clone()
        .for_each(|candidate| engine.candidate(at(3_100), candidate));
    assert_eq!(queries(&mut engine).len(), CANDIDATES);
    pass(&mut engine, 5_000);
    engine.candidate(at(5_000), address(SERVER));
    assert!(
        queries(&mut engine)
            .iter()
            .any(|(to, _)| *to == To::One(address(SERVER)))
    );
}

#[test]
fn a_candidate_without_the_key_is_never_believed() {
    let mut engine = browsing();
    engine.candidate(at(3_500), address(SERVER));
    // An answer that opened, but to a query that was never asked.
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
