//! The program and the library as any user can try them: `cargo test` needs no root, no Docker and no further package.
//!
//! | module | shows |
//! |---|---|
//! | [`cli`] | help, usage errors, exit codes, completions, man pages |
//! | [`config`] | examples, samples that must be refused, the committed schema |
//! | [`datagrams`] | every datagram that is received is answered, taken or counted by a reason |
//! | [`docs`] | the pages match the code |
//! | [`files_crash`] | a file is wholly old or wholly new, whenever its writer is killed |
//! | [`layers`] | the rooms of src/ import downward only |
//! | [`memory`] | lists and files of any length pass in constant memory |
//! | [`store_crash`] | a server that is killed loses nothing that it acknowledged |
//! | [`targets`] | each test target is run by `.ci/run` |
//!
//! What needs root, network namespaces or programs of others is in `tests/privileged`, and containers are in
//! `integration`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails by a panic"
)]

mod cli;
mod config;
mod datagrams;
mod docs;
mod files_crash;
mod layers;
mod memory;
mod store_crash;
mod targets;
