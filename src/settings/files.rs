//! The settings of the distribution of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::process::Signal;

use super::SettingsError;
use crate::config::{self, AfterAction, Config, SignalName};
use crate::files::after::After;
use crate::files::webhook::Webhook;
use crate::net::HttpClient;
use crate::state_dir::StateDir;
use crate::transfer;
use crate::transfer::puller::Accepted;
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;

/// The limit of bytes that are read of a file of certificates: those of all public authorities have some 250 KiB.
const MAX_CA_FILE: u64 = 4 * 1024 * 1024;

/// The settings of the distribution of files. Reads the tokens and certificates of webhooks.
pub(crate) fn transfer(
    config: &Config,
    state: &StateDir,
    identity: &Identity,
    key_ring: &KeyRing,
) -> Result<transfer::Settings, SettingsError> {
    let mut offers = Vec::new();
    if config.role.serves() {
        for offer in &config.files.offer {
            offers.push((offer.name.as_str().into(), offer.path.clone()));
        }
    }
    let accepts = config.files.accept.iter().map(|accept| {
        Ok(Accepted {
            after: after(accept)?,
            ..accepted(accept)
        })
    });
    Ok(transfer::Settings {
        offers,
        accepts: accepts.collect::<Result<_, SettingsError>>()?,
        spread: config.files.spread.0,
        node: config.node.name.clone(),
        identity: identity.clone(),
        key_ring: key_ring.clone(),
        channel: config.channel.name.as_str().to_owned(),
        state_dir: state.path().to_owned(),
    })
}

/// The names of the files that the node accepts.
pub(crate) fn accepts(config: &Config) -> Vec<Box<str>> {
    config
        .files
        .accept
        .iter()
        .map(|accept| accept.name.as_str().into())
        .collect()
}

/// A file that the node accepts, without the action after a pull.
pub(super) fn accepted(accept: &config::Accept) -> Accepted {
    Accepted {
        name: accept.name.as_str().into(),
        path: accept.path.clone(),
        mode: accept.mode.0,
        owner: accept.owner.clone(),
        max_size: accept.max_size.0,
        server: accept.server,
        after: None,
    }
}

/// The action after a pull. Reads the token and the certificates of a webhook.
fn after(accept: &config::Accept) -> Result<Option<After>, SettingsError> {
    Ok(match &accept.after {
        Some(AfterAction::Exec { command, limit }) => Some(After::Exec {
            command: command.clone(),
            limit: limit.0,
        }),
        Some(AfterAction::Signal { pid_file, signal }) => {
            let signal = match signal {
                SignalName::Hup => Signal::HUP,
                SignalName::Usr1 => Signal::USR1,
                SignalName::Usr2 => Signal::USR2,
                SignalName::Term => Signal::TERM,
            };
            Some(After::Signal {
                pid_file: pid_file.clone(),
                signal,
            })
        }
        Some(AfterAction::Webhook {
            url,
            headers,
            token_file,
            ca_file,
            limit,
        }) => {
            let token = token_file.as_deref().map(config::read_token).transpose();
            let token = token.map_err(|error| SettingsError::Secret(vec![error]))?;
            let client = http_client(ca_file.as_deref()).map_err(|error| {
                let path = ca_file.as_deref().unwrap_or(Path::new("(built in)"));
                SettingsError::Webhook {
                    file: accept.name.to_string(),
                    reason: format!("ca_file {}: {error}", path.display()),
                }
            })?;
            Some(After::Webhook(Webhook {
                url: url.clone(),
                headers: headers.clone().into_iter().collect(),
                token,
                client,
                limit: limit.0,
            }))
        }
        None => None,
    })
}

/// A client that trusts the certificates of a file, or those that are built in.
fn http_client(ca_file: Option<&Path>) -> Result<HttpClient, Box<dyn std::error::Error>> {
    let mut text = Vec::new();
    if let Some(path) = ca_file {
        File::open(path)?.take(MAX_CA_FILE).read_to_end(&mut text)?;
    }
    Ok(HttpClient::new(ca_file.map(|_| text.as_slice()))?)
}
