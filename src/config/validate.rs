//! A value against the schema: every error, each in the words of the setting. Pure.
//!
//! Our schema uses a small part of JSON Schema, and this walk knows just that part; a test holds that it knows every keyword
//! in the schema. A general validator would bring sixty crates, and its errors would have to be put into words here all
//! the same. Texts are judged by the parser of their type, named by `format`, so schema and type can't differ.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use serde_json::Value;

use super::document::{Document, Place, escape};
use super::report::{Problem, path_of};
use super::{
    ChannelName, ConfigDuration, DynipServer, FileMode, InterfacePattern, OfferName, ServerAddress,
    Size, schema,
};
use crate::model::{HttpUrl, NodeId, NodeName, Owner};

/// How alike a word must be to be suggested (Jaro-Winkler, 1 is equal).
const NEAR: f64 = 0.75;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// What a format's text must parse as: the type's own parser, so that schema and type can't differ.
type Parse = fn(&str) -> Result<(), String>;

fn parses<T: std::str::FromStr<Err: ToString>>(text: &str) -> Result<(), String> {
    text.parse::<T>()
        .map(drop)
        .map_err(|error| error.to_string())
}

const FORMATS: [(&str, Parse); 20] = [
    ("hereabouts-NodeId", |text| {
        text.parse::<NodeId>().map(drop).map_err(|_| {
            "the id of a node was expected: 52 characters, as `hereabouts discover --output json` prints it".into()
        })
    }),
    ("ip", |text| {
        text.parse::<IpAddr>()
            .map(drop)
            .map_err(|_| "an IP address such as 192.0.2.1 or 2001:db8::1 was expected".into())
    }),
    ("ipv4", |text| {
        text.parse::<Ipv4Addr>()
            .map(drop)
            .map_err(|_| "an IPv4 address such as 239.255.43.73 was expected".into())
    }),
    ("ipv6", |text| {
        text.parse::<Ipv6Addr>()
            .map(drop)
            .map_err(|_| "an IPv6 address such as ff12::4373 was expected".into())
    }),
    ("socket", |text| {
        text.parse::<SocketAddr>().map(drop).map_err(|_| {
            "an IP address with a port was expected, such as 127.0.0.1:24374 or [::1]:24374".into()
        })
    }),
    ("hereabouts-NodeName", parses::<NodeName>),
    ("hereabouts-Duration", parses::<ConfigDuration>),
    ("hereabouts-Size", parses::<Size>),
    ("hereabouts-InterfacePattern", parses::<InterfacePattern>),
    ("hereabouts-ServerAddress", parses::<ServerAddress>),
    ("hereabouts-DynipServer", parses::<DynipServer>),
    ("hereabouts-FileMode", parses::<FileMode>),
    ("hereabouts-Owner", parses::<Owner>),
    ("hereabouts-HttpUrl", parses::<HttpUrl>),
    ("hereabouts-OfferName", parses::<OfferName>),
    ("hereabouts-ChannelName", parses::<ChannelName>),
    ("hereabouts-Path", |text| {
        if text.contains('\0') {
            Err("a path has no NUL character".into())
        } else {
            Ok(())
        }
    }),
    ("hereabouts-Service", service),
    ("hereabouts-Domain", |text| {
        let fits = text.len() <= 63
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric());
        if fits {
            Ok(())
        } else {
            Err("a domain was expected, such as local".into())
        }
    }),
    ("hereabouts-Endpoint", |text| {
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let host = host.map(|host| host.strip_suffix('/').unwrap_or(host));
        match host {
            Some(host)
                if !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace()) =>
            {
                Ok(())
            }
            _ => Err("an endpoint was expected, such as https://10.0.0.1:2379".into()),
        }
    }),
];

fn service(text: &str) -> Result<(), String> {
    let (name, protocol) = text.split_once('.').unwrap_or((text, ""));
    let name = name.strip_prefix('_').unwrap_or_default();
    let fits = (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && matches!(protocol, "_udp" | "_tcp");
    if fits {
        Ok(())
    } else {
        Err("a DNS-SD service type was expected, such as _hereabouts._udp (RFC 6763)".into())
    }
}

/// Adds every error of the document by the schema; returns the JSON pointers of the wrong settings.
pub(super) fn validate(document: &Document, problems: &mut Vec<Problem>) -> Vec<String> {
    // A text whose variables are wrong is an error already, and can't be judged.
    let unread = problems
        .iter()
        .map(|problem| problem.path.clone())
        .collect();
    let mut judge = Judge {
        document,
        problems,
        unread,
        wrong: Vec::new(),
    };
    judge.value("", &SCHEMA, &document.value);
    judge.wrong
}

/// Makes a section without any setting, `node:` alone, the same as one that is left out, and a text that came from the
/// environment the number or boolean that its setting wants: a variable knows no types.
pub(super) fn coerce(value: &mut Value, places: &BTreeMap<String, Place>) {
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
        let section = schema["properties"].is_object() && required(schema).is_empty();
        let from_environment = places
            .get(&pointer)
            .is_some_and(|place| !place.variables.is_empty());
        if value.is_null() && section {
            *value = Value::Object(serde_json::Map::new());
        } else if let (Some(text), true) = (value.as_str(), from_environment) {
            let wanted = wanted_types(schema);
            let typed = if wanted.contains(&"integer") {
                text.parse::<u64>().ok().map(Value::from)
            } else if wanted.contains(&"boolean") {
                text.parse::<bool>().ok().map(Value::from)
            } else {
                None
            };
            *value = typed.unwrap_or_else(|| text.into());
        } else {
            coerce_below(&pointer, schema, value, places);
        }
    }
}

struct Judge<'a> {
    document: &'a Document,
    problems: &'a mut Vec<Problem>,
    unread: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Judge<'_> {
    /// Judges a value and what is in it; the document's depth is limited, so the recursion is.
    fn value(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let schema = deref(schema);
        if !self.unread.is_empty() && value.is_string() && self.unread.contains(&path_of(pointer)) {
            return self.wrong.push(pointer.into());
        }
        if !branches(schema).is_empty() {
            match fitting(schema, value).and_then(|index| branches(schema).get(index)) {
                Some(branch) => self.value(pointer, branch, value),
                None if value.is_null()
                    && branches(schema)
                        .iter()
                        .any(|branch| branch["type"] == "null") => {}
                None => self.branch(pointer, value, schema),
            }
            return;
        }
        let options = constants(schema);
        if !options.is_empty() {
            if !value
                .as_str()
                .is_some_and(|text| options.iter().any(|option| option == text))
            {
                self.wrong_value(pointer, not_one_of(value, &options));
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
            return self.wrong_value(pointer, type_message(wanted, schema, value));
        }
        match value {
            Value::String(text) => self.text(pointer, schema, text),
            Value::Number(_) => self.number(pointer, schema, value),
            Value::Array(items) => self.list(pointer, schema, items),
            Value::Object(map) => self.mapping(pointer, schema, map),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, pointer: &str, schema: &'static Value, text: &str) {
        let length = text.chars().count() as u64;
        let format = schema["format"]
            .as_str()
            .and_then(|format| FORMATS.iter().find(|(name, _)| *name == format));
        let message = if schema["minLength"]
            .as_u64()
            .is_some_and(|least| length < least)
        {
            Some("an empty text does not fit here".to_owned())
        } else if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            Some(format!("at most {most} characters fit"))
        } else {
            format.and_then(|(_, parse)| parse(text).err())
        };
        if let Some(message) = message {
            self.wrong_value(pointer, (message, None));
        }
    }

    fn number(&mut self, pointer: &str, schema: &'static Value, value: &Value) {
        let number = value.as_f64().unwrap_or_default();
        let least = schema["minimum"].as_f64().filter(|least| number < *least);
        let most = schema["maximum"].as_f64().filter(|most| number > *most);
        let message = match (least, most) {
            (Some(least), _) => format!("{value} is too small, the least is {least}"),
            (_, Some(most)) => format!("{value} is too large, the most is {most}"),
            (None, None) => return,
        };
        self.wrong_value(pointer, (message, None));
    }

    fn list(&mut self, pointer: &str, schema: &'static Value, items: &[Value]) {
        let count = items.len() as u64;
        if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
            self.wrong_value(
                pointer,
                (format!("at least {least} entries are needed"), None),
            );
        }
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
            return self.wrong_value(pointer, (format!("at most {most} entries fit"), None));
        }
        let unique = schema["uniqueItems"] == true;
        for (index, item) in items.iter().enumerate() {
            let child = format!("{pointer}/{index}");
            if unique && items[..index].contains(item) {
                self.wrong_value(&child, ("this entry stands here twice".to_owned(), None));
            } else if let Some(schema) = schema.get("items") {
                self.value(&child, schema, item);
            }
        }
    }

    fn mapping(
        &mut self,
        pointer: &str,
        schema: &'static Value,
        map: &serde_json::Map<String, Value>,
    ) {
        let known = schema["properties"].as_object();
        for key in required(schema)
            .iter()
            .filter(|key| !map.contains_key(*key))
        {
            self.wrong_value(pointer, (format!("{key:?} is missing"), None));
        }
        if let Some(most) = schema["maxProperties"]
            .as_u64()
            .filter(|most| map.len() as u64 > *most)
        {
            return self.wrong_value(pointer, (format!("at most {most} pairs fit"), None));
        }
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

    fn wrong_value(&mut self, pointer: &str, (message, help): (String, Option<String>)) {
        let span = self.document.span(pointer);
        self.push(
            pointer,
            Problem {
                help,
                ..Problem::error(pointer, span, message)
            },
        );
    }

    fn push(&mut self, pointer: &str, problem: Problem) {
        self.wrong.push(pointer.into());
        self.problems.push(problem);
    }

    fn unknown_key(&mut self, pointer: &str, key: &str, known: &[String]) {
        let child = format!("{pointer}/{}", escape(key));
        let span = self.document.key_span(&child);
        let help = match nearest(key, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let problem = Problem {
            help: Some(help),
            ..Problem::error(&child, span, "there is no such setting")
        };
        self.push(&child, problem);
    }

    /// Which alternatives there are, as the value means none of them.
    fn branch(&mut self, pointer: &str, value: &Value, node: &'static Value) {
        let branches: Vec<&Value> = branches(node).iter().map(deref).collect();
        let constants: Vec<String> = branches
            .iter()
            .flat_map(|branch| constants(branch))
            .collect();
        if !constants.is_empty() {
            let (message, help) = not_one_of(value, &constants);
            let span = self.document.span(pointer);
            return self.push(
                pointer,
                Problem {
                    help,
                    ..Problem::error(pointer, span, message)
                },
            );
        }
        let types: Vec<String> = branches
            .iter()
            .filter_map(|branch| branch["properties"]["type"]["const"].as_str())
            .map(str::to_owned)
            .collect();
        let (pointer, message, help) = if !value.is_object() {
            (
                pointer.to_owned(),
                format!("a mapping was expected, this is {}", kind(value)),
                None,
            )
        } else if types.is_empty() {
            let keys: Vec<String> = branches
                .iter()
                .flat_map(|branch| required(branch))
                .collect();
            let given = value.as_object().and_then(|map| map.keys().next());
            let near = given
                .and_then(|given| nearest(given, &keys))
                .map(|near| format!("did you mean {near:?}?"));
            (
                pointer.to_owned(),
                format!("one of {} was expected", quoted(&keys)),
                near,
            )
        } else if let Some(given) = value.get("type") {
            let (message, help) = not_one_of(given, &types);
            (format!("{pointer}/type"), message, help)
        } else {
            (
                pointer.to_owned(),
                format!("\"type\" is missing, one of {}", quoted(&types)),
                None,
            )
        };
        let span = self.document.span(&pointer);
        self.push(
            &pointer,
            Problem {
                help,
                ..Problem::error(&pointer, span, message)
            },
        );
    }
}

fn wanted_types(schema: &'static Value) -> Vec<&'static str> {
    match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of_type(wanted: &str, value: &Value) -> bool {
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

fn type_message(wanted: &str, schema: &Value, value: &Value) -> (String, Option<String>) {
    let name = match wanted {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    };
    let help = match (wanted, value) {
        ("string", Value::Number(number)) if schema["format"] == "hereabouts-Duration" => {
            Some(format!("with a unit: {number}s"))
        }
        ("string", Value::Number(_) | Value::Bool(_)) => {
            Some(format!("put it in quotes: \"{value}\""))
        }
        ("array", Value::String(text)) => Some(format!("write a list: [{text:?}]")),
        ("integer", Value::String(text)) if text.parse::<u64>().is_ok() => {
            Some(format!("without quotes: {text}"))
        }
        ("boolean", Value::String(text))
            if matches!(text.as_str(), "yes" | "on" | "True" | "TRUE") =>
        {
            Some("write true".into())
        }
        ("boolean", Value::String(text))
            if matches!(text.as_str(), "no" | "off" | "False" | "FALSE") =>
        {
            Some("write false".into())
        }
        (_, Value::Null) => Some("leave the setting out to get its default".into()),
        _ => None,
    };
    (
        format!("{name} was expected, this is {}", kind(value)),
        help,
    )
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn not_one_of(value: &Value, options: &[String]) -> (String, Option<String>) {
    let Some(text) = value.as_str() else {
        return (
            format!(
                "one of {} was expected, this is {}",
                quoted(options),
                kind(value)
            ),
            None,
        );
    };
    let near = nearest(text, options).map(|near| format!("did you mean {near:?}?"));
    let shown: String = text.chars().take(40).collect();
    (format!("{shown:?} is none of {}", quoted(options)), near)
}

fn quoted(options: &[String]) -> String {
    options
        .iter()
        .map(|option| format!("{option:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn nearest<'a>(text: &str, options: &'a [String]) -> Option<&'a str> {
    // Longer words are no near miss, and the comparison is quadratic.
    if text.len() > 64 {
        return None;
    }
    let text = text.to_lowercase();
    let scored = options
        .iter()
        .map(|option| (strsim::jaro_winkler(&text, option), option));
    let best = scored
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(best.1)
}

/// Follows `$ref` within our own schema, which has no cycle of references alone.
fn deref(schema: &'static Value) -> &'static Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'));
    target
        .and_then(|target| SCHEMA.pointer(target))
        .unwrap_or(schema)
}

fn branches(schema: &'static Value) -> &'static [Value] {
    let list = schema["oneOf"]
        .as_array()
        .or_else(|| schema["anyOf"].as_array());
    list.map_or(&[], Vec::as_slice)
}

/// Which alternative a value means: by its `type`, by a key that only one has, or the one that is not null.
fn fitting(schema: &'static Value, value: &Value) -> Option<usize> {
    let branches = branches(schema);
    let nullable = branches.iter().any(|branch| branch["type"] == "null");
    if nullable && !value.is_null() {
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
    branches.iter().map(deref).position(|branch| {
        match branch["properties"]["type"]["const"].as_str() {
            Some(name) => map.get("type").and_then(Value::as_str) == Some(name),
            None => required(branch).iter().any(|key| map.contains_key(key)),
        }
    })
}

fn required(schema: &Value) -> Vec<String> {
    schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn constants(schema: &Value) -> Vec<String> {
    let list = schema["enum"].as_array().into_iter().flatten();
    list.chain(schema.get("const"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
