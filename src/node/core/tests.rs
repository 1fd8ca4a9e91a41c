use super::admit::WAITING_ACKNOWLEDGEMENTS;
use super::durability::BATCHES_IN_FLIGHT;
use super::*;
use crate::discovery::{EngineSettings, OwnRecord, OwnSettings, ResponderSettings};
use crate::model::{Address, Lease, Origin, Record, Role, State, Timestamp};
use crate::registry::{self, Outcome};
use crate::wire::identity::Identity;
use crate::wire::v1::{Refusal, Refused, Regarding};

const KEY: KeyId = KeyId([1, 2, 3, 4]);
const SERVER: u8 = 1;

fn at(millis: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(millis),
        wall: Timestamp(1_795_150_000_000 + millis),
    }
}

/// A server that has stored its own record.
fn server() -> Core {
    let mut core = server_with(Table::new(registry::Settings::default()), 1);
    core.store();
    for (ticket, _) in batches(&outputs(&mut core)) {
        core.durable(at(0), ticket);
    }
    core.advance(at(0));
    for (ticket, _) in batches(&outputs(&mut core)) {
        core.durable(at(0), ticket);
    }
    outputs(&mut core);
    assert_eq!(core.in_flight(), 0);
    core
}

/// A server that starts with this registry, as boot `boot` of epoch 1, and may register with others.
fn server_with(table: Table, boot: u64) -> Core {
    let mut core = server_without_addresses(table, boot);
    core.set_addresses(at(0), vec![address(1)]);
    core
}

fn server_without_addresses(table: Table, boot: u64) -> Core {
    let own = OwnSettings {
        name: NodeName::parse("server").unwrap(),
        epoch: 1,
        boot,
        lease: Lease(90),
        port: 24373,
        role: Role::Server,
        labels: Labels::default(),
    };
    let settings = EngineSettings {
        registers: true,
        methods: Vec::new(),
        fallback_after: Duration::from_secs(3),
        max_servers: 4,
        configured: 0,
        keys: vec![KEY],
        seed: 1,
    };
    let engine = Engine::new(
        at(0),
        settings,
        OwnRecord::new(Identity::from_seed(&[SERVER; 32]), KEY, own.clone()),
    );
    let responder = Responder::new(at(0), ResponderSettings::new(1), own.name, own.role);
    let settings = CoreSettings {
        info: Labels::default(),
        keys: vec![KEY],
        accepts: Vec::new(),
    };
    Core::new(at(0), engine, responder, Some(table), settings)
}

fn address(host: u8) -> Address {
    Address {
        ip: [192, 0, 2, host].into(),
        interface: None,
        origin: Origin::Interface,
    }
}

fn signed(identity: u8, sequence: u64, lease: u32) -> SignedRecord {
    let record = Record {
        name: NodeName::parse(&format!("node{identity}")).unwrap(),
        epoch: 1,
        sequence,
        boot: 7,
        lease: Lease(lease),
        addresses: vec![Address {
            ip: [10, 0, 0, identity].into(),
            interface: None,
            origin: Origin::Interface,
        }],
        port: 24373,
        role: Role::Client,
        labels: Labels::default(),
    };
    SignedRecord::sign(&record, &Identity::from_seed(&[identity; 32]), KEY).unwrap()
}

/// The route back to an address, for a request of 400 bytes.
fn return_path(to: SocketAddr) -> ReturnPath {
    let via = Via {
        local: None,
        interface: 1,
    };
    ReturnPath::new(to, via, 400)
}

/// Hands in a message from the address of an identity.
fn receive(core: &mut Core, now: Now, identity: u8, message: &Message) {
    let datagram = Datagram {
        path: return_path(([10, 0, 0, identity], 24373).into()),
        received_by: Method::Unicast,
        key: KEY,
        nonce: &[0; 24],
    };
    core.handle(now, datagram, message);
}

fn outputs(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.output()).collect()
}

/// Tickets of batches, with how many rows and pages of renewal times each has.
fn batches(outputs: &[Output]) -> Vec<(u64, (usize, usize))> {
    let batches = outputs.iter().filter_map(|output| match output {
        Output::Store { ticket, batch } => Some((*ticket, (batch.rows.len(), batch.seen.len()))),
        _ => None,
    });
    batches.collect()
}

fn acknowledged(outputs: &[Output]) -> usize {
    let replies = outputs.iter().filter(|o| {
        matches!(
            o,
            Output::Reply {
                message: Message::Registered(_),
                ..
            }
        )
    });
    replies.count()
}

fn state(core: &Core, identity: u8) -> Option<State> {
    let node = Identity::from_seed(&[identity; 32]).id();
    core.table()
        .and_then(|table| table.by_id(&node))
        .map(|node| node.state())
}

#[test]
fn goodbye_with_a_lease_is_rejected() {
    let mut core = server();
    receive(&mut core, at(10), 2, &Message::Register(signed(2, 1, 90)));
    assert_eq!(state(&core, 2), Some(State::Present));
    // A member of the channel received the node's announcement of a change, and wraps that record into a goodbye.
    receive(&mut core, at(20), 9, &Message::Goodbye(signed(2, 2, 90)));
    assert_eq!(state(&core, 2), Some(State::Present));
    assert_eq!(core.counters().forged_records, 1);
    receive(&mut core, at(30), 2, &Message::Register(signed(2, 2, 90)));
    receive(&mut core, at(40), 2, &Message::Goodbye(signed(2, 3, 0)));
    assert_eq!(state(&core, 2), Some(State::Left));
}

#[test]
fn renewal_times_use_no_ticket_that_an_acknowledgement_waits_for() {
    let mut core = server();
    let before = core.submitted;
    // The disk is slow: the limit of batches in flight is reached.
    for identity in 2..10 {
        receive(
            &mut core,
            at(10),
            identity,
            &Message::Register(signed(identity, 1, 90)),
        );
        core.store();
        assert_eq!(batches(&outputs(&mut core)).len(), 1);
    }
    assert_eq!(core.in_flight(), BATCHES_IN_FLIGHT);
    receive(&mut core, at(20), 10, &Message::Register(signed(10, 1, 90)));
    core.advance(at(2000));
    assert_eq!(
        batches(&outputs(&mut core)),
        [],
        "the row waits, and renewal times behind it"
    );
    assert!(
        core.deadline()
            .is_none_or(|at| at > Duration::from_millis(2000)),
        "no deadline for work that can't be done"
    );

    core.durable(at(2010), before + BATCHES_IN_FLIGHT);
    let done = outputs(&mut core);
    assert_eq!(acknowledged(&done), 8, "all but the one whose row waits");
    let row = before + BATCHES_IN_FLIGHT + 1;
    assert_eq!(batches(&done), [(row, (1, 0))]);
    core.advance(at(2020));
    assert_eq!(
        batches(&outputs(&mut core)),
        [(row + 1, (0, 1))],
        "renewal times follow"
    );
    core.durable(at(2030), row);
    assert_eq!(acknowledged(&outputs(&mut core)), 1);
}

#[test]
fn batch_put_back_by_a_full_store_is_acknowledged_only_when_durable() {
    let mut core = server();
    let before = core.submitted;
    receive(&mut core, at(1000), 2, &Message::Register(signed(2, 1, 90)));
    core.advance(at(1000));
    let Some(Output::Store { ticket, batch }) =
        std::iter::from_fn(|| core.output()).find(|output| {
            assert!(!matches!(output, Output::Reply { .. }));
            matches!(output, Output::Store { .. })
        })
    else {
        panic!("the row is handed out")
    };
    assert_eq!(ticket, before + 1);
    core.put_back(batch);
    assert_eq!(
        batches(&outputs(&mut core)),
        [],
        "not handed out again while there is no room"
    );
    assert_eq!(core.in_flight(), 0);
    core.durable(at(1010), ticket);
    assert_eq!(acknowledged(&outputs(&mut core)), 0);
    core.durable(at(1020), ticket);
    assert_eq!(acknowledged(&outputs(&mut core)), 1);
}

#[test]
fn renewal_is_refused_while_too_many_acknowledgements_wait() {
    let mut core = server();
    receive(&mut core, at(10), 2, &Message::Register(signed(2, 1, 90)));
    let node = Identity::from_seed(&[2; 32]);
    let server = Identity::from_seed(&[SERVER; 32]).id();
    let key = node.renewal_key_with_server(&server).unwrap();
    let renew = |sequence| Message::Renew(key.renewal(&node.id(), &server, 1, 1, sequence));
    let to: SocketAddr = ([10, 0, 0, 3], 1).into();
    let waiting = || Acknowledgement {
        ticket: u64::MAX,
        path: return_path(to),
        sequence: 1,
        lease: Lease(90),
    };
    outputs(&mut core);
    core.acknowledgements
        .extend((0..WAITING_ACKNOWLEDGEMENTS).map(|_| waiting()));
    // The renewal comes from another address, so it would have to wait for the store.
    receive(&mut core, at(20), 7, &renew(2));
    let refused = outputs(&mut core).into_iter().any(|output| {
        matches!(
            output,
            Output::Reply {
                message: Message::Refused(Refused {
                    refusal: Refusal::Rate { .. },
                    ..
                }),
                ..
            }
        )
    });
    assert!(refused);
    assert!(core.acknowledgements.len() <= WAITING_ACKNOWLEDGEMENTS + 1);
    core.acknowledgements.clear();
    receive(&mut core, at(30), 7, &renew(3));
    assert_eq!(core.acknowledgements.len(), 1);
}

#[test]
fn renewal_after_a_move_is_acknowledged_with_the_move() {
    let mut core = server();
    receive(&mut core, at(10), 2, &Message::Register(signed(2, 1, 90)));
    core.store();
    let [(ticket, _)] = batches(&outputs(&mut core))[..] else {
        panic!("the row is handed out")
    };
    core.durable(at(20), ticket);
    assert_eq!(acknowledged(&outputs(&mut core)), 1);
    let node = Identity::from_seed(&[2; 32]);
    let server = Identity::from_seed(&[SERVER; 32]).id();
    let key = node.renewal_key_with_server(&server).unwrap();
    let renew = |sequence| Message::Renew(key.renewal(&node.id(), &server, 1, 1, sequence));
    // The node renews from another address; then again, as no acknowledgement came: with a new number, and with the same
    // one.
    for (millis, sequence) in [(1000, 2), (1500, 3), (1510, 3)] {
        receive(&mut core, at(millis), 7, &renew(sequence));
    }
    core.store();
    let done = outputs(&mut core);
    assert_eq!(acknowledged(&done), 0, "the move is not durable yet");
    let [(ticket, _)] = batches(&done)[..] else {
        panic!("the row is handed out")
    };
    // The move is under way, and does not wait in the table any more.
    receive(&mut core, at(1600), 7, &renew(4));
    assert_eq!(
        acknowledged(&outputs(&mut core)),
        0,
        "the move is not durable yet"
    );
    core.durable(at(1700), ticket);
    assert_eq!(acknowledged(&outputs(&mut core)), 4);
    receive(&mut core, at(1800), 7, &renew(5));
    assert_eq!(
        acknowledged(&outputs(&mut core)),
        1,
        "a renewal that changes only the time does not wait"
    );
}

#[test]
fn renewals_do_not_wait_for_moves_of_other_nodes() {
    let mut core = server();
    for identity in [2, 3] {
        receive(
            &mut core,
            at(10),
            identity,
            &Message::Register(signed(identity, 1, 90)),
        );
    }
    core.store();
    let [(ticket, _)] = batches(&outputs(&mut core))[..] else {
        panic!("the rows are handed out")
    };
    core.durable(at(20), ticket);
    outputs(&mut core);
    let server = Identity::from_seed(&[SERVER; 32]).id();
    let renew = |identity, sequence| {
        let node = Identity::from_seed(&[identity; 32]);
        Message::Renew(node.renewal_key_with_server(&server).unwrap().renewal(
            &node.id(),
            &server,
            1,
            1,
            sequence,
        ))
    };
    receive(&mut core, at(1000), 7, &renew(2, 2));
    receive(&mut core, at(1000), 3, &renew(3, 2));
    assert_eq!(acknowledged(&outputs(&mut core)), 1);
}

/// How often the outputs say that the server's own entry changed.
fn own_changes(outputs: &[Output]) -> usize {
    outputs
        .iter()
        .filter(|output| matches!(output, Output::Event(Event::OwnChanged { .. })))
        .count()
}

#[test]
fn address_change_of_the_server_itself_is_an_event() {
    let mut core = server();
    core.set_addresses(at(1000), vec![address(1)]);
    core.advance(at(40_000));
    assert_eq!(own_changes(&outputs(&mut core)), 0, "nothing changed");
    core.set_addresses(at(50_000), vec![address(2)]);
    assert_eq!(own_changes(&outputs(&mut core)), 1);
}

#[test]
fn history_of_a_server_begins_with_its_addresses() {
    let core = server();
    let own = core.engine().own().id();
    let node = core.table().and_then(|table| table.by_id(&own)).unwrap();
    assert!(
        node.history()
            .all(|interval| interval.ip == address(1).ip && interval.to.is_none())
    );
    assert_eq!(node.history().count(), 2, "announced and observed");
}

#[test]
fn server_without_addresses_is_in_its_registry_once_its_interfaces_were_read_or_soon() {
    let mut read = server_without_addresses(Table::new(registry::Settings::default()), 1);
    read.addresses_known(at(0));
    assert_eq!(own_order(&read).1, State::Present);

    let mut core = server_without_addresses(Table::new(registry::Settings::default()), 1);
    let own = core.engine().own().id();
    let is_there = |core: &Core| {
        core.table()
            .is_some_and(|table| table.by_id(&own).is_some())
    };
    core.advance(at(0));
    assert!(!is_there(&core));
    core.advance(at(2_000));
    assert!(is_there(&core));
}

/// The order of a server's own record in its registry, and its state.
fn own_order(core: &Core) -> ((u64, u64), State) {
    let own = core
        .table()
        .and_then(|table| table.by_id(&core.engine().own().id()))
        .unwrap();
    (own.record().order(), own.state())
}

#[test]
fn server_with_an_epoch_set_back_is_in_its_registry_at_once() {
    // A registry with a later record of another start in the same epoch, as after a state directory was restored.
    for (epoch, sequence) in [(1, 200), (7, 3)] {
        let mut table = Table::new(registry::Settings::default());
        let record = Record {
            name: NodeName::parse("server").unwrap(),
            epoch,
            sequence,
            boot: 5,
            lease: Lease(90),
            addresses: Vec::new(),
            port: 24373,
            role: Role::Server,
            labels: Labels::default(),
        };
        let signed = SignedRecord::sign(&record, &Identity::from_seed(&[SERVER; 32]), KEY).unwrap();
        let source = ([127, 0, 0, 1], 24373).into();
        let registered = table.register(
            at(0),
            Registration {
                record,
                signed,
                source,
                key: KEY,
            },
        );
        assert!(matches!(registered, Outcome::Accepted { .. }));
        let mut core = server_with(table, 9);
        let (order, state) = own_order(&core);
        assert_eq!(
            (order, state),
            (core.engine().own().record().order(), State::Present)
        );
        assert!(order > (epoch, sequence));
        let raised = |o: &Output| matches!(o, Output::Event(Event::Discovery(discovery::Event::EpochRaised { epoch: to })) if *to == epoch + 1);
        assert!(
            outputs(&mut core).iter().any(raised),
            "the next start counts from there"
        );
    }
}

#[test]
fn server_refused_as_outdated_renews_its_own_entry_at_once() {
    let mut core = server();
    // It registers with another server, which has a later epoch of it.
    let other = own(3, "other");
    receive(&mut core, at(100), 3, &Message::Announcement(other));
    let registers = outputs(&mut core)
        .into_iter()
        .find_map(|output| match output {
            Output::Send {
                message: Message::Register(signed),
                ..
            } => signed.verify(|_| true).ok(),
            _ => None,
        });
    let sequence = registers.expect("it registers").sequence;
    let refusal = Refusal::Outdated {
        epoch: 6,
        sequence: 40,
    };
    let refused = Refused {
        regarding: Regarding::Sequence(sequence),
        refusal,
    };
    receive(&mut core, at(200), 3, &Message::Refused(refused));
    assert_eq!(core.engine().own().record().epoch, 7);
    assert_eq!(
        own_order(&core),
        (core.engine().own().record().order(), State::Present)
    );
}

/// The record of another server.
fn own(identity: u8, name: &str) -> SignedRecord {
    let record = Record {
        name: NodeName::parse(name).unwrap(),
        epoch: 1,
        sequence: 1,
        boot: 7,
        lease: Lease(90),
        addresses: Vec::new(),
        port: 24373,
        role: Role::Server,
        labels: Labels::default(),
    };
    SignedRecord::sign(&record, &Identity::from_seed(&[identity; 32]), KEY).unwrap()
}
