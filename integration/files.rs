//! Files that a server offers and nodes take.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::harness::{Fleet, Node, SOON, State, Volume, await_that, run};

const ACCEPT: &str = "files: { spread: 0s, accept: [{ name: catalogue, path: taken }] }";

/// The image has no shell: what is offered is a file that the server itself writes again and again, its export.
const EXPORT: &str = "registry: { export: { path: nodes.json } }\n\
                      files: { offer: [{ name: catalogue, path: /var/lib/hereabouts/nodes.json }] }";

async fn generation(hub: &Node, node: &str) -> u64 {
    hub.knows(node).await["files"][0]["generation"]
        .as_u64()
        .unwrap_or(0)
}

/// An offer of a file that the test puts beside the server's config.
const OFFER: &str = "files: { offer: [{ name: catalogue, path: /etc/hereabouts/catalogue }] }";
/// Where [`ACCEPT`] puts it.
const TAKEN: &str = "var/lib/hereabouts/taken";

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

#[test]
fn a_push_reaches_all_five_nodes_that_take_the_file() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet
            .start(
                fleet
                    .server("hub", OFFER)
                    .file("catalogue", b"old".to_vec()),
            )
            .await;
        hub.ready().await;
        let names = ["five", "four", "one", "three", "two"];
        let mut nodes = Vec::new();
        for name in names {
            nodes.push(fleet.start(fleet.client(name, ACCEPT)).await);
        }
        let other = fleet.start(fleet.client("other", "")).await;
        other.ready().await;
        for name in names {
            await_that(SOON, "every node holds the first generation", async || {
                generation(&hub, name).await > 0
            })
            .await;
        }
        let old = generation(&hub, "one").await;
        let content = noise(1, 3_000_000);
        hub.put("catalogue", &content);

        let ran = hub.exec(&["push", "catalogue"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let mut lines: Vec<_> = ran
            .stdout
            .lines()
            .map(|line| line.split('\t').take(3).collect::<Vec<_>>())
            .collect();
        lines.sort_unstable();
        let new = (old + 1).to_string();
        assert_eq!(lines, names.map(|name| [name, "done", &new]), "{ran:?}");
        let digest = sha256(&content);
        for node in &nodes {
            assert_eq!(
                sha256(&std::fs::read(node.path(TAKEN).await).unwrap()),
                digest
            );
        }
        let listed = hub.json(&["nodes"]).await;
        for name in names {
            let node = listed.iter().find(|node| node["name"] == name).unwrap();
            assert_eq!(
                (&node["files"][0]["name"], &node["files"][0]["generation"]),
                (&"catalogue".into(), &(old + 1).into())
            );
            assert!(node["files"][0]["error"].is_null(), "{node}");
        }
        assert!(
            listed.iter().any(|node| node["name"] == "other"
                && node["files"].as_array().is_none_or(Vec::is_empty))
        );
        let refused = hub.exec(&["push", "nothing"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
    });
}

/// The part of a pull into [`TAKEN`] in a directory, in bytes; 0 without one.
fn part_size(directory: &Path) -> u64 {
    let mut entries = std::fs::read_dir(directory).unwrap().filter_map(Result::ok);
    let part = entries.find(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(".part"))
    });
    part.and_then(|part| part.metadata().ok())
        .map_or(0, |metadata| metadata.len())
}

#[test]
fn a_pull_whose_server_was_killed_half_way_resumes_there_when_it_is_back() {
    const SIZE: u64 = 48 << 20;
    run(async {
        let fleet = Fleet::new().await;
        let content = noise(2, SIZE as usize);
        let hub = fleet
            .server("hub", OFFER)
            .file("catalogue", content.clone());
        let hub = fleet
            .start(hub.state(State::Volume(Volume::new().await)))
            .await;
        hub.ready().await;
        // Slow enough to be caught half-way, and lossy, as what is over the rate is dropped.
        hub.nft(
            "table inet slow { chain output { type filter hook output priority 0; \
             tcp sport 24373 limit rate over 6 mbytes/second burst 256 kbytes drop; }; }",
        )
        .await;
        let kiosk = fleet.start(fleet.client("kiosk", ACCEPT)).await;
        kiosk.ready().await;
        let directory = kiosk.path("var/lib/hereabouts").await;
        await_that(SOON, "a third is there", async || {
            part_size(&directory) * 10 >= SIZE * 3
        })
        .await;
        hub.kill().await;
        let held = part_size(&directory);
        assert!(
            held < SIZE && !directory.join("taken").exists(),
            "the pull was over before the kill"
        );
        let before = kiosk.received().await;

        hub.start().await;
        await_that(
            Duration::from_secs(120),
            "the pull went on and ended",
            async || directory.join("taken").exists(),
        )
        .await;
        assert_eq!(
            sha256(&std::fs::read(directory.join("taken")).unwrap()),
            sha256(&content)
        );
        await_that(SOON, "the server knows it", async || {
            generation(&hub, "kiosk").await > 0
        })
        .await;
        // The server counts from its start on, so all that it sent is of the second part.
        let sent = hub.status().await["counters"]["sessions"]["content_bytes"]
            .as_u64()
            .unwrap();
        let rest = SIZE - held;
        assert!(
            sent > 0 && sent <= rest,
            "{sent} bytes were sent, and {rest} were missing"
        );
        // As the kernel counts, which includes headers and seals: a twentieth more.
        let received = kiosk.received().await - before;
        assert!(
            received <= rest + rest / 10,
            "{received} bytes came, and {rest} were missing"
        );
        assert_eq!(part_size(&directory), 0);
        println!(
            "killed at {held} of {SIZE} bytes; {sent} were sent afterwards, {received} came in over the interface"
        );
    });
}

#[test]
fn a_paused_node_catches_up() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT)).await;
        let kiosk = fleet.start(fleet.client("kiosk", ACCEPT)).await;
        kiosk.ready().await;
        await_that(SOON, "the kiosk has the file", async || {
            generation(&hub, "kiosk").await > 0
        })
        .await;
        kiosk.pause().await;
        // A node that arrives changes the export, and with it the file.
        let before = hub.status().await["offers"][0]["generation"]
            .as_u64()
            .unwrap();
        let late = fleet.start(fleet.client("late", "")).await;
        late.ready().await;
        await_that(SOON, "there is a newer generation", async || {
            hub.status().await["offers"][0]["generation"].as_u64() > Some(before)
        })
        .await;
        kiosk.unpause().await;
        await_that(
            Duration::from_secs(120),
            "the kiosk caught up",
            async || generation(&hub, "kiosk").await > before,
        )
        .await;
    });
}

#[test]
fn a_target_that_is_a_directory_fails_the_push_and_says_why() {
    run(async {
        let fleet = Fleet::new().await;
        let hub = fleet.start(fleet.server("hub", EXPORT)).await;
        // The target is the state directory of the node itself.
        let directory =
            "files: { spread: 0s, accept: [{ name: catalogue, path: /var/lib/hereabouts }] }";
        let kiosk = fleet.start(fleet.client("kiosk", directory)).await;
        kiosk.ready().await;
        await_that(SOON, "the server knows what went wrong", async || {
            hub.knows("kiosk").await["files"][0]["error"]
                .as_str()
                .is_some_and(|error| error.contains("is a directory"))
        })
        .await;
        let ran = hub.exec(&["push", "catalogue", "--to", "kiosk"]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stdout.contains("kiosk\tfailed\t0\t") && ran.stdout.contains("is a directory"),
            "{ran:?}"
        );
        let pulled = kiosk.exec(&["pull"]).await;
        assert_eq!(pulled.code, Some(1), "{pulled:?}");
    });
}

#[test]
fn a_server_that_was_killed_and_restarted_knows_again_who_holds_what() {
    run(async {
        let fleet = Fleet::new().await;
        let volume = Volume::new().await;
        let hub = fleet
            .start(fleet.server("hub", EXPORT).state(State::Volume(volume)))
            .await;
        let kiosk = fleet.start(fleet.client("kiosk", ACCEPT)).await;
        kiosk.ready().await;
        await_that(SOON, "the kiosk has the file", async || {
            generation(&hub, "kiosk").await > 0
        })
        .await;
        let before = generation(&hub, "kiosk").await;
        hub.kill().await;
        hub.start().await;
        await_that(
            Duration::from_secs(120),
            "the kiosk reported again what it holds",
            async || generation(&hub, "kiosk").await >= before,
        )
        .await;
    });
}
