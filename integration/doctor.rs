//! `hereabouts doctor` where it is needed most: in containers on bridges.

use serde_json::Value;

use crate::harness::{Fleet, Node, run};

/// What a doctor in the container finds, and its exit code.
async fn doctor(node: &Node) -> (Option<i64>, Vec<Value>) {
    let code = node.exec(&["doctor"]).await.code;
    (code, node.json(&["doctor"]).await)
}

/// The finding with this code. `tests/program/docs.rs` searches here for codes that no other test causes.
#[track_caller]
fn the<'a>(findings: &'a [Value], code: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["code"] == code);
    found.unwrap_or_else(|| panic!("no {code}: {findings:#?}"))
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
            let (code, findings) = doctor(node).await;
            assert!(
                findings.iter().all(|finding| finding["severity"] == "ok"),
                "{findings:#?}"
            );
            assert_eq!(code, Some(0));
        }
    });
}

#[test]
fn a_container_alone_on_its_bridge_is_advised_to_use_the_hosts_network_or_servers() {
    run(async {
        let fleet = Fleet::new().await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        let (code, findings) = doctor(&laptop).await;
        assert_eq!(code, Some(1));
        let network = the(&findings, "container_network");
        assert_eq!(network["severity"], "warning");
        assert!(
            network["remedy"]
                .as_str()
                .unwrap()
                .contains("network_mode: host"),
            "{network}"
        );
        for beside in ["node_not_ready", "peers_none", "server_none"] {
            assert!(
                findings.iter().any(|finding| finding["code"] == beside),
                "no {beside}: {findings:#?}"
            );
        }
    });
}

#[test]
fn a_name_that_another_node_holds_is_reported() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let first = fleet.start(fleet.client("laptop", "")).await;
        first.ready().await;
        let second = fleet.start(fleet.client("laptop", "")).await;
        crate::harness::await_that(
            crate::harness::SOON,
            "the server refused the second one",
            async || second.status().await["servers"][0]["last_refusal"].is_string(),
        )
        .await;
        let (_, findings) = doctor(&second).await;
        the(&findings, "server_refuses");
        let (_, findings) = doctor(&hub).await;
        the(&findings, "name_conflict");
    });
}
