//! The program `hereabouts`: it runs [`hereabouts::cli`], and reports a panic as a bug.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::process::ExitCode;

use hereabouts::cli;

fn main() -> ExitCode {
    set_hook(Box::new(report_bug));
    hereabouts::net::configure_name_lookup();
    catch_unwind(AssertUnwindSafe(cli::main)).unwrap_or(ExitCode::FAILURE)
}

/// A panic is a bug with any input: this prints where it happened and the facts that help to find
/// it.
fn report_bug(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let version = env!("CARGO_PKG_VERSION");
    let message = message(panic.payload());
    cli::note(format_args!(
        "error: this is a bug in hereabouts {version}: {message} (at {place})"
    ));
    cli::note("Please report it with this line, the command and its configuration (without keys).");
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        cli::note(std::backtrace::Backtrace::force_capture());
    }
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}
