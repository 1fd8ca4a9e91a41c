//! `hereabouts discover`

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{labels, printable};
use super::time;
use crate::api::view::FoundView;

/// Query the network once and print each answer as it comes
///
/// Servers answer at once. With --all every node answers, at a random moment within the time limit.
///
/// Ends with 3 if no node answered. In a pipe, each line is the name and the source address of the
/// answer, separated by a tab; with --compat, it is the source address and the pairs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts discover
  hereabouts discover --all --timeout 3s
  hereabouts discover --output json | jq -r .info.services")]
pub(super) struct DiscoverArgs {
    /// Wait this long for answers
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = time::limit)]
    timeout: Duration,
    /// Query every node, not only servers
    #[arg(long)]
    all: bool,
    /// Query by a legacy protocol instead, unauthenticated: anyone on the network can answer
    ///
    /// Port, magic and password are those of compat.pydiscover, or PyDiscover's defaults.
    #[arg(long, value_name = "PROTOCOL", value_enum, conflicts_with = "all")]
    compat: Option<DiscoverProtocol>,
}

/// Legacy protocols by which servers can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DiscoverProtocol {
    Pydiscover,
}

pub(super) fn run(
    args: &DiscoverArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    if args.compat == Some(DiscoverProtocol::Pydiscover) {
        return super::legacy::discover(args.timeout, context, output);
    }
    let config = context.config()?;
    let mut any = false;
    let mut printed = Ok(());
    context
        .client()
        .discover(config, args.all, args.timeout, &mut |found| {
            printed = print(&found, !any, output);
            any = true;
            if printed.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    printed?;
    if !any {
        let nodes = if args.all { "node" } else { "server" };
        return Err(Failure::NothingFound(format!(
            "no {nodes} answered within {:?} (`hereabouts doctor` finds the cause)",
            args.timeout
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one answer and passes it on to the reader at once. The next answer is not known yet, so
/// the columns of a table have fixed widths.
fn print(found: &FoundView, first: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(found)?,
        Format::Plain => output.line(format_args!("{}\t{}", found.name, found.source))?,
        Format::Table => {
            if first {
                let header = columns(
                    "NAME",
                    "ROLE",
                    "ANSWERED FROM",
                    "BY",
                    "AFTER",
                    "INFO AND LABELS",
                );
                if output.colour() {
                    output.line(format_args!("\x1b[1m{header}\x1b[0m"))?;
                } else {
                    output.line(header)?;
                }
            }
            let pairs = printable(&format!(
                "{} {}",
                labels(&found.info),
                labels(&found.labels)
            ));
            let after = format!("{} ms", found.after_ms);
            let source = found.source.to_string();
            let row = columns(
                found.name.as_str(),
                &found.role.to_string(),
                &source,
                &printable(&found.method),
                &after,
                pairs.trim(),
            );
            output.line(row)?;
        }
    }
    output.flush()
}

fn columns(name: &str, role: &str, source: &str, method: &str, after: &str, pairs: &str) -> String {
    let line = format!("{name:<20}  {role:<6}  {source:<28}  {method:<9}  {after:>8}  {pairs}");
    line.trim_end().to_owned()
}
