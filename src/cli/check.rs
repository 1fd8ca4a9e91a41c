//! `hereabouts check`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::exit;
use crate::config::{SystemEnvironment, load};

/// Check configuration files and show every error with its place
///
/// Settings that have no effect are shown, too. Nothing is started.
///
/// Ends with 64 if a file has an error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts check
  hereabouts check --effective
  hereabouts check hub.yaml kiosk.yaml")]
pub(super) struct CheckArgs {
    /// The files to check [default: the file that run would use]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print every setting and where its value came from
    #[arg(long)]
    effective: bool,
}

/// Checks every file; without files, it checks `config`, the file of `--config`.
pub(super) fn run(args: CheckArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let color = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let files: Vec<Option<&Path>> = match args.files.as_slice() {
        [] => vec![config.as_deref()],
        files => files.iter().map(|file| Some(file.as_path())).collect(),
    };
    let mut stderr = std::io::stderr().lock();
    let mut all_valid = true;
    for file in files {
        match load(&SystemEnvironment, file) {
            Ok(loaded) => {
                if !loaded.notes.is_empty() {
                    writeln!(stderr, "{}\n", loaded.notes.render(color))?;
                }
                let name = loaded
                    .source
                    .as_deref()
                    .map_or("built-in defaults".into(), |path| {
                        path.display().to_string()
                    });
                writeln!(stderr, "{name}: ok")?;
                if args.effective {
                    write!(std::io::stdout(), "{}", loaded.effective())?;
                }
            }
            Err(report) => {
                all_valid = false;
                writeln!(stderr, "{}\n", report.render(color))?;
            }
        }
    }
    Ok(if all_valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(exit::CONFIG)
    })
}
