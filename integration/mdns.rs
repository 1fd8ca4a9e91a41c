//! Multicast DNS where nothing of ours gets through.

use std::time::Duration;

use hereabouts::model::Timestamp;
use serde_json::Value;

use crate::harness::{Fleet, SOON, await_that, run};

/// A server that neither receives from the others' group nor sends any broadcast.
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
        assert_eq!(
            (&methods[0]["method"], &methods[0]["state"]),
            (&"multicast".into(), &"failed".into()),
            "{status}"
        );
        assert!(
            methods[0]["reason"]
                .as_str()
                .unwrap()
                .contains("no server of this channel answered"),
            "{status}"
        );
        assert_eq!(
            (&methods[1]["method"], &methods[1]["state"]),
            (&"mdns".into(), &"found".into()),
            "{status}"
        );
        assert!(hub.names(&[]).await.iter().any(|name| name == "laptop"));
    });
}

/// Drops what is sent to the sealed groups and by broadcast, in and out. Multicast DNS and unicast pass.
const OFF: &str = "
table inet off {
    counter multicast { }
    counter broadcast { }
    chain to_everybody {
        ip daddr 239.255.43.73 counter name multicast drop
        ip6 daddr ff12::4373 counter name multicast drop
        ip daddr & 0.0.0.255 == 0.0.0.255 counter name broadcast drop
    }
    chain input { type filter hook input priority 0; udp dport 24373 jump to_everybody; }
    chain output { type filter hook output priority 0; udp dport 24373 jump to_everybody; }
}";

#[test]
fn where_multicast_and_broadcast_are_off_a_client_by_its_defaults_finds_its_server_by_mdns_within_10_s()
 {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        hub.nft(OFF).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        let status = laptop.status().await;
        let server = &status["servers"][0];
        assert_eq!(
            (&server["name"], &server["found_by"]),
            (&"hub".into(), &"mdns".into()),
            "{status}"
        );
        // By the node's own clock, so that neither Docker nor this test counts.
        let at = |time: &Value| -> Timestamp { serde_json::from_value(time.clone()).unwrap() };
        let took = at(&server["last_acknowledged"]).since(at(&status["node"]["started"]));
        eprintln!("registered {took:?} after the node started");
        assert!(took < Duration::from_secs(10), "{took:?}: {status}");

        let methods = status["methods"].as_array().unwrap();
        let states: Vec<_> = methods
            .iter()
            .map(|view| [&view["method"], &view["state"]])
            .collect();
        assert_eq!(
            states,
            [
                ["multicast", "failed"],
                ["broadcast", "failed"],
                ["mdns", "found"]
            ],
            "{status}"
        );
        for method in &methods[..2] {
            let reason = method["reason"].as_str().unwrap();
            assert!(
                reason.starts_with("asked ")
                    && reason.ends_with("no server of this channel answered"),
                "{reason}"
            );
        }
        assert_eq!(methods[2]["servers"], 1, "{status}");
        let counters = hub.nft("list counters table inet off").await;
        assert!(
            counters.contains("multicast") && counters.contains("broadcast"),
            "{counters}"
        );
        assert!(
            !counters.contains("packets 0 "),
            "something was not dropped, as it was not sent: {counters}"
        );
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
            status["methods"][1]["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("none is a server of this"))
        })
        .await;
        assert_eq!(laptop.status().await["servers"], serde_json::json!([]));
        assert_eq!(hub.names(&[]).await, ["hub"], "no other node registered");
    });
}

#[test]
fn commands_without_a_node_fall_back_to_mdns_within_their_limit() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", ASIDE)).await;
        hub.ready().await;
        let ran = async |command: &[&str]| {
            let node = fleet
                .start(fleet.client("cron", ELSEWHERE).command(command))
                .await;
            node.ended().await
        };
        let announced = ran(&["announce"]).await;
        assert_eq!(announced.code, Some(0), "{announced:?}");
        let found = ran(&["discover", "--output", "json", "--timeout", "3s"]).await;
        assert_eq!(found.code, Some(0), "{found:?}");
        let line: serde_json::Value =
            serde_json::from_str(found.stdout.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&line["name"], &line["method"]),
            (&"hub".into(), &"mdns".into()),
            "{line}"
        );
        let known = ran(&["where", "cron", "--first"]).await;
        assert_eq!(
            (known.code, known.stdout.trim()),
            (Some(0), announced.stdout.trim()),
            "{known:?}"
        );
    });
}
