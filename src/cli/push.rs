//! `hereabouts push`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, needs_server, unexpected};
use super::exit::Failure;
use super::output::Output;
use super::progress::{self, Seen};
use super::time;
use crate::api::request::{Item, Request};
use crate::model::NodeName;

/// Tell all nodes, or some, to pull a file now, and show how far each is
///
/// Run it on the server that offers the file. Of all nodes, those that said they take the file are waited for. Each line
/// is the node, done or failed, the generation and why it failed, with tabs between. Ends with 1 if any node failed, and with 3
/// if no node takes the file. A node whose pull broke goes on within seconds, and is waited for.
///
/// New content is for every node that accepts it, with --to as well: those that are not named take it at their next visit, and
/// are not shown.
///
/// The file of compat.terminals.file is told to old terminals as well: they are "sent", as they can't report back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts push catalogue
  hereabouts push catalogue --to kiosk-1 --to kiosk-2 --timeout 1h
  hereabouts push catalogue --output json | jq -r 'select(.state == \"failed\").node'")]
pub(super) struct PushArgs {
    /// The file's name in files.offer
    name: String,
    /// Tell and wait for this node only; may be given more than once
    #[arg(long, value_name = "NODE")]
    to: Vec<NodeName>,
    /// Wait for nodes at most this long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = time::long_limit)]
    timeout: Duration,
}

pub(super) fn run(
    args: PushArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Push {
        name: args.name.clone(),
        to: args.to,
        timeout_ms,
    };
    let items = context
        .local(&request, Duration::MAX)?
        .map_err(needs_server)?;
    let seen = progress::follow(
        items.map(|item| item.map_err(needs_server)),
        output,
        |item| match item {
            Item::Pushed(view) => Ok(view),
            item => Err(unexpected(&item)),
        },
    )?;
    if seen == Seen::Nothing {
        return Err(Failure::NothingFound(format!(
            "no node that is present takes '{}'",
            args.name
        ))
        .into());
    }
    Ok(seen.exit_code())
}
