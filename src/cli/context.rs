//! What a command stands on: the config, the node of this machine, and the network.

use std::cell::OnceCell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::Failure;
use super::network::{Network, Open};
use crate::api::control::{self, AskError};
use crate::api::request::{ErrorKind, Item, Request};

/// How long the node of this machine may take for what it knows by itself.
pub const LOCAL_LIMIT: Duration = Duration::from_secs(10);

/// How long a server is looked for: the second repetition of the query is at 0.8 s.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// The config and what it leads to, each read when a command first needs it.
pub struct Context<'a> {
    open: &'a Open,
    file: Option<PathBuf>,
    network: OnceCell<Box<dyn Network>>,
}

impl<'a> Context<'a> {
    /// A context whose config is `file`, or is searched for.
    pub fn new(open: &'a Open, file: Option<PathBuf>) -> Self {
        Self {
            open,
            file,
            network: OnceCell::new(),
        }
    }

    /// The network, as the config describes it. A config that can't be used is [`Failure::Config`].
    pub fn network(&self) -> Result<&dyn Network, Failure> {
        if let Some(network) = self.network.get() {
            return Ok(network.as_ref());
        }
        let network = (self.open)(self.file.as_deref())
            .map_err(|error| Failure::Config(format!("{error:#}")))?;
        Ok(self.network.get_or_init(|| network).as_ref())
    }

    /// Asks the node of this machine over its control socket.
    pub fn local(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Result<control::Answers, AskError>, Failure> {
        let socket = control::socket_path(&self.network()?.settings().state_dir);
        Ok(control::ask(&socket, request, limit))
    }

    /// Asks a registry, and hands each item on as it comes: that of this machine where it keeps one, else that of a server of
    /// the network, over a session.
    pub fn registry(
        &self,
        request: &Request,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let refused = match self
            .local(request, limit)?
            .and_then(|answers| pass_on(answers, each))
        {
            Ok(done) => return done,
            Err(error) => error,
        };
        match refused {
            AskError::Refused {
                kind: ErrorKind::NotFound,
                message,
            } => Err(Failure::NothingFound(message).into()),
            // The node of this machine can't be asked, or keeps no registry: nothing was handed on yet.
            AskError::NoNode { .. }
            | AskError::NoPermission { .. }
            | AskError::TooLong { .. }
            | AskError::Refused {
                kind: ErrorKind::NotServer,
                ..
            } => {
                let mut outcome = Ok(());
                let mut each = |item| match each(item) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        outcome = Err(error);
                        ControlFlow::Break(())
                    }
                };
                self.network()?
                    .ask(request, SEARCH_LIMIT, limit, &mut each)?;
                outcome
            }
            error => Err(error.into()),
        }
    }

    /// The whole answer of a registry, as above; for answers of few items.
    pub fn registry_items(&self, request: &Request, limit: Duration) -> anyhow::Result<Vec<Item>> {
        let mut items = Vec::new();
        self.registry(request, limit, &mut |item| {
            items.push(item);
            Ok(())
        })?;
        Ok(items)
    }

    /// The whole answer of the node of this machine; for answers of few items.
    pub fn local_items(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Result<Vec<Item>, AskError>, Failure> {
        Ok(self.local(request, limit)?.and_then(Iterator::collect))
    }
}

/// Hands on what the node of this machine answers: `Ok` with what `each` made of it, or why the node did not answer.
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
        Item::Change(_) => "change",
        Item::Pushed(_) => "pushed",
        Item::Pulled(_) => "pulled",
    };
    anyhow::anyhow!(
        "the node answered with an item of kind {kind:?}, which was not asked for: is it of another version?"
    )
}

/// Why the registry could not be changed, with the way out: only on a server's own machine, over its control socket.
pub fn needs_server(error: AskError) -> anyhow::Error {
    const MEND: &str =
        "run this on a server of the channel; `hereabouts discover --all` lists who is there now";
    match error {
        AskError::Refused {
            kind: ErrorKind::NotFound,
            message,
        } => Failure::NothingFound(message).into(),
        AskError::Refused {
            kind: ErrorKind::NotServer,
            ..
        } => {
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
