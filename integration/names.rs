//! A name has one owner.

use crate::harness::{Fleet, SOON, await_equal, await_that, run};

#[test]
fn a_name_can_not_be_taken_over_until_it_is_forgotten() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let owner = fleet.start(fleet.client("laptop", "")).await;
        owner.ready().await;
        let owner_address = owner.address().await.to_string();
        let owner_id = hub.knows("laptop").await["node_id"].clone();

        let claimant = fleet.start(fleet.client("laptop", "")).await;
        await_that(SOON, "the claimant was refused", async || {
            let status = claimant.status().await;
            status["servers"][0]["last_refusal"]
                .as_str()
                .is_some_and(|why| why.contains("name is held"))
        })
        .await;
        let claimant_id = claimant.status().await["node"]["node_id"].clone();
        assert_ne!(claimant_id, owner_id);
        let health = claimant.exec(&["health"]).await;
        assert_eq!(health.code, Some(1), "{health:?}");

        // The first one keeps its record, and the operator sees the claim.
        let held = hub.knows("laptop").await;
        assert_eq!(
            (&held["node_id"], &held["state"]),
            (&owner_id, &"present".into())
        );
        assert_eq!(
            hub.printed(&["where", "laptop", "--first"]).await.trim(),
            owner_address
        );
        let status = hub.status().await;
        let conflict = &status["conflicts"][0];
        assert_eq!(
            (
                &conflict["name"],
                &conflict["holder"],
                &conflict["claimant"]
            ),
            (&"laptop".into(), &owner_id, &claimant_id),
            "{status}"
        );
        assert!(
            status["counters"]["refused"]["name_held"].as_u64() >= Some(1),
            "{status}"
        );
        assert!(
            hub.logs().await.contains("hereabouts forget laptop"),
            "the log says what frees the name"
        );

        // The name of a node that left is not free: the node may come back.
        owner.stop().await;
        await_that(SOON, "the owner has left", async || {
            hub.knows("laptop").await["state"] == "left"
        })
        .await;
        assert_eq!(claimant.exec(&["announce"]).await.code, Some(1));
        assert_eq!(hub.knows("laptop").await["node_id"], owner_id);

        hub.printed(&["forget", "laptop"]).await;
        await_equal(SOON, "announce by the claimant", Some(0), async || {
            claimant.exec(&["announce"]).await.code
        })
        .await;
        let held = hub.knows("laptop").await;
        assert_eq!(
            (&held["node_id"], &held["state"]),
            (&claimant_id, &"present".into())
        );
        assert_eq!(
            hub.printed(&["where", "laptop", "--first"]).await.trim(),
            claimant.address().await.to_string()
        );
    });
}

#[test]
fn a_server_does_not_forget_itself_and_an_unknown_name_can_not_be_forgotten() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        assert_eq!(hub.exec(&["forget", "nobody"]).await.code, Some(3));
        let own = hub.exec(&["forget", "hub"]).await;
        assert_eq!(own.code, Some(1), "{own:?}");
        assert!(own.stderr.contains("own record"), "{own:?}");
        assert_eq!(hub.names(&[]).await, ["hub"]);
    });
}
