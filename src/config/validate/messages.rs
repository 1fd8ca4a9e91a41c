//! The words of the errors: the kinds of values, and suggestions.

use serde_json::Value;

/// How similar a word must be to be suggested (Jaro-Winkler; 1 is equal).
const MIN_SIMILARITY: f64 = 0.75;
/// The longest word, in bytes, that is compared: the comparison is quadratic.
const MAX_COMPARED: usize = 64;

/// The message and the help for a value of the wrong type.
pub(super) fn type_message(
    wanted: &str,
    schema: &Value,
    value: &Value,
) -> (String, Option<String>) {
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
            Some(format!("add a unit: {number}s"))
        }
        ("string", Value::Number(_) | Value::Bool(_)) => {
            Some(format!("put the value in quotes: \"{value}\""))
        }
        ("array", Value::String(text)) => Some(format!("write a list: [{text:?}]")),
        ("integer", Value::String(text)) if text.parse::<u64>().is_ok() => {
            Some(format!("remove the quotes: {text}"))
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
        (_, Value::Null) => Some("remove the setting to use its default".into()),
        _ => None,
    };
    (format!("expected {name}, found {}", kind(value)), help)
}

/// The kind of a value, for a sentence.
pub(super) fn kind(value: &Value) -> &'static str {
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

/// The message and the help for a value that is not one of the options.
pub(super) fn not_one_of(value: &Value, options: &[String]) -> (String, Option<String>) {
    let Some(text) = value.as_str() else {
        let message = format!("expected one of {}, found {}", quoted(options), kind(value));
        return (message, None);
    };
    let shown: String = text.chars().take(40).collect();
    let message = format!("{shown:?} is not one of {}", quoted(options));
    (message, suggestion(text, options))
}

/// The options in quotes, with commas.
pub(super) fn quoted(options: &[String]) -> String {
    options
        .iter()
        .map(|option| format!("{option:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The question whether the nearest option was meant; `None` if no option is near.
pub(super) fn suggestion(text: &str, options: &[String]) -> Option<String> {
    nearest(text, options).map(|near| format!("did you mean {near:?}?"))
}

/// The option that is most similar to a text; `None` if none is similar enough.
pub(super) fn nearest<'a>(text: &str, options: &'a [String]) -> Option<&'a str> {
    if text.len() > MAX_COMPARED {
        return None;
    }
    let text = text.to_lowercase();
    let scored = options
        .iter()
        .map(|option| (strsim::jaro_winkler(&text, option), option));
    let best = scored
        .filter(|(score, _)| *score >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(best.1)
}
