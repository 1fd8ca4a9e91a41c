//! Reads one node of our own schema: its references, alternatives, types and constants.

use serde_json::Value;

use super::SCHEMA;

/// Follows `$ref` within our own schema. No reference of it leads to another reference.
pub(super) fn deref(schema: &'static Value) -> &'static Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'));
    target
        .and_then(|target| SCHEMA.pointer(target))
        .unwrap_or(schema)
}

/// The alternatives of a schema; empty if it has none.
pub(super) fn branches(schema: &'static Value) -> &'static [Value] {
    let list = schema["oneOf"]
        .as_array()
        .or_else(|| schema["anyOf"].as_array());
    list.map_or(&[], Vec::as_slice)
}

/// The index of the alternative that a value means: the one with its `type`, the one with a key
/// that only this one has, or the one that is not null.
pub(super) fn matching_branch(schema: &'static Value, value: &Value) -> Option<usize> {
    let branches = branches(schema);
    let is_nullable = branches.iter().any(|branch| branch["type"] == "null");
    if is_nullable && !value.is_null() {
        return branches.iter().position(|branch| branch["type"] != "null");
    }
    if let Some(text) = value.as_str() {
        return branches.iter().position(|branch| {
            constants(deref(branch))
                .iter()
                .any(|constant| constant == text)
        });
    }
    let map = value.as_object()?;
    branches
        .iter()
        .map(deref)
        .position(|branch| match type_tag(branch) {
            Some(name) => map.get("type").and_then(Value::as_str) == Some(name),
            None => required(branch).iter().any(|key| map.contains_key(key)),
        })
}

/// The constant that `type` has in an alternative.
pub(super) fn type_tag(branch: &Value) -> Option<&str> {
    branch["properties"]["type"]["const"].as_str()
}

/// The keys that a mapping must have.
pub(super) fn required(schema: &Value) -> Vec<String> {
    schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The texts that a value may be; empty if it is not one of several constants.
pub(super) fn constants(schema: &Value) -> Vec<String> {
    let list = schema["enum"].as_array().into_iter().flatten();
    list.chain(schema.get("const"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The JSON types that a value may have; empty if any may be.
pub(super) fn wanted_types(schema: &'static Value) -> Vec<&'static str> {
    match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value has a JSON type.
pub(super) fn is_of_type(wanted: &str, value: &Value) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}
