//! The problems of a configuration file, rendered with the line and a caret.
//!
//! Whatever the file contains, the rendered text has no control characters of it in its titles, and
//! its length is limited.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::place::{line_of, unescape};

/// How many problems of one file are rendered: more usually have one cause.
const MAX_SHOWN: usize = 100;

/// An error or a warning at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `discovery.methods[1]`; empty for the whole file.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// A suggestion how to fix the problem, if there is one.
    pub help: Option<String>,
    /// The marked bytes of the text.
    pub span: Range<usize>,
    /// Whether this is a warning: the configuration can be used nevertheless.
    pub is_warning: bool,
}

impl Problem {
    pub(super) fn error(pointer: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            path: path_of(pointer),
            message: message.into(),
            help: None,
            span,
            is_warning: false,
        }
    }

    pub(super) fn warning(pointer: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            is_warning: true,
            ..Self::error(pointer, span, message)
        }
    }
}

/// Turns a JSON pointer into the form that people write: `discovery.methods[1]`.
pub(super) fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&unescape(part));
        }
    }
    path
}

/// All problems of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The name of the file, for messages.
    name: String,
    text: Arc<str>,
    problems: Vec<Problem>,
}

impl Report {
    /// The problems of a file, sorted by their place in the text.
    pub(super) fn of(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        problems.dedup();
        Self {
            name: name.into(),
            text: text.into(),
            problems,
        }
    }

    /// The report of a file that could not be read.
    pub(super) fn unreadable(name: &str, message: impl Into<String>) -> Self {
        Self::of(name, "", vec![Problem::error("", 0..0, message)])
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Renders every problem with its file, line and column, the line itself and a caret, without a
    /// final line break.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut shown: Vec<String> = self
            .problems
            .iter()
            .take(MAX_SHOWN)
            .map(|problem| self.render_problem(&renderer, problem))
            .collect();
        if let Some(more @ 1..) = self.problems.len().checked_sub(MAX_SHOWN) {
            shown.push(format!("error: {}: {more} more problems", self.name));
        }
        shown.join("\n\n")
    }

    fn render_problem(&self, renderer: &Renderer, problem: &Problem) -> String {
        let level = if problem.is_warning {
            Level::WARNING
        } else {
            Level::ERROR
        };
        let title = match problem.path.as_str() {
            "" => problem.message.clone(),
            path => format!("{path}: {}", problem.message),
        };
        // The title may quote the file, whose control characters must not reach the terminal.
        let title: String = title
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        if self.text.is_empty() {
            let origin = annotate_snippets::Origin::path(&self.name);
            return renderer.render(&[level.primary_title(title).element(origin)]);
        }
        let span = &problem.span;
        let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.start..]
            .find('\n')
            .map_or(self.text.len(), |at| span.start + at);
        // Only the marked line is rendered, so that the cost does not grow with the file.
        let line: String = self.text[start..end].into();
        let marked = span.start - start..span.end.clamp(span.start, end) - start;
        let snippet = Snippet::source(line)
            .path(&self.name)
            .line_start(line_of(&self.text, start))
            .annotation(AnnotationKind::Primary.span(marked));
        let mut group = level.primary_title(title).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
