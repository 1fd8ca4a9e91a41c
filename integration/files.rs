//! Files that a server offers and nodes take.

use std::time::Duration;

use crate::harness::{Fleet, Node, SOON, State, Volume, await_that, run};

const ACCEPT: &str = "files: { spread: 0s, accept: [{ name: catalogue, path: taken }] }";

/// The image has no shell: what is offered is a file that the server itself writes anew, its export.
const EXPORT: &str = "registry: { export: { path: nodes.json } }\n\
                      files: { offer: [{ name: catalogue, path: /var/lib/hereabouts/nodes.json }] }";

async fn generation(hub: &Node, node: &str) -> u64 {
    hub.knows(node).await["files"][0]["generation"].as_u64().unwrap_or(0)
}

#[test]
fn a_push_reaches_every_node_that_takes_the_file() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT)).await;
        hub.ready().await;
        let mut nodes = Vec::new();
        for name in ["one", "two", "three", "four"] {
            nodes.push(fleet.start(fleet.client(name, ACCEPT)).await);
        }
        let other = fleet.start(fleet.client("other", "")).await;
        other.ready().await;
        for node in &nodes {
            node.ready().await;
        }
        for name in ["one", "two", "three", "four"] {
            await_that(SOON, "the server knows who takes the file", async || {
                hub.knows(name).await["files"].as_array().is_some_and(|files| !files.is_empty())
            })
            .await;
        }
        let ran = hub.exec(&["push", "catalogue"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let mut lines: Vec<_> = ran.stdout.lines().collect();
        lines.sort_unstable();
        let names: Vec<_> = lines.iter().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, ["four", "one", "three", "two"], "{ran:?}");
        assert!(lines.iter().all(|line| line.contains("\tdone\t")), "{ran:?}");
        let offered = hub.status().await["offers"][0]["generation"].as_u64().unwrap();
        for name in names {
            assert!(generation(&hub, name).await >= offered - 1, "{name}");
        }
        let refused = hub.exec(&["push", "nothing"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
    });
}

#[test]
fn a_paused_node_catches_up() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT)).await;
        let kiosk = fleet.start(fleet.client("kiosk", ACCEPT)).await;
        kiosk.ready().await;
        await_that(SOON, "the kiosk has the file", async || generation(&hub, "kiosk").await > 0).await;
        kiosk.pause().await;
        // A node that arrives changes the export, and with it the file.
        let before = hub.status().await["offers"][0]["generation"].as_u64().unwrap();
        let late = fleet.start(fleet.client("late", "")).await;
        late.ready().await;
        await_that(SOON, "there is a newer generation", async || {
            hub.status().await["offers"][0]["generation"].as_u64() > Some(before)
        })
        .await;
        kiosk.unpause().await;
        await_that(Duration::from_secs(120), "the kiosk caught up", async || generation(&hub, "kiosk").await > before)
            .await;
    });
}

#[test]
fn a_target_that_is_a_folder_fails_the_push_and_says_why() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT)).await;
        // The state folder of the node itself stands in the way.
        let folder = "files: { spread: 0s, accept: [{ name: catalogue, path: /var/lib/hereabouts }] }";
        let kiosk = fleet.start(fleet.client("kiosk", folder)).await;
        kiosk.ready().await;
        await_that(SOON, "the server knows what went wrong", async || {
            hub.knows("kiosk").await["files"][0]["error"].as_str().is_some_and(|error| error.contains("is a folder"))
        })
        .await;
        let ran = hub.exec(&["push", "catalogue", "--to", "kiosk"]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("kiosk\tfailed\t0\t") && ran.stdout.contains("is a folder"), "{ran:?}");
        let pulled = kiosk.exec(&["pull"]).await;
        assert_eq!(pulled.code, Some(1), "{pulled:?}");
    });
}

#[test]
fn a_server_that_was_killed_and_restarted_knows_again_who_holds_what() {
    run(async {
        let fleet = Fleet::new().await;
        let volume = Volume::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT).state(State::Volume(volume))).await;
        let kiosk = fleet.start(fleet.client("kiosk", ACCEPT)).await;
        kiosk.ready().await;
        await_that(SOON, "the kiosk has the file", async || generation(&hub, "kiosk").await > 0).await;
        let before = generation(&hub, "kiosk").await;
        hub.kill().await;
        hub.start().await;
        await_that(Duration::from_secs(120), "the kiosk said again what it holds", async || {
            generation(&hub, "kiosk").await >= before
        })
        .await;
    });
}
