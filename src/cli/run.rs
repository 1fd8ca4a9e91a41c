//! `hereabouts run`

use std::process::ExitCode;

use clap::Args;

use super::client::{runtime, settings_failure};
use super::context::Context;
use super::exit::Failure;
use super::{Global, logging, signals, supervisor};
use crate::config::Loaded;
use crate::node::{Node, RunError};

/// Run this node until SIGINT or SIGTERM
///
/// On a stop, the node sends a goodbye and finishes what it began.
///
/// It logs to stderr, as log.level and log.format say. HEREABOUTS_LOG overrides them: debug, or by
/// module info,hereabouts::net=trace. Under systemd it reports readiness, its stop, and a sign of
/// life for WatchdogSec=.
///
/// SIGHUP is logged and ignored: a changed configuration needs a restart. SIGUSR1, SIGUSR2 and
/// SIGALRM are ignored. As PID 1 of a container, the node reaps orphans.
///
/// Ends with 64 also when the configuration uses a setting that is not available yet, or when a key
/// can't be used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts run
  hereabouts run --config hub.yaml
  HEREABOUTS_LOG=info,hereabouts::net=debug hereabouts run")]
pub(super) struct RunArgs {}

pub(super) fn run(
    RunArgs {}: &RunArgs,
    global: &Global,
    context: &Context<'_>,
) -> anyhow::Result<ExitCode> {
    let loaded = context.loaded()?;
    let log = &loaded.config.log;
    logging::start(global, log.level, log.format)?;
    if !loaded.notes.is_empty() {
        tracing::warn!("{}", loaded.notes.render(false));
    }
    runtime()?.block_on(serve(loaded))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(loaded: &Loaded) -> anyhow::Result<()> {
    // Before anything else, so that a stop during the start is not lost.
    let signalled = signals::handle()?;
    let stop = async move {
        signalled.await;
        supervisor::report_stopping();
    };
    let node = Node::bind(loaded.config.clone(), loaded.source.clone())
        .await
        .map_err(failure)?;
    node.run(supervisor::alive_until(stop), |node| {
        let addresses: Vec<_> = node.addresses().iter().map(ToString::to_string).collect();
        let addresses = addresses.join(" ");
        tracing::info!(%addresses, "ready");
        supervisor::report_ready(&addresses);
    })
    .await
    .map_err(failure)
}

fn failure(error: RunError) -> anyhow::Error {
    match error {
        RunError::Unavailable(_) => Failure::Config(error.to_string()).into(),
        RunError::Settings(error) => settings_failure(error),
        error => error.into(),
    }
}
