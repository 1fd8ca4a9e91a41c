//! What a command does without a running node: it queries the network, queries a server over a
//! session, registers this machine, and uses the legacy protocols.
//!
//! In goes the configuration; out come the views of [`crate::api::view`]. Each function binds a
//! port of its own and must be called within a tokio runtime. Nothing here writes to the state
//! directory, except [`announce()`], which needs its lock.

#![allow(missing_docs, reason = "the room is used by this program alone")]

mod announce;
mod compat;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::api::view::{FoundView, HolderView, NodeView};
use crate::compat::CompatError;
use crate::config::Config;
use crate::lookup::Requester;
use crate::model::NodeName;
use crate::net::BindError;
use crate::settings::{self, SettingsError};
use crate::state_dir::StateError;
use crate::wire::v1::Want;

pub use announce::announce;
pub use compat::{announce_dynip, discover_pydiscover};
pub use session::{AskError, ask_network};

/// Why the network could not be queried.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("failed to {0}")]
    State(#[from] StateError),
    #[error("failed to {0}")]
    Bind(#[from] BindError),
    #[error(transparent)]
    Compat(#[from] CompatError),
    #[error(
        "failed to read the interfaces: nothing was announced, because that would replace the known addresses; try again"
    )]
    Interfaces,
}

/// Binds a port and reads keys and interfaces.
async fn open(config: &Config) -> Result<Requester, ClientError> {
    let (key_ring, _) = settings::key_ring(config, None)?;
    Ok(Requester::open(settings::lookup(config, key_ring)).await?)
}

/// Queries for servers, or with `all` for every node, and passes each answer on as it arrives, each
/// node once. Ends after `window`, or when `found` breaks.
pub async fn discover(
    config: &Config,
    all: bool,
    window: Duration,
    found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
) -> Result<(), ClientError> {
    open(config).await?.discover(all, window, found).await;
    Ok(())
}

/// Queries the servers, and the node itself, for a node by its name; returns the newest of all
/// answers.
pub async fn look_up(
    config: &Config,
    name: &NodeName,
    limit: Duration,
) -> Result<Option<NodeView>, ClientError> {
    let found = open(config)
        .await?
        .look_up(Want::Name(name.clone()), &[] as &[SocketAddr], limit)
        .await;
    Ok(found.map(|found| found.node))
}

/// Queries which node has an address; the most recent holder comes first.
pub async fn holders(
    config: &Config,
    address: IpAddr,
    limit: Duration,
) -> Result<Vec<HolderView>, ClientError> {
    let found = open(config)
        .await?
        .look_up(
            Want::Holder(address.to_canonical()),
            &[] as &[SocketAddr],
            limit,
        )
        .await;
    Ok(found
        .map(|found| found.holder(address))
        .into_iter()
        .collect())
}
