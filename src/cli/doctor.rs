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

/// How long the node of this machine may take to report its status; a node that hangs is a finding.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// Check what can go wrong, and print each problem with its remedy
///
/// Checks the configuration, the keys, the state directory, the port, the interfaces and the
/// firewall of this machine, and queries the network by each method on each interface. Works beside
/// a running node and without one, and takes some three seconds. docs/reference/troubleshooting.md
/// explains each finding.
///
/// Each finding has a severity: ok, warning or problem. Ends with 0 only if all is ok, and with 1
/// otherwise. In a pipe, each line is the severity, the code, the subject, the finding and the
/// remedy, separated by tabs; - stands for none.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts doctor
  hereabouts doctor --output json | jq 'select(.severity != \"ok\")'")]
pub(super) struct DoctorArgs {}

pub(super) fn run(
    DoctorArgs {}: &DoctorArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let findings = match context.loaded() {
        Ok(loaded) => context
            .client()
            .examine(loaded, status(context)?, &mut progress)?,
        Err(Failure::Config(error)) => vec![config_invalid(error)],
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
        None => anyhow::bail!("the node of this machine answered without its status"),
    }
}

fn config_invalid(error: String) -> FindingView {
    FindingView {
        code: Code::ConfigInvalid,
        severity: Severity::Problem,
        about: None,
        finding: error,
        remedy: Some("fix the place that is marked; hereabouts check shows it again".to_owned()),
    }
}

/// Shows the next check on a terminal; each line replaces the one before, and an empty text removes
/// it.
fn progress(next: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let line = if next.is_empty() {
            String::new()
        } else {
            format!("checking {next} …")
        };
        // Without a stderr there is no progress to show, and nothing else is lost.
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
                print_for_people(finding, output)?;
            }
            output.line(summary(findings))
        }
    }
}

/// How many findings of each severity there are.
fn summary(findings: &[FindingView]) -> String {
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let ok = count(Severity::Ok);
    let warnings = count(Severity::Warning);
    let problems = count(Severity::Problem);
    format!(
        "{ok} ok, {warnings} warning{}, {problems} problem{}",
        plural(warnings),
        plural(problems)
    )
}

/// Severity, code, subject, finding and remedy, separated by tabs.
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

fn print_for_people(finding: &FindingView, output: &mut Output<'_>) -> Result<(), Failure> {
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
        Some(remedy) => output.line(format_args!("{indent}remedy: {}", one_line(remedy))),
        None => Ok(()),
    }
}
