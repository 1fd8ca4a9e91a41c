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

/// Make the node of this machine pull its files now
///
/// Run it as the user of the node or as root. A file whose content is the newest already is done at
/// once.
///
/// Ends with 1 if any file failed, and with 3 if files.accept does not have the name. Each line is
/// the file, done or failed, the generation that is here, and why it failed, separated by tabs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts pull
  hereabouts pull catalogue")]
pub(super) struct PullArgs {
    /// The file's name in files.accept [default: all of them]
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
    let outcome =
        progress::follow(
            items.map(|item| item.map_err(failure)),
            output,
            |item| match item {
                Item::Pulled(view) => Ok(view),
                item => Err(unexpected(&item)),
            },
        )?;
    Ok(outcome.exit_code())
}
