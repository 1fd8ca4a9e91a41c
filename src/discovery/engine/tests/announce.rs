use super::*;

#[test]
fn new_address_is_registered_at_once_and_announced_within_a_second() {
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
fn stop_sends_a_goodbye_to_all_nodes_and_nothing_follows() {
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
