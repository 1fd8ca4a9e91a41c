//! The schema has nothing that the validator does not support.

use super::*;

/// The keywords that the validator, or a function that it calls, reads.
const HANDLED: [&str; 19] = [
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "properties",
    "required",
    "type",
    "uniqueItems",
];
/// The keywords that do not restrict the values.
const ANNOTATIONS: [&str; 7] = [
    "$defs",
    "$id",
    "$schema",
    "default",
    "description",
    "examples",
    "title",
];
/// The keywords for editors only. The validator ignores them, because the parser of the type checks
/// the same: the parser that `format` names for a text, and that of [`crate::model::Labels`] for
/// pairs, whose errors the loader reports.
const CHECKED_BY_THE_TYPE: [&str; 2] = ["pattern", "propertyNames"];

/// Calls `visit` for each schema in a schema, with the pointer to it.
fn schemas(
    pointer: &str,
    schema: &Value,
    visit: &mut impl FnMut(&str, &serde_json::Map<String, Value>),
) {
    let Value::Object(map) = schema else { return };
    visit(pointer, map);
    for (keyword, value) in map {
        let pointer = format!("{pointer}/{keyword}");
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => {
                named.iter().for_each(|(name, schema)| {
                    schemas(&format!("{pointer}/{name}"), schema, visit)
                });
            }
            ("oneOf" | "anyOf", Value::Array(list)) => {
                list.iter()
                    .enumerate()
                    .for_each(|(i, schema)| schemas(&format!("{pointer}/{i}"), schema, visit));
            }
            ("items" | "additionalProperties" | "propertyNames", schema) => {
                schemas(&pointer, schema, visit)
            }
            _ => {}
        }
    }
}

#[test]
fn every_keyword_of_the_schema_is_supported() {
    let mut unknown = BTreeSet::new();
    let mut seen = 0;
    schemas("", &SCHEMA, &mut |pointer, map| {
        seen += 1;
        let known = |keyword: &str| {
            [&HANDLED[..], &ANNOTATIONS, &CHECKED_BY_THE_TYPE]
                .concat()
                .contains(&keyword)
        };
        unknown.extend(
            map.keys()
                .filter(|keyword| !known(keyword))
                .map(|keyword| format!("{pointer}/{keyword}")),
        );
    });
    assert!(seen > 100, "{seen} schemas: this test misses most of them");
    assert!(
        unknown.is_empty(),
        "support these keywords, or list them as annotations: {unknown:#?}"
    );
}

#[test]
fn every_format_of_a_text_has_a_parser_and_every_number_its_range() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    schemas("", &SCHEMA, &mut |pointer, map| {
        let Some(format) = map.get("format").and_then(Value::as_str) else {
            return;
        };
        let fits = match map["type"].as_str() {
            Some("string") => FORMATS.iter().any(|(name, _)| *name == format),
            // The format of an integer only repeats its range.
            Some("integer") => {
                matches!(format, "uint8" | "uint16")
                    && map.contains_key("minimum")
                    && map.contains_key("maximum")
            }
            _ => false,
        };
        used.insert(format.to_owned());
        if !fits {
            wrong.push(format!("{pointer}: {format}"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unused: Vec<_> = FORMATS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !used.contains(*name))
        .collect();
    assert!(
        unused.is_empty(),
        "parsers that no setting uses: {unused:?}"
    );
}

#[test]
fn pattern_occurs_only_where_a_type_checks_the_same() {
    let mut bare = Vec::new();
    schemas("", &SCHEMA, &mut |pointer, map| {
        // The rules check the headers; the type of labels checks them.
        let is_checked = map.contains_key("format")
            || ["/$defs/Labels", "/$defs/Headers"]
                .iter()
                .any(|definition| pointer.starts_with(definition));
        if CHECKED_BY_THE_TYPE
            .iter()
            .any(|keyword| map.contains_key(*keyword))
            && !is_checked
        {
            bare.push(pointer.to_owned());
        }
    });
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn every_reference_leads_to_a_definition_of_the_schema() {
    schemas("", &SCHEMA, &mut |pointer, map| {
        if let Some(target) = map.get("$ref") {
            let found = target
                .as_str()
                .and_then(|t| t.strip_prefix('#'))
                .and_then(|t| SCHEMA.pointer(t));
            assert!(
                found.is_some_and(|found| found.get("$ref").is_none()),
                "{pointer}: {target}"
            );
        }
    });
}
