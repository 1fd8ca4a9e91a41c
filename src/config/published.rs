//! The schema for editors and validators, in which a text may contain `${VAR}`.
//!
//! The loader validates a text after its variables were replaced. An editor sees the file itself,
//! such as `${NODE_NAME}` in the place of a name, and must not report that as an error.

use serde_json::{Value, json};

use super::schema::schema;

/// The alternative that matches every text with a variable, for the end of a regular expression
/// (ECMA-262).
const OR_VARIABLE: &str = r"|\$\{";
/// The formats of texts that validators enforce.
const ASSERTED: [&str; 2] = ["ipv4", "ipv6"];

/// The schema of the configuration, as `hereabouts schema` prints it and
/// `schema/hereabouts.schema.json` holds it.
///
/// It is the schema of [`schema`], except that every text with a pattern or a standard format may
/// also contain `${`.
pub fn published_schema() -> Value {
    let mut schema = schema();
    allow_variables(&mut schema);
    schema
}

fn allow_variables(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("type").is_some_and(|kind| kind == "string") {
                if let Some(Value::String(pattern)) = map.get_mut("pattern") {
                    pattern.push_str(OR_VARIABLE);
                }
                let format = map
                    .get("format")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if ASSERTED.contains(&format) {
                    let format = format.to_owned();
                    map.remove("format");
                    map.insert(
                        "anyOf".into(),
                        json!([{ "format": format }, { "pattern": r"\$\{" }]),
                    );
                }
            }
            // Variables are not replaced in keys.
            map.iter_mut()
                .filter(|(key, _)| *key != "propertyNames")
                .for_each(|(_, value)| allow_variables(value));
        }
        Value::Array(items) => items.iter_mut().for_each(allow_variables),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_may_contain_a_variable_and_keys_may_not() {
        let schema = published_schema();
        let definitions = &schema["$defs"];
        let name = definitions["NodeName"]["pattern"].as_str().unwrap();
        assert!(name.ends_with(OR_VARIABLE), "{name}");
        let group = &definitions["Multicast"]["properties"]["ipv4_group"];
        assert!(group["format"].is_null(), "{group}");
        assert_eq!(group["anyOf"][0]["format"], "ipv4");
        let keys = definitions["Labels"]["propertyNames"]["pattern"]
            .as_str()
            .unwrap();
        assert!(!keys.contains(OR_VARIABLE), "{keys}");
    }
}
