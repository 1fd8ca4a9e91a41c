use netlink_sys::protocols::NETLINK_USERSOCK;

use super::*;

impl Reader {
    /// A reader whose reads fail: its socket has another protocol.
    pub(in crate::net) fn refused() -> Self {
        let mut socket = Socket::new(NETLINK_USERSOCK).unwrap();
        socket.set_non_blocking(true).unwrap();
        socket.bind_auto().unwrap();
        Self {
            socket: sys::ready(socket).unwrap(),
            ..Self::open().unwrap()
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn link_body(index: u32, flags: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend((flags as u32).to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attributes.concat());
    body
}

fn address_body(index: u32, prefix: u8, flags: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, prefix, flags, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attributes.concat());
    body
}

fn table(messages: &[(u16, Vec<u8>)]) -> Vec<Interface> {
    let mut table = Table::default();
    for (kind, body) in messages {
        table.insert(&Message {
            kind: *kind,
            flags: 0,
            sequence: 0,
            body,
        });
    }
    table.interfaces.into_values().collect()
}

fn eth0() -> (u16, Vec<u8>) {
    let flags = libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST | libc::IFF_BROADCAST;
    let kind = attribute(
        libc::IFLA_LINKINFO,
        &attribute(libc::IFLA_INFO_KIND, b"veth\0"),
    );
    (
        libc::RTM_NEWLINK,
        link_body(7, flags, &[attribute(libc::IFLA_IFNAME, b"eth0\0"), kind]),
    )
}

#[test]
fn link_and_address_become_an_interface() {
    let broadcast = [
        attribute(libc::IFA_ADDRESS, &[10, 0, 0, 1]),
        attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]),
        attribute(libc::IFA_BROADCAST, &[10, 0, 0, 255]),
    ];
    let list = table(&[
        eth0(),
        (libc::RTM_NEWADDR, address_body(7, 24, 0, &broadcast)),
    ]);
    let [interface] = &list[..] else {
        panic!("{list:?}")
    };
    assert_eq!(
        (
            interface.index,
            interface.name.as_str(),
            interface.kind.as_deref()
        ),
        (7, "eth0", Some("veth"))
    );
    assert!(interface.up && interface.multicast && interface.broadcast);
    assert!(!interface.loopback && !interface.point_to_point);
    let address = interface.addresses[0];
    assert_eq!(
        (address.ip, address.prefix),
        ("10.0.0.1".parse().unwrap(), 24)
    );
    assert_eq!(address.broadcast, Some(Ipv4Addr::new(10, 0, 0, 255)));
}

#[test]
fn local_end_of_a_tunnel_is_the_address() {
    let ends = [
        attribute(libc::IFA_ADDRESS, &[10, 0, 0, 2]),
        attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]),
    ];
    let list = table(&[eth0(), (libc::RTM_NEWADDR, address_body(7, 32, 0, &ends))]);
    assert_eq!(
        list[0].addresses[0].ip,
        "10.0.0.1".parse::<IpAddr>().unwrap()
    );
}

#[test]
fn address_flags_are_read() {
    let v6 = attribute(
        libc::IFA_ADDRESS,
        &"fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
    );
    let v4 = attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]);
    for (ip, flags, temporary, deprecated, tentative) in [
        (&v6, libc::IFA_F_TEMPORARY, true, false, false),
        (&v4, libc::IFA_F_SECONDARY, false, false, false),
        (&v6, libc::IFA_F_DEPRECATED, false, true, false),
        (&v6, libc::IFA_F_TENTATIVE, false, false, true),
        (
            &v6,
            libc::IFA_F_TENTATIVE | libc::IFA_F_OPTIMISTIC,
            false,
            false,
            false,
        ),
        (&v6, libc::IFA_F_DADFAILED, false, false, true),
    ] {
        let long = attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        for body in [
            address_body(7, 64, flags as u8, std::slice::from_ref(ip)),
            address_body(7, 64, 0, &[ip.clone(), long]),
        ] {
            let list = table(&[eth0(), (libc::RTM_NEWADDR, body)]);
            let address = list[0].addresses[0];
            let found = (address.temporary, address.deprecated, address.tentative);
            assert_eq!(found, (temporary, deprecated, tentative), "{flags:#x}");
        }
    }
}

#[test]
fn malformed_attribute_is_skipped_alone() {
    let odd = [
        attribute(libc::IFLA_LINKINFO, &[9, 0]),
        attribute(60_000, &[1; 3]),
        attribute(libc::IFLA_IFNAME, b"x0\0"),
    ];
    let list = table(&[(libc::RTM_NEWLINK, link_body(3, libc::IFF_UP, &odd))]);
    assert_eq!(
        (list[0].name.as_str(), list[0].up, list[0].kind.as_deref()),
        ("x0", false, None)
    );
}

#[test]
fn unprintable_name_and_unknown_index_are_skipped() {
    let nameless = link_body(3, 0, &[attribute(libc::IFLA_IFNAME, "é\0".as_bytes())]);
    let stray = address_body(99, 24, 0, &[attribute(libc::IFA_LOCAL, &[10, 0, 0, 1])]);
    assert!(table(&[(libc::RTM_NEWLINK, nameless), (libc::RTM_NEWADDR, stray)]).is_empty());
}

#[test]
fn dump_request_is_a_complete_message() {
    let request = dump_request(libc::RTM_GETLINK, 5);
    let (message, rest) = Message::split(&request).unwrap();
    assert_eq!(
        (message.kind, message.sequence, message.body.len()),
        (libc::RTM_GETLINK, 5, LINK_HEADER)
    );
    assert!(rest.is_empty());
}

#[test]
fn kernel_refusal_is_an_error() {
    let refused = Message {
        kind: libc::NLMSG_ERROR as u16,
        flags: 0,
        sequence: 1,
        body: &(-libc::EPERM).to_ne_bytes(),
    };
    assert_eq!(refused.error().kind(), io::ErrorKind::PermissionDenied);
    let senseless = Message {
        body: &i32::MIN.to_ne_bytes(),
        ..refused
    };
    assert_eq!(senseless.error().raw_os_error(), Some(libc::EPROTO));
}

proptest::proptest! {
    #[test]
    fn decode_no_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512), kind in 16_u16..22) {
        let mut rest = &bytes[..];
        while let Some((message, after)) = Message::split(rest) {
            proptest::prop_assert!(after.len() < rest.len());
            rest = after;
            Table::default().insert(&message);
        }
        let mut table = Table::default();
        table.insert(&Message { kind: libc::RTM_NEWLINK, flags: 0, sequence: 0, body: &eth0().1 });
        table.insert(&Message { kind, flags: 0, sequence: 0, body: &bytes });
    }
}
