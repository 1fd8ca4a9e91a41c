//! Commands that ask a server over a session.

use std::time::Duration;

use crate::harness::{Fleet, SOON, await_that, run};

#[test]
fn the_registry_is_asked_from_any_machine_that_holds_the_key() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        hub.knows("laptop").await;
        let address = laptop.address().await;

        // On a client, and on a machine that runs nothing.
        assert_eq!(laptop.printed(&["nodes"]).await, "hub\nlaptop\n");
        let commands: [(&[&str], String); 4] = [
            (&["nodes"], "hub\nlaptop\n".to_owned()),
            (
                &["who", &address.to_string(), "--at", "0s"],
                "laptop\n".to_owned(),
            ),
            (&["where", "laptop", "--at", "0s"], format!("{address}\n")),
            (&["history", "laptop"], String::new()),
        ];
        for (command, expected) in commands {
            let ran = fleet
                .start(fleet.client("passer-by", "").command(command))
                .await
                .ended()
                .await;
            assert_eq!(ran.code, Some(0), "{command:?}: {ran:?}");
            if expected.is_empty() {
                assert!(ran.stdout.starts_with(&format!("{address}\t")), "{ran:?}");
            } else {
                assert_eq!(ran.stdout, expected, "{command:?}");
            }
        }
        assert_eq!(
            hub.names(&["--absent"]).await,
            ["hub", "laptop"],
            "who asks is not registered"
        );
    });
}

#[test]
fn watch_shows_changes_live_on_a_machine_that_runs_nothing() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet
            .start(fleet.server("hub", "registry: { lease: 5s }"))
            .await;
        hub.ready().await;
        let watcher = fleet
            .start(fleet.client("watcher", "").command(&["watch"]))
            .await;
        await_that(SOON, "the watch has begun", async || {
            hub.status().await["counters"]["sessions"]["requests"].as_u64() >= Some(1)
        })
        .await;
        let laptop = fleet
            .start(fleet.client("laptop", "registry: { lease: 5s }"))
            .await;
        laptop.ready().await;
        laptop.kill().await;
        await_that(SOON, "the laptop has left", async || {
            hub.knows("laptop").await["state"] == "expired"
        })
        .await;
        // The server's stop ends the watch.
        hub.stop().await;
        let ran = watcher.ended().await;
        let changes: Vec<_> = ran
            .stdout
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(_, rest)| rest)
            .collect();
        assert_eq!(
            changes[..2],
            ["arrived\tlaptop", "expired\tlaptop"],
            "{ran:?}"
        );
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("ended"), "{ran:?}");
    });
}

#[test]
fn without_the_key_the_tcp_port_sends_nothing() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let address = hub.address().await;
        for sent in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[1; 61], &[]] {
            let mut stream = tokio::net::TcpStream::connect((address, 24373))
                .await
                .unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            stream.write_all(sent).await.unwrap();
            let mut received = Vec::new();
            // A reset is no byte either; a peer that sends nothing is disconnected after 5 s.
            let _ =
                tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut received))
                    .await
                    .unwrap();
            assert!(received.is_empty(), "{received:?}");
        }
        let others = fleet.strangers();
        let ran = others
            .start(others.client("stranger", "").command(&["nodes"]))
            .await
            .ended()
            .await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    });
}
