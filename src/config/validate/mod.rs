//! Validates a document against the schema: finds every error, and describes each for the person
//! who wrote the setting.
//!
//! A parsed document comes in; problems and the JSON pointers of the wrong settings come out. The
//! module is pure.
//!
//! Our schema uses a small part of JSON Schema, and the validator supports exactly that part; a
//! test checks that it supports every keyword in the schema. A general validator would bring sixty
//! crates, and its errors would still need to be put into our words. The parser of its type
//! validates each text, named by `format`, so that schema and type can't differ.

mod coerce;
mod formats;
mod messages;
mod node;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

pub(super) use self::coerce::coerce;
use self::formats::FORMATS;
use self::messages::{kind, nearest, not_one_of, quoted, suggestion, type_message};
use self::node::{
    branches, constants, deref, is_of_type, matching_branch, required, type_tag, wanted_types,
};
use super::document::Document;
use super::place::escape;
use super::report::{Problem, path_of};
use super::schema;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// Adds every error of the document against the schema to `problems`; returns the JSON pointers of
/// the wrong settings.
pub(super) fn validate(document: &Document, problems: &mut Vec<Problem>) -> Vec<String> {
    let unexpanded = problems
        .iter()
        .map(|problem| problem.path.clone())
        .collect();
    let mut validator = Validator {
        document,
        problems,
        unexpanded,
        wrong: Vec::new(),
    };
    validator.value("", &SCHEMA, &document.value);
    tracing::trace!(
        problems = validator.problems.len(),
        "the document was validated against the schema"
    );
    validator.wrong
}

struct Validator<'a> {
    document: &'a Document,
    problems: &'a mut Vec<Problem>,
    /// The paths of texts whose variables could not be replaced. They have an error already, and
    /// their value is unknown.
    unexpanded: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Validator<'_> {
    /// Validates a value and everything in it. The depth of the document is limited, and so is this
    /// recursion.
    fn value(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let schema = deref(schema);
        if !self.unexpanded.is_empty()
            && value.is_string()
            && self.unexpanded.contains(&path_of(pointer))
        {
            return self.wrong.push(pointer.into());
        }
        if !branches(schema).is_empty() {
            return self.alternatives(pointer, schema, value);
        }
        let options = constants(schema);
        if !options.is_empty() {
            let is_option = value
                .as_str()
                .is_some_and(|text| options.iter().any(|option| option == text));
            if !is_option {
                let (message, help) = not_one_of(value, &options);
                self.wrong_value(pointer, message, help);
            }
            return;
        }
        let wanted = wanted_types(schema);
        if !wanted.is_empty() && !wanted.iter().any(|wanted| is_of_type(wanted, value)) {
            let wanted = wanted
                .iter()
                .find(|wanted| **wanted != "null")
                .copied()
                .unwrap_or_default();
            let (message, help) = type_message(wanted, schema, value);
            return self.wrong_value(pointer, message, help);
        }
        match value {
            Value::String(text) => self.text(pointer, schema, text),
            Value::Number(_) => self.number(pointer, schema, value),
            Value::Array(items) => self.list(pointer, schema, items),
            Value::Object(map) => self.mapping(pointer, schema, map),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Validates a value against the alternative that it means.
    fn alternatives(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let branches = branches(schema);
        if let Some(branch) = matching_branch(schema, value).and_then(|index| branches.get(index)) {
            return self.value(pointer, branch, value);
        }
        let is_nullable = branches.iter().any(|branch| branch["type"] == "null");
        if !(value.is_null() && is_nullable) {
            self.no_alternative(pointer, schema, value);
        }
    }

    fn text(&mut self, pointer: &str, schema: &'static Value, text: &str) {
        let length = text.chars().count() as u64;
        let minimum = schema["minLength"].as_u64();
        let maximum = schema["maxLength"].as_u64();
        let message = if minimum.is_some_and(|minimum| length < minimum) {
            Some("the text is empty".to_owned())
        } else if let Some(maximum) = maximum.filter(|maximum| length > *maximum) {
            Some(format!(
                "the text is too long: at most {maximum} characters are allowed"
            ))
        } else {
            let format = schema["format"]
                .as_str()
                .and_then(|format| FORMATS.iter().find(|(name, _)| *name == format));
            format.and_then(|(_, parse)| parse(text).err())
        };
        if let Some(message) = message {
            self.wrong_value(pointer, message, None);
        }
    }

    fn number(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let number = value.as_f64().unwrap_or_default();
        let minimum = schema["minimum"].as_f64();
        let maximum = schema["maximum"].as_f64();
        if let Some(minimum) = minimum.filter(|minimum| number < *minimum) {
            let message = format!("{value} is too small: the minimum is {minimum}");
            self.wrong_value(pointer, message, None);
        } else if let Some(maximum) = maximum.filter(|maximum| number > *maximum) {
            let message = format!("{value} is too large: the maximum is {maximum}");
            self.wrong_value(pointer, message, None);
        }
    }

    fn list(&mut self, pointer: &str, schema: &'static Value, items: &[Value]) {
        let count = items.len() as u64;
        let minimum = schema["minItems"].as_u64();
        let maximum = schema["maxItems"].as_u64();
        if let Some(minimum) = minimum.filter(|minimum| count < *minimum) {
            let message = format!("the list is too short: at least {minimum} entries are needed");
            self.wrong_value(pointer, message, None);
        }
        if let Some(maximum) = maximum.filter(|maximum| count > *maximum) {
            let message = format!("the list is too long: at most {maximum} entries are allowed");
            return self.wrong_value(pointer, message, None);
        }
        let unique = schema["uniqueItems"] == true;
        for (index, item) in items.iter().enumerate() {
            let child = format!("{pointer}/{index}");
            if unique && items[..index].contains(item) {
                let message = "the list already has this entry: remove one of them";
                self.wrong_value(&child, message.to_owned(), None);
            } else if let Some(schema) = schema.get("items") {
                self.value(&child, schema, item);
            }
        }
    }

    fn mapping(&mut self, pointer: &str, schema: &'static Value, map: &Map<String, Value>) {
        for key in required(schema) {
            if !map.contains_key(&key) {
                self.wrong_value(pointer, format!("{key:?} is missing"), None);
            }
        }
        let maximum = schema["maxProperties"].as_u64();
        if let Some(maximum) = maximum.filter(|maximum| map.len() as u64 > *maximum) {
            let message = format!("there are too many pairs: at most {maximum} are allowed");
            return self.wrong_value(pointer, message, None);
        }
        let known = schema["properties"].as_object();
        let additional = schema.get("additionalProperties");
        let mut names: Option<Vec<String>> = None;
        for (key, value) in map {
            let child = format!("{pointer}/{}", escape(key));
            if let Some(schema) = known.and_then(|known| known.get(key)) {
                self.value(&child, schema, value);
            } else if additional == Some(&Value::Bool(false)) {
                let names = names.get_or_insert_with(|| {
                    known
                        .into_iter()
                        .flat_map(|map| map.keys().cloned())
                        .collect()
                });
                self.unknown_key(pointer, key, names);
            } else if let Some(schema) = additional.filter(|schema| schema.is_object()) {
                self.value(&child, schema, value);
            }
        }
    }

    fn unknown_key(&mut self, pointer: &str, key: &str, known: &[String]) {
        let child = format!("{pointer}/{}", escape(key));
        let span = self.document.key_span(&child);
        let help = match nearest(key, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known settings: {}", known.join(", ")),
        };
        let problem = Problem {
            help: Some(help),
            ..Problem::error(&child, span, "unknown setting")
        };
        self.push(&child, problem);
    }

    /// Reports a value that means none of the alternatives, and lists the alternatives.
    fn no_alternative(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let branches: Vec<&Value> = branches(schema).iter().map(deref).collect();
        let options: Vec<String> = branches
            .iter()
            .flat_map(|branch| constants(branch))
            .collect();
        if !options.is_empty() {
            let (message, help) = not_one_of(value, &options);
            return self.wrong_value(pointer, message, help);
        }
        let Some(map) = value.as_object() else {
            let message = format!("expected a mapping, found {}", kind(value));
            return self.wrong_value(pointer, message, None);
        };
        let types: Vec<String> = branches
            .iter()
            .filter_map(|branch| type_tag(branch))
            .map(str::to_owned)
            .collect();
        if types.is_empty() {
            let keys: Vec<String> = branches
                .iter()
                .flat_map(|branch| required(branch))
                .collect();
            let help = map.keys().next().and_then(|key| suggestion(key, &keys));
            let message = format!("expected one of {}", quoted(&keys));
            self.wrong_value(pointer, message, help);
        } else if let Some(given) = map.get("type") {
            let (message, help) = not_one_of(given, &types);
            self.wrong_value(&format!("{pointer}/type"), message, help);
        } else {
            let message = format!("\"type\" is missing: write one of {}", quoted(&types));
            self.wrong_value(pointer, message, None);
        }
    }

    fn wrong_value(&mut self, pointer: &str, message: String, help: Option<String>) {
        let span = self.document.span(pointer);
        let problem = Problem {
            help,
            ..Problem::error(pointer, span, message)
        };
        self.push(pointer, problem);
    }

    fn push(&mut self, pointer: &str, problem: Problem) {
        self.wrong.push(pointer.into());
        self.problems.push(problem);
    }
}
