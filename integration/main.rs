//! The program as it runs: the static binary in `FROM scratch` images, on real Docker networks.
//!
//! | module | shows |
//! |---|---|
//! | [`mdns`] | a server that no group reaches is found by multicast DNS, by nodes and by commands |
//! | [`discovery`] | nodes find a server by each method, and where there is no network at first |
//! | [`changes`] | addresses change, nodes die, leave, sleep; a server restarts or is killed |
//! | [`names`] | a name has one owner |
//! | [`files`] | files that a server offers and nodes take |
//! | [`sessions`] | commands that ask a server over a session |
//! | [`stranger`] | a peer without the key gets no byte |
//! | [`datagrams`] | what is sealed by hand: wrong clocks, damage, replay |
//! | [`commands`] | what people and scripts type |
//! | [`doctor`] | the doctor reports the cause of a fault in containers too |
//! | [`bad_starts`] | what can be wrong at the start is reported in one sentence, with the remedy |
//!
//! Needs a Docker of this machine that answers, root, `tcpdump` for the capture, `nsenter` and `nft` for networks that are slow or drop something, and `cargo build --profile dist` first; no registry and no
//! network beyond this machine. Nothing is skipped: a test whose needs are not met fails, and says how to meet them.
//!
//! ```text
//! cargo build --profile dist && cargo test --features containers --test integration -- --test-threads 6
//! ```
//!
//! Every test has networks, containers and a key of its own, and removes them. After an interrupted run, `.ci/clean`
//! removes what was left. No condition is waited for by sleeping: it is awaited, with a limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails by a panic"
)]

mod bad_starts;
mod changes;
mod commands;
mod datagrams;
mod discovery;
mod doctor;
mod files;
mod harness;
mod mdns;
mod names;
mod sessions;
mod stranger;
