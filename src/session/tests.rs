//! Sessions over streams in memory.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::model::Secret;
use crate::model::Timestamp;
use crate::wire::keyring::KeyRing;
use crate::wire::session::{Answer, HELLO, MAX_CONTENT, Request, content_frame};

const CLOCK: Timestamp = Timestamp(1_795_200_000_000);

fn key_ring(byte: u8) -> KeyRing {
    KeyRing::new("home", &[Secret::key([byte; 32])]).unwrap()
}

async fn pair(capacity: usize) -> (Session<DuplexStream>, Session<DuplexStream>) {
    let (near, far) = duplex(capacity);
    let key_ring = key_ring(1);
    let (caller, server) = tokio::join!(
        call(near, key_ring.first(), "home", CLOCK),
        accept(far, &key_ring, "home", |clock, _| clock == CLOCK)
    );
    (caller.unwrap(), server.unwrap())
}

#[tokio::test]
async fn requests_and_answers_pass_a_pipe_of_eight_bytes() {
    let (mut caller, mut server) = pair(8).await;
    let caller_side = async {
        caller.ask(&Request::Offers).await.unwrap();
        assert_eq!(caller.answer().await.unwrap(), Answer::Alive);
        assert_eq!(caller.answer().await.unwrap(), Answer::End);
    };
    let answering = async {
        assert_eq!(server.request().await.unwrap(), Some(Request::Offers));
        server.queue(&Answer::Alive).unwrap();
        server.queue(&Answer::End).unwrap();
        server.flush().await.unwrap();
    };
    tokio::join!(caller_side, answering);
    drop(caller);
    assert_eq!(
        server.request().await.unwrap(),
        None,
        "the caller closed the session"
    );
}

#[tokio::test]
async fn contents_of_every_length_arrive_complete() {
    let (mut caller, mut server) = pair(100_000).await;
    let lengths = [0, 1, 255, 256, 4000, MAX_CONTENT];
    let sending = async {
        for length in lengths {
            let mut buffer = vec![length as u8; content_frame::HEAD + length];
            server.queue_content(&mut buffer, length).unwrap();
            server.flush().await.unwrap();
        }
    };
    let receiving = async {
        for length in lengths {
            assert_eq!(
                caller.answer().await.unwrap(),
                Answer::Content(&vec![length as u8; length])
            );
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn dropped_receive_loses_nothing() {
    let (mut caller, mut server) = pair(8).await;
    let answering = async {
        for _ in 0..20 {
            server.queue(&Answer::Alive).unwrap();
            server.flush().await.unwrap();
        }
    };
    let receiving = async {
        let mut received = 0;
        while received < 20 {
            // The pipe holds eight bytes, so most of these futures are dropped within a frame.
            tokio::select! {
                biased;
                answer = caller.answer() => {
                    assert_eq!(answer.unwrap(), Answer::Alive);
                    received += 1;
                }
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::join!(answering, receiving);
}

#[tokio::test]
async fn stream_that_ends_within_an_answer_is_a_failure() {
    let (mut caller, server) = pair(64).await;
    drop(server);
    assert!(matches!(caller.answer().await, Err(SessionError::Closed)));
}

#[tokio::test]
async fn too_long_request_is_refused_before_it_is_read() {
    let (mut caller, mut server) = pair(100_000).await;
    // A caller that exceeds the limit: it sends a whole frame of content as a request.
    let mut buffer = vec![0; content_frame::HEAD + MAX_CONTENT];
    caller.queue_content(&mut buffer, MAX_CONTENT).unwrap();
    caller.flush().await.unwrap();
    assert!(matches!(
        server.request().await,
        Err(SessionError::TooLong { .. })
    ));
}

#[tokio::test]
async fn caller_without_the_key_receives_no_byte() {
    let holder = key_ring(1);
    let (_, recorded) = crate::wire::session::Initiator::new(
        holder.first(),
        "home",
        CLOCK,
        zeroize::Zeroizing::new([3; 32]),
    )
    .unwrap();
    let cases: [(&str, Vec<u8>, bool); 5] = [
        ("random bytes", vec![0x41; HELLO], true),
        (
            "another key",
            {
                let stranger = key_ring(2);
                let seed = zeroize::Zeroizing::new([3; 32]);
                crate::wire::session::Initiator::new(stranger.first(), "home", CLOCK, seed)
                    .unwrap()
                    .1
                    .to_vec()
            },
            true,
        ),
        (
            "a damaged hello",
            {
                let mut hello = recorded;
                hello[40] ^= 1;
                hello.to_vec()
            },
            true,
        ),
        ("a replayed hello", recorded.to_vec(), false),
        ("a part of a hello", recorded[..HELLO - 1].to_vec(), true),
    ];
    for (case, sent, fresh) in cases {
        let (mut near, far) = duplex(1024);
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        assert!(
            accept(far, &holder, "home", |_, _| fresh).await.is_err(),
            "{case}"
        );
        let mut received = Vec::new();
        near.read_to_end(&mut received).await.unwrap();
        assert!(received.is_empty(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_peer_is_given_up_after_five_seconds() {
    let (near, far) = duplex(64);
    let started = tokio::time::Instant::now();
    assert!(matches!(
        accept(far, &key_ring(1), "home", |_, _| true).await,
        Err(AcceptError::Incomplete)
    ));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    drop(near);
    // The caller does not wait for ever either.
    let (near, far) = duplex(64);
    let error = call(near, key_ring(1).first(), "home", CLOCK)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("within 5 s"), "{error}");
    drop(far);
}

#[tokio::test]
async fn silent_close_of_the_server_is_explained() {
    let (near, far) = duplex(64);
    let stranger = key_ring(2);
    let holder = key_ring(1);
    let (called, accepted) = tokio::join!(
        call(near, stranger.first(), "home", CLOCK),
        accept(far, &holder, "home", |_, _| true)
    );
    assert!(accepted.is_err());
    let error = called.unwrap_err().to_string();
    assert!(
        error.contains("another key") && error.contains("clock"),
        "{error}"
    );
}
