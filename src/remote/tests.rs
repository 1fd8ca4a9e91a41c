//! Sessions over loopback; the node behind them is a closure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::api::request::{ErrorKind, Item, PAGE, Request as RegistryRequest, Response};
use crate::api::session::{decode_item, encode_request};
use crate::api::view::{ChangeKind, ChangeView, Evidence, HistoryView, NodeView};
use crate::model::Secret;
use crate::model::{Labels, NodeId, Protocol, Role, State, Timestamp};
use crate::session::Peer;
use crate::session::{Session, SessionError};
use crate::transport::Clock;
use crate::wire::session::{Answer, HELLO, Initiator, Request};

const SOON: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits {
    sessions: 8,
    per_source: 8,
    idle: SOON,
};

fn key_ring(keys: &[u8]) -> KeyRing {
    let secrets: Vec<_> = keys.iter().map(|byte| Secret::key([*byte; 32])).collect();
    KeyRing::new("home", &secrets).unwrap()
}

/// A server whose node calls `node` for every request.
struct Served {
    address: SocketAddr,
    counters: Arc<SessionCounters>,
    _thread: Thread,
}

fn served(keys: &[u8], limits: Limits, mut node: impl FnMut(Call) + Send + 'static) -> Served {
    let listener = crate::net::bind_tcp("127.0.0.1".parse().unwrap(), 0).unwrap();
    let address = listener.local_addr().unwrap();
    let (calls, mut called) = mpsc::channel(4);
    std::thread::spawn(move || {
        while let Some(call) = called.blocking_recv() {
            node(call);
        }
    });
    let counters = Arc::<SessionCounters>::default();
    let (events, _) = mpsc::channel(1);
    let files = super::Served {
        identity: Identity::from_seed(&[1; 32]),
        offers: Offers::default(),
        events,
    };
    let shared = Shared::new(
        key_ring(keys),
        "home".into(),
        limits,
        calls,
        counters.clone(),
        files,
    );
    Served {
        address,
        counters,
        _thread: Thread::start(Some((listener, shared)), Vec::new()).unwrap(),
    }
}

impl Served {
    async fn connect_with(
        &self,
        key: u8,
        clock_ahead: i64,
    ) -> Result<Session<TcpStream>, SessionError> {
        let name = "hub".parse().unwrap();
        let server = Peer {
            address: self.address,
            id: NodeId([0; 32]),
            name,
            clock_ahead,
        };
        server.connect(&key_ring(&[key]), "home").await
    }

    async fn connect(&self) -> Session<TcpStream> {
        self.connect_with(1, 0).await.unwrap()
    }

    async fn await_count(&self, name: &str, expected: u64) {
        let counted = || {
            self.counters
                .all()
                .find(|(counter, _)| *counter == name)
                .map_or(0, |(_, count)| count)
        };
        let reached = async {
            while counted() < expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(SOON, reached).await;
        assert_eq!(counted(), expected, "{name}");
    }
}

fn node(name: &str) -> NodeView {
    NodeView {
        name: name.parse().unwrap(),
        node_id: NodeId([7; 32]),
        state: State::Present,
        role: Role::Client,
        addresses: Vec::new(),
        port: 24373,
        source: Some("192.0.2.9:24373".parse().unwrap()),
        labels: Labels::new([("site", "home")]).unwrap(),
        first_seen: None,
        last_seen: Timestamp(1_795_200_000_000),
        lease_seconds: 90,
        expires_in_seconds: Some(60),
        protocol: Protocol::Hereabouts,
        key: Some("1a2b3c4d".to_owned()),
        epoch: 3,
        cloned: false,
        former_names: Vec::new(),
        files: Vec::new(),
    }
}

fn registry(request: &RegistryRequest) -> Request {
    Request::Registry(encode_request(request).unwrap().into())
}

fn all_nodes() -> Request {
    registry(&RegistryRequest::Nodes {
        labels: Default::default(),
        absent: false,
        after: None,
    })
}

fn one_node(name: &str, at: Option<Timestamp>) -> Request {
    registry(&RegistryRequest::Node {
        name: name.parse().unwrap(),
        at,
    })
}

fn item(answer: &Answer<'_>) -> Item {
    match answer {
        Answer::Item(text) => decode_item(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Answers `nodes` with as many as there are, page by page.
fn registry_of(count: usize) -> impl FnMut(Call) {
    move |call| {
        let RegistryRequest::Nodes { after, .. } = &call.request else {
            panic!("{:?}", call.request)
        };
        let start = after
            .as_ref()
            .map_or(0, |after| after[1..].parse::<usize>().unwrap() + 1);
        let end = count.min(start + PAGE);
        for number in start..end {
            // A page and its end fit the channel, so the node never waits.
            call.reply
                .try_send(Item::from(node(&format!("n{number}"))).into())
                .unwrap();
        }
        let next = (end < count).then(|| format!("n{}", end - 1));
        call.reply.try_send(Response::End { next }).unwrap();
    }
}

#[tokio::test]
async fn hundred_thousand_nodes_need_one_page_of_memory() {
    let served = served(&[1], LIMITS, registry_of(100_000));
    let mut session = served.connect().await;
    session.ask(&all_nodes()).await.unwrap();
    let mut received = 0;
    loop {
        match session.answer().await.unwrap() {
            Answer::End => break,
            answer => {
                assert_eq!(item(&answer), node(&format!("n{received}")).into());
                received += 1;
            }
        }
    }
    assert_eq!(received, 100_000);
    // The session continues with the next request.
    session.ask(&Request::Offers).await.unwrap();
    assert_eq!(session.answer().await.unwrap(), Answer::End);
}

#[tokio::test]
async fn one_node_is_answered_as_it_is_now_or_as_it_was_then() {
    let interval = HistoryView {
        name: "laptop".parse().unwrap(),
        node_id: NodeId([7; 32]),
        address: "192.0.2.9".parse().unwrap(),
        evidence: Evidence::Announced,
        from: Timestamp(1),
        to: Some(Timestamp(9)),
        lost_by: None,
    };
    let then = Item::from(interval);
    let expected_then = then.clone();
    let served = served(&[1], LIMITS, move |call| {
        let answer = match &call.request {
            RegistryRequest::Node { name, .. } if name.as_str() != "laptop" => Response::error(
                ErrorKind::NotFound,
                format!("no node called '{name}' is known here"),
            ),
            RegistryRequest::Node { at: None, .. } => Item::from(node("laptop")).into(),
            RegistryRequest::Node {
                at: Some(Timestamp(5)),
                ..
            } => then.clone().into(),
            other => panic!("{other:?}"),
        };
        let failed = matches!(answer, Response::Error { .. });
        call.reply.try_send(answer).unwrap();
        if !failed {
            call.reply.try_send(Response::END).unwrap();
        }
    });
    let mut session = served.connect().await;
    for (at, expected) in [
        (None, Item::from(node("laptop"))),
        (Some(Timestamp(5)), expected_then),
    ] {
        session.ask(&one_node("laptop", at)).await.unwrap();
        assert_eq!(item(&session.answer().await.unwrap()), expected);
        assert_eq!(session.answer().await.unwrap(), Answer::End);
    }
    session.ask(&one_node("tablet", None)).await.unwrap();
    match session.answer().await.unwrap() {
        Answer::Failed {
            kind: ErrorKind::NotFound,
            message,
        } => assert!(message.contains("tablet"), "{message}"),
        other => panic!("{other:?}"),
    }
    // An unknown node ends its answer, not the session.
    session.ask(&one_node("laptop", None)).await.unwrap();
    assert!(matches!(session.answer().await.unwrap(), Answer::Item(_)));
}

#[tokio::test]
async fn caller_that_stops_reading_delays_no_other_and_is_closed() {
    let limits = Limits {
        idle: Duration::from_secs(3),
        ..LIMITS
    };
    let served = served(&[1], limits, registry_of(usize::MAX));
    let mut stuck = served.connect().await;
    stuck.ask(&all_nodes()).await.unwrap();
    let mut other = served.connect().await;
    other.ask(&all_nodes()).await.unwrap();
    for _ in 0..3 * PAGE {
        assert!(matches!(other.answer().await.unwrap(), Answer::Item(_)));
    }
    drop(other);
    served.await_count("idle", 1).await;
}

#[tokio::test]
async fn every_key_of_the_key_ring_opens_a_session() {
    let served = served(&[1, 2], LIMITS, registry_of(1));
    for key in [1, 2] {
        let mut session = served.connect_with(key, 0).await.unwrap();
        session.ask(&all_nodes()).await.unwrap();
        assert!(matches!(session.answer().await.unwrap(), Answer::Item(_)));
    }
    assert!(served.connect_with(3, 0).await.is_err());
    served.await_count("opened", 2).await;
    served.await_count("unauthenticated", 1).await;
}

#[tokio::test]
async fn a_clock_that_is_too_far_off_gets_no_word() {
    let served = served(&[1], LIMITS, registry_of(1));
    assert!(served.connect_with(1, 15_000).await.is_ok());
    assert!(served.connect_with(1, -15_000).await.is_ok());
    for ahead in [30_000, -30_000] {
        let error = served.connect_with(1, ahead).await.unwrap_err().to_string();
        assert!(error.contains("clock differs"), "{error}");
    }
}

#[tokio::test]
async fn without_the_key_not_a_byte_comes_back() {
    let served = served(&[1], LIMITS, registry_of(1));
    let clock = Clock::new().now().wall;
    let hello = |key| {
        Initiator::new(
            key_ring(&[key]).first(),
            "home",
            clock,
            zeroize::Zeroizing::new([9; 32]),
        )
        .unwrap()
        .1
    };
    // The first hello is answered, because it is fresh; a replay of it gets nothing.
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&hello(1)).await.unwrap();
    assert!(
        timeout(SOON, stream.read(&mut [0; 64]))
            .await
            .unwrap()
            .unwrap()
            > 0
    );
    for sent in [
        hello(1).to_vec(),
        hello(2).to_vec(),
        vec![0x47; 4 * HELLO],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        // A reset is no byte either.
        let _ = timeout(SOON, stream.read_to_end(&mut received))
            .await
            .unwrap();
        assert!(received.is_empty(), "{sent:02x?}");
    }
    served.await_count("unauthenticated", 4).await;
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_closed_without_a_byte() {
    let served = served(
        &[1],
        Limits {
            sessions: 3,
            per_source: 2,
            ..LIMITS
        },
        registry_of(1),
    );
    let mut first = served.connect().await;
    let _second = served.connect().await;
    assert!(served.connect_with(1, 0).await.is_err());
    served.await_count("turned_away", 1).await;
    // Open sessions still work, and one that ends makes room.
    first.ask(&all_nodes()).await.unwrap();
    assert!(matches!(first.answer().await.unwrap(), Answer::Item(_)));
    drop(first);
    timeout(SOON, async {
        while served.connect_with(1, 0).await.is_err() {}
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn idle_session_ends() {
    let served = served(
        &[1],
        Limits {
            idle: Duration::from_millis(50),
            ..LIMITS
        },
        registry_of(1),
    );
    let mut session = served.connect().await;
    let ended = timeout(SOON, session.answer()).await.unwrap();
    assert!(matches!(ended, Err(SessionError::Closed)), "{ended:?}");
    served.await_count("idle", 1).await;
}

#[tokio::test]
async fn changes_reach_watchers_until_they_leave() {
    let (replies, mut watchers) = mpsc::unbounded_channel();
    let served = served(&[1], LIMITS, move |call| {
        assert_eq!(call.request, RegistryRequest::Watch);
        replies.send(call.reply).unwrap();
    });
    let mut session = served.connect().await;
    session
        .ask(&registry(&RegistryRequest::Watch))
        .await
        .unwrap();
    let reply = timeout(SOON, watchers.recv()).await.unwrap().unwrap();
    let change = ChangeView {
        time: Timestamp(1),
        change: ChangeKind::Expired,
        name: "laptop".parse().unwrap(),
        source: None,
        node: Some(node("laptop")),
        missed: 2,
    };
    reply.send(change.clone().into()).await.unwrap();
    let answer = timeout(SOON, session.answer()).await.unwrap().unwrap();
    assert_eq!(item(&answer), change.into());
    drop(session);
    timeout(SOON, reply.closed())
        .await
        .expect("the node learns that the caller left");
}

#[tokio::test]
async fn refusal_of_the_node_keeps_its_message() {
    let served = served(&[1], LIMITS, |call| {
        call.reply
            .try_send(Response::error(ErrorKind::NotFound, "é".repeat(600)))
            .unwrap();
    });
    let mut session = served.connect().await;
    session
        .ask(&registry(&RegistryRequest::History {
            name: "laptop".parse().unwrap(),
            after: None,
        }))
        .await
        .unwrap();
    match session.answer().await.unwrap() {
        Answer::Failed {
            kind: ErrorKind::NotFound,
            message,
        } => assert_eq!(message.len(), 512),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dropped_request_fails() {
    let served = served(&[1], LIMITS, drop);
    let mut session = served.connect().await;
    session.ask(&all_nodes()).await.unwrap();
    assert!(matches!(
        session.answer().await.unwrap(),
        Answer::Failed {
            kind: ErrorKind::Failed,
            ..
        }
    ));
}

#[tokio::test]
async fn request_that_changes_the_node_is_refused_and_the_session_continues() {
    let served = served(&[1], LIMITS, |call| {
        assert!(call.request.is_remote(), "{:?}", call.request);
        registry_of(1)(call);
    });
    let mut session = served.connect().await;
    for text in [
        r#"{"type":"forget","name":"laptop"}"#,
        r#"{"type":"announce"}"#,
        r#"{"type":"explode"}"#,
        "nonsense",
    ] {
        session.ask(&Request::Registry(text.into())).await.unwrap();
        assert!(
            matches!(
                session.answer().await.unwrap(),
                Answer::Failed {
                    kind: ErrorKind::BadRequest,
                    ..
                }
            ),
            "{text}"
        );
    }
    session.ask(&all_nodes()).await.unwrap();
    assert_eq!(item(&session.answer().await.unwrap()), node("n0").into());
}
