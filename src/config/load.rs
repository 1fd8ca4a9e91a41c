//! Loads a file and its environment into a configuration, or into a report of all its problems.
//!
//! [`load`] finds and reads the file. [`parse`] is pure: it takes text and an [`Environment`], and
//! tests pass their own. Whatever the text is, `parse` never panics.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document::{self, Document};
use super::environment::Environment;
use super::host::{add_host_defaults, unknown_owners};
use super::place::{self, MAX_BYTES, line_of};
use super::report::{Problem, Report};
use super::validate::{coerce, validate};
use super::{Config, rules};
use crate::model::Labels;

/// The environment variable that names the file if no flag does.
pub const FILE_VARIABLE: &str = "HEREABOUTS_CONFIG";
/// The paths where the file is searched if neither a flag nor the variable names one.
pub const SEARCH_PATHS: [&str; 2] = ["./hereabouts.yaml", "/etc/hereabouts/hereabouts.yaml"];

/// A configuration that has no errors.
#[derive(Debug)]
pub struct Loaded {
    /// Every setting, with the host's name and the state directory filled in, and with every path
    /// ready to be opened.
    pub config: Config,
    /// The file; `None` for the built-in defaults.
    pub source: Option<PathBuf>,
    /// The warnings: settings without effect, and settings that are not available yet.
    pub notes: Report,
    /// The origin of each value.
    pub(super) origins: Origins,
}

/// The origins of the values, which `check --effective` prints.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// The name of the file.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) document: Document,
    /// The origin of the default of the state directory; empty if the file names the directory.
    pub(super) state_dir: &'static str,
}

/// Loads the configuration that `run` uses: `explicit` (from `--config`), else
/// `$HEREABOUTS_CONFIG`, else the first of [`SEARCH_PATHS`] that exists, else the built-in
/// defaults.
pub fn load(environment: &dyn Environment, explicit: Option<&Path>) -> Result<Loaded, Report> {
    let named = explicit.map(Path::to_owned).or_else(|| {
        environment
            .variable(FILE_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let path = named.or_else(|| {
        SEARCH_PATHS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    });
    let Some(path) = path else {
        tracing::debug!("no configuration file was found; the built-in defaults are used");
        return parse("(built-in defaults)", "", Path::new(""), environment);
    };
    tracing::debug!(file = %path.display(), "the configuration file is read");
    let name = path.display().to_string();
    let text = read(&path).map_err(|message| Report::unreadable(&name, message))?;
    // The directory is absolute, so that a path which was joined to it stays the same whatever it
    // is joined to later.
    let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    let directory = absolute.parent().unwrap_or(Path::new(""));
    parse(&name, &text, directory, environment).map(|loaded| Loaded {
        source: Some(path),
        ..loaded
    })
}

fn read(path: &Path) -> Result<String, String> {
    let file =
        std::fs::File::open(path).map_err(|error| format!("the file can't be opened: {error}"))?;
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("the file can't be read: {error}"))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!(
            "the file is too long: at most {MAX_BYTES} bytes are allowed"
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let line = line_of(&text, valid);
        format!("line {line} is not UTF-8 text: save the file as UTF-8")
    })
}

/// Parses a text of unknown origin with an empty environment, and never panics. It is the entry
/// point for fuzzing.
pub fn parse_untrusted(bytes: &[u8]) -> Result<Config, Report> {
    struct EmptyEnvironment;
    impl Environment for EmptyEnvironment {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn host_name(&self) -> Option<String> {
            Some("localhost".into())
        }

        fn is_root(&self) -> bool {
            true
        }
    }
    let name = "untrusted";
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Report::unreadable(name, "the file is not UTF-8 text"))?;
    parse(name, text, Path::new("/"), &EmptyEnvironment).map(|loaded| loaded.config)
}

/// Parses a text. A pure function of its arguments: messages use `name`, and relative paths are
/// relative to `directory`.
pub fn parse(
    name: &str,
    text: &str,
    directory: &Path,
    environment: &dyn Environment,
) -> Result<Loaded, Report> {
    let mut problems = Vec::new();
    let Some(mut document) = document::parse(text, environment, &mut problems) else {
        return Err(Report::of(name, text, problems));
    };
    let Document { value, places } = &mut document;
    coerce(value, places);
    let mut wrong = validate(&document, &mut problems);
    validate_labels(&document, &mut wrong, &mut problems);
    let mut value = document.value.clone();
    wrong.iter().for_each(|pointer| remove(&mut value, pointer));
    let state_dir = add_host_defaults(&mut value, &document, environment, &mut problems);
    let mut config = match deserialize(value, &document) {
        Ok(config) => config,
        Err(problem) => {
            problems.push(problem);
            return Err(Report::of(name, text, problems));
        }
    };
    apply_rules(&config, &document, &wrong, &mut problems);
    problems.extend(unknown_owners(&config, &document, environment));
    problems.extend(not_available(&config, &document));
    if problems.iter().any(|problem| !problem.is_warning) {
        return Err(Report::of(name, text, problems));
    }
    config.resolve_paths(directory);
    Ok(Loaded {
        config,
        source: None,
        notes: Report::of(name, text, problems),
        origins: Origins {
            name: name.into(),
            text: text.into(),
            document,
            state_dir,
        },
    })
}

fn deserialize(value: Value, document: &Document) -> Result<Config, Problem> {
    // The schema refuses every value that the types refuse. Should they ever differ, the types
    // decide.
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer_of(error.path());
        let span = document.span(&pointer);
        Problem::error(&pointer, span, error.into_inner().to_string())
    })
}

fn apply_rules(
    config: &Config,
    document: &Document,
    wrong: &[String],
    problems: &mut Vec<Problem>,
) {
    for violation in rules::violations(config, |pointer| document.places.contains_key(pointer)) {
        // A wrong setting was replaced by its default, so a rule about it would only confuse.
        if wrong
            .iter()
            .any(|pointer| overlaps(pointer, &violation.pointer))
        {
            continue;
        }
        let span = document.span(&violation.pointer);
        problems.push(Problem {
            is_warning: violation.is_warning,
            ..Problem::error(&violation.pointer, span, violation.message)
        });
    }
}

fn not_available(config: &Config, document: &Document) -> Vec<Problem> {
    config
        .unavailable()
        .into_iter()
        .map(|part| {
            let pointer = format!("/{}", part.path.replace(['.', '['], "/").replace(']', ""));
            let message = format!("{} not available yet: run refuses it", part.what);
            Problem::warning(&pointer, document.span(&pointer), message)
        })
        .collect()
}

/// Whether two JSON pointers are equal, or one leads through the other.
fn overlaps(a: &str, b: &str) -> bool {
    let is_within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_within(a, b) || is_within(b, a)
}

/// Checks the sum of the bytes of all pairs, which a schema can't express.
fn validate_labels(document: &Document, wrong: &mut Vec<String>, problems: &mut Vec<Problem>) {
    for pointer in ["/info", "/node/labels"] {
        let Some(map) = document.value.pointer(pointer).and_then(Value::as_object) else {
            continue;
        };
        if wrong.iter().any(|other| overlaps(other, pointer)) {
            continue;
        }
        let pairs = map
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        if let Err(error) = Labels::new(pairs) {
            let span = document.span(pointer);
            problems.push(Problem::error(pointer, span, error.to_string()));
            wrong.push(pointer.into());
        }
    }
}

/// Removes a wrong setting, so that the others can be checked; an entry of a list is removed with
/// the whole list.
fn remove(value: &mut Value, pointer: &str) {
    let list = pointer
        .match_indices('/')
        .map(|(at, _)| &pointer[..at])
        .find(|parent| value.pointer(parent).is_some_and(Value::is_array));
    let target = list.unwrap_or(pointer);
    let Some((parent, key)) = target.rsplit_once('/') else {
        *value = Value::Object(Map::new());
        return;
    };
    if let Some(Value::Object(map)) = value.pointer_mut(parent) {
        // An alternative that lacks one of its settings would be an error of its own.
        let is_alternative = map.contains_key("type");
        map.remove(&place::unescape(key));
        if is_alternative {
            remove(value, parent);
        }
    }
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(String::new(), |pointer, segment| match segment {
            Segment::Seq { index } => format!("{pointer}/{index}"),
            Segment::Map { key } => format!("{pointer}/{}", place::escape(key)),
            Segment::Enum { .. } | Segment::Unknown => pointer,
        })
}
