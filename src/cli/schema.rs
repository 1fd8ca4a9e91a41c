//! `hereabouts schema`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

/// Print the JSON Schema of the configuration
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {}

/// Prints the schema, as it is committed in `schema/hereabouts.schema.json`.
pub(super) fn run(_: SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&crate::config::published_schema())?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
