//! `hereabouts completions`

use std::process::ExitCode;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::generate;

use super::Cli;
use super::output::Output;

/// Print a completion script for a shell
///
/// Write it to the file where the shell looks for it; a new shell then completes commands and
/// options.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts completions bash > /etc/bash_completion.d/hereabouts
  hereabouts completions zsh > ~/.zfunc/_hereabouts
  hereabouts completions fish > ~/.config/fish/completions/hereabouts.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// GNU Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

pub(super) fn run(args: &CompletionsArgs, output: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    generate(shell, &mut command, "hereabouts", &mut script);
    output.bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
