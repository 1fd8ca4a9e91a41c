//! `hereabouts history`

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, unexpected};
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{Emphasis, Table};
use super::time;
use crate::api::request::{Item, Request};
use crate::model::NodeName;

/// List every address that a node had, from when to when
///
/// The history is that of this machine where a server runs here, else that of the server that answers first. In a pipe, each
/// line is the address, from and to (RFC 3339), with tabs between; to is - while the node still has the address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts history laptop
  hereabouts history laptop --output json")]
pub(super) struct HistoryArgs {
    /// The node's name
    name: NodeName,
}

pub(super) fn run(
    args: HistoryArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let request = Request::History {
        name: args.name.clone(),
        after: None,
    };
    let mut table = Table::new(&["ADDRESS", "KNOWN BY", "FROM", "TO"]);
    let mut any = false;
    context.registry(&request, LOCAL_LIMIT, &mut |item| {
        let Item::History(interval) = item else {
            return Err(unexpected(&item));
        };
        any = true;
        match output.format() {
            Format::Json => output.json(&interval)?,
            Format::Plain => {
                let to = interval
                    .to
                    .map_or_else(|| "-".to_owned(), |to| to.to_string());
                output.line(format_args!(
                    "{}\t{}\t{to}",
                    interval.address, interval.from
                ))?;
            }
            Format::Table => {
                let emphasis = if interval.to.is_none() {
                    Emphasis::Normal
                } else {
                    Emphasis::Dim
                };
                let to = interval.to.map_or_else(|| "still".to_owned(), time::local);
                let known = interval.seen.word().to_owned();
                table.row(
                    emphasis,
                    [
                        interval.address.to_string(),
                        known,
                        time::local(interval.from),
                        to,
                    ],
                );
            }
        }
        Ok(())
    })?;
    output.table(&table)?;
    if any {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::NothingFound(format!("no address of {} is known", args.name)).into())
    }
}
