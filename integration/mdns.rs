//! Multicast DNS where nothing of ours gets through.

use std::time::Duration;

use crate::harness::{Fleet, SOON, await_that, run};

/// A server that neither hears the others' group nor sends any broadcast.
const ASIDE: &str = "discovery: { methods: [multicast, mdns] }";
/// A client in another group, without broadcast.
const ELSEWHERE: &str = "discovery: { methods: [multicast, mdns], \
     multicast: { ipv4_group: 239.255.43.74, ipv6_group: \"ff12::4374\" } }";

#[test]
fn a_client_that_no_group_reaches_finds_its_server_by_mdns_within_10_s() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", ASIDE)).await;
        hub.ready().await;
        let laptop = fleet.start(fleet.client("laptop", ELSEWHERE)).await;
        let found = async || laptop.status().await["servers"][0]["last_acknowledged"].is_string();
        let took = await_that(SOON, "the client holds its server", found).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        eprintln!("found by mDNS {took:?} after the container was there");
        let status = laptop.status().await;
        assert_eq!(status["servers"][0]["name"], "hub", "{status}");
        assert_eq!(status["servers"][0]["found_by"], "mdns", "{status}");
        let methods = status["methods"].as_array().unwrap();
        assert_eq!((&methods[0]["method"], &methods[0]["state"]), (&"multicast".into(), &"failed".into()), "{status}");
        assert!(methods[0]["reason"].as_str().unwrap().contains("no server of this channel answered"), "{status}");
        assert_eq!((&methods[1]["method"], &methods[1]["state"]), (&"mdns".into(), &"found".into()), "{status}");
        assert!(hub.names(&[]).await.iter().any(|name| name == "laptop"));
    });
}

#[test]
fn strangers_find_the_announcement_and_no_server() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", ASIDE)).await;
        hub.ready().await;
        let strangers = fleet.strangers();
        let laptop = strangers.start(strangers.client("laptop", ELSEWHERE)).await;
        await_that(SOON, "the stranger asked what it found", async || {
            let status = laptop.status().await;
            status["methods"][1]["reason"].as_str().is_some_and(|reason| reason.contains("none is a server of this"))
        })
        .await;
        assert_eq!(laptop.status().await["servers"], serde_json::json!([]));
        assert_eq!(hub.names(&[]).await, ["hub"], "nobody registered");
    });
}

#[test]
fn commands_without_a_node_fall_back_to_mdns_within_their_limit() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", ASIDE)).await;
        hub.ready().await;
        let ran = async |command: &[&str]| {
            let node = fleet.start(fleet.client("cron", ELSEWHERE).command(command)).await;
            node.ended().await
        };
        let announced = ran(&["announce"]).await;
        assert_eq!(announced.code, Some(0), "{announced:?}");
        let found = ran(&["discover", "--output", "json", "--timeout", "3s"]).await;
        assert_eq!(found.code, Some(0), "{found:?}");
        let line: serde_json::Value = serde_json::from_str(found.stdout.lines().next().unwrap()).unwrap();
        assert_eq!((&line["name"], &line["method"]), (&"hub".into(), &"mdns".into()), "{line}");
        let known = ran(&["where", "cron", "--first"]).await;
        assert_eq!((known.code, known.stdout.trim()), (Some(0), announced.stdout.trim()), "{known:?}");
    });
}
