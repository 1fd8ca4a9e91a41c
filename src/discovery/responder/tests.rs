use super::*;
use crate::model::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Now {
    Now {
        elapsed: Duration::from_secs(seconds),
        wall: Timestamp(1_000_000 + seconds * 1000),
    }
}

fn responder(role: Role) -> Responder {
    let settings = ResponderSettings {
        per_source: Rate {
            per_second: 1,
            burst: 3,
        },
        ..ResponderSettings::new(7)
    };
    Responder::new(at(0), settings, NodeName::parse("own").unwrap(), role)
}

fn ask(
    responder: &mut Responder,
    now: Now,
    want: Want,
    clock: Timestamp,
    nonce: u8,
    from: &str,
) -> Verdict {
    let query = Query {
        id: 5,
        want,
        clock,
        window: SECOND,
    };
    responder.query(now, &query, &[nonce; 24], from.parse().unwrap(), (None, 1))
}

#[test]
fn server_answers_at_once_and_client_not_at_all() {
    let ask = |role| {
        ask(
            &mut responder(role),
            at(1),
            Want::Servers,
            at(1).wall,
            1,
            "10.0.0.1:9",
        )
    };
    assert_eq!(ask(Role::Server), Verdict::AnswerOwn);
    assert_eq!(ask(Role::Client), Verdict::Ignore(Ignored::NotAsked));
}

#[test]
fn nonce_is_answered_once() {
    let mut responder = responder(Role::Server);
    assert_eq!(
        ask(
            &mut responder,
            at(1),
            Want::Servers,
            at(1).wall,
            1,
            "10.0.0.1:9"
        ),
        Verdict::AnswerOwn
    );
    let again = ask(
        &mut responder,
        at(2),
        Want::Servers,
        at(1).wall,
        1,
        "10.0.0.2:9",
    );
    assert_eq!(again, Verdict::Ignore(Ignored::Replayed));
}

#[test]
fn wrong_clock_is_refused_once_a_second() {
    let mut responder = responder(Role::Server);
    let late = at(1).wall.plus(SECOND * 21);
    let first = ask(&mut responder, at(1), Want::Servers, late, 1, "10.0.0.1:9");
    let refusal = Refusal::Clock { clock: at(1).wall };
    assert_eq!(
        first,
        Verdict::Refuse(Refused {
            regarding: Regarding::Query(5),
            refusal
        })
    );
    let again = ask(&mut responder, at(1), Want::Servers, late, 2, "10.0.0.1:9");
    assert_eq!(again, Verdict::Ignore(Ignored::Clock));
    let later = ask(
        &mut responder,
        at(2),
        Want::Servers,
        late.plus(SECOND),
        3,
        "10.0.0.1:9",
    );
    assert!(matches!(later, Verdict::Refuse(_)), "{later:?}");
}

#[test]
fn source_that_asks_too_often_is_ignored_and_others_are_answered() {
    let mut responder = responder(Role::Server);
    let mut answered = 0;
    for nonce in 0..10 {
        answered += usize::from(
            ask(
                &mut responder,
                at(1),
                Want::Servers,
                at(1).wall,
                nonce,
                "10.0.0.1:9",
            ) == Verdict::AnswerOwn,
        );
    }
    assert_eq!(answered, 3);
    assert_eq!(
        ask(
            &mut responder,
            at(1),
            Want::Servers,
            at(1).wall,
            20,
            "10.0.0.2:9"
        ),
        Verdict::AnswerOwn
    );
    assert_eq!(
        ask(
            &mut responder,
            at(2),
            Want::Servers,
            at(2).wall,
            21,
            "10.0.0.1:9"
        ),
        Verdict::AnswerOwn
    );
}

#[test]
fn answers_to_all_are_spread_over_the_window() {
    let mut responder = responder(Role::Client);
    for (nonce, from) in [(1, "10.0.0.1:9"), (2, "10.0.0.2:9"), (3, "10.0.0.3:9")] {
        assert_eq!(
            ask(&mut responder, at(1), Want::All, at(1).wall, nonce, from),
            Verdict::AnswerLater
        );
    }
    let first = responder.deadline().unwrap();
    assert!(first > at(1).elapsed && first < at(2).elapsed);
    assert_eq!(responder.due(at(1)), None);
    let mut due = 0;
    while responder.due(at(2)).is_some() {
        due += 1;
    }
    assert_eq!(due, 3);
}

#[test]
fn name_is_looked_up_by_servers_and_answered_by_its_node() {
    let other = || Want::Name(NodeName::parse("other").unwrap());
    let own = || Want::Name(NodeName::parse("own").unwrap());
    let ask = |role, want| {
        ask(
            &mut responder(role),
            at(1),
            want,
            at(1).wall,
            1,
            "10.0.0.1:9",
        )
    };
    assert_eq!(ask(Role::Server, other()), Verdict::LookUp);
    assert_eq!(ask(Role::Server, own()), Verdict::AnswerOwn);
    assert_eq!(ask(Role::Client, own()), Verdict::AnswerOwn);
    assert_eq!(
        ask(Role::Client, other()),
        Verdict::Ignore(Ignored::NotAsked)
    );
}
