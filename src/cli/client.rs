//! The seam between the commands and the network.
//!
//! [`Client`] has one method for each thing that a command does without the node of this machine.
//! [`NetworkClient`] does it for real, over [`crate::client`] and [`crate::doctor`]; unit tests
//! answer from memory. The configuration and the request go in, views come out. Nothing here
//! prints, and nothing here uses the control socket, which belongs to [`super::context`].
//!
//! No method is async: a command asks one thing and ends, so each call brings a runtime of its own.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::exit::Failure;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{AnnounceResult, FindingView, FoundView, PydiscoverFoundView, StatusView};
use crate::client::{self, ClientError};
use crate::config::{Config, Loaded};
use crate::doctor;
use crate::net::{self, Interface};
use crate::settings::SettingsError;

/// How long a server is searched for: the second repetition of the query is at 0.8 s.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Receives the items of an answer one by one; a break ends the request.
pub(super) type EachItem<'a> = &'a mut dyn FnMut(Item) -> ControlFlow<()>;

/// The operations of the network that the commands need.
///
/// An error ends the command with exit code 1, or with the code of the [`Failure`] in it.
pub(super) trait Client {
    /// The interfaces of this machine; none where they can't be read.
    fn interfaces(&self) -> Vec<Interface>;

    /// Answers a request without the node of this machine.
    ///
    /// `Lookup` and `LookupHolder` ask the servers and the node itself by datagrams; no item means
    /// that no answer came. `Announce` registers this machine once, with an item for each server
    /// that answers. Every other request goes over a session to the first server that is found.
    /// `limit` bounds the whole answer, unless it is [`Duration::MAX`].
    fn ask(
        &self,
        config: &Config,
        request: &Request,
        limit: Duration,
        each: EachItem<'_>,
    ) -> anyhow::Result<()>;

    /// Searches for servers, or with `all` for every node, and passes each answer on as it comes,
    /// each node once. Ends after `window`, or when `found` breaks.
    fn discover(
        &self,
        config: &Config,
        all: bool,
        window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()>;

    /// Searches for PyDiscover servers, as [`Self::discover`] does for ours.
    fn discover_pydiscover(
        &self,
        config: &Config,
        window: Duration,
        found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()>;

    /// Sends this machine's name to DynIP servers, once: to `servers`, or if there are none, to
    /// those of the configuration.
    fn announce_dynip(
        &self,
        config: &Config,
        servers: &[String],
    ) -> anyhow::Result<Vec<AnnounceResult>>;

    /// Checks everything that can be wrong. `running` is the answer of the node of this machine;
    /// `progress` is called with the name of the next check.
    fn examine(
        &self,
        loaded: &Loaded,
        running: Result<Box<StatusView>, AskError>,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<FindingView>>;
}

/// The client that uses the network of this machine.
pub(super) struct NetworkClient;

impl Client for NetworkClient {
    fn interfaces(&self) -> Vec<Interface> {
        let read = runtime().and_then(|runtime| Ok(runtime.block_on(net::interfaces())?));
        read.unwrap_or_else(|error| {
            tracing::warn!("failed to read the interfaces of this machine: {error:#}");
            Vec::new()
        })
    }

    fn ask(
        &self,
        config: &Config,
        request: &Request,
        limit: Duration,
        each: EachItem<'_>,
    ) -> anyhow::Result<()> {
        tracing::debug!(?request, "asking the network");
        let runtime = runtime()?;
        match request {
            Request::Lookup { name } => {
                let node = runtime
                    .block_on(client::look_up(config, name, limit))
                    .map_err(failure)?;
                let _ = node.map(Item::from).into_iter().try_for_each(each);
                Ok(())
            }
            Request::LookupHolder { address } => {
                let holders = runtime
                    .block_on(client::holders(config, *address, limit))
                    .map_err(failure)?;
                let _ = holders.into_iter().map(Item::from).try_for_each(each);
                Ok(())
            }
            Request::Announce => {
                let announced = runtime
                    .block_on(client::announce(config, limit))
                    .map_err(failure)?;
                let _ = announced.into_iter().map(Item::from).try_for_each(each);
                Ok(())
            }
            request => runtime
                .block_on(client::ask_network(
                    config,
                    request,
                    SEARCH_LIMIT,
                    limit,
                    each,
                ))
                .map_err(session_failure),
        }
    }

    fn discover(
        &self,
        config: &Config,
        all: bool,
        window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        runtime()?
            .block_on(client::discover(config, all, window, found))
            .map_err(failure)
    }

    fn discover_pydiscover(
        &self,
        config: &Config,
        window: Duration,
        found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        runtime()?
            .block_on(client::discover_pydiscover(config, window, found))
            .map_err(failure)
    }

    fn announce_dynip(
        &self,
        config: &Config,
        servers: &[String],
    ) -> anyhow::Result<Vec<AnnounceResult>> {
        Ok(runtime()?.block_on(client::announce_dynip(config, servers)))
    }

    fn examine(
        &self,
        loaded: &Loaded,
        running: Result<Box<StatusView>, AskError>,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<FindingView>> {
        let source = loaded.source.clone();
        let examined = doctor::examine(&loaded.config, source, running, progress);
        Ok(runtime()?.block_on(examined))
    }
}

/// One thread is enough: one task does the work, and the store has a thread of its own.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn session_failure(error: client::AskError) -> anyhow::Error {
    match error {
        client::AskError::Client(error) => failure(error),
        client::AskError::Refused {
            kind: ErrorKind::NotFound,
            message,
        } => Failure::NothingFound(message).into(),
        error => error.into(),
    }
}

fn failure(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Settings(error) => settings_failure(error),
        error => error.into(),
    }
}

/// A secret that can't be used is the fault of the configuration, and ends the command as a bad
/// configuration does.
pub(super) fn settings_failure(error: SettingsError) -> anyhow::Error {
    match error {
        SettingsError::Secret(_) | SettingsError::KeyRing(_) => {
            Failure::Config(error.to_string()).into()
        }
        error => error.into(),
    }
}
