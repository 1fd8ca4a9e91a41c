//! `hereabouts watch`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit::note;
use super::output::{Format, Output};
use super::table::{labels, printable};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::ChangeView;

/// Print changes of the registry as they happen
///
/// Nodes that arrive, change addresses, leave or expire, and names that two nodes claim, from now on and until it is
/// stopped. The registry is that of this machine where a server runs here, else that of the server that answers first.
/// Ends with 1 when that server ends. In a pipe, each line is the time (RFC 3339), the change and the name, with tabs between.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts watch
  hereabouts watch --output json | jq --unbuffered -r 'select(.change == \"expired\").name'")]
pub(super) struct WatchArgs {}

pub(super) fn run(
    WatchArgs {}: &WatchArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    context.registry(&Request::Watch, Duration::MAX, &mut |item| {
        let Item::Change(change) = item else {
            return Err(unexpected(&item));
        };
        if change.missed > 0 {
            note(format_args!(
                "note: {} changes were missed, as they were not read fast enough",
                change.missed
            ));
        }
        match output.format() {
            Format::Json => output.json(&change)?,
            Format::Plain => output.line(format_args!(
                "{}\t{}\t{}",
                change.time,
                change.change.word(),
                change.name
            ))?,
            Format::Table => output.line(line(&change))?,
        }
        // Whoever watches wants to see it now.
        Ok(output.flush()?)
    })?;
    anyhow::bail!("the server ended the watch: it stops, or restarts")
}

/// A change as a line with columns: the next one is not known yet, so that no table can be laid out.
fn line(change: &ChangeView) -> String {
    let mut line = format!(
        "{}  {:<9}  {:<20}",
        time::local(change.time),
        change.change.word(),
        change.name
    );
    if let Some(node) = &change.node {
        for address in &node.addresses {
            line += &format!(" {}", address.address);
        }
        let labels = labels(&node.labels);
        if !labels.is_empty() {
            line += &format!("  {labels}");
        }
    }
    if let Some(source) = change.source {
        line += &format!("  (from {})", source.ip().to_canonical());
    }
    printable(line.trim_end())
}
