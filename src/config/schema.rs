//! The JSON Schema, generated from the types that are deserialised.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::Config;
use crate::model::{HttpUrl, Labels, NodeName, Owner};

/// The URL where the schema is published.
pub const SCHEMA_ID: &str = "https://hereabouts.dev/schema/hereabouts.schema.json";

/// The schema of the configuration (JSON Schema draft 2020-12), as `hereabouts schema` prints it.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".into(), json!(SCHEMA_ID));
        root.insert("title".into(), json!("hereabouts"));
    }
    shorten_defaults(&mut schema);
    join_lines(&mut schema);
    schema
}

/// Replaces the line breaks of doc comments by spaces: editors wrap a description themselves.
fn join_lines(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(description)) = map.get_mut("description") {
                *description = description
                    .replace("\n\n", "\0")
                    .replace('\n', " ")
                    .replace('\0', "\n\n");
            }
            map.values_mut().for_each(join_lines);
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

/// Replaces the default of each section by `{}`: the settings of the section have their own
/// defaults, and the host's name is not a constant.
fn shorten_defaults(schema: &mut Value) {
    let sections: Vec<String> = schema["$defs"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, definition)| {
            definition.get("properties").is_some() && definition.get("required").is_none()
        })
        .map(|(name, _)| format!("#/$defs/{name}"))
        .collect();
    visit_properties(schema, &mut |property| {
        let is_section = property["$ref"]
            .as_str()
            .is_some_and(|target| sections.iter().any(|section| section == target));
        if is_section && property.get("default").is_some_and(Value::is_object) {
            property["default"] = json!({});
        }
    });
}

fn visit_properties(schema: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                properties
                    .values_mut()
                    .filter(|property| property.is_object())
                    .for_each(&mut *visit);
            }
            map.values_mut()
                .for_each(|value| visit_properties(value, visit));
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|value| visit_properties(value, visit)),
        _ => {}
    }
}

/// The default, in the schema, of a setting that the loader derives from the host.
pub(super) fn null() -> Option<()> {
    None
}

/// The name of a node in a configuration that the loader did not make.
#[expect(clippy::expect_used, reason = "a constant text")]
pub(super) fn placeholder_name() -> NodeName {
    NodeName::parse("localhost").expect("localhost is a host name")
}

macro_rules! schema_type {
    ($type:ident, $name:literal, $schema:tt) => {
        /// Represents a type of `model` or of the standard library in the schema.
        pub(super) struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema_type!(Name, "NodeName", {
    "type": "string",
    "description": "A host name of at most 127 bytes: parts of 1 to 63 letters, digits, `-` and `_`, joined by dots. Upper case becomes lower case.",
    "format": "hereabouts-NodeName",
    "minLength": 1,
    "maxLength": (NodeName::MAX + 1),
    "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\\.?$",
});
schema_type!(Path, "Path", {
    "type": "string",
    "description": "The path of a file or a directory.",
    "format": "hereabouts-Path",
    "minLength": 1,
    "maxLength": 4096,
    "pattern": "^[^\\u0000]+$",
});
schema_type!(Ip, "IpAddress", {
    "type": "string",
    "description": "An IP address: `192.0.2.1` or `2001:db8::1`.",
    "format": "ip",
});
schema_type!(Endpoint, "Endpoint", {
    "type": "string",
    "description": "The URL of an etcd member: `https://10.0.0.1:2379`.",
    "format": "hereabouts-Endpoint",
    "pattern": "^https?://[^\\s/]+/?$",
});
schema_type!(NodeIdText, "NodeId", {
    "type": "string",
    "description": "The id of a node, 52 characters. `hereabouts discover --output json` prints it.",
    "format": "hereabouts-NodeId",
    "pattern": "^[A-Za-z2-7]{51}[AQaq]$",
});
schema_type!(Socket, "SocketAddress", {
    "type": "string",
    "description": "An IP address with a port: `127.0.0.1:24374` or `[::1]:24374`.",
    "format": "socket",
});
schema_type!(Url, "HttpUrl", {
    "type": "string",
    "description": "An `http` or `https` URL without user and password: `https://hooks.example.org/reload`.",
    "format": "hereabouts-HttpUrl",
    "minLength": 1,
    "maxLength": (HttpUrl::MAX),
    "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s/?#@]+([/?][!$-;=?-_a-~]*)?$",
});
schema_type!(Headers, "Headers", {
    "type": "object",
    "description": "The headers of a request. A name has 1 to 64 letters, digits and `-`; a value has at most 1024 printable ASCII characters.",
    "maxProperties": 16,
    "propertyNames": { "pattern": "^[A-Za-z0-9-]{1,64}$" },
    "additionalProperties": { "type": "string", "maxLength": 1024, "pattern": "^[ -~]*$" },
});
schema_type!(OwnerText, "Owner", {
    "type": "string",
    "description": "A user, a group or both, each by name or number: `kiosk`, `kiosk:www-data`, `:media` or `\"1000:1000\"`.",
    "format": "hereabouts-Owner",
    "pattern": (Owner::PATTERN),
});
schema_type!(Pairs, "Labels", {
    "type": "object",
    "description": "Key/value pairs. A key has 1 to 63 letters, digits, `-`, `_`, `.` and `/`; a value has at most 255 bytes of text without control characters. All keys and values together have at most 256 bytes.",
    "maxProperties": (Labels::MAX_PAIRS),
    "propertyNames": { "pattern": "^[A-Za-z0-9._/-]{1,63}$" },
    "additionalProperties": { "type": "string", "maxLength": (Labels::MAX_VALUE), "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" },
});
