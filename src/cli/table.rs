//! Tables for people, and the form of values in them.
//!
//! Texts of other nodes go in; lines come out that can neither move a cursor nor start a new line
//! ([`printable`]).

use std::time::Duration;

use comfy_table::presets::NOTHING;

use crate::model::{Labels, Timestamp};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// How a row is emphasised where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emphasis {
    Normal,
    /// A fact of the past, or something that is not used.
    Dim,
    /// Something that is wrong.
    Bad,
}

impl Emphasis {
    pub(super) fn bad_if(bad: bool) -> Self {
        if bad { Self::Bad } else { Self::Normal }
    }
}

/// Columns with a header, and one line for each row.
#[derive(Debug, Clone)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<(Emphasis, Vec<String>)>,
    with_header: bool,
}

impl Table {
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
            with_header: true,
        }
    }

    /// Adds a row; unprintable characters are replaced.
    pub(super) fn row<const N: usize>(&mut self, emphasis: Emphasis, cells: [String; N]) {
        self.rows.push((
            emphasis,
            cells.into_iter().map(|cell| printable(&cell)).collect(),
        ));
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes the rows and omits the header from now on: the next part of a long list.
    pub(super) fn next_part(&mut self) {
        self.rows.clear();
        self.with_header = false;
    }

    /// The lines, without trailing blanks; none if there is no row.
    pub(super) fn lines(&self, colour: bool) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        table.set_header(&self.header);
        for (_, cells) in &self.rows {
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let codes = self.rows.iter().map(|(emphasis, _)| match emphasis {
            Emphasis::Normal => "",
            Emphasis::Dim => DIM,
            Emphasis::Bad => RED,
        });
        let lines = table
            .lines()
            .zip(std::iter::once(BOLD).chain(codes))
            .map(|(line, code)| {
                let line = line.trim_end();
                if colour && !code.is_empty() {
                    format!("{code}{line}{RESET}")
                } else {
                    line.to_owned()
                }
            });
        lines.skip(usize::from(!self.with_header)).collect()
    }
}

/// The text without characters that move the cursor, change colours or hide others.
pub(super) fn printable(text: &str) -> String {
    let unprintable = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .map(|c| {
            if unprintable(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// `site=home room=kitchen`.
pub(super) fn labels(labels: &Labels) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A duration in its largest fitting unit: `40 s`, `3 m`, `5 h`, `12 d`.
pub(super) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `3 m ago`; `now` within a second, and for a time that a skewed clock puts into the future.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    let age = now.since(time);
    if age < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", rough(age))
    }
}

/// The text of a value, or `-` for none.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_under_wide_characters() {
        let mut table = Table::new(&["NAME", "LABELS"]);
        table.row(Emphasis::Normal, ["hub".into(), "a".into()]);
        table.row(Emphasis::Dim, ["台所".into(), "b".into()]);
        assert_eq!(table.lines(false), ["NAME  LABELS", "hub   a", "台所  b"]);
        assert_eq!(table.lines(true)[0], "\x1b[1mNAME  LABELS\x1b[0m");
        assert_eq!(table.lines(true)[2], "\x1b[2m台所  b\x1b[0m");
    }

    #[test]
    fn row_is_one_line_with_any_content() {
        let mut table = Table::new(&["A"]);
        table.row(Emphasis::Normal, ["x\n\x1b[31my\u{202e}z".into()]);
        assert_eq!(table.lines(false), ["A", "x\u{fffd}\u{fffd}[31my\u{fffd}z"]);
    }

    #[test]
    fn next_part_has_no_header_and_empty_table_has_no_line() {
        let mut table = Table::new(&["A"]);
        assert!(table.lines(false).is_empty());
        table.next_part();
        table.row(Emphasis::Normal, ["x".into()]);
        assert_eq!(table.lines(false), ["x"]);
    }

    #[test]
    fn age_has_one_unit() {
        let now = Timestamp(1_795_200_000_000);
        for (seconds, text) in [
            (0, "now"),
            (119, "119 s ago"),
            (120, "2 m ago"),
            (7_199, "119 m ago"),
            (7_200, "2 h ago"),
        ] {
            assert_eq!(ago(now.minus(Duration::from_secs(seconds)), now), text);
        }
        assert_eq!(rough(Duration::from_secs(3 * 86_400)), "3 d");
        assert_eq!(ago(now.plus(Duration::from_secs(9)), now), "now");
    }
}
