//! One YAML text as a JSON value, with the place of every key and value. The only file that knows the YAML crate.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::budget::BudgetBreach;
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{MergeKeyPolicy, Options, Spanned};

use super::environment::Environment;
use super::interpolate::expand;
use super::report::Problem;

/// The most bytes of a file: a configuration has a few thousand.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting: the shape needs six levels, and every level costs stack.
const MAX_DEPTH: usize = 64;
/// The most keys, values and brackets, aliases counted as often as they are used.
const MAX_EVENTS: usize = 50_000;

/// Where a setting stands, in bytes of the text.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Range<usize>,
    /// The environment variables that went into the value.
    pub(super) variables: Vec<String>,
}

impl Place {
    /// What to point at when the value is wrong: the text itself, or the key of a map or list.
    fn target(&self, is_scalar: bool) -> Range<usize> {
        match &self.key {
            Some(key) if !is_scalar || self.value.is_empty() => key.clone(),
            _ => self.value.clone(),
        }
    }
}

/// A parsed file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) value: Value,
    /// By JSON pointer (RFC 6901).
    pub(super) places: BTreeMap<String, Place>,
}

impl Document {
    /// What to point at for a wrong value; the nearest parent's place if nothing is written there.
    pub(super) fn span(&self, pointer: &str) -> Range<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                let scalar = !matches!(
                    self.value.pointer(pointer),
                    Some(Value::Object(_) | Value::Array(_))
                );
                return place.target(scalar);
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return 0..0,
            }
        }
    }

    /// What to point at for a wrong key.
    pub(super) fn key_span(&self, pointer: &str) -> Range<usize> {
        self.places
            .get(pointer)
            .and_then(|place| place.key.clone())
            .unwrap_or_else(|| self.span(pointer))
    }
}

/// Parses a text; what is wrong with it as YAML, and with its variables, goes to `problems`.
pub(super) fn parse(
    text: &str,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<Document> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes, at most {MAX_BYTES} are read",
            text.len()
        );
        problems.push(Problem::error("", 0..0, message));
        return None;
    }
    let root = match serde_yaml::from_str_with_options::<Spanned<Node>>(text, options()) {
        Ok(root) => root,
        Err(_) if is_blank(text) => {
            return Some(Document {
                value: Value::Object(Map::new()),
                ..Document::default()
            });
        }
        Err(error) => {
            problems.push(syntax_problem(text, &error));
            return None;
        }
    };
    let mut walk = Walk {
        text,
        environment,
        budget: MAX_BYTES,
        places: BTreeMap::new(),
        problems,
    };
    let value = walk.value(String::new(), None, root);
    let value = if value.is_null() {
        Value::Object(Map::new())
    } else {
        value
    };
    Some(Document {
        value,
        places: walk.places,
    })
}

fn options() -> Options {
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
    // Every pair comes through, so that all keys given twice are found, each with both places.
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    // `<<` is no part of YAML 1.2, and would blur where a value came from.
    options.merge_keys = MergeKeyPolicy::Error;
    // `no` is a text, as in YAML 1.2.
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options
}

/// Whether there is nothing but white space, comments and document marks.
fn is_blank(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

fn syntax_problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let error = error.without_snippet();
    let full = error.to_string();
    let location = error.location();
    let start = location.map_or(0, |location| offset(text, &location));
    let length = text[start..]
        .chars()
        .next()
        .map_or(0, |c| if c == '\n' { 0 } else { c.len_utf8() });
    // The place is shown beside the message.
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
        problem.help = Some("YAML is indented with spaces, never with tabs".into());
    }
    problem
}

/// Which of our limits a text goes over, in the words of people who write configuration.
fn limit_message(error: &serde_yaml::Error, message: &str) -> Option<String> {
    // Brackets are counted by the scanner, whose error has no variant of its own.
    if message == "recursion limit exceeded" {
        return Some(format!("this is nested deeper than {MAX_DEPTH} levels"));
    }
    // What an alias repeats breaks the limit inside of another error.
    if message.starts_with("budget breached: Events") {
        return Some(format!(
            "aliases make the configuration larger than {MAX_EVENTS} parts; write the values out"
        ));
    }
    let serde_yaml::Error::Budget { breach, .. } = error else {
        return None;
    };
    Some(match breach {
        BudgetBreach::Documents { .. } => {
            "a second document begins here; a file holds one configuration".into()
        }
        BudgetBreach::Depth { .. } => format!("this is nested deeper than {MAX_DEPTH} levels"),
        _ => "there are too many anchors or aliases; write the values out".into(),
    })
}

/// The byte offset of a place, never inside a character.
fn offset(text: &str, location: &serde_yaml::Location) -> usize {
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

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

struct Walk<'a> {
    text: &'a str,
    environment: &'a dyn Environment,
    budget: usize,
    places: BTreeMap<String, Place>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn value(&mut self, pointer: String, key: Option<Range<usize>>, node: Spanned<Node>) -> Value {
        let span = self.span(&node.referenced);
        self.places.insert(
            pointer.clone(),
            Place {
                key,
                value: span.clone(),
                variables: Vec::new(),
            },
        );
        match node.value {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::Number(number) => Value::Number(number),
            Node::Text(text) => self.text(&pointer, span, &text),
            Node::List(items) => {
                let items = items.into_iter().enumerate();
                Value::Array(
                    items
                        .map(|(i, item)| self.value(format!("{pointer}/{i}"), None, item))
                        .collect(),
                )
            }
            Node::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let child = format!("{pointer}/{}", escape(&key.value));
                    let key_span = self.span(&key.referenced);
                    if let Some(first) = self.places.get(&child) {
                        let line = line_of(self.text, first.key.clone().unwrap_or_default().start);
                        let message = format!(
                            "{:?} is given twice; the first stands in line {line}",
                            key.value
                        );
                        self.problems
                            .push(Problem::error(&child, key_span, message));
                        continue;
                    }
                    let value = self.value(child, Some(key_span), value);
                    map.insert(key.value, value);
                }
                Value::Object(map)
            }
        }
    }

    fn text(&mut self, pointer: &str, span: Range<usize>, text: &str) -> Value {
        match expand(text, self.environment, &mut self.budget) {
            Ok(expanded) => {
                if let Some(place) = self.places.get_mut(pointer) {
                    place.variables = expanded.variables;
                }
                Value::String(expanded.text)
            }
            Err(error) => {
                self.problems
                    .push(Problem::error(pointer, span, error.to_string()));
                Value::String(text.into())
            }
        }
    }

    fn span(&self, location: &serde_yaml::Location) -> Range<usize> {
        let start = offset(self.text, location);
        let length = location
            .span()
            .byte_len()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0);
        let end = floor(self.text, start.saturating_add(length)).max(start);
        // A text of several lines is pointed at by its first.
        let line = self.text[start..end]
            .find('\n')
            .map_or(end, |at| start + at);
        start..start + self.text[start..line].trim_end().len()
    }
}

/// The number of the line that holds a byte, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// A key as part of a JSON pointer (RFC 6901 §3).
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A key from its part of a JSON pointer.
pub(super) fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// A YAML node, its scalars resolved by the core schema (YAML 1.2.2 §10.3).
#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value)
            .map(Node::Number)
            .ok_or_else(|| E::custom("a number is finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key()? {
            if map.len() == MAX_EVENTS {
                return Err(A::Error::custom("too many keys"));
            }
            map.push((key, entries.next_value()?));
        }
        Ok(Node::Map(map))
    }
}
