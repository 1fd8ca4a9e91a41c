mod announce;
mod found_by;
mod records;
mod registration;
mod search;

use std::net::SocketAddr;

use super::search::{MAX_CANDIDATES, MAX_CLOCK_RETRIES};
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

/// Advances the engine at each of its deadlines up to a moment. Returns its outputs with their
/// times.
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
