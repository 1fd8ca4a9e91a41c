//! `hereabouts man`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory};

use super::Cli;
use super::output::Output;

/// Print the man page, or write the page of every command into a directory
///
/// man -l shows a page without installing it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts man | man -l -
  hereabouts man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write one page for each command into this directory, which must exist
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    match &args.dir {
        Some(dir) => clap_mangen::generate_to(command, dir)
            .with_context(|| format!("failed to write man pages into {}", dir.display()))?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output.bytes(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
