use tokio::io::DuplexStream;

use super::*;
use crate::model::Secret;
use crate::model::Timestamp;
use crate::session;
use crate::wire::keyring::KeyRing;
use crate::wire::session::{Answer, content_frame};

/// Both sides of a session.
async fn pair() -> (Session<DuplexStream>, Session<DuplexStream>) {
    let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
    let (near, far) = tokio::io::duplex(300_000);
    let (client, server) = tokio::join!(
        session::call(near, key_ring.first(), "home", Timestamp(1)),
        session::accept(far, &key_ring, "home", |_, _| true)
    );
    (client.unwrap(), server.unwrap())
}

#[tokio::test(start_paused = true)]
async fn dripping_server_is_abandoned_and_a_slow_one_is_not() {
    for (bytes, seconds, is_fast_enough) in [(1, 20, false), (0, 5, false), (MAX_CONTENT, 25, true)]
    {
        let (mut client, mut server) = pair().await;
        let answering = async move {
            let mut buffer = vec![0; content_frame::HEAD + MAX_CONTENT];
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                server.queue_content(&mut buffer, bytes).unwrap();
                server.flush().await.unwrap();
            }
            server.queue(&Answer::End).unwrap();
            server.flush().await.unwrap();
            std::future::pending::<()>().await;
        };
        let notice = Notice {
            server: crate::model::NodeId([1; 32]),
            name: "catalogue".into(),
            generation: 1,
            size: (100 * bytes) as u64,
            digest: [0; 32],
            signature: [0; 64],
        };
        let (steps, mut written) = mpsc::channel(1000);
        let (_done, free) = mpsc::channel(1);
        let mut writer = Writer { steps, free };
        let mut progress = |_| ();
        let mut download = Download::new(&notice, &mut writer, &mut progress);
        let outcome = tokio::select! {
            outcome = download.run(&mut client, 0) => outcome,
            () = answering => unreachable!(),
        };
        assert_eq!(
            outcome.is_ok(),
            is_fast_enough,
            "{bytes} bytes every {seconds} s: {outcome:?}"
        );
        assert!(
            matches!(written.recv().await, Some(Step::Write(_))),
            "the received bytes are kept"
        );
    }
}

#[tokio::test]
async fn contents_of_every_length_form_one_run_with_other_messages_between() {
    let (mut client, mut server) = pair().await;
    let contents: Vec<Vec<u8>> = [MAX_CONTENT, 3, 256, 0, 23, 24, 255, MAX_CONTENT - 1, 1]
        .iter()
        .enumerate()
        .map(|(index, length)| (0..*length).map(|at| (at * 7 + index) as u8).collect())
        .collect();
    let sending = async {
        for content in &contents {
            let mut buffer = [&[0; content_frame::HEAD], content.as_slice()].concat();
            server.queue_content(&mut buffer, content.len()).unwrap();
            server.queue(&Answer::Alive).unwrap();
        }
        server.queue(&Answer::End).unwrap();
        server.flush().await.unwrap();
        drop(server);
    };
    let mut block = Block::new();
    let receiving = async {
        let (mut lengths, mut others) = (Vec::new(), 0);
        loop {
            match block.receive(&mut client).await.unwrap() {
                Message::Content(length) => lengths.push(length),
                Message::Other => others += 1,
                Message::End => break,
                message => panic!("{message:?}"),
            }
        }
        assert!(
            block.receive(&mut client).await.is_err(),
            "the stream has ended"
        );
        (lengths, others)
    };
    let ((), (lengths, others)) = tokio::join!(sending, receiving);
    assert_eq!(lengths, contents.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(others, contents.len());
    assert!(
        block.bytes() == contents.concat(),
        "a failed receive leaves no trace in the block"
    );
}
