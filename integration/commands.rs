//! What people and scripts type.

use std::net::IpAddr;

use crate::harness::{Fleet, SOON, await_that, run};

#[test]
fn where_first_prints_one_bare_address_as_ssh_wants_it() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        let address = laptop.address().await;
        for asked in [&hub, &laptop] {
            assert_eq!(
                asked.printed(&["where", "laptop", "--first"]).await,
                format!("{address}\n")
            );
        }
        // From a machine that holds the key and runs nothing.
        let passer_by = fleet
            .start(
                fleet
                    .client("passer-by", "")
                    .command(&["where", "laptop", "--first"]),
            )
            .await;
        let ran = passer_by.ended().await;
        assert_eq!(
            (ran.code, ran.stdout),
            (Some(0), format!("{address}\n")),
            "{}",
            ran.stderr
        );
        assert_eq!(
            hub.names(&["--absent"]).await,
            ["hub", "laptop"],
            "who asks is not registered"
        );
    });
}

#[test]
fn discover_lists_servers_or_everybody() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet
            .start(fleet.server("hub", "info: { services: 10.0.0.1 }"))
            .await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        laptop.ready().await;
        let found = fleet
            .start(
                fleet
                    .client("passer-by", "")
                    .command(&["discover", "--output", "json"]),
            )
            .await
            .ended()
            .await;
        let lines: Vec<serde_json::Value> = found
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 1, "{found:?}");
        assert_eq!(
            (&lines[0]["name"], &lines[0]["info"]["services"]),
            (&"hub".into(), &"10.0.0.1".into())
        );
        assert_eq!(lines[0]["source"], format!("{}:24373", hub.address().await));

        let all = fleet
            .start(
                fleet
                    .client("passer-by", "")
                    .command(&["discover", "--all", "--timeout", "3s"]),
            )
            .await;
        let ran = all.ended().await;
        let mut names: Vec<_> = ran
            .stdout
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        names.sort_unstable();
        assert_eq!(
            (ran.code, names),
            (Some(0), vec!["hub", "laptop"]),
            "{}",
            ran.stderr
        );
    });
}

#[test]
fn announce_registers_a_machine_that_runs_no_daemon() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        let cron = fleet
            .start(fleet.client("cron", "").command(&["announce"]))
            .await;
        let ran = cron.ended().await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let seen: IpAddr = ran.stdout.trim().parse().unwrap();
        assert_eq!(
            hub.printed(&["where", "cron", "--first"]).await.trim(),
            seen.to_string()
        );
        let known = hub.knows("cron").await;
        assert_eq!(known["state"], "present", "its lease continues: {known}");
        assert_eq!(hub.printed(&["who", &seen.to_string()]).await, "cron\n");
    });
}

#[test]
fn announce_without_a_server_finds_nothing() {
    run(async {
        let fleet = Fleet::new().await;
        let cron = fleet
            .start(
                fleet
                    .client("cron", "")
                    .command(&["announce", "--timeout", "1s"]),
            )
            .await;
        let ran = cron.ended().await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{ran:?}");
    });
}

#[test]
fn health_says_whether_a_node_does_its_work() {
    run(async {
        let fleet = Fleet::new().await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        await_that(SOON, "the node runs", async || {
            laptop.status().await.is_object()
        })
        .await;
        let alone = laptop.exec(&["health"]).await;
        assert_eq!(alone.code, Some(1), "{alone:?}");
        assert!(
            alone.stdout.starts_with("not ready: ") && alone.stdout.contains("no server"),
            "{alone:?}"
        );

        let hub = fleet.start(fleet.server("hub", "")).await;
        hub.ready().await;
        laptop.ready().await;
        assert_eq!(laptop.exec(&["health"]).await.stdout, "ready\n");
    });
}

#[test]
fn only_forgetting_is_done_on_the_servers_own_machine() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", "")).await;
        let laptop = fleet.start(fleet.client("laptop", "")).await;
        hub.ready().await;
        laptop.ready().await;
        let ran = laptop.exec(&["forget", "laptop"]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("run this on a server"), "{ran:?}");
    });
}
