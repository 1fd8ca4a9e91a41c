//! Turns a YAML text into a JSON value with the place of every key and value.
//!
//! The text comes in with its environment variables; a [`Document`], or the problems of the text,
//! come out. This is the only module that knows the YAML crate. A hostile text must never cost more
//! than the limits in [`yaml`] allow.

mod node;
mod yaml;

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};
use serde_yaml::Spanned;

use self::node::Node;
use self::yaml::{floor, is_blank, offset, options, syntax_problem};
use super::environment::Environment;
use super::interpolate::expand;
use super::place::{MAX_BYTES, escape, line_of};
use super::report::Problem;

/// The place of a setting, in bytes of the text.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Range<usize>,
    /// The names of the environment variables that the value contains.
    pub(super) variables: Vec<String>,
}

impl Place {
    /// The bytes to mark if the value is wrong: a scalar itself, or the key of a mapping or a list.
    fn target(&self, is_scalar: bool) -> Range<usize> {
        match &self.key {
            Some(key) if !is_scalar || self.value.is_empty() => key.clone(),
            _ => self.value.clone(),
        }
    }
}

/// A parsed text.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) value: Value,
    /// The place of every key and value, by JSON pointer (RFC 6901).
    pub(super) places: BTreeMap<String, Place>,
}

impl Document {
    /// The bytes to mark for a wrong value. If the text does not have the setting, they are those
    /// of the nearest parent.
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

    /// The bytes to mark for a wrong key.
    pub(super) fn key_span(&self, pointer: &str) -> Range<usize> {
        self.places
            .get(pointer)
            .and_then(|place| place.key.clone())
            .unwrap_or_else(|| self.span(pointer))
    }
}

/// Parses a text, and adds the errors of its syntax and its variables to `problems`.
pub(super) fn parse(
    text: &str,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<Document> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the file has {} bytes: at most {MAX_BYTES} are allowed",
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

/// Turns YAML nodes into JSON values, and collects the places.
struct Walk<'a> {
    text: &'a str,
    environment: &'a dyn Environment,
    /// How many bytes all texts together may still have after their variables were replaced.
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
                            "the key {:?} occurs twice: it is already in line {line}",
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
        // Only the first line of a longer value is marked.
        let line = self.text[start..end]
            .find('\n')
            .map_or(end, |at| start + at);
        start..start + self.text[start..line].trim_end().len()
    }
}
