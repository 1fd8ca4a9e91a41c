//! How files are on their way, for people: a bar each, on a terminal.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use super::exit;
use super::output::{Format, Output};
use super::table::printable;
use crate::api::request::Item;
use crate::api::view::{Progress, PullView, PushView};

/// What came of all that was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There was nothing to follow.
    Nothing,
    /// Nothing failed.
    Well,
    /// Something failed.
    Failed,
}

impl Seen {
    /// How the command ends.
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(if self == Self::Failed {
            exit::FAILED
        } else {
            0
        })
    }
}

/// A view of a file on its way, as a line of progress.
pub(super) trait Followed: Serialize {
    /// The line.
    fn line(&self) -> Line<'_>;
}

impl Followed for PullView {
    fn line(&self) -> Line<'_> {
        let Self {
            name,
            server: _,
            state,
            generation,
            bytes,
            size,
            error,
        } = self;
        let (state, generation, bytes, size) = (*state, *generation, *bytes, *size);
        Line {
            subject: name,
            state,
            generation,
            bytes,
            size,
            error: error.as_deref(),
        }
    }
}

impl Followed for PushView {
    fn line(&self) -> Line<'_> {
        let (state, generation, bytes, size) = (self.state, self.generation, self.bytes, self.size);
        Line {
            subject: self.node.as_str(),
            state,
            generation,
            bytes,
            size,
            error: self.error.as_deref(),
        }
    }
}

/// Shows each item as it comes, until the last.
pub(super) fn follow<V: Followed>(
    items: impl Iterator<Item = anyhow::Result<Item>>,
    output: &mut Output<'_>,
    view: impl Fn(Item) -> anyhow::Result<V>,
) -> anyhow::Result<Seen> {
    let mut bars = Bars::new(output);
    let mut seen = Seen::Nothing;
    for item in items {
        let view = view(item?)?;
        let line = view.line();
        seen = if seen == Seen::Failed || line.state == Progress::Failed {
            Seen::Failed
        } else {
            Seen::Well
        };
        match output.format() {
            Format::Json => {
                output.json(&view)?;
                output.flush()?;
            }
            Format::Plain | Format::Table => bars.show(&line, output)?,
        }
    }
    Ok(seen)
}

/// One line of progress.
pub(super) struct Line<'a> {
    /// What the bar is about: a node or a file.
    pub(super) subject: &'a str,
    /// How far it is.
    pub(super) state: Progress,
    /// The generation.
    pub(super) generation: u64,
    /// Bytes that are there.
    pub(super) bytes: u64,
    /// The file's size in bytes.
    pub(super) size: u64,
    /// Why it failed.
    pub(super) error: Option<&'a str>,
}

/// How a bar is drawn.
///
/// It takes what the numbers leave of the line, 12 of 80 columns: a line that is too long would wrap with each step.
fn style() -> ProgressStyle {
    // Without a rate nothing is known of the time that is left, which is not "0s".
    let left = |state: &ProgressState, to: &mut dyn fmt::Write| {
        // What is written to is a text in memory.
        let _ = if state.per_sec() > 0.0 {
            write!(to, "{:#}", HumanDuration(state.eta()))
        } else {
            to.write_str("-")
        };
    };
    // A template that is a constant; were it wrong, the default style would do.
    let style = ProgressStyle::with_template(
        "{prefix:<16} {wide_bar} {bytes:>11}/{total_bytes:<11} {bytes_per_sec:>13} {left:>4} {msg:<7}",
    );
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("left", left)
}

/// A bar for each subject on a terminal; elsewhere a line when it ended.
struct Bars {
    bars: Option<MultiProgress>,
    by_subject: HashMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on stderr where that is a terminal and data goes there as a table.
    fn new(output: &Output<'_>) -> Self {
        let wanted = output.format() == Format::Table && std::io::stderr().is_terminal();
        Self {
            bars: wanted.then(MultiProgress::new),
            by_subject: HashMap::new(),
        }
    }

    /// Shows how far something is; prints the line of what ended.
    fn show(&mut self, line: &Line<'_>, output: &mut Output<'_>) -> anyhow::Result<()> {
        let ended = matches!(
            line.state,
            Progress::Sent | Progress::Done | Progress::Failed
        );
        if ended {
            // What ended at once, as nothing had to come, had no bar.
            self.by_subject
                .remove(line.subject)
                .inspect(ProgressBar::finish_and_clear);
        } else if let Some(bars) = &self.bars {
            let bar = self
                .by_subject
                .entry(line.subject.to_owned())
                .or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new(line.size));
                    bar.set_style(style());
                    bar.set_prefix(printable(line.subject));
                    // What an earlier try brought counts for nothing in the rate.
                    bar.set_position(line.bytes);
                    bar.reset_eta();
                    bar
                });
            bar.set_length(line.size);
            bar.set_position(line.bytes);
            bar.set_message(line.state.word());
        }
        if ended {
            let note = (line.state == Progress::Sent)
                .then_some("terminals do not report back: whether it has it is unknown");
            let error = line
                .error
                .or(note)
                .map(|error| format!("\t{}", printable(error)))
                .unwrap_or_default();
            let (subject, state, generation) =
                (printable(line.subject), line.state.word(), line.generation);
            let print = |output: &mut Output<'_>| {
                output.line(format_args!("{subject}\t{state}\t{generation}{error}"))
            };
            match &self.bars {
                Some(bars) => bars.suspend(|| print(output).and_then(|()| output.flush()))?,
                None => print(output).and_then(|()| output.flush())?,
            }
        }
        Ok(())
    }
}
