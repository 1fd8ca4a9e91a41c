//! Warnings: settings without effect, and settings whose effect may surprise.

use super::{Violation, warning};
use crate::config::{Config, DiscoveryMethod, PublishTarget};
use crate::model::Role;

pub(super) fn warnings(
    config: &Config,
    is_set: &impl Fn(&str) -> bool,
    found: &mut Vec<Violation>,
) {
    if config.http.token_file.is_some()
        && config.http.listen.is_none()
        && is_set("/http/token_file")
    {
        found.push(warning(
            "/http/token_file",
            "http.token_file has no effect while http.listen is null",
        ));
    }
    let pydiscover = config.compat.pydiscover.as_ref();
    if pydiscover.is_some_and(|pydiscover| pydiscover.password_file.is_some()) {
        found.push(warning(
            "/compat/pydiscover/password_file",
            "the password protects little: PyDiscover encrypts every datagram with one key stream and verifies nothing, \
             so anyone who guesses one datagram can read and forge all others",
        ));
    }
    if config.role == Role::Client {
        client(config, is_set, found);
    }
    let publishes_to_servers = config
        .publish
        .iter()
        .any(|target| matches!(target, PublishTarget::Server {}));
    if config.role != Role::Server && !publishes_to_servers {
        found.push(warning(
            "/publish",
            "no server learns where this node is: add { type: server }",
        ));
    }
}

/// The settings that have no effect on a client.
fn client(config: &Config, is_set: &impl Fn(&str) -> bool, found: &mut Vec<Violation>) {
    // `registry.lease` has an effect on a client: the node requests it from its servers.
    for setting in ["history", "release_after", "store", "export"] {
        let pointer = format!("/registry/{setting}");
        if is_set(&pointer) {
            let message = format!(
                "registry.{setting} has no effect: role is client, and a client keeps no registry"
            );
            found.push(warning(pointer, message));
        }
    }
    if config.compat.dynip.is_some() {
        found.push(warning(
            "/compat/dynip",
            "compat.dynip has no effect: role is client, and a client keeps no registry",
        ));
    }
    let queries_pydiscover = config
        .discovery
        .methods
        .contains(&DiscoveryMethod::Pydiscover);
    if config.compat.pydiscover.is_some() && !queries_pydiscover {
        found.push(warning(
            "/compat/pydiscover",
            "compat.pydiscover has no effect: role is client, and a client answers no queries; \
             add pydiscover to discovery.methods to send queries",
        ));
    }
    if is_set("/sessions") {
        found.push(warning(
            "/sessions",
            "sessions has no effect: role is client, and a client accepts no sessions",
        ));
    }
    if is_set("/info") {
        found.push(warning(
            "/info",
            "info has no effect: role is client, and a client answers no queries",
        ));
    }
    if config.discovery.methods.is_empty() && config.discovery.servers.is_empty() {
        found.push(warning(
            "/discovery/methods",
            "this client finds no server: discovery.methods and discovery.servers are both empty",
        ));
    }
}
