//! What goes to stdout: formats, colour, tables and lines.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::exit::Failure;
use super::table::Table;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns with a header, for people
    Table,
    /// One JSON object a line, for programs
    Json,
    /// Bare values, one a line, for scripts
    Plain,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// Whether to colour what goes to a stream.
    pub fn colours(self, terminal: bool) -> bool {
        // https://no-color.org: set and not empty.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        match self {
            Self::Auto => terminal && !unwanted,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Where data goes, and how.
pub struct Output<'a> {
    writer: Box<dyn Write + 'a>,
    asked: Option<Format>,
    terminal: bool,
    colour: bool,
}

impl Output<'static> {
    /// The process's stdout.
    pub fn stdout(asked: Option<Format>, color: ColorChoice) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            writer: Box::new(BufWriter::new(stdout)),
            asked,
            terminal,
            colour: color.colours(terminal),
        }
    }
}

impl<'a> Output<'a> {
    /// Any writer; `terminal` says what it passes for.
    pub fn new(writer: impl Write + 'a, asked: Option<Format>, terminal: bool) -> Self {
        Self {
            writer: Box::new(writer),
            asked,
            terminal,
            colour: false,
        }
    }

    /// The format asked for; else a table on a terminal and plain in a pipe.
    pub fn format(&self) -> Format {
        self.asked.unwrap_or(if self.terminal {
            Format::Table
        } else {
            Format::Plain
        })
    }

    /// Whether data is coloured.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Prints one JSON object as a line.
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value).map_err(io::Error::from)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Prints a line.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    /// Prints a table; nothing at all when it has no row.
    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        for line in table.lines(self.colour) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Hands everything printed so far to the reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}
