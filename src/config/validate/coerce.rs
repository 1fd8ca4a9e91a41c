//! Coerces values before they are validated: empty sections, and texts from the environment.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::SCHEMA;
use super::node::{branches, deref, required, wanted_types};
use crate::config::document::Place;
use crate::config::place::escape;

/// Coerces the values of a document to the types of their settings.
///
/// A section without any setting (`node:` alone) becomes the same as a section that is left out. A
/// text that came from the environment becomes the number or the boolean that its setting wants,
/// because a variable has no type.
pub(in crate::config) fn coerce(value: &mut Value, places: &BTreeMap<String, Place>) {
    coerce_below("", &SCHEMA, value, places);
}

fn coerce_below(
    pointer: &str,
    schema: &'static Value,
    value: &mut Value,
    places: &BTreeMap<String, Place>,
) {
    let Value::Object(map) = value else { return };
    let schema = branches(schema)
        .iter()
        .map(deref)
        .find(|branch| branch["type"] != "null")
        .unwrap_or(schema);
    let Some(known) = deref(schema)["properties"].as_object() else {
        return;
    };
    for (key, value) in map {
        let Some(schema) = known.get(key).map(deref) else {
            continue;
        };
        let pointer = format!("{pointer}/{}", escape(key));
        let is_section = schema["properties"].is_object() && required(schema).is_empty();
        let from_environment = places
            .get(&pointer)
            .is_some_and(|place| !place.variables.is_empty());
        if value.is_null() && is_section {
            *value = Value::Object(Map::new());
        } else if let (Some(text), true) = (value.as_str(), from_environment) {
            *value = typed(text, schema).unwrap_or_else(|| text.into());
        } else {
            coerce_below(&pointer, schema, value, places);
        }
    }
}

/// The number or the boolean that the schema wants, if the text is one.
fn typed(text: &str, schema: &'static Value) -> Option<Value> {
    let wanted = wanted_types(schema);
    if wanted.contains(&"integer") {
        text.parse::<u64>().ok().map(Value::from)
    } else if wanted.contains(&"boolean") {
        text.parse::<bool>().ok().map(Value::from)
    } else {
        None
    }
}
