use super::*;

fn found(text: &[(&str, &str)], addresses: &[&str]) -> Found {
    let text = text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Found { name: "x._hereabouts._udp.local.".to_owned(), addresses, text }
}

fn link() -> Vec<InterfaceAddress> {
    vec![InterfaceAddress::new("10.0.0.1".parse().unwrap(), 24), InterfaceAddress::new("fe80::1".parse().unwrap(), 64)]
}

#[test]
fn candidates_lie_on_the_link_and_are_no_clients() {
    let all = ["10.0.0.7:24373", "192.0.2.1:24373", "10.0.0.8:0", "[fe80::7%3]:24373", "[fe80::7%4]:24373"];
    let texts = |found: &Found| candidates(found, &link(), 3).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&found(&[], &all)), ["10.0.0.7:24373", "[fe80::7%3]:24373"]);
    assert_eq!(texts(&found(&[("Hereabouts", "server")], &all)).len(), 2);
    assert!(texts(&found(&[("hereabouts", "client")], &all)).is_empty());
}

#[test]
fn a_conflict_says_name_addresses_and_mend() {
    let text = conflict("hub.local", &["10.0.0.9".parse().unwrap()]);
    for part in ["hub.local", "10.0.0.9", "node.name"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_host_on_the_internet_is_not_shown_by_default() {
    let facing = |texts: &[&str]| {
        let addresses = texts.iter().map(|text| InterfaceAddress::new(text.parse().unwrap(), 24));
        faces_internet(&addresses.collect::<Vec<_>>())
    };
    assert!(facing(&["10.0.0.1", "203.0.113.7"]));
    assert!(!facing(&["192.168.1.2", "2001:db8::7", "fe80::1"]), "IPv6 is global at home, too");
    assert!(!facing(&["2001:db8::7", "fd00::7", "fe80::1"]), "a home without IPv4");
    assert!(facing(&["2001:db8::7", "fe80::1"]), "a rented machine without IPv4");
    assert!(facing(&["2001:db8::7", "169.254.1.2"]), "an address that IPv4 made up says nothing of a site");
    assert!(!facing(&["fe80::1"]) && !facing(&["169.254.1.2"]) && !facing(&[]));
}
