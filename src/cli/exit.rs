//! Exit codes, and which error ends with which.

use std::io;
use std::process::ExitCode;

/// The command failed.
pub const FAILED: u8 = 1;
/// The command line can't be understood; clap ends with it too.
pub const USAGE: u8 = 2;
/// Nothing fits what was asked.
pub const NOTHING_FOUND: u8 = 3;
/// The config can't be used (`EX_USAGE` of sysexits.h, as linkerd2-proxy has it).
pub const CONFIG: u8 = 64;

/// An error that ends with a code of its own; any other error ends with [`FAILED`].
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing fits what was asked.
    #[error("{0}")]
    NothingFound(String),
    /// The arguments don't fit together.
    #[error("{0}")]
    Usage(String),
    /// The config can't be used.
    #[error("{0}")]
    Config(String),
    /// Data could not be printed.
    #[error("failed to write to stdout")]
    Output(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::NothingFound(_) => NOTHING_FOUND,
            Self::Usage(_) => USAGE,
            Self::Config(_) => CONFIG,
            // Whoever reads has read enough, as `head` does: nothing failed.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => FAILED,
        }
    }
}

/// The code that an error ends with.
pub fn code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(FAILED, Failure::code)
}

/// Says on stderr what went wrong, and gives the code to end with.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let code = code(error);
    if code != 0 {
        note(format_args!("error: {error:#}"));
    }
    ExitCode::from(code)
}

/// Prints a line on stderr; a closed stderr is nobody's loss.
pub fn note(text: impl std::fmt::Display) {
    use io::Write;
    let _ = writeln!(io::stderr(), "{text}");
}
