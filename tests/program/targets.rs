//! Everything that can be run is run by `.ci/run`.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The values of a key in the tables of that name in Cargo.toml.
fn values<'a>(manifest: &'a str, table: &str, key: &str) -> Vec<&'a str> {
    let tables = manifest
        .split("\n[")
        .filter_map(|text| text.strip_prefix(table));
    let lines = tables.flat_map(str::lines);
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
        .map(|value| value.trim_matches('"'))
        .collect()
}

#[test]
fn every_test_target_is_named_in_ci_run() {
    let (manifest, run) = (read("Cargo.toml"), read(".ci/run"));
    let names = values(&manifest, "[test]]", "name");
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        assert!(
            run.contains(&format!("--test {name}")),
            ".ci/run does not run '--test {name}'"
        );
    }
    for features in values(&manifest, "[test]]", "required-features") {
        for feature in features.split('"').skip(1).step_by(2) {
            assert!(
                run.contains(&format!("--features {feature}")),
                ".ci/run does not use '--features {feature}'"
            );
        }
    }
}

#[test]
fn every_directory_of_tests_is_a_target() {
    let manifest = read("Cargo.toml");
    let paths = values(&manifest, "[test]]", "path");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("tests/{name}/main.rs");
        assert!(
            paths.contains(&path.as_str()),
            "tests/{name} is a module of no target of Cargo.toml: {paths:?}"
        );
    }
}
