//! `hereabouts doctor` where it is needed most: in containers on bridges.

use crate::harness::{Fleet, Node, run};

/// What a doctor in the container finds that is not fine, and its exit code.
async fn ills(node: &Node) -> (Option<i64>, Vec<String>) {
    let code = node.exec(&["doctor"]).await.code;
    let findings = node.json(&["doctor"]).await;
    let ills = findings.iter().filter(|finding| finding["mark"] != "ok");
    (code, ills.map(|ill| ill["code"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn all_is_well_between_containers_on_one_bridge() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        hub.ready().await;
        laptop.ready().await;
        for node in [&hub, &laptop] {
            assert_eq!(ills(node).await, (Some(0), Vec::new()), "{:?}", node.json(&["doctor"]).await);
        }
    });
}

#[test]
fn a_container_alone_on_its_bridge_is_told_of_the_hosts_network_and_of_servers() {
    run(async {
        let fleet = Fleet::new().await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        let (code, ills) = ills(&laptop).await;
        assert_eq!(code, Some(1));
        for expected in ["node_not_ready", "peers_none", "server_none", "container_network"] {
            assert!(ills.iter().any(|ill| ill == expected), "no {expected}: {ills:?}");
        }
    });
}

#[test]
fn a_name_that_another_node_holds_is_told() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let first = fleet.start(fleet.client("laptop", "")).await;
        first.ready().await;
        let second = fleet.start(fleet.client("laptop", "")).await;
        crate::harness::await_that(crate::harness::SOON, "the server refused the second one", async || {
            second.status().await["servers"][0]["last_refusal"].is_string()
        })
        .await;
        assert!(ills(&second).await.1.iter().any(|ill| ill == "server_refuses"));
        assert!(ills(&hub).await.1.iter().any(|ill| ill == "name_conflict"));
    });
}
