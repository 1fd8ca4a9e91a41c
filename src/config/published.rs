//! The schema as editors and validators get it: a text may hold `${VAR}` there.
//!
//! The loader judges a text after its variables were replaced; whoever reads the file as it stands sees `${NODE_NAME}`
//! where a name is wanted, and must not call that an error.

use serde_json::{Value, json};

use super::schema::schema;

/// What every text with a variable has, as the end of a regular expression (ECMA-262).
const OR_VARIABLE: &str = r"|\$\{";
/// Formats that validators know and hold a text to.
const ASSERTED: [&str; 2] = ["ipv4", "ipv6"];

/// The schema of the configuration, as `hereabouts schema` prints it and `schema/hereabouts.schema.json` holds it.
///
/// It is that of [`schema`], with `${` let into every text that has a pattern or a standard format.
pub fn published_schema() -> Value {
    let mut schema = schema();
    let_variables_in(&mut schema);
    schema
}

fn let_variables_in(schema: &mut Value) {
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
            // Keys are taken as they stand.
            map.iter_mut()
                .filter(|(key, _)| *key != "propertyNames")
                .for_each(|(_, value)| let_variables_in(value));
        }
        Value::Array(items) => items.iter_mut().for_each(let_variables_in),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_may_hold_a_variable_and_keys_may_not() {
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
