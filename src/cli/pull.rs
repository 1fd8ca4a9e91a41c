//! `hereabouts pull`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit::Failure;
use super::output::Output;
use super::progress;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};

/// Have the node of this machine pull its files now
///
/// Each line is the file, done or failed, the generation that is here and why it failed, with tabs between. Ends with 1 if any
/// failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts pull
  hereabouts pull catalogue")]
pub(super) struct PullArgs {
    /// The file's name in files.accept; all of them without it
    name: Option<String>,
}

pub(super) fn run(
    args: PullArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let failure = |error| match error {
        AskError::Refused {
            kind: ErrorKind::NotFound,
            message,
        } => Failure::NothingFound(message).into(),
        error => anyhow::Error::from(error),
    };
    let items = context.local(&Request::Pull { name: args.name }, Duration::MAX)??;
    let seen = progress::follow(
        items.map(|item| item.map_err(failure)),
        output,
        |item| match item {
            Item::Pulled(view) => Ok(view),
            item => Err(unexpected(&item)),
        },
    )?;
    Ok(seen.exit_code())
}
