//! Data on stdout: formats, colour, tables and lines.
//!
//! Views and lines go in, bytes come out. Everything that a command prints as data goes through
//! [`Output`], so that a closed pipe is noticed in one place.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::exit::Failure;
use super::table::Table;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns with a header, for people
    Table,
    /// One JSON object a line, for programs
    Json,
    /// Bare values, one a line, for scripts
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// On a terminal and in a pipe
    Always,
    /// Not even on a terminal
    Never,
}

impl ColorChoice {
    /// Whether to colour the lines of a stream.
    pub(super) fn use_colour(self, terminal: bool) -> bool {
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        match self {
            Self::Auto => terminal && !refused,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Where data goes, and in which format.
pub(super) struct Output<'a> {
    writer: Box<dyn Write + 'a>,
    requested: Option<Format>,
    terminal: bool,
    colour: bool,
}

impl Output<'static> {
    pub(super) fn stdout(requested: Option<Format>, color: ColorChoice) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            writer: Box::new(BufWriter::new(stdout)),
            requested,
            terminal,
            colour: color.use_colour(terminal),
        }
    }
}

impl<'a> Output<'a> {
    /// Writes to `writer`, as to a terminal if `terminal` is true.
    #[cfg(test)]
    pub(super) fn new(writer: impl Write + 'a, requested: Option<Format>, terminal: bool) -> Self {
        Self {
            writer: Box::new(writer),
            requested,
            terminal,
            colour: false,
        }
    }

    /// The format that was requested; else a table on a terminal and plain in a pipe.
    pub(super) fn format(&self) -> Format {
        self.requested.unwrap_or(if self.terminal {
            Format::Table
        } else {
            Format::Plain
        })
    }

    pub(super) fn colour(&self) -> bool {
        self.colour
    }

    /// Prints one JSON object as a line.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(io::Error::from)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    /// Prints a table; a table without rows prints nothing, not even its header.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        for line in table.lines(self.colour) {
            self.line(line)?;
        }
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Passes everything that was printed so far on to the reader.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}
