//! `hereabouts history`

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, needs_server, unexpected};
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{Emphasis, Table};
use super::time;
use crate::api::request::{Item, Request};
use crate::model::NodeName;

/// List every address that a node had, from when to when
///
/// Only a server keeps a history: run this where one runs, as its user. In a pipe, each line is the address, from and to
/// (RFC 3339), with tabs between; to is - while the node still has the address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts history laptop
  hereabouts history laptop --output json")]
pub(super) struct HistoryArgs {
    /// The node's name
    name: NodeName,
}

pub(super) fn run(args: HistoryArgs, context: &Context<'_>, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let request = Request::History { name: args.name.clone(), after: None };
    let mut table = Table::new(&["ADDRESS", "KNOWN BY", "FROM", "TO"]);
    let mut any = false;
    for item in context.local(&request, LOCAL_LIMIT)?.map_err(needs_server)? {
        let interval = match item.map_err(needs_server)? {
            Item::History(interval) => interval,
            item => return Err(unexpected(&item)),
        };
        any = true;
        match output.format() {
            Format::Json => output.json(&interval)?,
            Format::Plain => {
                let to = interval.to.map_or_else(|| "-".to_owned(), |to| to.to_string());
                output.line(format_args!("{}\t{}\t{to}", interval.address, interval.from))?;
            }
            Format::Table => {
                let emphasis = if interval.to.is_none() { Emphasis::Normal } else { Emphasis::Dim };
                let to = interval.to.map_or_else(|| "still".to_owned(), time::local);
                let known = interval.seen.word().to_owned();
                table.row(emphasis, [interval.address.to_string(), known, time::local(interval.from), to]);
            }
        }
    }
    output.table(&table)?;
    if any {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::NothingFound(format!("no address of {} is known", args.name)).into())
    }
}
