//! `hereabouts health`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit;
use super::output::{Format, Output};
use crate::api::request::{Item, Request};
use crate::api::view::HealthView;

/// How long a healthy node may take to say so: below the 30 s after which Docker gives up.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// Say whether the node of this machine is ready
///
/// Exits with 0 when it is, and with 1 and the reasons when it is not or does not run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  HEALTHCHECK CMD [\"/hereabouts\", \"health\"]")]
pub(super) struct HealthArgs {}

pub(super) fn run(
    HealthArgs {}: &HealthArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let items = context.local_items(&Request::Health, HEALTH_LIMIT)?;
    let health = match items.map(|items| items.into_iter().next()) {
        Ok(Some(Item::Health(health))) => health,
        Ok(Some(item)) => return Err(unexpected(&item)),
        Ok(None) => anyhow::bail!("the node did not say how it is"),
        Err(error) => HealthView {
            ready: false,
            reasons: vec![error.to_string()],
        },
    };
    match output.format() {
        Format::Json => output.json(&health)?,
        Format::Plain | Format::Table if health.ready => output.line("ready")?,
        Format::Plain | Format::Table => {
            output.line(format_args!("not ready: {}", health.reasons.join("; ")))?
        }
    }
    Ok(ExitCode::from(if health.ready { 0 } else { exit::FAILED }))
}
