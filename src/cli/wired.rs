//! The seam filled in: the config from [`crate::config`], the network from [`crate::node`].

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::exit::Failure;
use super::logging::LogFormat;
use super::network::{Network, Settings};
use super::supervisor;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{
    AnnouncedView, FindingView, FoundView, HolderView, NodeView, PydiscoverFoundView, StatusView, ToldView,
};
use crate::config::{self, Loaded};
use crate::model::NodeName;
use crate::net::{self, Interface};
use crate::node::ask::Asker;
use crate::node::session::client;
use crate::node::{Node, RunError, doctor};
use crate::wire::v1::Want;

/// Loads the config and makes the network that it describes.
pub fn open(file: Option<&Path>) -> anyhow::Result<Box<dyn Network>> {
    let loaded = config::load(&config::SystemEnvironment, file)
        .map_err(|report| anyhow::anyhow!("the config can't be used:\n{}", report.render(false)))?;
    let log = &loaded.config.log;
    let settings = Settings {
        state_dir: loaded.config.node.state_dir.clone(),
        log_level: match log.level {
            config::LogLevel::Error => LevelFilter::ERROR,
            config::LogLevel::Warn => LevelFilter::WARN,
            config::LogLevel::Info => LevelFilter::INFO,
            config::LogLevel::Debug => LevelFilter::DEBUG,
            config::LogLevel::Trace => LevelFilter::TRACE,
        },
        log_format: match log.format {
            config::LogFormat::Text => LogFormat::Text,
            config::LogFormat::Json => LogFormat::Json,
        },
    };
    Ok(Box::new(Wired { settings, loaded }))
}

struct Wired {
    settings: Settings,
    loaded: Loaded,
}

impl Wired {
    /// One thread is enough: one engine does the work, and the store has a thread of its own.
    fn runtime() -> anyhow::Result<Runtime> {
        Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
    }

    fn asker(&self, runtime: &Runtime) -> anyhow::Result<Asker> {
        runtime.block_on(Asker::open(&self.loaded.config)).map_err(failure)
    }

    fn look_up(&self, want: Want, limit: Duration) -> anyhow::Result<Option<crate::node::ask::FoundNode>> {
        let runtime = Self::runtime()?;
        let asker = self.asker(&runtime)?;
        Ok(runtime.block_on(asker.look_up(want, &[], limit)))
    }
}

impl Network for Wired {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn interfaces(&self) -> Vec<Interface> {
        let read = Self::runtime().and_then(|runtime| Ok(runtime.block_on(net::interfaces())?));
        read.unwrap_or_else(|error| {
            tracing::warn!("failed to read the interfaces of this machine: {error:#}");
            Vec::new()
        })
    }

    fn run(&self) -> anyhow::Result<()> {
        if !self.loaded.notes.is_empty() {
            tracing::warn!("{}", self.loaded.notes.render(false));
        }
        let runtime = Self::runtime()?;
        runtime.block_on(async {
            // Before anything else, so that a stop during the start is not lost.
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let stop = async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                supervisor::stopping();
            };
            let node = Node::bind(self.loaded.config.clone(), self.loaded.source.clone()).await.map_err(failure)?;
            node.run(supervisor::alive_until(stop), |node| {
                let addresses: Vec<_> = node.addresses().iter().map(ToString::to_string).collect();
                let addresses = addresses.join(" ");
                tracing::info!(%addresses, "ready");
                supervisor::ready(&addresses);
            })
            .await
            .map_err(failure)
        })
    }

    fn discover(
        &self,
        all: bool,
        window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let runtime = Self::runtime()?;
        let asker = self.asker(&runtime)?;
        runtime.block_on(asker.discover(all, window, found));
        Ok(())
    }

    fn look_up(&self, name: &NodeName, limit: Duration) -> anyhow::Result<Option<NodeView>> {
        Ok(Self::look_up(self, Want::Name(name.clone()), limit)?.map(|found| found.node))
    }

    fn holders(&self, address: IpAddr, limit: Duration) -> anyhow::Result<Vec<HolderView>> {
        let found = Self::look_up(self, Want::Holder(address.to_canonical()), limit)?;
        Ok(found.map(|found| found.holder(address)).into_iter().collect())
    }

    fn ask(
        &self,
        request: &Request,
        search: Duration,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let asked = client::ask_network(&self.loaded.config, request, search, limit, each);
        Self::runtime()?.block_on(asked).map_err(|error| match error {
            client::AskError::Run(error) => failure(error),
            client::AskError::Refused { kind: ErrorKind::NotFound, message } => Failure::NothingFound(message).into(),
            error => error.into(),
        })
    }

    fn announce(&self, limit: Duration) -> anyhow::Result<Vec<AnnouncedView>> {
        let runtime = Self::runtime()?;
        let asker = self.asker(&runtime)?;
        runtime.block_on(asker.announce(limit)).map_err(failure)
    }

    fn examine(
        &self,
        running: Result<Box<StatusView>, AskError>,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<FindingView>> {
        let runtime = Self::runtime()?;
        let (config, source) = (&self.loaded.config, self.loaded.source.clone());
        Ok(runtime.block_on(doctor::examine(config, source, running, progress)))
    }

    fn discover_pydiscover(
        &self,
        window: Duration,
        found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let asked = crate::node::ask::discover_pydiscover(&self.loaded.config, window, found);
        Self::runtime()?.block_on(asked).map_err(failure)
    }

    fn announce_dynip(&self, servers: &[String]) -> anyhow::Result<Vec<ToldView>> {
        Ok(Self::runtime()?.block_on(crate::node::ask::announce_dynip(&self.loaded.config, servers)))
    }
}

/// What the configuration is to blame for ends as a bad config does.
fn failure(error: RunError) -> anyhow::Error {
    match error {
        RunError::Unavailable(_) | RunError::Secret(_) | RunError::KeyRing(_) => {
            Failure::Config(error.to_string()).into()
        }
        error => error.into(),
    }
}
