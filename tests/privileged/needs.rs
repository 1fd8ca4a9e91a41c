//! What a test needs of the machine, checked before it begins: a failure then is one sentence and not a riddle.

use std::path::Path;

/// Builds as the user and runs the tests as root.
const AS_ROOT: &str = "cargo test --features privileged --test privileged --config 'target.\"cfg(unix)\".runner = \"sudo --preserve-env\"'";

/// Fails unless the test runs as root.
#[track_caller]
pub(crate) fn root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root: {AS_ROOT}"
    );
}

/// Fails unless these programs are installed; each comes with the Debian package that has it.
#[track_caller]
pub(crate) fn programs(wanted: &[(&str, &str)]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |program: &str| {
        std::env::split_paths(&path).any(|directory| is_file(&directory.join(program)))
    };
    let missing: Vec<_> = wanted
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .collect();
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    assert!(
        missing.is_empty(),
        "this test needs {}: apt-get install {}",
        programs.join(", "),
        packages.join(" ")
    );
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
