//! Exit codes, and which error ends with which code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// The command failed.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong; clap ends with this code, too.
const USAGE: u8 = 2;
/// Nothing matches the request.
const NOTHING_FOUND: u8 = 3;
/// The configuration can't be used (`EX_USAGE` of sysexits.h, which linkerd2-proxy uses for it,
/// too).
pub(super) const CONFIG: u8 = 64;

/// An error that ends with a code of its own; any other error ends with [`FAILED`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    NothingFound(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Config(String),
    #[error("failed to write to stdout")]
    Output(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::NothingFound(_) => NOTHING_FOUND,
            Self::Usage(_) => USAGE,
            Self::Config(_) => CONFIG,
            // The reader has read enough and closed the pipe, as `head` does: nothing failed.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => FAILED,
        }
    }
}

/// The code that an error ends with.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(FAILED, Failure::code)
}

/// Reports an error on stderr, and returns the code to end with.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let code = code(error);
    if code != 0 {
        note(format_args!("error: {error:#}"));
    }
    ExitCode::from(code)
}

/// Prints a line on stderr. With stderr closed there is nowhere to report that, so the error is
/// dropped.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
