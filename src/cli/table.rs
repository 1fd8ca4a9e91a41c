//! Tables for people, and how values look in them.

use std::time::Duration;

use comfy_table::presets::NOTHING;

use crate::model::{Labels, Timestamp};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// How a row stands out where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emphasis {
    /// As any other.
    #[default]
    Normal,
    /// Past, or not used.
    Dim,
    /// Something is wrong.
    Bad,
}

/// Columns with a header, one line a row.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<(Emphasis, Vec<String>)>,
    headed: bool,
}

impl Table {
    /// An empty table.
    pub fn new(header: &[&'static str]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
            headed: true,
        }
    }

    /// Adds a row; unprintable characters are replaced.
    pub fn row<const N: usize>(&mut self, emphasis: Emphasis, cells: [String; N]) {
        self.rows.push((
            emphasis,
            cells.into_iter().map(|cell| printable(&cell)).collect(),
        ));
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the rows away and leaves the header out from now on: the next part of a long list.
    pub fn next_part(&mut self) {
        self.rows.clear();
        self.headed = false;
    }

    /// The lines, without trailing blanks; none when there is no row.
    pub fn lines(&self, colour: bool) -> Vec<String> {
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
        let weights =
            std::iter::once(BOLD).chain(self.rows.iter().map(|(emphasis, _)| match emphasis {
                Emphasis::Normal => "",
                Emphasis::Dim => DIM,
                Emphasis::Bad => RED,
            }));
        let lines =
            table
                .lines()
                .zip(weights)
                .map(|(line, weight)| match (line.trim_end(), weight) {
                    (line, weight) if colour && !weight.is_empty() => {
                        format!("{weight}{line}{RESET}")
                    }
                    (line, _) => line.to_owned(),
                });
        lines.skip(usize::from(!self.headed)).collect()
    }
}

/// The text without characters that move the cursor, change colours or hide others.
pub fn printable(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .map(|c| {
            if odd(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// `site=home room=kitchen`.
pub fn labels(labels: &Labels) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A duration in its largest fitting unit: `40 s`, `3 m`, `5 h`, `12 d`.
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `3 m ago`; `now` within a second, and for a time that a skewed clock puts into the future.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let age = now.since(time);
    if age < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", rough(age))
    }
}

/// The text, or `-` for nothing.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_under_wide_characters() {
        let mut table = Table::new(&["NAME", "LABELS"]);
        table.row(Emphasis::Normal, ["hub".into(), "a".into()]);
        table.row(Emphasis::Dim, ["台所".into(), "b".into()]);
        assert_eq!(table.lines(false), ["NAME  LABELS", "hub   a", "台所  b"]);
        assert_eq!(table.lines(true)[0], "\x1b[1mNAME  LABELS\x1b[0m");
        assert_eq!(table.lines(true)[2], "\x1b[2m台所  b\x1b[0m");
    }

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let mut table = Table::new(&["A"]);
        table.row(Emphasis::Normal, ["x\n\x1b[31my\u{202e}z".into()]);
        assert_eq!(table.lines(false), ["A", "x\u{fffd}\u{fffd}[31my\u{fffd}z"]);
    }

    #[test]
    fn a_further_part_has_no_header_and_an_empty_table_no_line() {
        let mut table = Table::new(&["A"]);
        assert!(table.lines(false).is_empty());
        table.next_part();
        table.row(Emphasis::Normal, ["x".into()]);
        assert_eq!(table.lines(false), ["x"]);
    }

    #[test]
    fn ages_have_one_unit() {
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
