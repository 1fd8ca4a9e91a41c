//! `hereabouts health`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit;
use super::output::{Format, Output};
use crate::api::request::{Item, Request};
use crate::api::view::HealthView;

/// How long a healthy node may take to answer: below the 30 s after which Docker gives up.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// Report whether the node of this machine is ready
///
/// If it is not ready, the reasons are printed.
///
/// Ends with 0 if the node is ready, and with 1 if it is not, if it does not run, or if it does not
/// answer within 5 seconds.
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
        Ok(None) => anyhow::bail!("the node of this machine answered without its health"),
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
