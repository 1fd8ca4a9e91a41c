//! The legacy protocols for commands, without a running node.

use std::ops::ControlFlow;
use std::time::Duration;

use super::ClientError;
use crate::api::view::{AnnounceResult, PydiscoverFoundView};
use crate::compat::{CompatError, dynip, pydiscover};
use crate::config::Config;
use crate::net::Watch;
use crate::settings;
use crate::wire::compat::pydiscover::Answer;

/// Queries PyDiscover servers by broadcast, with the settings of the configuration, and passes each
/// answer on as it arrives.
///
/// Ends after `window`, or when `found` breaks. Must be called within a tokio runtime.
pub async fn discover_pydiscover(
    config: &Config,
    window: Duration,
    found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
) -> Result<(), ClientError> {
    let protocol = settings::pydiscover(config)?;
    let interfaces = settings::policy(config).used(&Watch::new().next().await);
    let asked = pydiscover::ask(
        &protocol.channel,
        protocol.port,
        &interfaces,
        window,
        |answer| {
            let (info, refused) = match answer.answer {
                Answer::Info(info) => (Some(info), None),
                Answer::Refused(reason) => (None, Some(reason)),
            };
            let after_ms = u64::try_from(answer.after.as_millis()).unwrap_or(u64::MAX);
            found(PydiscoverFoundView {
                source: answer.source,
                info,
                refused,
                after_ms,
            })
        },
    );
    asked
        .await
        .map_err(|reason| CompatError {
            setting: "the query by the PyDiscover protocol",
            reason,
        })
        .map_err(ClientError::from)
}

/// Sends this node's name to DynIP servers, once: to `servers`, or if there are none, to those of
/// the configuration.
///
/// Must be called within a tokio runtime.
pub async fn announce_dynip(config: &Config, servers: &[String]) -> Vec<AnnounceResult> {
    let configured = settings::dynip_servers(config)
        .into_iter()
        .map(|(server, _)| server);
    let servers: Vec<String> = if servers.is_empty() {
        configured.collect()
    } else {
        servers.to_vec()
    };
    let mut results = Vec::new();
    for server in servers {
        let error = dynip::tell(&config.node.name, &server).await.err();
        tracing::debug!(%server, error, "the name was sent to the DynIP server");
        results.push(AnnounceResult { server, error });
    }
    results
}
