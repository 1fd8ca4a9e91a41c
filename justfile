# Shortcuts for what CONTRIBUTING.md says in full; nothing depends on `just` (cargo install --locked just).

set shell := ["bash", "-euo", "pipefail", "-c"]

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
triple := `rustc --print host-tuple`
as_root := "target.\"cfg(unix)\".runner = \"sudo --preserve-env\""

# List the recipes.
default:
    @just --list

# Format the code.
fmt:
    cargo fmt

# Check format, lints and documentation: what a commit must pass.
check:
    cargo fmt --check
    cargo clippy --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Run the tests that any user can run; `just test NAME` runs those whose names contain NAME.
test *filter:
    cargo test --lib --bins --test program {{ filter }}

# Build as you and run as root what needs root and programs of others.
test-privileged *filter:
    cargo test --features privileged --test privileged --config '{{ as_root }}' {{ filter }}

# Run the container suite as root; it needs a Docker that answers.
containers *filter:
    cargo build --profile dist
    HEREABOUTS_BINARY="$(realpath "{{ target }}/{{ triple }}/dist/hereabouts")" \
        cargo test --features containers --test integration --config '{{ as_root }}' -- --test-threads 6 {{ filter }}

# Run every fuzz target for so many seconds.
fuzz seconds="10":
    fuzz/run {{ seconds }}

# Run the benchmarks, or one of them: `just bench registry`.
bench name="":
    cargo bench {{ if name == "" { "--benches" } else { "--bench " + name } }}

# Run simulations, properties and fuzz targets much longer than CI does.
long seeds="2000" cases="20000" seconds="300":
    HEREABOUTS_SEEDS={{ seeds }} PROPTEST_CASES={{ cases }} cargo test --lib --test program
    fuzz/run {{ seconds }}

# List what is public and used by nothing.
dead-code:
    .ci/dead-code --list

# Run everything, as CI does.
ci:
    bash .ci/run
