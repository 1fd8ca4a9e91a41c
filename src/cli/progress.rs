//! How files are on their way, for people: a bar each, on a terminal.

use std::collections::HashMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{Format, Output};
use super::table::printable;
use crate::api::view::Progress;

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

/// A bar for each subject on a terminal; elsewhere a line when it ended.
pub(super) struct Bars {
    bars: Option<MultiProgress>,
    by_subject: HashMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on stderr where that is a terminal and data goes there as a table.
    pub(super) fn new(output: &Output<'_>) -> Self {
        let wanted = output.format() == Format::Table && std::io::stderr().is_terminal();
        Self { bars: wanted.then(MultiProgress::new), by_subject: HashMap::new() }
    }

    /// Shows how far something is; prints the line of what ended.
    pub(super) fn show(&mut self, line: &Line<'_>, output: &mut Output<'_>) -> anyhow::Result<()> {
        let ended = matches!(line.state, Progress::Sent | Progress::Done | Progress::Failed);
        if let Some(bars) = &self.bars {
            let bar = self.by_subject.entry(line.subject.to_owned()).or_insert_with(|| {
                let bar = bars.add(ProgressBar::new(line.size));
                // A template that is a constant; were it wrong, the default style would do.
                let style = ProgressStyle::with_template(
                    "{prefix:<24} {bar:30} {bytes:>12}/{total_bytes:<12} {bytes_per_sec:>14} {eta:>5} {msg}",
                );
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(printable(line.subject));
                bar
            });
            bar.set_length(line.size);
            bar.set_position(line.bytes);
            bar.set_message(line.state.word());
            if ended {
                self.by_subject.remove(line.subject).inspect(ProgressBar::finish_and_clear);
            }
        }
        if ended {
            let note =
                (line.state == Progress::Sent).then_some("terminals do not report back: whether it has it is unknown");
            let error = line.error.or(note).map(|error| format!("\t{}", printable(error))).unwrap_or_default();
            let (subject, state, generation) = (printable(line.subject), line.state.word(), line.generation);
            let print = |output: &mut Output<'_>| output.line(format_args!("{subject}\t{state}\t{generation}{error}"));
            match &self.bars {
                Some(bars) => bars.suspend(|| print(output).and_then(|()| output.flush()))?,
                None => print(output).and_then(|()| output.flush())?,
            }
        }
        Ok(())
    }
}
