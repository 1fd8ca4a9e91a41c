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
/// The changes are nodes that arrive, change addresses, leave or expire, names that two nodes
/// claim, cloned nodes, records that were forgotten, and reports about files. They are printed from
/// now on, until the command is stopped.
///
/// The registry is that of this machine where a server runs here, else that of the server that
/// answers first. If changes come faster than they are read, a note on stderr says how many were
/// missed.
///
/// Ends with 1 when that server ends. In a pipe, each line is the time (RFC 3339), the change and
/// the name, separated by tabs.
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
        // A person or a program waits for this change: a buffer must not hold it back.
        Ok(output.flush()?)
    })?;
    anyhow::bail!("the server ended the watch: it is stopping or restarting")
}

/// A change as a line with columns of fixed width: the next change is not known yet, so no table
/// can be laid out.
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
