//! The examples, the samples that must be refused, and the committed schema.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails by a panic")]

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

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

fn samples(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
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
    let committed = fs::read_to_string(folder("hereabouts.schema.json")).unwrap_or_default();
    let made = serde_json::to_string_pretty(&config::schema()).unwrap() + "\n";
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
        let Err(report) = parse(&path) else { panic!("{} is accepted", path.display()) };
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
        "messages changed; if they are better, renew them with: HEREABOUTS_RENEW=1 cargo test --test config\n{}",
        differing.join("\n")
    );
}

#[test]
fn every_setting_of_the_schema_stands_in_the_examples() {
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
    let empty = config::parse("empty", "", Path::new("/"), &Fixed).unwrap().config;
    let braces = config::parse("braces", "{}", Path::new("/"), &Fixed).unwrap().config;
    assert_eq!(empty, braces);
    assert_eq!(empty.node.name.as_str(), "host");
    assert_eq!(empty.node.state_dir, Path::new("/home/someone/.local/state/hereabouts"));
}

#[test]
fn what_effective_prints_is_read_as_the_same_configuration() {
    for path in samples("examples") {
        let loaded = parse(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let text = loaded.effective();
        let again = config::parse("effective", &text, Path::new("/etc/hereabouts"), &Fixed)
            .unwrap_or_else(|report| panic!("{}:\n{}\n{text}", path.display(), report.render(false)));
        assert_eq!(again.config, loaded.config, "{}", path.display());
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::default();
    let examples: Vec<Vec<u8>> = samples("examples").iter().map(|path| fs::read(path).unwrap()).collect();
    let mutated = (0..examples.len(), any::<usize>(), any::<u8>(), any::<bool>());
    runner
        .run(&(proptest::collection::vec(any::<u8>(), 0..200), mutated), |(bytes, (index, at, byte, cut))| {
            let _ = config::parse_untrusted(&bytes);
            let mut example = examples[index].clone();
            let at = at % example.len();
            example[at] = byte;
            if cut {
                example.truncate(at);
            }
            let _ = config::parse_untrusted(&example);
            Ok(())
        })
        .unwrap();
}
