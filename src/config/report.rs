//! What is wrong with configuration files, shown with the line and a caret.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::document::unescape;

/// The most problems that are shown of one file: more are of one cause.
const MAX_SHOWN: usize = 100;

/// One thing that is wrong, or worth knowing, at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `discovery.methods[1]`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// How to mend it, if that is known.
    pub help: Option<String>,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// Whether the configuration can be used all the same.
    pub is_note: bool,
}

impl Problem {
    pub(super) fn error(pointer: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            path: path_of(pointer),
            message: message.into(),
            help: None,
            span,
            is_note: false,
        }
    }

    pub(super) fn note(pointer: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            is_note: true,
            ..Self::error(pointer, span, message)
        }
    }
}

/// A JSON pointer as people write it: `discovery.methods[1]`.
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

/// All that is wrong with one or several files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    files: Vec<FileReport>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileReport {
    name: String,
    text: Arc<str>,
    problems: Vec<Problem>,
}

impl Report {
    /// The problems of one file, in the order of the text.
    pub(super) fn of(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        problems.dedup();
        Self {
            files: vec![FileReport {
                name: name.into(),
                text: text.into(),
                problems,
            }],
        }
    }

    /// One sentence about a file that could not be read.
    pub(super) fn unreadable(name: &str, message: impl Into<String>) -> Self {
        Self::of(name, "", vec![Problem::error("", 0..0, message)])
    }

    /// Adds the problems of other files.
    pub fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }

    /// Every problem with the name of its file.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &Problem)> {
        self.files.iter().flat_map(|file| {
            file.problems
                .iter()
                .map(move |problem| (file.name.as_str(), problem))
        })
    }

    /// Every problem with its file, line and column, the line itself and a caret; no final line break.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut shown = Vec::new();
        for file in &self.files {
            shown.extend(
                file.problems
                    .iter()
                    .take(MAX_SHOWN)
                    .map(|problem| render(&renderer, file, problem)),
            );
            if let Some(more @ 1..) = file.problems.len().checked_sub(MAX_SHOWN) {
                shown.push(format!("error: {}: {more} more problems", file.name));
            }
        }
        shown.join("\n\n")
    }
}

fn render(renderer: &Renderer, file: &FileReport, problem: &Problem) -> String {
    let level = if problem.is_note {
        Level::WARNING
    } else {
        Level::ERROR
    };
    let title = match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    // Control characters of the file never reach the terminal.
    let title: String = title
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if file.text.is_empty() {
        let plain = renderer.render(&[level
            .primary_title(title)
            .element(annotate_snippets::Origin::path(&file.name))]);
        return plain;
    }
    let start = file.text[..problem.span.start]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let end = file.text[problem.span.start..]
        .find('\n')
        .map_or(file.text.len(), |at| problem.span.start + at);
    // One line is enough to see, and a file of one long line stays cheap.
    let line: String = file.text[start..end].into();
    let span = problem.span.start - start..problem.span.end.clamp(problem.span.start, end) - start;
    let snippet = Snippet::source(line)
        .path(&file.name)
        .line_start(super::document::line_of(&file.text, start))
        .annotation(AnnotationKind::Primary.span(span));
    let mut group = level.primary_title(title).element(snippet);
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
