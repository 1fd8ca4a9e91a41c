//! The examples, the samples that must be refused, and the committed schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails by a panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hereabouts::config::{self, Environment};
use serde_json::Value;

/// An environment that is the same on every machine.
struct Fixed;

impl Environment for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/someone".to_owned())
    }

    fn host_name(&self) -> Option<String> {
        Some("host".to_owned())
    }

    fn is_root(&self) -> bool {
        false
    }
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(name)
}

fn samples(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(name))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    samples.sort();
    assert!(!samples.is_empty(), "no samples in schema/{name}");
    samples
}

fn parse(path: &Path) -> Result<config::Loaded, config::Report> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    config::parse(&name, &text, Path::new("/etc/hereabouts"), &Fixed)
}

#[test]
fn committed_schema_is_the_one_of_the_types() {
    let committed = fs::read_to_string(directory("hereabouts.schema.json")).unwrap_or_default();
    let made = serde_json::to_string_pretty(&config::published_schema()).unwrap() + "\n";
    assert!(
        committed == made,
        "schema/hereabouts.schema.json is out of step. Renew it with: cargo run -- schema > schema/hereabouts.schema.json"
    );
}

#[test]
fn every_example_is_accepted() {
    for path in samples("examples") {
        if let Err(report) = parse(&path) {
            panic!("{} is refused:\n{}", path.display(), report.render(false));
        }
    }
}

#[test]
fn every_invalid_sample_is_refused_with_its_message() {
    let mut differing = Vec::new();
    let samples = samples("invalid");
    assert!(samples.len() >= 25);
    for path in samples {
        let Err(report) = parse(&path) else {
            panic!("{} is accepted", path.display())
        };
        let message = report.render(false) + "\n";
        let snapshot = path.with_extension("txt");
        if std::env::var_os("HEREABOUTS_RENEW").is_some() {
            fs::write(&snapshot, &message).unwrap();
        } else if fs::read_to_string(&snapshot).unwrap_or_default() != message {
            differing.push(format!("{}:\n{message}", snapshot.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "messages changed; if they are better, renew them with: HEREABOUTS_RENEW=1 cargo test --test program config\n{}",
        differing.join("\n")
    );
}

#[test]
fn every_setting_of_the_schema_is_in_the_examples() {
    let mut used = BTreeSet::new();
    for path in samples("examples") {
        let loaded = parse(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
        drop(loaded);
        // Keys as they are written: indentation and braces don't matter for "is there such a key".
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        used.extend(words.map(str::to_owned));
    }
    let mut missing = BTreeSet::new();
    properties(&config::schema(), &mut |name| {
        if !used.contains(name) {
            missing.insert(name.to_owned());
        }
    });
    assert!(missing.is_empty(), "no example uses {missing:?}");
}

fn properties(schema: &Value, visit: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "properties"
                    && let Value::Object(properties) = value
                {
                    properties.keys().for_each(|name| visit(name));
                }
                properties(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|value| properties(value, visit)),
        _ => {}
    }
}

#[test]
fn an_empty_file_equals_the_defaults() {
    let empty = config::parse("empty", "", Path::new("/"), &Fixed)
        .unwrap()
        .config;
    let braces = config::parse("braces", "{}", Path::new("/"), &Fixed)
        .unwrap()
        .config;
    assert_eq!(empty, braces);
    assert_eq!(empty.node.name.as_str(), "host");
    assert_eq!(
        empty.node.state_dir,
        Path::new("/home/someone/.local/state/hereabouts")
    );
}

#[test]
fn what_effective_prints_is_read_as_the_same_configuration() {
    for path in samples("examples") {
        let loaded = parse(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let text = loaded.effective();
        let again = config::parse("effective", &text, Path::new("/etc/hereabouts"), &Fixed)
            .unwrap_or_else(|report| {
                panic!("{}:\n{}\n{text}", path.display(), report.render(false))
            });
        assert_eq!(again.config, loaded.config, "{}", path.display());
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::default();
    let examples: Vec<Vec<u8>> = samples("examples")
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let mutated = (
        0..examples.len(),
        any::<usize>(),
        any::<u8>(),
        any::<bool>(),
    );
    runner
        .run(
            &(proptest::collection::vec(any::<u8>(), 0..200), mutated),
            |(bytes, (index, at, byte, cut))| {
                let _ = config::parse_untrusted(&bytes);
                let mut example = examples[index].clone();
                let at = at % example.len();
                example[at] = byte;
                if cut {
                    example.truncate(at);
                }
                let _ = config::parse_untrusted(&example);
                Ok(())
            },
        )
        .unwrap();
}

/// A setting of the schema: its path, with `[]` for the items of a list, and the defaults that its variants state.
type Settings = std::collections::BTreeMap<String, BTreeSet<String>>;

fn settings(path: &str, node: &Value, root: &Value, found: &mut Settings) {
    let target = node["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'));
    if let Some(target) = target.and_then(|target| root.pointer(target)) {
        settings(path, target, root, found);
    }
    for variants in ["oneOf", "anyOf"] {
        node[variants]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|variant| settings(path, variant, root, found));
    }
    if node["items"].is_object() {
        settings(&format!("{path}[]"), &node["items"], root, found);
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let default = property
            .get("default")
            .map(|default| plain(&default.to_string()));
        found.entry(path.clone()).or_default().extend(default);
        settings(&path, property, root, found);
    }
}

/// A value without quotes and white space, as a page may write it.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '`'))
        .collect()
}

fn page() -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md"),
    )
    .unwrap()
}

/// A default that is too long for a cell: the block of the page that begins with the setting's path and `=`.
fn default_below<'a>(page: &'a str, path: &str) -> &'a str {
    let begins = format!("```text\n{path} =");
    let block = page
        .split_once(&begins)
        .unwrap_or_else(|| panic!("no block has the default of {path}"))
        .1;
    block.split("```").next().unwrap_or_default()
}

#[test]
fn the_page_names_every_setting_with_its_default_and_no_other() {
    let (page, schema) = (page(), config::schema());
    let mut known = Settings::new();
    settings("", &schema, &schema, &mut known);
    assert!(known.len() > 70, "{known:?}");
    let missing: Vec<_> = known
        .keys()
        .filter(|path| !page.contains(&format!("`{path}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/reference/configuration.md does not name {missing:#?}"
    );
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, setting, _, default, _, _, _] = cells[..] else {
            panic!("not five columns: {row}")
        };
        let path = setting.trim_end_matches('◌').trim().trim_matches('`');
        let default = if default.starts_with("[below](#") {
            default_below(&page, path)
        } else {
            default
        };
        rows += 1;
        match known.get(path) {
            None => wrong.push(format!("{path}: the schema has no such setting")),
            Some(defaults) if defaults.is_empty() && default == "–" => {}
            Some(defaults) if defaults.contains(&plain(default)) => {}
            Some(defaults) => wrong.push(format!(
                "{path}: {default} is not the default, {defaults:?} is"
            )),
        }
    }
    assert!(rows > 60, "{rows} rows");
    assert!(
        wrong.is_empty(),
        "docs/reference/configuration.md: {wrong:#?}"
    );
}

#[test]
fn the_page_marks_what_is_not_available() {
    // Every setting once, as the example has it, so each part that does not work yet is among these.
    let loaded = parse(&directory("examples/every-setting.yaml"))
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    let page = page();
    for part in loaded.config.unavailable() {
        let setting = part.path.split('[').next().unwrap().to_owned();
        let marked = page
            .lines()
            .any(|line| line.starts_with(&format!("| `{setting}")) && line.contains('◌'));
        assert!(
            marked,
            "docs/reference/configuration.md: {} is not marked as not available yet",
            part.path
        );
    }
}

#[test]
fn the_files_of_the_page_are_accepted() {
    let page = page();
    let files: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let loaded = config::parse(
            "docs/reference/configuration.md",
            file,
            Path::new("/etc/hereabouts"),
            &Fixed,
        )
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
        assert!(loaded.config.unavailable().is_empty(), "{file}");
    }
}

#[test]
fn owners_that_this_machine_does_not_know_are_noted_with_their_place() {
    struct Empty;
    impl Environment for Empty {
        fn variable(&self, name: &str) -> Option<String> {
            Fixed.variable(name)
        }

        fn host_name(&self) -> Option<String> {
            Fixed.host_name()
        }

        fn is_root(&self) -> bool {
            false
        }

        fn knows(
            &self,
            _: hereabouts::model::Accounts,
            account: &hereabouts::model::Account,
        ) -> bool {
            matches!(account, hereabouts::model::Account::Number(_))
        }
    }
    let text = "files: { accept: [{ name: a, path: a, owner: \"kiosk:1000\" }, { name: b, path: b, owner: \":media\" }] }\n";
    let loaded = config::parse("file", text, Path::new("/"), &Empty).unwrap();
    let notes = loaded.notes.render(false);
    assert!(
        notes.contains("/etc/passwd of this machine has no user \"kiosk\""),
        "{notes}"
    );
    assert!(
        notes.contains("/etc/group of this machine has no group \"media\""),
        "{notes}"
    );
    assert!(
        notes.contains("file:1:46") && !notes.contains("\"1000\""),
        "{notes}"
    );
    let known = config::parse("file", text, Path::new("/"), &Fixed).unwrap();
    assert_eq!(known.notes.render(false), "");
}

#[test]
fn a_token_in_the_clear_and_an_authority_without_tls_are_noted() {
    let notes = |after: &str| {
        let text = format!(
            "files: {{ accept: [{{ name: a, path: a, after: {{ type: webhook, {after} }} }}] }}\n"
        );
        config::parse("file", &text, Path::new("/"), &Fixed)
            .unwrap()
            .notes
            .render(false)
    };
    assert!(notes("url: \"http://hub/\", token_file: t").contains("in the clear"));
    assert!(notes("url: \"http://hub/\", ca_file: t").contains("no effect"));
    for quiet in [
        "url: \"https://hub/\", token_file: t, ca_file: c",
        "url: \"http://[::1]/\", token_file: t",
    ] {
        assert_eq!(notes(quiet), "");
    }
}

#[test]
fn files_of_a_webhook_are_found_beside_the_configuration_and_no_secret_is_shown() {
    let text = "files: { accept: [{ name: a, path: a, after: { type: webhook, url: \"https://hub/\", token_file: t, ca_file: ca/c } }] }\n";
    let loaded = config::parse("file", text, Path::new("/etc/hereabouts"), &Fixed).unwrap();
    let effective = loaded.effective();
    assert!(
        effective.contains("/etc/hereabouts/t") && effective.contains("/etc/hereabouts/ca/c"),
        "{effective}"
    );
    assert!(loaded.config.unavailable().is_empty());
}
