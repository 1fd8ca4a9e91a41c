//! From what was seen to findings, each with its mend. Pure.

mod machine;
mod network;
#[cfg(test)]
mod tests;

use super::observations::Observations;
use crate::api::view::{Code, FindingView, Severity};

/// Judges all that was seen; what is told first is what others may follow from.
pub(super) fn diagnose(observed: &Observations) -> Vec<FindingView> {
    let mut findings = Vec::new();
    machine::diagnose(observed, &mut findings);
    network::diagnose(observed, &mut findings);
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
    fn about(self, what: impl ToString) -> Self {
        Self {
            about: Some(what.to_string()),
            ..self
        }
    }
}

/// `1 node`, `2 nodes`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// The first few of a list, and how many more there are.
fn some_of<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let mut items = items.into_iter();
    let shown: Vec<_> = items
        .by_ref()
        .take(SHOWN)
        .map(|item| item.to_string())
        .collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
