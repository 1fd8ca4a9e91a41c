//! What a command stands on: the config, the node of this machine, and the network.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::Failure;
use super::network::{Network, Open};
use crate::api::control::{self, AskError};
use crate::api::request::{ErrorKind, Item, Request};

/// How long the node of this machine may take for what it knows by itself.
pub const LOCAL_LIMIT: Duration = Duration::from_secs(10);

/// The config and what it leads to, each read when a command first needs it.
pub struct Context<'a> {
    open: &'a Open,
    file: Option<PathBuf>,
    network: OnceCell<Box<dyn Network>>,
}

impl<'a> Context<'a> {
    /// A context whose config is `file`, or is searched for.
    pub fn new(open: &'a Open, file: Option<PathBuf>) -> Self {
        Self { open, file, network: OnceCell::new() }
    }

    /// The network, as the config describes it. A config that can't be used is [`Failure::Config`].
    pub fn network(&self) -> Result<&dyn Network, Failure> {
        if let Some(network) = self.network.get() {
            return Ok(network.as_ref());
        }
        let network = (self.open)(self.file.as_deref()).map_err(|error| Failure::Config(format!("{error:#}")))?;
        Ok(self.network.get_or_init(|| network).as_ref())
    }

    /// Asks the node of this machine over its control socket.
    pub fn local(&self, request: &Request, limit: Duration) -> Result<Result<control::Answers, AskError>, Failure> {
        let socket = control::socket_path(&self.network()?.settings().state_dir);
        Ok(control::ask(&socket, request, limit))
    }

    /// The whole answer of the node of this machine; for answers of few items.
    pub fn local_items(&self, request: &Request, limit: Duration) -> Result<Result<Vec<Item>, AskError>, Failure> {
        Ok(self.local(request, limit)?.and_then(Iterator::collect))
    }
}

/// An answer of another kind than the request has: a node of another version.
pub fn unexpected(item: &Item) -> anyhow::Error {
    let kind = match item {
        Item::Node(_) => "node",
        Item::History(_) => "history",
        Item::Holder(_) => "holder",
        Item::Status(_) => "status",
        Item::Health(_) => "health",
        Item::Announced(_) => "announced",
        Item::Imported(_) => "imported",
    };
    anyhow::anyhow!(
        "the node answered with an item of kind {kind:?}, which was not asked for: is it of another version?"
    )
}

/// Why the registry could not be asked, with the way out: only servers keep one, and only over their control socket.
pub fn needs_server(error: AskError) -> anyhow::Error {
    const MEND: &str = "run this on a server of the channel; `hereabouts discover --all` lists who is there now";
    match error {
        AskError::Refused { kind: ErrorKind::NotFound, message } => Failure::NothingFound(message).into(),
        AskError::Refused { kind: ErrorKind::NotServer, .. } => {
            anyhow::anyhow!("the node here keeps no registry: {MEND}")
        }
        AskError::NoNode { .. } => anyhow::anyhow!("{error}: {MEND}"),
        error => error.into(),
    }
}

/// Whether the network can still be asked after the node of this machine did not answer.
pub fn may_ask_network(error: &AskError) -> bool {
    match error {
        AskError::NoNode { .. }
        | AskError::NoPermission { .. }
        | AskError::TooLong { .. }
        | AskError::TimedOut { .. }
        | AskError::WrongAnswer { .. }
        | AskError::Io(_) => true,
        AskError::Refused { kind, .. } => !matches!(kind, ErrorKind::NotFound),
    }
}
