//! From files and the environment to a configuration, or to all that is wrong with it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::document::{self, Document, MAX_BYTES};
use super::environment::{self, Environment};
use super::report::{Problem, Report};
use super::rules;
use super::validate::{coerce, validate};
use super::{AfterAction, Config, KeySource, StoreConfig};
use crate::model::{Accounts, Labels, NodeName};

/// The variable that names the file where no flag does.
pub const FILE_VARIABLE: &str = "HEREABOUTS_CONFIG";
/// Where a file is looked for where nothing names one.
pub const SEARCHED: [&str; 2] = ["./hereabouts.yaml", "/etc/hereabouts/hereabouts.yaml"];

/// A configuration that checks.
#[derive(Debug)]
pub struct Loaded {
    /// Every setting, with names and directories of this host filled in and every path ready to be opened.
    pub config: Config,
    /// The file; `None` with the built-in defaults.
    pub source: Option<PathBuf>,
    /// What an operator should know: settings without effect, parts that are not available yet.
    pub notes: Report,
    /// Where each value came from.
    pub(super) origins: Origins,
}

/// What `--effective` needs to say where a value came from.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) document: Document,
    pub(super) state_dir: &'static str,
}

/// Loads the file that `run` takes: `explicit` (from `--config`), else `$HEREABOUTS_CONFIG`, else the first of
/// [`SEARCHED`] that exists, else the built-in defaults.
pub fn load(environment: &dyn Environment, explicit: Option<&Path>) -> Result<Loaded, Report> {
    let named = explicit.map(Path::to_owned).or_else(|| {
        environment
            .variable(FILE_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let path = named.or_else(|| {
        SEARCHED
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    });
    let Some(path) = path else {
        return parse("(built-in defaults)", "", Path::new(""), environment);
    };
    let name = path.display().to_string();
    let text = read(&path).map_err(|message| Report::unreadable(&name, message))?;
    // Absolute, so that a path which is made ready stays the same whatever it is joined to later.
    let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    let directory = absolute.parent().unwrap_or(Path::new(""));
    parse(&name, &text, directory, environment).map(|loaded| Loaded {
        source: Some(path),
        ..loaded
    })
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("can't be opened: {error}"))?;
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("the file has more than {MAX_BYTES} bytes"));
    }
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        format!("line {line} is not UTF-8 text")
    })
}

/// Parses a text of unknown origin with an empty environment, and never panics: the entry for fuzzing.
pub fn parse_untrusted(bytes: &[u8]) -> Result<Config, Report> {
    struct Nothing;
    impl Environment for Nothing {
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
    let text =
        std::str::from_utf8(bytes).map_err(|_| Report::unreadable(name, "not UTF-8 text"))?;
    parse(name, text, Path::new("/"), &Nothing).map(|loaded| loaded.config)
}

/// Parses a text. A pure function of its arguments: `name` stands in messages, `directory` before relative paths.
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
    let state_dir = fill_in(&mut value, &document, environment, &mut problems);
    let mut config = match serde_path_to_error::deserialize::<_, Config>(value) {
        Ok(config) => config,
        Err(error) => {
            // The schema lets nothing pass that the types refuse; should they differ, the types decide.
            let pointer = pointer_of(error.path());
            let span = document.span(&pointer);
            problems.push(Problem::error(
                &pointer,
                span,
                error.into_inner().to_string(),
            ));
            return Err(Report::of(name, text, problems));
        }
    };
    for finding in rules::findings(&config, |pointer| document.places.contains_key(pointer)) {
        // What rests on a setting that is wrong itself would only confuse.
        if wrong
            .iter()
            .any(|pointer| touches(pointer, &finding.pointer))
        {
            continue;
        }
        let span = document.span(&finding.pointer);
        let problem = Problem::error(&finding.pointer, span, finding.message);
        problems.push(Problem {
            is_note: finding.is_note,
            ..problem
        });
    }
    problems.extend(unknown_owners(&config, &document, environment));
    for unavailable in config.unavailable() {
        let pointer = format!(
            "/{}",
            unavailable.path.replace(['.', '['], "/").replace(']', "")
        );
        let message = format!("{} not available yet; run refuses it", unavailable.what);
        problems.push(Problem::note(&pointer, document.span(&pointer), message));
    }
    if problems.iter().any(|problem| !problem.is_note) {
        return Err(Report::of(name, text, problems));
    }
    config.resolve_paths(directory);
    let notes = Report::of(name, text, problems);
    let origins = Origins {
        name: name.into(),
        text: text.into(),
        document,
        state_dir,
    };
    Ok(Loaded {
        config,
        source: None,
        notes,
        origins,
    })
}

/// Whether one of two JSON pointers leads to or through the other.
fn touches(a: &str, b: &str) -> bool {
    let leads = |a: &str, b: &str| {
        b.strip_prefix(a)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    leads(a, b) || leads(b, a)
}

/// The bytes of all pairs together, which no schema can count.
fn validate_labels(document: &Document, wrong: &mut Vec<String>, problems: &mut Vec<Problem>) {
    for pointer in ["/info", "/node/labels"] {
        let Some(map) = document.value.pointer(pointer).and_then(Value::as_object) else {
            continue;
        };
        if wrong.iter().any(|other| touches(other, pointer)) {
            continue;
        }
        let pairs = map
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        if let Err(error) = Labels::new(pairs) {
            problems.push(Problem::error(
                pointer,
                document.span(pointer),
                error.to_string(),
            ));
            wrong.push(pointer.into());
        }
    }
}

/// Owners of files that this machine does not know. They may be known where the node runs, or by the time it pulls.
fn unknown_owners(
    config: &Config,
    document: &Document,
    environment: &dyn Environment,
) -> Vec<Problem> {
    let mut notes = Vec::new();
    for (i, owner) in config
        .files
        .accept
        .iter()
        .enumerate()
        .filter_map(|(i, accept)| Some((i, accept.owner.as_ref()?)))
    {
        let accounts = [
            ("user", Accounts::Users, &owner.user),
            ("group", Accounts::Groups, &owner.group),
        ];
        for (what, accounts, account) in accounts {
            if let Some(account) = account
                .as_ref()
                .filter(|account| !environment.knows(accounts, account))
            {
                let pointer = format!("/files/accept/{i}/owner");
                let message = format!(
                    "{} of this machine has no {what} \"{account}\": pulls fail until it has; a number needs no entry",
                    accounts.path()
                );
                notes.push(Problem::note(&pointer, document.span(&pointer), message));
            }
        }
    }
    notes
}

/// Takes a wrong setting out, so that the rest can be looked at; with it the whole list it stands in.
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
        // An alternative without a part of it would be an error of its own.
        let is_alternative = map.contains_key("type");
        map.remove(&document::unescape(key));
        if is_alternative {
            remove(value, parent);
        }
    }
}

/// Puts the host's name and the state directory where the file has none; returns where the directory came from.
fn fill_in(
    value: &mut Value,
    document: &Document,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> &'static str {
    let written = |pointer| {
        document
            .value
            .pointer(pointer)
            .is_some_and(|value: &Value| !value.is_null())
    };
    let Some(root) = value.as_object_mut() else {
        return "";
    };
    let node = root.entry("node").or_insert_with(|| json!({}));
    let Some(node) = node.as_object_mut() else {
        return "";
    };
    if !written("/node/name") {
        let name = environment.host_name().unwrap_or_default();
        match NodeName::parse(&name) {
            Ok(name) => node.insert("name".into(), json!(name)),
            Err(error) => {
                let message =
                    format!("the host's name {name:?} can't be the node's: {error}; set node.name");
                problems.push(Problem::error(
                    "/node/name",
                    document.span("/node/name"),
                    message,
                ));
                node.remove("name")
            }
        };
    }
    if written("/node/state_dir") {
        return "";
    }
    node.remove("state_dir");
    match environment::state_dir(environment) {
        Some((directory, origin)) => {
            node.insert("state_dir".into(), json!(directory));
            origin
        }
        None => {
            let message = "neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor $HOME names a directory; set node.state_dir";
            problems.push(Problem::error(
                "/node/state_dir",
                document.span("/node/state_dir"),
                message,
            ));
            ""
        }
    }
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .fold(String::new(), |pointer, segment| match segment {
            Segment::Seq { index } => format!("{pointer}/{index}"),
            Segment::Map { key } => format!("{pointer}/{}", document::escape(key)),
            Segment::Enum { .. } | Segment::Unknown => pointer,
        })
}

impl Config {
    /// Makes every path ready to be opened: what the node reads (keys, tokens, offered files) and its state directory are
    /// relative to `directory`, the directory of the file; what it writes (store, export, accepted files) to the state directory.
    pub fn resolve_paths(&mut self, directory: &Path) {
        let read = |path: &mut PathBuf| *path = directory.join(&*path);
        read(&mut self.node.state_dir);
        for key in &mut self.channel.keys {
            match key {
                KeySource::File(path) | KeySource::PassphraseFile(path) => read(path),
            }
        }
        self.files
            .offer
            .iter_mut()
            .for_each(|offer| read(&mut offer.path));
        self.http.token_file.as_mut().map(read);
        for accept in &mut self.files.accept {
            if let Some(AfterAction::Webhook {
                token_file,
                ca_file,
                ..
            }) = &mut accept.after
            {
                token_file.iter_mut().chain(ca_file).for_each(read);
            }
        }
        self.compat
            .pydiscover
            .as_mut()
            .and_then(|protocol| protocol.password_file.as_mut())
            .map(read);
        let write = |path: &mut PathBuf| *path = self.node.state_dir.join(&*path);
        if let StoreConfig::Embedded { path } = &mut self.registry.store {
            write(path);
        }
        if let Some(export) = &mut self.registry.export {
            write(&mut export.path);
        }
        for accept in &mut self.files.accept {
            write(&mut accept.path);
            if let Some(AfterAction::Signal { pid_file, .. }) = &mut accept.after {
                write(pid_file);
            }
        }
    }
}
