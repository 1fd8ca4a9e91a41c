//! The settings of the legacy protocols.

use std::time::Duration;

use super::files::accepted;
use super::{SettingsError, fanout, lease_of};
use crate::compat::{self, CompatError};
use crate::config::{self, Config, PublishTarget};
use crate::model::Secret;
use crate::wire::compat::pydiscover::Channel;

/// The legacy protocols that are on.
pub(crate) fn compat(config: &Config) -> Result<compat::Settings, SettingsError> {
    let serves = config.role.serves();
    let searches = config
        .discovery
        .methods
        .contains(&config::DiscoveryMethod::Pydiscover);
    let pydiscover = match &config.compat.pydiscover {
        Some(_) if serves || searches => Some(pydiscover(config)?),
        None if searches => Some(pydiscover(config)?),
        _ => None,
    };
    let dynip = config
        .compat
        .dynip
        .as_ref()
        .filter(|_| serves)
        .map(|protocol| compat::DynipSettings {
            port: protocol.port,
            lease: lease_of(protocol.lease.0),
        });
    Ok(compat::Settings {
        address: config.listen.address,
        groups: fanout(config),
        pydiscover,
        dynip,
        dynip_servers: dynip_servers(config),
        terminals: terminals(config),
    })
}

/// The DynIP servers that this node's name is sent to, and how often.
pub(crate) fn dynip_servers(config: &Config) -> Vec<(String, Duration)> {
    let servers = config.publish.iter().filter_map(|target| match target {
        PublishTarget::Dynip { server, every } => Some((server.to_string(), every.0)),
        _ => None,
    });
    servers.collect()
}

/// The settings of PyDiscover's protocol: those of `compat.pydiscover`, or its defaults. Reads the password.
pub(crate) fn pydiscover(config: &Config) -> Result<compat::PydiscoverSettings, SettingsError> {
    let protocol = config.compat.pydiscover.clone().unwrap_or_default();
    let secret = match &protocol.password_file {
        Some(path) => {
            let read = config::KeySource::PassphraseFile(path.clone()).read();
            Some(read.map_err(|error| SettingsError::Secret(vec![error]))?)
        }
        None => None,
    };
    let password = match &secret {
        Some(Secret::Passphrase(text)) => Some(text.as_str()),
        Some(Secret::Key(_)) | None => None,
    };
    let channel = Channel::new(&protocol.magic, password).map_err(|error| {
        let reason = error.to_string();
        CompatError {
            setting: "compat.pydiscover.password_file",
            reason,
        }
    })?;
    let serves = config.role.serves() && config.compat.pydiscover.is_some();
    Ok(compat::PydiscoverSettings {
        channel,
        port: protocol.port,
        password: protocol.password_file.is_some(),
        serves: serves.then(|| compat::PydiscoverAnswer {
            hidden: protocol.hidden,
            info: config.info.clone(),
        }),
        searches: config
            .discovery
            .methods
            .contains(&config::DiscoveryMethod::Pydiscover),
    })
}

/// The settings of the protocol of old terminals.
fn terminals(config: &Config) -> Option<compat::TerminalsSettings> {
    let protocol = config.compat.terminals.as_ref()?;
    let side = if config.role.serves() {
        compat::TerminalsSide::Base {
            file: protocol.file.as_ref().map(|name| name.as_str().into()),
        }
    } else {
        let accept = config
            .files
            .accept
            .iter()
            .find(|accept| Some(&accept.name) == protocol.file.as_ref());
        compat::TerminalsSide::Terminal {
            accepted: accept.map(accepted).map(Box::new),
        }
    };
    Some(compat::TerminalsSettings {
        port: protocol.port,
        side,
    })
}
