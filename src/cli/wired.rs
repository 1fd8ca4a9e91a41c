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
    AnnounceResult, AnnouncedView, FindingView, FoundView, HolderView, NodeView,
    PydiscoverFoundView, StatusView,
};
use crate::client::{self, ClientError};
use crate::config::{self, Loaded};
use crate::doctor;
use crate::model::NodeName;
use crate::net::{self, Interface};
use crate::node::{Node, RunError};
use crate::settings::SettingsError;

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
        Ok(tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?)
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
            let node = Node::bind(self.loaded.config.clone(), self.loaded.source.clone())
                .await
                .map_err(run_failure)?;
            node.run(supervisor::alive_until(stop), |node| {
                let addresses: Vec<_> = node.addresses().iter().map(ToString::to_string).collect();
                let addresses = addresses.join(" ");
                tracing::info!(%addresses, "ready");
                supervisor::ready(&addresses);
            })
            .await
            .map_err(run_failure)
        })
    }

    fn discover(
        &self,
        all: bool,
        window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let asked = client::discover(&self.loaded.config, all, window, found);
        Self::runtime()?.block_on(asked).map_err(failure)
    }

    fn look_up(&self, name: &NodeName, limit: Duration) -> anyhow::Result<Option<NodeView>> {
        Self::runtime()?
            .block_on(client::look_up(&self.loaded.config, name, limit))
            .map_err(failure)
    }

    fn holders(&self, address: IpAddr, limit: Duration) -> anyhow::Result<Vec<HolderView>> {
        Self::runtime()?
            .block_on(client::holders(&self.loaded.config, address, limit))
            .map_err(failure)
    }

    fn ask(
        &self,
        request: &Request,
        search: Duration,
        limit: Duration,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let asked = client::ask_network(&self.loaded.config, request, search, limit, each);
        Self::runtime()?
            .block_on(asked)
            .map_err(|error| match error {
                client::AskError::Client(error) => failure(error),
                client::AskError::Refused {
                    kind: ErrorKind::NotFound,
                    message,
                } => Failure::NothingFound(message).into(),
                error => error.into(),
            })
    }

    fn announce(&self, limit: Duration) -> anyhow::Result<Vec<AnnouncedView>> {
        Self::runtime()?
            .block_on(client::announce(&self.loaded.config, limit))
            .map_err(failure)
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
        let asked = client::discover_pydiscover(&self.loaded.config, window, found);
        Self::runtime()?.block_on(asked).map_err(failure)
    }

    fn announce_dynip(&self, servers: &[String]) -> anyhow::Result<Vec<AnnounceResult>> {
        Ok(Self::runtime()?.block_on(client::announce_dynip(&self.loaded.config, servers)))
    }
}

/// An error of a command that asks the network.
fn failure(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Settings(error) => settings_failure(error),
        error => error.into(),
    }
}

/// An error of a node that runs.
fn run_failure(error: RunError) -> anyhow::Error {
    match error {
        RunError::Unavailable(_) => Failure::Config(error.to_string()).into(),
        RunError::Settings(error) => settings_failure(error),
        error => error.into(),
    }
}

/// What the configuration is to blame for ends as a bad configuration does.
fn settings_failure(error: SettingsError) -> anyhow::Error {
    match error {
        SettingsError::Secret(_) | SettingsError::KeyRing(_) => {
            Failure::Config(error.to_string()).into()
        }
        error => error.into(),
    }
}
