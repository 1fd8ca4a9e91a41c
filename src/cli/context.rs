//! The basis of every command: the configuration, the node of this machine, and the network.
//!
//! A [`Request`] goes in, items come out: from the node of this machine over its control socket, or
//! else from the network by a [`Client`]. This module decides which of the two answers; it never
//! prints.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use super::client::Client;
use super::exit::Failure;
use crate::api::control::{self, AskError};
use crate::api::request::{ErrorKind, Item, Request};
use crate::config::{self, Config, Loaded, SystemEnvironment};

/// How long the node of this machine may take for an answer that needs no network.
pub(super) const LOCAL_LIMIT: Duration = Duration::from_secs(10);

/// The configuration, which is read when a command first needs it, and the client of the network.
pub(super) struct Context<'a> {
    file: Option<PathBuf>,
    client: &'a dyn Client,
    loaded: OnceCell<Loaded>,
}

impl<'a> Context<'a> {
    /// A context whose configuration is `file`; with `None` it is searched for.
    pub(super) fn new(file: Option<PathBuf>, client: &'a dyn Client) -> Self {
        Self {
            file,
            client,
            loaded: OnceCell::new(),
        }
    }

    /// The configuration with its source. A configuration that can't be used is
    /// [`Failure::Config`].
    pub(super) fn loaded(&self) -> Result<&Loaded, Failure> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = config::load(&SystemEnvironment, self.file.as_deref()).map_err(|report| {
            Failure::Config(format!(
                "the configuration can't be used:\n{}",
                report.render(false)
            ))
        })?;
        tracing::debug!(source = ?loaded.source, "configuration loaded");
        Ok(self.loaded.get_or_init(|| loaded))
    }

    pub(super) fn config(&self) -> Result<&Config, Failure> {
        Ok(&self.loaded()?.config)
    }

    pub(super) fn client(&self) -> &dyn Client {
        self.client
    }

    /// Asks the node of this machine over its control socket.
    pub(super) fn local(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Result<control::Answers, AskError>, Failure> {
        let socket = control::socket_path(&self.config()?.node.state_dir);
        tracing::debug!(?request, socket = %socket.display(), "asking the node of this machine");
        Ok(control::ask(&socket, request, limit))
    }

    /// The whole answer of the node of this machine; for answers of few items.
    pub(super) fn local_items(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Result<Vec<Item>, AskError>, Failure> {
        Ok(self.local(request, limit)?.and_then(Iterator::collect))
    }

    /// Asks the network, without the node of this machine, and passes each item on as it comes.
    pub(super) fn network(
        &self,
        request: &Request,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let mut each = |item| match each(item) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                outcome = Err(error);
                ControlFlow::Break(())
            }
        };
        self.client.ask(self.config()?, request, limit, &mut each)?;
        outcome
    }

    /// The whole answer of the network; for answers of few items.
    pub(super) fn network_items(
        &self,
        request: &Request,
        limit: Duration,
    ) -> anyhow::Result<Vec<Item>> {
        collected(|each| self.network(request, limit, each))
    }

    /// Asks a registry, and passes each item on as it comes: the registry of this machine where it
    /// keeps one, else that of a server of the network, over a session.
    pub(super) fn registry(
        &self,
        request: &Request,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let refused = match self
            .local(request, limit)?
            .and_then(|answers| pass_on(answers, each))
        {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        match refused {
            AskError::Refused {
                kind: ErrorKind::NotFound,
                message,
            } => Err(Failure::NothingFound(message).into()),
            // The node of this machine can't be asked, or keeps no registry: no item was passed on
            // yet.
            AskError::NoNode { .. }
            | AskError::NoPermission { .. }
            | AskError::TooLong { .. }
            | AskError::Refused {
                kind: ErrorKind::NotServer,
                ..
            } => {
                tracing::debug!(error = %refused, "no registry on this machine");
                self.network(request, limit, each)
            }
            error => Err(error.into()),
        }
    }

    /// The whole answer of a registry, as above; for answers of few items.
    pub(super) fn registry_items(
        &self,
        request: &Request,
        limit: Duration,
    ) -> anyhow::Result<Vec<Item>> {
        collected(|each| self.registry(request, limit, each))
    }
}

fn collected(
    ask: impl FnOnce(&mut dyn FnMut(Item) -> anyhow::Result<()>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    ask(&mut |item| {
        items.push(item);
        Ok(())
    })?;
    Ok(items)
}

/// Passes on the answer of the node of this machine: `Ok` with the outcome of `each`, or the reason
/// why the node did not answer.
fn pass_on(
    answers: control::Answers,
    each: &mut dyn FnMut(Item) -> anyhow::Result<()>,
) -> Result<anyhow::Result<()>, AskError> {
    for item in answers {
        if let Err(error) = each(item?) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// The error for an answer of another kind than the request has: it comes from a node of another
/// version.
pub(super) fn unexpected(item: &Item) -> anyhow::Error {
    let kind = match item {
        Item::Node(_) => "node",
        Item::History(_) => "history",
        Item::Holder(_) => "holder",
        Item::Status(_) => "status",
        Item::Health(_) => "health",
        Item::Announced(_) => "announced",
        Item::Imported(_) => "imported",
        Item::Change(_) => "change",
        Item::Pushed(_) => "pushed",
        Item::Pulled(_) => "pulled",
    };
    anyhow::anyhow!(
        "the node answered with an item of kind {kind:?}, which was not requested: is it of another version?"
    )
}

/// Why the registry could not be changed, with the remedy: a registry changes only over the control
/// socket of its server.
pub(super) fn needs_server(error: AskError) -> anyhow::Error {
    const REMEDY: &str = "run this on a server of the channel; `hereabouts discover --all` lists the nodes that answer now, with their roles";
    match error {
        AskError::Refused {
            kind: ErrorKind::NotFound,
            message,
        } => Failure::NothingFound(message).into(),
        AskError::Refused {
            kind: ErrorKind::NotServer,
            ..
        } => anyhow::anyhow!("the node of this machine keeps no registry: {REMEDY}"),
        AskError::NoNode { .. } => anyhow::anyhow!("{error}: {REMEDY}"),
        error => error.into(),
    }
}

/// Whether the network can still be asked after the node of this machine did not answer.
pub(super) fn may_ask_network(error: &AskError) -> bool {
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
