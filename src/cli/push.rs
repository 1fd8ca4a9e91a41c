//! `hereabouts push`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, needs_server, unexpected};
use super::exit::Failure;
use super::output::Output;
use super::progress::{self, Outcome};
use super::time;
use crate::api::request::{Item, Request};
use crate::model::NodeName;

/// Make all nodes, or some, pull a file now, and show the progress of each
///
/// Run it on the server that offers the file, as the user of its node or as root. The server reads
/// the file anew first, whatever its times show. Without --to, it waits for the nodes that reported
/// that they accept the file. A node whose pull broke resumes within seconds, and is waited for.
///
/// New content is for every node that accepts the file, with --to as well: nodes that are not named
/// pull it at their next visit, and are not shown.
///
/// The file of compat.terminals.file is announced to old terminals as well. They are "sent",
/// because they can't report back.
///
/// Ends with 1 if any node failed, and with 3 if no node accepts the file. Each line is the node,
/// done, failed or sent, the generation, and why it failed, separated by tabs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts push catalogue
  hereabouts push catalogue --to kiosk-1 --to kiosk-2 --timeout 1h
  hereabouts push catalogue --output json | jq -r 'select(.state == \"failed\").node'")]
pub(super) struct PushArgs {
    /// The file's name in files.offer
    name: String,
    /// Notify and wait for this node only; may be given more than once
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
    let outcome = progress::follow(
        items.map(|item| item.map_err(needs_server)),
        output,
        |item| match item {
            Item::Pushed(view) => Ok(view),
            item => Err(unexpected(&item)),
        },
    )?;
    if outcome == Outcome::Nothing {
        return Err(Failure::NothingFound(format!(
            "no node that is present accepts '{}'",
            args.name
        ))
        .into());
    }
    Ok(outcome.exit_code())
}
