//! `hereabouts push`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, needs_server, unexpected};
use super::exit::{self, Failure};
use super::output::{Format, Output};
use super::progress::{Bars, Line};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::Progress;
use crate::model::NodeName;

/// Tell all nodes, or some, to pull a file now, and show how far each is
///
/// Run it on the server that offers the file. Of all nodes, those that said they take the file are waited for. Each line
/// is the node, done or failed, the generation and why it failed, with tabs between. Ends with 1 if any node failed, and with 3
/// if no node takes the file.
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
    /// Only this node; may be given more than once
    #[arg(long, value_name = "NODE")]
    to: Vec<NodeName>,
    /// Wait for nodes at most this long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = time::long_limit)]
    timeout: Duration,
}

pub(super) fn run(args: PushArgs, context: &Context<'_>, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Push { name: args.name.clone(), to: args.to, timeout_ms };
    let mut bars = Bars::new(output);
    let (mut any, mut failed) = (false, false);
    for item in context.local(&request, Duration::MAX)?.map_err(needs_server)? {
        let view = match item.map_err(needs_server)? {
            Item::Pushed(view) => view,
            item => return Err(unexpected(&item)),
        };
        any = true;
        failed |= view.state == Progress::Failed;
        match output.format() {
            Format::Json => {
                output.json(&view)?;
                output.flush()?;
            }
            Format::Plain | Format::Table => {
                let line = Line {
                    subject: view.node.as_str(),
                    state: view.state,
                    generation: view.generation,
                    bytes: view.bytes,
                    size: view.size,
                    error: view.error.as_deref(),
                };
                bars.show(&line, output)?;
            }
        }
    }
    if !any {
        return Err(Failure::NothingFound(format!("no node that is present takes '{}'", args.name)).into());
    }
    Ok(ExitCode::from(if failed { exit::FAILED } else { 0 }))
}
