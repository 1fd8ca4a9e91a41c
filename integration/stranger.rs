//! A peer without the key gets no byte.

use crate::harness::{Capture, Fleet, SOON, await_that, run};

#[test]
fn a_peer_with_another_key_gets_not_a_single_packet() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        let capture = Capture::of(&fleet.network).await;

        // It asks by every method, and the server itself by unicast, both as a node and by a command.
        let others = fleet.strangers();
        let hub_address = hub.address().await;
        let unicast =
            format!("discovery: {{ fallback_after: 250ms, servers: [\"{hub_address}:24373\"] }}");
        let stranger = others.start(others.client("laptop", &unicast)).await;
        let stranger_address = stranger.address().await;
        for command in [
            &["discover"][..],
            &["where", "hub"],
            &["who", &hub_address.to_string()],
            &["announce"],
        ] {
            let ran = stranger.exec(command).await;
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (Some(3), ""),
                "{command:?}: {ran:?}"
            );
        }
        assert_eq!(stranger.exec(&["health"]).await.code, Some(1));

        // What the key's holder gets is captured: so a packet to the stranger would have been as well.
        let found = laptop.printed(&["discover"]).await;
        assert_eq!(found, format!("hub\t{hub_address}:24373\n"));
        let laptop_address = laptop.address().await;
        await_that(
            SOON,
            "the answer to the holder of the key was captured",
            async || {
                !capture
                    .packets(&format!(
                        "udp and src host {hub_address} and dst host {laptop_address}"
                    ))
                    .is_empty()
            },
        )
        .await;
        for target in [
            hub_address.to_string(),
            "239.255.43.73".to_owned(),
            "255.255.255.255".to_owned(),
        ] {
            let sent = capture.packets(&format!(
                "udp and src host {stranger_address} and dst host {target}"
            ));
            assert!(!sent.is_empty(), "the stranger sent nothing to {target}");
        }
        let received = capture.packets(&format!("dst host {stranger_address}"));
        assert!(received.is_empty(), "{received:#?}");

        let status = hub.status().await;
        assert!(
            status["counters"]["dropped"]["unknown_key"].as_u64() >= Some(3),
            "{status}"
        );
        assert_eq!(hub.names(&["--absent"]).await, ["hub", "laptop"]);
        assert_eq!(
            status["conflicts"],
            serde_json::json!([]),
            "it could not even claim a name"
        );
    });
}
