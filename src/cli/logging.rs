//! Logs: text or JSON lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::Global;
use super::exit::Failure;

/// The variable that sets what is logged, over the config: `debug`, or by module `info,hereabouts::net=trace`.
pub const VARIABLE: &str = "HEREABOUTS_LOG";

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a command other than `run` logs: warnings, as text.
pub fn start_for_command(global: &Global) -> Result<(), Failure> {
    start(global, LevelFilter::WARN, LogFormat::Text)
}

/// Starts logging; `level` is what the config says. `-v`, `-q` and [`VARIABLE`] go before it.
pub fn start(global: &Global, level: LevelFilter, format: LogFormat) -> Result<(), Failure> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => level,
        (false, 1) => level.max(LevelFilter::DEBUG),
        (false, _) => LevelFilter::TRACE,
    };
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() && global.verbose == 0 && !global.quiet => {
            text.parse().map_err(|_| {
                Failure::Usage(format!(
                    "{VARIABLE}={text:?} is no log filter: write error, warn, info, debug or trace"
                ))
            })?
        }
        // Libraries say little that an operator wants.
        _ => Targets::new()
            .with_target("hereabouts", level)
            .with_default(level.min(LevelFilter::WARN)),
    };
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(global.color.colours(terminal));
    // The journal stamps each line itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text if journal => lines.with_target(false).without_time().boxed(),
        LogFormat::Text => lines.with_target(false).boxed(),
    };
    // Fails only when a test has started it before.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    Ok(())
}
