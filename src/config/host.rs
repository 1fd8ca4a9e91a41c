//! What depends on the host: the default of the node's name and of the state directory, and the
//! owners of files.

use serde_json::{Map, Value, json};

use super::Config;
use super::document::Document;
use super::environment::{self, Environment};
use super::report::Problem;
use crate::model::{Accounts, NodeName};

/// Adds the host's name and the state directory where the file has none; returns where the
/// directory came from, or an empty text if the file names it.
pub(super) fn add_host_defaults(
    value: &mut Value,
    document: &Document,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> &'static str {
    let Some(root) = value.as_object_mut() else {
        return "";
    };
    let Some(node) = root
        .entry("node")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return "";
    };
    if !is_written(document, "/node/name") {
        add_name(node, document, environment, problems);
    }
    if is_written(document, "/node/state_dir") {
        ""
    } else {
        add_state_dir(node, document, environment, problems)
    }
}

fn is_written(document: &Document, pointer: &str) -> bool {
    document
        .value
        .pointer(pointer)
        .is_some_and(|value| !value.is_null())
}

fn add_name(
    node: &mut Map<String, Value>,
    document: &Document,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) {
    let name = environment.host_name().unwrap_or_default();
    match NodeName::parse(&name) {
        Ok(name) => {
            node.insert("name".into(), json!(name));
        }
        Err(error) => {
            let message = format!(
                "the host's name {name:?} can't be the name of the node: {error}; set node.name"
            );
            let span = document.span("/node/name");
            problems.push(Problem::error("/node/name", span, message));
            node.remove("name");
        }
    }
}

fn add_state_dir(
    node: &mut Map<String, Value>,
    document: &Document,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> &'static str {
    node.remove("state_dir");
    let Some((directory, origin)) = environment::state_dir(environment) else {
        let message = "there is no default, because $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME name no directory; \
                       set node.state_dir";
        let span = document.span("/node/state_dir");
        problems.push(Problem::error("/node/state_dir", span, message));
        return "";
    };
    tracing::debug!(directory = %directory.display(), origin, "the state directory has its default");
    node.insert("state_dir".into(), json!(directory));
    origin
}

/// Warns of owners that this machine does not know. The configuration may be meant for another
/// machine, and a user may be added before the node pulls the file.
pub(super) fn unknown_owners(
    config: &Config,
    document: &Document,
    environment: &dyn Environment,
) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (i, accept) in config.files.accept.iter().enumerate() {
        let Some(owner) = &accept.owner else {
            continue;
        };
        let accounts = [
            ("user", Accounts::Users, &owner.user),
            ("group", Accounts::Groups, &owner.group),
        ];
        for (kind, accounts, account) in accounts {
            let Some(account) = account else { continue };
            if environment.knows(accounts, account) {
                continue;
            }
            let pointer = format!("/files/accept/{i}/owner");
            let message = format!(
                "{} of this machine has no {kind} \"{account}\", so pulls will fail: add the {kind}, or write a number",
                accounts.path()
            );
            warnings.push(Problem::warning(&pointer, document.span(&pointer), message));
        }
    }
    warnings
}
