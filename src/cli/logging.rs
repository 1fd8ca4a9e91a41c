//! Logs: text or JSON lines on stderr.
//!
//! The flags, the environment and the configuration go in; this module decides once for each
//! process which events are written, and how. Data never goes here: that is [`super::output`].

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use super::Global;
use super::exit::Failure;
use crate::config::{LogFormat, LogLevel};

/// The variable that says what is logged, over the configuration: `debug`, or by module
/// `info,hereabouts::net=trace`.
const VARIABLE: &str = "HEREABOUTS_LOG";

/// Starts the log of a command other than `run`: warnings, as text.
pub(super) fn start_for_command(global: &Global) -> Result<(), Failure> {
    start(global, LogLevel::Warn, LogFormat::Text)
}

/// Starts logging with the level and the format of the configuration. `-v` and `-q` override
/// [`VARIABLE`], which overrides `level`.
pub(super) fn start(global: &Global, level: LogLevel, format: LogFormat) -> Result<(), Failure> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() && global.verbose == 0 && !global.quiet => {
            text.parse().map_err(|_| {
                Failure::Usage(format!(
                    "{VARIABLE}={text:?} is not a log filter: write error, warn, info, debug or trace"
                ))
            })?
        }
        _ => filter_of(global, level),
    };
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(global.color.use_colour(terminal));
    // The journal adds a time to each line itself.
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

fn filter_of(global: &Global, level: LogLevel) -> Targets {
    let configured = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => configured,
        (false, 1) => configured.max(LevelFilter::DEBUG),
        (false, _) => LevelFilter::TRACE,
    };
    // Below a warning, libraries log little that an operator wants to read.
    Targets::new()
        .with_target("hereabouts", level)
        .with_default(level.min(LevelFilter::WARN))
}
