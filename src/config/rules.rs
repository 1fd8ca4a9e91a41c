//! Rules across settings, and those that a schema can't say. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::document::escape;
use super::{AfterAction, Config, Method, PublishTarget};
use crate::model::Role;

/// A broken rule: the JSON pointer of the setting that is pointed at, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) pointer: String,
    pub(super) message: String,
    pub(super) is_note: bool,
}

/// The shortest lease: renewals come at a third of it, and one lost datagram must not end it.
const MIN_LEASE: Duration = Duration::from_secs(5);
/// The longest lease: a dead node is gone within a day.
const MAX_LEASE: Duration = Duration::from_secs(86_400);

/// The shortest lease of DynIP's names: cron knows no shorter pause.
const MIN_DYNIP_LEASE: Duration = Duration::from_secs(60);
/// The longest one: a name that is not heard for a month is gone.
const MAX_DYNIP_LEASE: Duration = Duration::from_secs(30 * 86_400);
/// The shortest pause between datagrams to a DynIP server, which writes its whole file for each.
const MIN_EVERY: Duration = Duration::from_secs(10);
/// How long a session may be idle: a slow link needs a second, and what is silent for an hour is gone.
const SESSION_IDLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How long a command or a request after a pull may take.
const AFTER_LIMIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// The longest spread of pulls.
const MAX_SPREAD: Duration = Duration::from_secs(86_400);

/// Every broken rule of a configuration. `is_set` tells whether the file itself has a setting.
pub(super) fn findings(config: &Config, is_set: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |pointer: String, message: String| {
        found.push(Finding {
            pointer,
            message,
            is_note: false,
        })
    };
    let lease = config.registry.lease.0;
    if !(MIN_LEASE..=MAX_LEASE).contains(&lease) {
        error("/registry/lease".into(), "a lease has 5s to 24h".into());
    }
    if !(SESSION_IDLE.0..=SESSION_IDLE.1).contains(&config.sessions.idle.0) {
        error(
            "/sessions/idle".into(),
            "a session may be idle for 1s to 1h".into(),
        );
    }
    if config.discovery.fallback_after.0.is_zero() {
        error(
            "/discovery/fallback_after".into(),
            "the next method needs a time to wait for, such as 3s".into(),
        );
    }
    let multicast = &config.discovery.multicast;
    if !multicast.ipv4_group.is_multicast() {
        error(
            "/discovery/multicast/ipv4_group".into(),
            "a multicast group lies in 224.0.0.0/4, such as 239.255.43.73".into(),
        );
    }
    if !multicast.ipv6_group.is_multicast() {
        error(
            "/discovery/multicast/ipv6_group".into(),
            "a multicast group lies in ff00::/8, such as ff12::4373".into(),
        );
    }
    if config.listen.address.is_multicast() {
        error(
            "/listen/address".into(),
            "a node listens on an address of its own; groups stand in discovery.multicast".into(),
        );
    }
    for (i, address) in config.node.advertise.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() {
            error(
                format!("/node/advertise/{i}"),
                format!("{address} is no address of one node"),
            );
        }
    }
    if config.interfaces.include.is_empty() {
        error(
            "/interfaces/include".into(),
            "without a pattern no interface is used; \"*\" takes all".into(),
        );
    }
    let addresses = config.interfaces.addresses;
    if !addresses.ipv4 && !addresses.ipv6 {
        error(
            "/interfaces/addresses".into(),
            "ipv4 and ipv6 are both off: no address is left".into(),
        );
    }
    if config.role == Role::Client && !config.files.offer.is_empty() {
        error(
            "/files/offer".into(),
            "files.offer needs a role that serves, and role is client".into(),
        );
    }
    for (i, accept) in config.files.accept.iter().enumerate() {
        if let Some(AfterAction::Exec { limit, .. } | AfterAction::Webhook { limit, .. }) =
            &accept.after
            && !(AFTER_LIMIT.0..=AFTER_LIMIT.1).contains(&limit.0)
        {
            error(
                format!("/files/accept/{i}/after/limit"),
                "a command or a request may take 1s to 1h".into(),
            );
        }
        if let Some(AfterAction::Webhook { headers, .. }) = &accept.after {
            for (name, value) in headers {
                if let Some(message) = wrong_header(name, value) {
                    error(
                        format!("/files/accept/{i}/after/headers/{}", escape(name)),
                        message,
                    );
                }
            }
        }
    }
    if config.files.spread.0 > MAX_SPREAD {
        error(
            "/files/spread".into(),
            "pulls are spread over 1d at most".into(),
        );
    }
    for (list, names) in [
        (
            "offer",
            config
                .files
                .offer
                .iter()
                .map(|offer| &offer.name)
                .collect::<Vec<_>>(),
        ),
        (
            "accept",
            config
                .files
                .accept
                .iter()
                .map(|accept| &accept.name)
                .collect(),
        ),
    ] {
        let mut seen = HashSet::new();
        for (i, name) in names.into_iter().enumerate() {
            if !seen.insert(name) {
                error(
                    format!("/files/{list}/{i}/name"),
                    format!("\"{name}\" stands twice in files.{list}"),
                );
            }
        }
    }
    // Each would find the other's file in the place of its own at every visit.
    let mut seen = HashMap::new();
    for (i, accept) in config.files.accept.iter().enumerate() {
        if let Some(first) = seen.insert(accept.path.as_path(), &accept.name) {
            let message = format!(
                "{} is the path of \"{first}\" already: each file needs its own",
                accept.path.display()
            );
            error(format!("/files/accept/{i}/path"), message);
        }
    }
    if let Some(file) = config
        .compat
        .terminals
        .as_ref()
        .and_then(|protocol| protocol.file.as_ref())
    {
        let (list, is_listed) = if config.role.serves() {
            (
                "offer",
                config.files.offer.iter().any(|offer| offer.name == *file),
            )
        } else {
            (
                "accept",
                config
                    .files
                    .accept
                    .iter()
                    .any(|accept| accept.name == *file),
            )
        };
        if !is_listed {
            error(
                "/compat/terminals/file".into(),
                format!("files.{list} has no file named \"{file}\""),
            );
        }
    }
    if config
        .compat
        .dynip
        .as_ref()
        .is_some_and(|protocol| !(MIN_DYNIP_LEASE..=MAX_DYNIP_LEASE).contains(&protocol.lease.0))
    {
        error(
            "/compat/dynip/lease".into(),
            "the lease of DynIP's names has 1m to 30d".into(),
        );
    }
    for (i, target) in config.publish.iter().enumerate() {
        if let PublishTarget::Dynip { every, .. } = target
            && !(MIN_EVERY..=MAX_LEASE).contains(&every.0)
        {
            error(
                format!("/publish/{i}/every"),
                "a DynIP server is told every 10s to 24h".into(),
            );
        }
    }
    found.extend(webhooks(config));
    if config.http.token_file.is_some()
        && config.http.listen.is_none()
        && is_set("/http/token_file")
    {
        found.push(note(
            "/http/token_file",
            "http.token_file has no effect while http.listen is null",
        ));
    }
    if config
        .compat
        .pydiscover
        .as_ref()
        .is_some_and(|protocol| protocol.password_file.is_some())
    {
        found.push(note(
            "/compat/pydiscover/password_file",
            "PyDiscover covers every datagram with one key stream and checks nothing: whoever guesses one reads all others and can forge them",
        ));
    }
    found.extend(notes(config, is_set));
    found
}

/// Why a header can't be sent.
fn wrong_header(name: &str, value: &str) -> Option<String> {
    const OURS: [&str; 8] = [
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "user-agent",
        "accept",
        "expect",
    ];
    let lower = name.to_ascii_lowercase();
    if name.is_empty()
        || name.len() > 64
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        Some("the name of a header has 1 to 64 letters, digits and '-'".into())
    } else if OURS.contains(&lower.as_str()) {
        Some(format!("the header {name} is set by hereabouts itself"))
    } else if matches!(
        lower.as_str(),
        "authorization" | "proxy-authorization" | "cookie"
    ) {
        Some(
            "secrets don't stand in the configuration: token_file names a file with a bearer token"
                .into(),
        )
    } else if value.len() > 1024 || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        Some("the value of a header has at most 1024 printable ASCII characters".into())
    } else {
        None
    }
}

/// What an operator should know of webhooks.
fn webhooks(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, accept) in config.files.accept.iter().enumerate() {
        let Some(AfterAction::Webhook {
            url,
            token_file,
            ca_file,
            ..
        }) = &accept.after
        else {
            continue;
        };
        let loopback = url.host() == "localhost"
            || url.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if token_file.is_some() && !url.is_https() && !loopback {
            let message = "the token goes over the network in the clear: whoever hears it can use it; https hides it";
            found.push(note(
                &format!("/files/accept/{i}/after/token_file"),
                message,
            ));
        }
        if ca_file.is_some() && !url.is_https() {
            found.push(note(
                &format!("/files/accept/{i}/after/ca_file"),
                "ca_file has no effect on an http URL",
            ));
        }
    }
    found
}

fn note(pointer: &str, message: &str) -> Finding {
    Finding {
        pointer: pointer.into(),
        message: message.into(),
        is_note: true,
    }
}

fn notes(config: &Config, is_set: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    if config.role == Role::Client {
        // The lease is the node's own wish as well, so it does have an effect.
        for setting in ["history", "release_after", "store", "export"] {
            let pointer = format!("/registry/{setting}");
            if is_set(&pointer) {
                found.push(note(
                    &pointer,
                    &format!(
                        "registry.{setting} has no effect: role is client, which keeps no registry"
                    ),
                ));
            }
        }
        if config.compat.dynip.is_some() {
            found.push(note(
                "/compat/dynip",
                "compat.dynip has no effect: role is client, which keeps no registry",
            ));
        }
        if config.compat.pydiscover.is_some()
            && !config.discovery.methods.contains(&Method::Pydiscover)
        {
            found.push(note(
                "/compat/pydiscover",
                "compat.pydiscover has no effect: role is client, which answers nobody, and pydiscover is none of discovery.methods",
            ));
        }
        if is_set("/sessions") {
            found.push(note(
                "/sessions",
                "sessions has no effect: role is client, which takes none",
            ));
        }
        if is_set("/info") {
            found.push(note(
                "/info",
                "info has no effect: role is client, which answers nobody",
            ));
        }
        if config.discovery.methods.is_empty() && config.discovery.servers.is_empty() {
            found.push(note(
                "/discovery/methods",
                "this client finds no server: discovery.methods and discovery.servers are both empty",
            ));
        }
    }
    if config.role != Role::Server
        && !config
            .publish
            .iter()
            .any(|target| matches!(target, PublishTarget::Server {}))
    {
        found.push(note(
            "/publish",
            "without { type: server } no server learns where this node is",
        ));
    }
    found
}
