//! The YAML crate with our limits, and its errors in our words.

use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{MergeKeyPolicy, Options};

use super::{MAX_BYTES, Problem};

/// How deep settings may nest. The configuration needs six levels, and every level costs stack.
const MAX_DEPTH: usize = 64;
/// How many keys, values and brackets a file may have. Each use of an alias counts again.
pub(super) const MAX_EVENTS: usize = 50_000;

pub(super) fn options() -> Options {
    let mut options = Options::default();
    let mut budget = serde_yaml::Budget::default();
    budget.max_events = MAX_EVENTS;
    budget.max_nodes = MAX_EVENTS;
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_documents = 1;
    budget.max_aliases = 1_000;
    budget.max_anchors = 1_000;
    budget.max_recorded_anchor_events = MAX_EVENTS;
    budget.max_recorded_anchor_bytes = MAX_BYTES;
    budget.max_total_scalar_bytes = MAX_BYTES;
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = MAX_EVENTS;
    options.alias_limits.max_replay_stack_depth = 16;
    options.emit_comments = false;
    // Every pair is passed on, so that each key that occurs twice is reported with both places.
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    // `<<` is not part of YAML 1.2, and would hide where a value came from.
    options.merge_keys = MergeKeyPolicy::Error;
    // In YAML 1.2 `no` is a text.
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options
}

/// Whether a text holds only white space, comments and document marks.
pub(super) fn is_blank(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

pub(super) fn syntax_problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let error = error.without_snippet();
    let full = error.to_string();
    let location = error.location();
    let start = location.map_or(0, |location| offset(text, &location));
    let length = text[start..]
        .chars()
        .next()
        .map_or(0, |c| if c == '\n' { 0 } else { c.len_utf8() });
    // The report shows the place itself.
    let message = full
        .split(" at line ")
        .next()
        .unwrap_or(&full)
        .trim_start_matches("YAML parser error: ");
    let message = limit_message(error, message).unwrap_or_else(|| message.to_owned());
    let mut problem = Problem::error("", start..start + length, message);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if text[line_start..line_end]
        .chars()
        .take_while(|c| c.is_whitespace())
        .any(|c| c == '\t')
    {
        problem.help = Some("replace the tab by spaces: YAML is indented with spaces only".into());
    }
    problem
}

/// The message for a text that exceeds one of our limits; `None` for any other error.
fn limit_message(error: &serde_yaml::Error, message: &str) -> Option<String> {
    // The scanner counts the brackets, and its error has no variant of its own.
    if message == "recursion limit exceeded" {
        return Some(too_deep());
    }
    // If the repetitions of an alias exceed the limit, the breach is inside another error.
    if message.starts_with("budget breached: Events") {
        return Some(format!(
            "the configuration has more than {MAX_EVENTS} values with its aliases: write the values out"
        ));
    }
    let serde_yaml::Error::Budget { breach, .. } = error else {
        return None;
    };
    Some(match breach {
        BudgetBreach::Documents { .. } => {
            "a second document begins here: put it into a file of its own".into()
        }
        BudgetBreach::Depth { .. } => too_deep(),
        _ => "there are too many anchors or aliases: write the values out".into(),
    })
}

fn too_deep() -> String {
    format!("the configuration is nested deeper than {MAX_DEPTH} levels here")
}

/// The byte offset of a location; never inside a character.
pub(super) fn offset(text: &str, location: &serde_yaml::Location) -> usize {
    let bytes = location
        .span()
        .byte_offset()
        .and_then(|at| usize::try_from(at).ok());
    let at = bytes.unwrap_or_else(|| {
        let line = usize::try_from(location.line())
            .unwrap_or(1)
            .saturating_sub(1);
        let column = usize::try_from(location.column())
            .unwrap_or(1)
            .saturating_sub(1);
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        text[start..]
            .char_indices()
            .nth(column)
            .map_or(text.len(), |(at, _)| start + at)
    });
    floor(text, at)
}

/// The nearest character boundary at or before a byte offset.
pub(super) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
