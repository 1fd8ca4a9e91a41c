//! `hereabouts schema`

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

/// Print the JSON Schema of the configuration
///
/// Editors use it to complete and to check hereabouts.yaml.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts schema > hereabouts.schema.json")]
pub(super) struct SchemaArgs {}

/// The same text is committed as `schema/hereabouts.schema.json`.
pub(super) fn run(_: SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&crate::config::published_schema())?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
