//! The rules of offered and accepted files, and of what runs after a file was pulled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{DAY, Violation, error, seconds, warning};
use crate::config::place::escape;
use crate::config::{AfterAction, Config, OfferName};
use crate::model::{HttpUrl, Role};

/// How long a command or a request after a pull may take.
const AFTER_LIMIT: RangeInclusive<Duration> = seconds(1, 3600);
/// The longest time over which pulls are spread.
const MAX_SPREAD: Duration = Duration::from_secs(DAY);

pub(super) fn violations(config: &Config, found: &mut Vec<Violation>) {
    let files = &config.files;
    if config.role == Role::Client && !files.offer.is_empty() {
        found.push(error(
            "/files/offer",
            "a client can't offer files: set role to server or both, or remove files.offer",
        ));
    }
    if files.spread.0 > MAX_SPREAD {
        found.push(error(
            "/files/spread",
            "the time over which pulls are spread is at most 1d",
        ));
    }
    unique_names("offer", files.offer.iter().map(|offer| &offer.name), found);
    unique_names(
        "accept",
        files.accept.iter().map(|accept| &accept.name),
        found,
    );
    unique_paths(config, found);
    terminals(config, found);
    for (i, accept) in files.accept.iter().enumerate() {
        if let Some(after) = &accept.after {
            action(&format!("/files/accept/{i}/after"), after, found);
        }
    }
}

fn unique_names<'a>(
    list: &str,
    names: impl Iterator<Item = &'a OfferName>,
    found: &mut Vec<Violation>,
) {
    let mut seen = HashSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name) {
            found.push(error(
                format!("/files/{list}/{i}/name"),
                format!("the name \"{name}\" occurs twice in files.{list}"),
            ));
        }
    }
}

/// With one path, each of two files would find the other file in its place at every pull.
fn unique_paths(config: &Config, found: &mut Vec<Violation>) {
    let mut seen = HashMap::new();
    for (i, accept) in config.files.accept.iter().enumerate() {
        if let Some(first) = seen.insert(accept.path.as_path(), &accept.name) {
            found.push(error(
                format!("/files/accept/{i}/path"),
                format!(
                    "{} is already the path of \"{first}\": give each file its own path",
                    accept.path.display()
                ),
            ));
        }
    }
}

/// The file for terminals must be in the list of its role.
fn terminals(config: &Config, found: &mut Vec<Violation>) {
    let Some(file) = config
        .compat
        .terminals
        .as_ref()
        .and_then(|terminals| terminals.file.as_ref())
    else {
        return;
    };
    let files = &config.files;
    let (list, is_listed) = if config.role.serves() {
        ("offer", files.offer.iter().any(|offer| offer.name == *file))
    } else {
        (
            "accept",
            files.accept.iter().any(|accept| accept.name == *file),
        )
    };
    if !is_listed {
        found.push(error(
            "/compat/terminals/file",
            format!("files.{list} has no file named \"{file}\""),
        ));
    }
}

fn action(pointer: &str, after: &AfterAction, found: &mut Vec<Violation>) {
    if let AfterAction::Exec { limit, .. } | AfterAction::Webhook { limit, .. } = after
        && !AFTER_LIMIT.contains(&limit.0)
    {
        found.push(error(
            format!("{pointer}/limit"),
            "the time limit of a command or a request must be between 1s and 1h",
        ));
    }
    let AfterAction::Webhook {
        url,
        headers,
        token_file,
        ca_file,
        ..
    } = after
    else {
        return;
    };
    header_errors(pointer, headers, found);
    if token_file.is_some() && !url.is_https() && !is_loopback(url) {
        found.push(warning(
            format!("{pointer}/token_file"),
            "the token is sent in the clear, and anyone on the network path can use it: use an https URL",
        ));
    }
    if ca_file.is_some() && !url.is_https() {
        found.push(warning(
            format!("{pointer}/ca_file"),
            "ca_file has no effect: the URL is not https",
        ));
    }
}

fn is_loopback(url: &HttpUrl) -> bool {
    let host = url.host();
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn header_errors(pointer: &str, headers: &BTreeMap<String, String>, found: &mut Vec<Violation>) {
    for (name, value) in headers {
        if let Some(message) = header_error(name, value) {
            found.push(error(
                format!("{pointer}/headers/{}", escape(name)),
                message,
            ));
        }
    }
}

/// Why a header can't be sent.
fn header_error(name: &str, value: &str) -> Option<String> {
    /// The headers that the HTTP client sets.
    const RESERVED: [&str; 8] = [
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "user-agent",
        "accept",
        "expect",
    ];
    const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
    let lower = name.to_ascii_lowercase();
    if name.is_empty()
        || name.len() > 64
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        Some("the name of a header has 1 to 64 letters, digits and '-'".into())
    } else if RESERVED.contains(&lower.as_str()) {
        Some(format!(
            "the header {name} is set by hereabouts itself: remove it"
        ))
    } else if SECRET.contains(&lower.as_str()) {
        Some(
            "a secret does not belong in the configuration: put the bearer token into a file and name it in token_file"
                .into(),
        )
    } else if value.len() > 1024 || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        Some("the value of a header has at most 1024 printable ASCII characters".into())
    } else {
        None
    }
}
