//! `hereabouts check`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{SystemEnvironment, load};

/// The exit code of a configuration that does not check.
const BAD_CONFIG: u8 = 64;

/// Check configuration files and show every error with its place
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The files to check [default: the one that run would take]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print every setting with where its value came from
    #[arg(long)]
    pub effective: bool,
}

/// Checks every file; `config` is the file of `--config`, taken where no file is named.
pub(super) fn run(args: CheckArgs, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let color = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let files: Vec<Option<&Path>> = match args.files.as_slice() {
        [] => vec![config.as_deref()],
        files => files.iter().map(|file| Some(file.as_path())).collect(),
    };
    let mut stderr = std::io::stderr().lock();
    let mut all_fine = true;
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
                all_fine = false;
                writeln!(stderr, "{}\n", report.render(color))?;
            }
        }
    }
    Ok(if all_fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_CONFIG)
    })
}
