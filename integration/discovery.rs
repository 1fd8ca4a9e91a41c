//! Nodes find a server by each method.

use std::time::Duration;

use crate::harness::{Fleet, Network, Node, SOON, await_that, run};

/// Asserts that two clients of one server found it by this method and that everybody can be asked about.
async fn all_found_each_other(hub: &Node, laptop: &Node, kiosk: &Node, method: &str) {
    for client in [laptop, kiosk] {
        client.ready().await;
        // A server that announces itself at this moment may be overheard by another way first.
        await_that(SOON, "the server is found by the method", async || {
            client.status().await["servers"][0]["found_by"] == method
        })
        .await;
        let status = client.status().await;
        assert_eq!(status["servers"][0]["name"], "hub", "{status}");
        let found = status["methods"]
            .as_array()
            .unwrap()
            .iter()
            .find(|tried| tried["method"] == method);
        assert_eq!(found.unwrap()["state"], "found", "{status}");
    }
    let nodes = hub.json(&["nodes"]).await;
    for (name, node) in [("hub", hub), ("laptop", laptop), ("kiosk", kiosk)] {
        let listed = nodes
            .iter()
            .find(|node| node["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {nodes:?}"));
        assert_eq!(listed["state"], "present");
        assert_eq!(
            listed["addresses"][0]["address"],
            node.address().await.to_string(),
            "{listed}"
        );
    }
    assert_eq!(nodes.len(), 3, "{nodes:?}");
}

#[test]
fn three_nodes_find_each_other_by_multicast() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        let kiosk = fleet.start(fleet.client("kiosk", "")).await;
        all_found_each_other(&hub, &laptop, &kiosk, "multicast").await;

        let address = laptop.address().await.to_string();
        // A client passes the request on to the server, which reads its registry.
        for asked in [&kiosk, &hub] {
            assert_eq!(
                asked.printed(&["where", "laptop"]).await.lines().next(),
                Some(address.as_str())
            );
            assert_eq!(asked.printed(&["who", &address]).await, "laptop\n");
        }
        let history = hub.json(&["history", "laptop"]).await;
        assert!(
            history
                .iter()
                .any(|seen| seen["address"] == *address && seen["to"].is_null()),
            "{history:?}"
        );
        for (question, unknown) in [
            ("where", "nobody"),
            ("who", "192.0.2.1"),
            ("history", "nobody"),
        ] {
            assert_eq!(
                hub.exec(&[question, unknown]).await.code,
                Some(3),
                "{question} {unknown}"
            );
        }
        assert_eq!(kiosk.exec(&["where", "nobody"]).await.code, Some(3));
    });
}

#[test]
fn three_nodes_find_each_other_by_broadcast_without_multicast() {
    run(async {
        let fleet = Fleet::new().await;
        let by_broadcast = "discovery: { methods: [broadcast] }";
        let hub = fleet.start(fleet.server("hub", by_broadcast)).await;
        let laptop = fleet.start(fleet.client("laptop", by_broadcast)).await;
        let kiosk = fleet.start(fleet.client("kiosk", by_broadcast)).await;
        all_found_each_other(&hub, &laptop, &kiosk, "broadcast").await;
    });
}

#[test]
fn a_method_that_brings_nothing_is_followed_by_the_next() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        // What it announces at its start is also broadcast: the client has to query, and not to receive it by chance.
        await_that(SOON, "the server has announced itself", async || {
            hub.status().await["node"]["uptime_seconds"].as_u64() >= Some(3)
        })
        .await;
        // A group that the server is not in.
        let elsewhere =
            "discovery: { fallback_after: 1s, multicast: { ipv4_group: 239.255.43.74 } }";
        let laptop = fleet.start(fleet.client("laptop", elsewhere)).await;
        laptop.ready().await;
        let status = laptop.status().await;
        assert_eq!(status["servers"][0]["found_by"], "broadcast", "{status}");
        assert_eq!(status["methods"][0]["method"], "multicast", "{status}");
        assert_ne!(status["methods"][0]["state"], "found", "{status}");
        assert!(status["methods"][0]["reason"].is_string(), "{status}");
    });
}

#[test]
fn nodes_with_ipv6_alone_find_each_other_by_multicast() {
    run(async {
        let fleet = Fleet::on(Network::with_ipv6().await);
        let without_ipv4 =
            "interfaces: { addresses: { ipv4: false } }\ndiscovery: { methods: [multicast] }";
        let hub = fleet.start(fleet.server("hub", without_ipv4)).await;
        let laptop = fleet.start(fleet.client("laptop", without_ipv4)).await;
        laptop.ready().await;
        let address: std::net::IpAddr = hub
            .printed(&["where", "laptop", "--first"])
            .await
            .trim()
            .parse()
            .unwrap();
        assert!(address.is_ipv6(), "{address}");
        assert_eq!(
            hub.printed(&["who", &address.to_string()]).await,
            "laptop\n"
        );
    });
}

#[test]
fn a_server_on_another_network_is_found_by_its_name() {
    run(async {
        let fleet = Fleet::new().await;
        let far = Network::new().await;
        let hub = fleet
            .start(fleet.server("hub", "discovery: { methods: [] }"))
            .await;
        hub.connect(&far, None).await;
        let by_name = format!(
            "discovery: {{ methods: [], servers: [\"{}:24373\"] }}",
            hub.container()
        );
        let laptop = fleet.start(fleet.client("laptop", &by_name)).await;
        let kiosk = fleet
            .start(fleet.client("kiosk", &by_name).network(&far))
            .await;
        for (client, network) in [(&laptop, &fleet.network), (&kiosk, &far)] {
            client.ready().await;
            let status = client.status().await;
            let server = &status["servers"][0];
            assert_eq!(server["found_by"], "unicast", "{status}");
            assert_eq!(
                server["address"],
                format!("{}:24373", hub.address_on(network).await),
                "{status}"
            );
        }
        // Neither client reaches the other one's network; the server reports to each where the other is.
        let addresses = (
            laptop.address().await.to_string(),
            kiosk.address().await.to_string(),
        );
        assert_eq!(
            kiosk.printed(&["where", "laptop"]).await.trim(),
            addresses.0
        );
        assert_eq!(
            laptop.printed(&["where", "kiosk"]).await.trim(),
            addresses.1
        );
        assert_eq!(laptop.printed(&["who", &addresses.1]).await, "kiosk\n");
    });
}

#[test]
fn a_node_that_starts_without_a_network_joins_when_there_is_one() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let laptop = fleet.start(fleet.client("laptop", "").no_network()).await;
        await_that(SOON, "the node runs without a network", async || {
            laptop.status().await.is_object()
        })
        .await;
        let health = laptop.exec(&["health"]).await;
        assert_eq!(health.code, Some(1), "{health:?}");
        assert!(health.stdout.contains("no server"), "{health:?}");

        laptop.disconnect("none").await;
        laptop.connect(&fleet.network, None).await;
        let listed = async || hub.names(&[]).await.iter().any(|name| name == "laptop");
        let took = await_that(SOON, "the server lists it", listed).await;
        // At once, not at the next of the queries that come every half a minute.
        assert!(took < Duration::from_secs(15), "{took:?}");
        laptop.ready().await;
        assert_eq!(
            hub.printed(&["where", "laptop", "--first"]).await.trim(),
            laptop.address_on(&fleet.network).await.to_string()
        );
    });
}
