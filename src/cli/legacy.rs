//! `discover` and `announce` by legacy protocols, whose answers prove nothing; and the reading of
//! legacy files.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::context::Context;
use super::exit::{self, Failure, note};
use super::output::{Format, Output};
use super::table::{Emphasis, Table, or_dash, printable};
use crate::api::view::{AnnounceResult, PydiscoverFoundView};
use crate::config::DynipServer;

/// `discover --compat pydiscover`: prints each answer as it comes.
pub(super) fn discover(
    window: Duration,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    note("note: PyDiscover proves nothing: anyone on this network can give these answers");
    let config = context.config()?;
    let mut any = false;
    let mut printed = Ok(());
    context
        .client()
        .discover_pydiscover(config, window, &mut |found| {
            any |= found.info.is_some();
            printed = print(&found, output);
            if printed.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    printed?;
    if !any {
        return Err(Failure::NothingFound(format!(
            "no PyDiscover server answered within {window:?}"
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &PydiscoverFoundView, output: &mut Output<'_>) -> Result<(), Failure> {
    match (output.format(), &found.info) {
        (Format::Json, _) => output.json(found)?,
        (_, Some(info)) => {
            let pairs: Vec<_> = info
                .iter()
                .map(|(key, value)| printable(&format!("{key}={value}")))
                .collect();
            output.line(format_args!("{}\t{}", found.source, pairs.join(" ")))?;
        }
        (_, None) => {
            let reason = printable(found.refused.as_deref().unwrap_or("without a reason"));
            note(format_args!("{} refused: {reason}", found.source));
        }
    }
    output.flush()
}

/// `announce --compat dynip`: sends the name to each server once.
pub(super) fn announce(
    servers: &[DynipServer],
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let results = context
        .client()
        .announce_dynip(context.config()?, &servers)?;
    if results.is_empty() {
        return Err(Failure::Usage(
            "no DynIP server is known: give --to SERVER, or name one in publish: [{ type: dynip, server: … }]"
                .to_owned(),
        )
        .into());
    }
    let mut table = Table::new(&["SERVER", "SENT", "ERROR"]);
    for result in &results {
        match (output.format(), &result.error) {
            (Format::Json, _) => output.json(result)?,
            (Format::Plain, None) => output.line(&result.server)?,
            (Format::Plain, Some(error)) => note(format_args!("{}: {error}", result.server)),
            (Format::Table, _) => add_row(&mut table, result),
        }
    }
    output.table(&table)?;
    let any_sent = results.iter().any(|result| result.error.is_none());
    Ok(ExitCode::from(if any_sent { 0 } else { exit::FAILED }))
}

fn add_row(table: &mut Table, result: &AnnounceResult) {
    let (emphasis, sent) = match result.error {
        None => (Emphasis::Normal, "yes, unacknowledged"),
        Some(_) => (Emphasis::Bad, "no"),
    };
    let cells = [
        result.server.clone(),
        sent.to_owned(),
        or_dash(result.error.as_ref()),
    ];
    table.row(emphasis, cells);
}

/// Reads a legacy file of at most `max_bytes`.
pub(super) fn read(path: &Path, max_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("{} can't be read", path.display());
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(unreadable)?;
    if bytes.len() > max_bytes {
        return Err(anyhow!(
            "{} has more than {max_bytes} bytes",
            path.display()
        ));
    }
    Ok(bytes)
}
