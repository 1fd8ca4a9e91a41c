//! What a command does without a node: it looks up, asks a server over a session, and announces.

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

/// Why the network could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration, or a file that it names, can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The state directory can't be used.
    #[error("failed to {0}")]
    State(#[from] StateError),
    /// No socket could be bound.
    #[error("failed to {0}")]
    Bind(#[from] BindError),
    /// An ancestor's wire failed.
    #[error(transparent)]
    Compat(#[from] CompatError),
    /// Nothing is known of the network.
    #[error(
        "failed to read the interfaces: nothing was announced, as it would replace what is known; try again"
    )]
    Interfaces,
}

/// Binds a port of its own and reads keys and interfaces.
async fn open(config: &Config) -> Result<Requester, ClientError> {
    let (key_ring, _) = settings::key_ring(config, None)?;
    Ok(Requester::open(settings::lookup(config, key_ring)).await?)
}

/// Asks for servers, or with `all` for every node, and hands each answer on as it comes, each node once. Ends after
/// `window`, or when `found` breaks. Must be called within a tokio runtime, as all here.
pub async fn discover(
    config: &Config,
    all: bool,
    window: Duration,
    found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
) -> Result<(), ClientError> {
    open(config).await?.discover(all, window, found).await;
    Ok(())
}

/// Asks the servers and the node itself for a node by its name; the newest of all answers.
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

/// Asks who has an address; the most recent holder first.
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
