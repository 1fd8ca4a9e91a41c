//! `hereabouts pull`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit::{self, Failure};
use super::output::{Format, Output};
use super::progress::{Bars, Line};
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::Progress;

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

pub(super) fn run(args: PullArgs, context: &Context<'_>, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let mut bars = Bars::new(output);
    let mut failed = false;
    let failure = |error| match error {
        AskError::Refused { kind: ErrorKind::NotFound, message } => Failure::NothingFound(message).into(),
        error => anyhow::Error::from(error),
    };
    for item in context.local(&Request::Pull { name: args.name }, Duration::MAX)?? {
        let view = match item.map_err(failure)? {
            Item::Pulled(view) => view,
            item => return Err(unexpected(&item)),
        };
        failed |= view.state == Progress::Failed;
        match output.format() {
            Format::Json => {
                output.json(&view)?;
                output.flush()?;
            }
            Format::Plain | Format::Table => {
                let line = Line {
                    subject: &view.name,
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
    Ok(ExitCode::from(if failed { exit::FAILED } else { 0 }))
}
