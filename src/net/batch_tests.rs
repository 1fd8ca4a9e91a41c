use super::*;

fn to(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn full_batch_refuses_another_datagram() {
    let mut batch = SendBatch::new();
    for place in 0..SendBatch::MAX {
        assert_eq!(batch.push(to(1), None, |_| 1), Ok(place));
    }
    assert!(batch.is_full());
    assert_eq!(batch.push(to(1), None, |_| 1), Err(Full));
    batch.clear();
    assert_eq!(batch.push(to(1), None, |_| 1), Ok(0));
}

#[test]
fn empty_datagram_is_not_queued() {
    let mut batch = SendBatch::new();
    batch.push(to(1), None, |_| 0).unwrap();
    assert!(batch.is_empty());
}

#[test]
fn length_past_the_buffer_is_cut_to_it() {
    let mut batch = SendBatch::new();
    batch.push(to(1), None, |_| usize::MAX).unwrap();
    assert_eq!(
        batch.outgoing(true, 0).next().unwrap().1.bytes.len(),
        DATAGRAM_MAX
    );
}

#[test]
fn families_keep_their_places() {
    let mut batch = SendBatch::new();
    let v6: SocketAddr = "[::1]:9".parse().unwrap();
    for to in [to(1), v6, to(2), v6] {
        batch.push(to, None, |_| 1).unwrap();
    }
    let places = |ipv4, from| {
        batch
            .outgoing(ipv4, from)
            .map(|(place, _)| place)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (places(true, 0), places(false, 0), places(true, 1)),
        (vec![0, 2], vec![1, 3], vec![2])
    );
}

#[test]
fn answer_is_sent_from_the_requested_address() {
    let answer_source = |from: &str, to: &str, local: Option<&str>| {
        let arrival = Arrival {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            local: local.map(|ip| ip.parse().unwrap()),
            interface: 5,
            truncated: false,
        };
        arrival
            .reply_source()
            .map(|source| (source.ip.to_string(), source.interface))
    };
    let source = |ip: &str, interface| Some((ip.to_owned(), interface));
    assert_eq!(
        answer_source("10.0.0.2:9", "10.0.0.1", Some("10.0.0.1")),
        source("10.0.0.1", 0)
    );
    assert_eq!(
        answer_source("10.0.0.2:9", "255.255.255.255", Some("10.0.0.1")),
        source("10.0.0.1", 0)
    );
    assert_eq!(
        answer_source("169.254.0.2:9", "169.254.0.1", Some("169.254.0.1")),
        source("169.254.0.1", 5)
    );
    assert_eq!(
        answer_source("[fe80::2%5]:9", "ff12::4373", None),
        source("::", 5)
    );
    assert_eq!(
        answer_source("[fe80::2%5]:9", "fe80::1", Some("fe80::1")),
        source("fe80::1", 5)
    );
    assert_eq!(answer_source("[2001:db8::2]:9", "ff12::4373", None), None);
}
