//! The seam to the layers below: what the commands need of a node, and nothing else of it.
//!
//! The composition root implements [`Network`] over `node`; tests implement it with answers made up. No method is async:
//! a command asks one thing and leaves, so each implementation brings its runtime along.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::logging::LogFormat;
use crate::api::control::AskError;
use crate::api::request::{Item, Request};
use crate::api::view::{
    AnnounceResult, AnnouncedView, FindingView, FoundView, HolderView, NodeView,
    PydiscoverFoundView, StatusView,
};
use crate::model::NodeName;
use crate::net::Interface;

/// Loads the config (`None`: search for it) and makes what asks the network as it says. Binds nothing yet.
///
/// Whatever it returns as an error ends with exit code 64.
pub type Open = dyn Fn(Option<&Path>) -> anyhow::Result<Box<dyn Network>>;

/// What the commands read of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The state directory, where the control socket is.
    pub state_dir: PathBuf,
    /// `log.level`.
    pub log_level: LevelFilter,
    /// `log.format`.
    pub log_format: LogFormat,
}

/// A config that is loaded, and the network that it describes.
///
/// Errors end with exit code 1, or as [`super::exit::Failure`] says.
pub trait Network {
    /// What the commands read of the config.
    fn settings(&self) -> &Settings;

    /// The interfaces of this machine; none where they can't be read.
    fn interfaces(&self) -> Vec<Interface>;

    /// Runs a node until SIGINT or SIGTERM, and drains it.
    fn run(&self) -> anyhow::Result<()>;

    /// Asks for servers, or with `all` for every node, and hands each answer on as it comes, each node once. Ends after
    /// `window`, or when `found` breaks.
    fn discover(
        &self,
        all: bool,
        window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()>;

    /// Asks the servers and the node itself for a node by its name; the newest of all answers, `None` if nobody knows it.
    fn look_up(&self, name: &NodeName, limit: Duration) -> anyhow::Result<Option<NodeView>>;

    /// Asks the servers who has an address; the most recent holder first.
    fn holders(&self, address: IpAddr, limit: Duration) -> anyhow::Result<Vec<HolderView>>;

    /// Asks a server of the network over a session, and hands each item on as it comes, until `each` breaks. A server is
    /// looked for within `search`; `limit` bounds the whole answer, unless it is [`Duration::MAX`].
    fn ask(
        &self,
        request: &Request,
        search: Duration,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> anyhow::Result<()>;

    /// Registers this machine once with every server that answers within `limit`.
    fn announce(&self, limit: Duration) -> anyhow::Result<Vec<AnnouncedView>>;

    /// Looks at everything that can be wrong. `running` is what the node of this machine said; `progress` hears what is
    /// looked at next.
    fn examine(
        &self,
        running: Result<Box<StatusView>, AskError>,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<FindingView>>;

    /// Asks for PyDiscover servers, and hands each answer on as it comes. Ends after `window`, or when `found` breaks.
    fn discover_pydiscover(
        &self,
        window: Duration,
        found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()>;

    /// Tells DynIP servers this machine's name, once: `servers`, or without any those of the config.
    fn announce_dynip(&self, servers: &[String]) -> anyhow::Result<Vec<AnnounceResult>>;
}
