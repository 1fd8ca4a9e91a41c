//! The progress of files for people: a bar for each transfer, on a terminal.
//!
//! Views of `push` and `pull` go in. A transfer that ended is data and goes to stdout; bars go to
//! stderr, and only if that is a terminal.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use super::exit::{self, Failure};
use super::output::{Format, Output};
use super::table::printable;
use crate::api::request::Item;
use crate::api::view::{Progress, PullView, PushView};

/// How the transfers of a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was no transfer.
    Nothing,
    /// No transfer failed.
    Success,
    /// At least one transfer failed.
    Failure,
}

impl Outcome {
    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self::Nothing | Self::Success => ExitCode::SUCCESS,
            Self::Failure => ExitCode::from(exit::FAILED),
        }
    }
}

/// A view of a transfer that can be shown as a line of progress.
pub(super) trait Transfer: Serialize {
    fn line(&self) -> Line<'_>;
}

/// One line of progress.
pub(super) struct Line<'a> {
    /// The subject of the bar: a file or a node.
    subject: &'a str,
    state: Progress,
    generation: u64,
    /// How many bytes are here.
    bytes: u64,
    /// The file's size in bytes.
    size: u64,
    error: Option<&'a str>,
}

impl Transfer for PullView {
    fn line(&self) -> Line<'_> {
        Line {
            subject: &self.name,
            state: self.state,
            generation: self.generation,
            bytes: self.bytes,
            size: self.size,
            error: self.error.as_deref(),
        }
    }
}

impl Transfer for PushView {
    fn line(&self) -> Line<'_> {
        Line {
            subject: self.node.as_str(),
            state: self.state,
            generation: self.generation,
            bytes: self.bytes,
            size: self.size,
            error: self.error.as_deref(),
        }
    }
}

/// Shows each item as it comes, until the last.
pub(super) fn follow<V: Transfer>(
    items: impl Iterator<Item = anyhow::Result<Item>>,
    output: &mut Output<'_>,
    view: impl Fn(Item) -> anyhow::Result<V>,
) -> anyhow::Result<Outcome> {
    let mut bars = Bars::new(output);
    let mut outcome = Outcome::Nothing;
    for item in items {
        let view = view(item?)?;
        let line = view.line();
        if line.state == Progress::Failed {
            outcome = Outcome::Failure;
        } else if outcome == Outcome::Nothing {
            outcome = Outcome::Success;
        }
        match output.format() {
            Format::Json => {
                output.json(&view)?;
                output.flush()?;
            }
            Format::Plain | Format::Table => bars.show(&line, output)?,
        }
    }
    Ok(outcome)
}

/// The style of a bar.
///
/// The bar fills the part of the line without numbers, 12 of 80 columns: a line that is too long
/// would wrap at each step.
fn style() -> ProgressStyle {
    // The template is a constant; if it were wrong, the default style would do.
    let style = ProgressStyle::with_template(
        "{prefix:<16} {wide_bar} {bytes:>11}/{total_bytes:<11} {bytes_per_sec:>13} {remaining:>4} {msg:<7}",
    );
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("remaining", write_remaining)
}

/// Writes the remaining time. Without a rate it is unknown, which is not the same as "0s".
fn write_remaining(state: &ProgressState, text: &mut dyn fmt::Write) {
    // A write to a text in memory does not fail.
    let _ = if state.per_sec() > 0.0 {
        write!(text, "{:#}", HumanDuration(state.eta()))
    } else {
        text.write_str("-")
    };
}

/// A bar for each subject on a terminal; elsewhere nothing until a transfer ended.
struct Bars {
    bars: Option<MultiProgress>,
    by_subject: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new(output: &Output<'_>) -> Self {
        let on_terminal = output.format() == Format::Table && std::io::stderr().is_terminal();
        Self {
            bars: on_terminal.then(MultiProgress::new),
            by_subject: HashMap::new(),
        }
    }

    /// Moves the bar of a transfer, or prints the line of one that ended.
    fn show(&mut self, line: &Line<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
        match line.state {
            Progress::Sent | Progress::Done | Progress::Failed => self.finish(line, output),
            Progress::Notified | Progress::Pulling => {
                self.advance(line);
                Ok(())
            }
        }
    }

    fn advance(&mut self, line: &Line<'_>) {
        let Some(bars) = &self.bars else { return };
        let bar = self
            .by_subject
            .entry(line.subject.to_owned())
            .or_insert_with(|| {
                let bar = bars.add(ProgressBar::new(line.size));
                bar.set_style(style());
                bar.set_prefix(printable(line.subject));
                // The bytes of an earlier attempt must not count in the rate.
                bar.set_position(line.bytes);
                bar.reset_eta();
                bar
            });
        bar.set_length(line.size);
        bar.set_position(line.bytes);
        bar.set_message(line.state.word());
    }

    fn finish(&mut self, line: &Line<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
        // A transfer that ended at once, because there was nothing to send, had no bar.
        self.by_subject
            .remove(line.subject)
            .inspect(ProgressBar::finish_and_clear);
        let text = ended(line);
        let mut print = || {
            output.line(&text)?;
            output.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

/// The line of a transfer that ended.
fn ended(line: &Line<'_>) -> String {
    let note = (line.state == Progress::Sent)
        .then_some("terminals do not report back: it is unknown whether this one has the file");
    let reason = line
        .error
        .or(note)
        .map(|reason| format!("\t{}", printable(reason)))
        .unwrap_or_default();
    format!(
        "{}\t{}\t{}{reason}",
        printable(line.subject),
        line.state.word(),
        line.generation
    )
}
