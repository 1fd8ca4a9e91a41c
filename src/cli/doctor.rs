//! `hereabouts doctor`

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit::{self, Failure};
use super::output::{Format, Output};
use super::table::printable;
use crate::api::control::AskError;
use crate::api::request::{Item, Request};
use crate::api::view::{Code, FindingView, Severity, StatusView};

/// How long the node of this machine may take to say how it is; one that hangs is a finding.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// Try what can go wrong, and say which it is and how to mend it
///
/// Looks at the config, the keys, the state directory, the port, the interfaces and the firewall of this machine, and asks
/// the network by each method on each interface. Works beside a running node, and without one. Takes some three seconds.
/// Exits with 0 only if all is well. docs/reference/troubleshooting.md tells more of each finding.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts doctor
  hereabouts doctor --output json | jq 'select(.mark != \"ok\")'")]
pub(super) struct DoctorArgs {}

pub(super) fn run(
    DoctorArgs {}: &DoctorArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let findings = match context.network() {
        Ok(network) => network.examine(status(context)?, &mut progress)?,
        Err(Failure::Config(error)) => vec![bad_config(error)],
        Err(error) => return Err(error.into()),
    };
    print(&findings, output)?;
    let well = findings
        .iter()
        .all(|finding| finding.severity == Severity::Ok);
    Ok(ExitCode::from(if well { 0 } else { exit::FAILED }))
}

fn status(context: &Context<'_>) -> anyhow::Result<Result<Box<StatusView>, AskError>> {
    let items = match context.local_items(&Request::Status, STATUS_LIMIT)? {
        Ok(items) => items,
        Err(error) => return Ok(Err(error)),
    };
    match items.into_iter().next() {
        Some(Item::Status(status)) => Ok(Ok(status)),
        Some(item) => Err(unexpected(&item)),
        None => anyhow::bail!("the node did not say how it is"),
    }
}

fn bad_config(error: String) -> FindingView {
    FindingView {
        code: Code::ConfigInvalid,
        severity: Severity::Problem,
        about: None,
        finding: error,
        remedy: Some("mend what is pointed at; hereabouts check shows it again".to_owned()),
    }
}

/// Says on a terminal what is looked at; the line goes when the next one comes.
fn progress(next: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let line = if next.is_empty() {
            String::new()
        } else {
            format!("looking at {next} …")
        };
        // A closed stderr is nobody's loss.
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}

fn print(findings: &[FindingView], output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => findings.iter().try_for_each(|finding| output.json(finding)),
        Format::Plain => findings
            .iter()
            .try_for_each(|finding| output.line(plain(finding))),
        Format::Table => {
            for finding in findings {
                table(finding, output)?;
            }
            let count = |severity| {
                findings
                    .iter()
                    .filter(|finding| finding.severity == severity)
                    .count()
            };
            let (warnings, problems) = (count(Severity::Warning), count(Severity::Problem));
            let many = |count: usize| if count == 1 { "" } else { "s" };
            output.line(format_args!(
                "{} ok, {warnings} warning{}, {problems} problem{}",
                count(Severity::Ok),
                many(warnings),
                many(problems)
            ))
        }
    }
}

/// Mark, code, what it is about, finding and mend, with tabs between.
fn plain(finding: &FindingView) -> String {
    let FindingView {
        code,
        severity,
        about,
        finding,
        remedy,
    } = finding;
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), one_line);
    [
        severity.as_str().to_owned(),
        code.to_string(),
        or_dash(about),
        one_line(finding),
        or_dash(remedy),
    ]
    .join("\t")
}

fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn table(finding: &FindingView, output: &mut Output<'_>) -> Result<(), Failure> {
    const WIDTH: usize = "warning".len();
    let FindingView {
        code: _,
        severity,
        about,
        finding,
        remedy,
    } = finding;
    let colour = match severity {
        Severity::Ok => "\x1b[32m",
        Severity::Warning => "\x1b[33m",
        Severity::Problem => "\x1b[31m",
    };
    let word = severity.as_str();
    let word = if output.colour() {
        format!("{colour}{word:<WIDTH$}\x1b[0m")
    } else {
        format!("{word:<WIDTH$}")
    };
    let indent = " ".repeat(WIDTH + 2);
    let about = about
        .as_ref()
        .map_or_else(String::new, |about| format!("{}: ", printable(about)));
    let mut lines = finding.lines().map(printable);
    output.line(format_args!(
        "{word}  {about}{}",
        lines.next().unwrap_or_default()
    ))?;
    for line in lines {
        output.line(format_args!("{indent}{line}"))?;
    }
    match remedy {
        Some(remedy) => output.line(format_args!("{indent}mend: {}", one_line(remedy))),
        None => Ok(()),
    }
}
