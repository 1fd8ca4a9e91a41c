//! `hereabouts run`

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::{Global, logging};

/// Run this node until SIGINT or SIGTERM
///
/// On a stop it says goodbye and finishes what it began. Logs go to stderr, as log.level and log.format say; HEREABOUTS_LOG
/// goes before them.
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
    let network = context.network()?;
    let settings = network.settings();
    logging::start(global, settings.log_level, settings.log_format)?;
    network.run()?;
    Ok(ExitCode::SUCCESS)
}
