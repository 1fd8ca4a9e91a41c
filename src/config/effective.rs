//! Prints the whole configuration, with the origin of each value.

use serde_json::Value;

use super::load::Loaded;
use super::place::{escape, line_of};

impl Loaded {
    /// Every setting as YAML, each with the origin of its value in a comment. The
    /// configuration names the files of secrets only, so no secret is printed.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        // A structure of texts, numbers and lists always has a JSON form.
        let value = serde_json::to_value(&self.config).unwrap_or_default();
        self.write(&mut out, &value, "", 0);
        out
    }

    fn write(&self, out: &mut String, value: &Value, pointer: &str, depth: usize) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (i, (key, value)) in map.iter().enumerate() {
                    // The first key of an entry in a list follows the dash of that entry.
                    let dash = i == 0 && out.ends_with("- ");
                    out.push_str(if dash { "" } else { &indent });
                    out.push_str(&scalar(&Value::String(key.clone())));
                    out.push(':');
                    self.write_child(out, value, &format!("{pointer}/{}", escape(key)), depth);
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    out.push_str(&indent);
                    let child = format!("{pointer}/{i}");
                    if item.is_object() {
                        out.push_str("- ");
                        self.write(out, item, &child, depth + 1);
                    } else {
                        out.push_str(&format!("- {}  # {}\n", scalar(item), self.origin(&child)));
                    }
                }
            }
            _ => {}
        }
    }

    fn write_child(&self, out: &mut String, value: &Value, pointer: &str, depth: usize) {
        let is_empty = value.as_object().is_some_and(|map| map.is_empty())
            || value.as_array().is_some_and(Vec::is_empty);
        if is_empty || !(value.is_object() || value.is_array()) {
            out.push_str(&format!(" {}  # {}\n", scalar(value), self.origin(pointer)));
        } else {
            out.push('\n');
            self.write(out, value, pointer, depth + 1);
        }
    }

    fn origin(&self, pointer: &str) -> String {
        let origins = &self.origins;
        let written = origins
            .document
            .value
            .pointer(pointer)
            .is_some_and(|value| !value.is_null());
        match origins.document.places.get(pointer) {
            Some(place) if written || !matches!(pointer, "/node/name" | "/node/state_dir") => {
                let start = place.key.as_ref().unwrap_or(&place.value).start;
                let line = line_of(&origins.text, start);
                let names: Vec<String> = place
                    .variables
                    .iter()
                    .map(|name| format!("${{{name}}}"))
                    .collect();
                let variables = if names.is_empty() {
                    String::new()
                } else {
                    format!(", environment {}", names.join(" "))
                };
                format!("{}:{line}{variables}", origins.name)
            }
            _ if pointer == "/node/name" => "default: the host's name".into(),
            _ if pointer == "/node/state_dir" => format!("default: {}", origins.state_dir),
            _ => "default".into(),
        }
    }
}

/// A value on one line. A text is in quotes wherever YAML could read it as another type.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'))
                && !matches!(
                    text.to_ascii_lowercase().as_str(),
                    "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
                );
            // A literal `${` is escaped, so that it is not expanded when the text is read again.
            if plain {
                text.clone()
            } else {
                Value::String(text.replace("${", "$${")).to_string()
            }
        }
        other => other.to_string(),
    }
}
