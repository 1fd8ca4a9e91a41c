//! The program where root can put it: in network namespaces, on full disks, beside the programs of others.
//!
//! | module | shows | needs beside root |
//! |---|---|---|
//! | [`addresses`] | which address of a node suits which client | `ip`, `python3`, `unshare` |
//! | [`announce`] | `announce` without a running node | `ip` |
//! | [`compat`] | the legacy protocols, against scripts that implement them | `ip`, `python3`, `openssl`, `nc` |
//! | [`doctor`] | the doctor names each fault | `ip`, `nft`, `python3` |
//! | [`files`] | files over bad cables, and against members that lie | `ip`, `nft`, `setpriv`, `strace`, `python3` |
//! | [`full_disk`] | a full disk leaves the old file | `mount` |
//! | [`history`] | what the history says of the past | `ip` |
//! | [`mdns`] | multicast DNS beside other responders | `ip`, `tcpdump`, Avahi, D-Bus, `.ci/fetch-resolved` |
//! | [`network`] | the network layer on real interfaces | `ip` |
//! | [`ownership`] | whose a pulled file is | |
//! | [`policy`] | one policy for listening, sending and announcing | `ip` |
//! | [`pulls`] | which notice leads to which pull | `ip`, `nft`, `python3` |
//! | [`run_time`] | the network changes while the program runs | `ip`, `nft`, `python3` |
//! | [`signals`] | signals to a node, and a node as PID 1 | `ip`, `unshare` |
//! | [`terminal`] | what people see on a terminal | `ip`, `python3` |
//! | [`webhook`] | webhooks against a real HTTP server | `python3`, `openssl` |
//!
//! ```text
//! cargo test --features privileged --test privileged --config 'target."cfg(unix)".runner = "sudo --preserve-env"'
//! ```
//!
//! Nothing is skipped: a test whose needs are not met fails at once, and names what is missing. The stage `tools` of
//! `.ci/run` installs all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails by a panic"
)]

mod addresses;
mod announce;
mod compat;
mod doctor;
mod files;
mod full_disk;
mod history;
mod mdns;
mod namespaces;
mod needs;
mod network;
mod ownership;
mod policy;
mod pulls;
mod run_time;
mod signals;
mod terminal;
mod webhook;
