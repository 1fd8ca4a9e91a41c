//! `hereabouts history`

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, unexpected};
use super::exit::Failure;
use super::interval;
use super::output::{Format, Output};
use super::table::{Emphasis, Table};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::HistoryView;
use crate::model::NodeName;

/// List every address that a node had, from when to when
///
/// The history is that of this machine where a server runs here, else that of the server that
/// answers first. An address is known because the node announced it, or because a server observed
/// messages that came from it. An interval ends when the node reports the change. If the node was
/// lost, it ends with its last message, and "lost by" is when its lease ended.
///
/// Ends with 3 if no address of the node is known. In a pipe, each line is the address, from and to
/// (RFC 3339), separated by tabs; to is - while the node still has the address.
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
            Format::Plain => output.line(plain(&interval))?,
            Format::Table => add_row(&mut table, &interval),
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

fn plain(interval: &HistoryView) -> String {
    let to = interval
        .to
        .map_or_else(|| "-".to_owned(), |to| to.to_string());
    format!("{}\t{}\t{to}", interval.address, interval.from)
}

fn add_row(table: &mut Table, interval: &HistoryView) {
    let emphasis = match interval.to {
        None => Emphasis::Normal,
        Some(_) => Emphasis::Dim,
    };
    let cells = [
        interval.address.to_string(),
        interval.evidence.word().to_owned(),
        time::local(interval.from),
        interval::end(interval.to, interval.lost_by),
    ];
    table.row(emphasis, cells);
}
