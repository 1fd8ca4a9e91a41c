//! Turns observations into findings, each with its remedy. Pure.
//!
//! The texts of findings and remedies are for operators. A remedy starts with what can be pasted: a
//! command or a setting. `docs/reference/troubleshooting.md` explains each code.

mod machine;
mod network;
mod node;
#[cfg(test)]
mod tests;

use super::observations::Observations;
use crate::api::view::{Code, FindingView, Severity};

/// Returns all findings; a finding that may cause others comes first.
pub(super) fn diagnose(observed: &Observations) -> Vec<FindingView> {
    let mut findings = Vec::new();
    machine::diagnose(observed, &mut findings);
    network::diagnose(observed, &mut findings);
    for finding in &findings {
        let severity = finding.severity.as_str();
        tracing::debug!(code = %finding.code, severity, about = finding.about, "a finding");
    }
    findings
}

/// As it should be.
fn ok(code: Code, finding: impl Into<String>) -> FindingView {
    FindingView {
        code,
        severity: Severity::Ok,
        about: None,
        finding: finding.into(),
        remedy: None,
    }
}

/// It works, or may work, but not well.
fn warning(code: Code, finding: impl Into<String>, remedy: impl Into<String>) -> FindingView {
    FindingView {
        code,
        severity: Severity::Warning,
        about: None,
        finding: finding.into(),
        remedy: Some(remedy.into()),
    }
}

/// It does not work.
fn problem(code: Code, finding: impl Into<String>, remedy: impl Into<String>) -> FindingView {
    FindingView {
        code,
        severity: Severity::Problem,
        about: None,
        finding: finding.into(),
        remedy: Some(remedy.into()),
    }
}

impl FindingView {
    fn about(self, subject: impl ToString) -> Self {
        Self {
            about: Some(subject.to_string()),
            ..self
        }
    }
}

/// `1 node`, `2 nodes`.
fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// The first few items of a list, and the number of the others.
fn some_of<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    const LIMIT: usize = 4;
    let mut items = items.into_iter();
    let shown: Vec<_> = items
        .by_ref()
        .take(LIMIT)
        .map(|item| item.to_string())
        .collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
