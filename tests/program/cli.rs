//! The program as its users meet it: help, usage errors, exit codes, completions, man pages.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in a directory without a config, and with an environment of its own.
fn hereabouts(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hereabouts"));
    command
        .args(args)
        .env_clear()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    hereabouts(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names of the commands, read from the help itself.
fn commands() -> Vec<String> {
    let help = text(&output(&["--help"]).stdout);
    let list = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    list.lines()
        .filter(is_name)
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

#[test]
fn whole_help() {
    let mut pages = text(&output(&["--help"]).stdout);
    for command in commands() {
        let page = output(&[&command, "--help"]);
        assert_eq!(page.status.code(), Some(0), "{command}");
        assert!(page.stderr.is_empty(), "{command}");
        // The global options are in every page; the first one shows them.
        let page = text(&page.stdout);
        let (own, rest) = page.split_once("Global options:").unwrap();
        let examples = rest
            .split_once("\nExamples:")
            .map_or(String::new(), |(_, list)| format!("Examples:{list}"));
        pages += &format!("\n===== {command} =====\n{own}{examples}");
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn every_designed_command_is_there() {
    let commands = commands();
    for name in [
        "run", "discover", "announce", "where", "who", "nodes", "history", "watch", "push", "pull",
        "forget", "status", "health", "doctor",
    ] {
        assert!(commands.iter().any(|command| command == name), "{name}");
    }
    assert_eq!(output(&["serve"]).status.code(), Some(2), "no such command");
}

#[test]
fn usage_errors_end_with_2_and_name_the_remedy() {
    for (args, message) in [
        (
            &["wher", "laptop"][..],
            "some similar subcommands exist: 'who', 'where'",
        ),
        (&["where"], "<NAME>"),
        (&["where", "no/name"], "a name can't contain '/'"),
        (
            &["where", "laptop", "--at", "yesterday"],
            "or a time ago such as 2h",
        ),
        (
            &["where", "laptop", "--timeout", "5"],
            "such as 500ms or 1h30m",
        ),
        (
            &["where", "laptop", "--timeout", "2h"],
            "a time limit is between 1ms and 60s",
        ),
        (&["who", "laptop"], "invalid IP address"),
        (&["nodes", "--label", "site"], "write it as key=value"),
        (
            &["status", "--output", "xml"],
            "[possible values: table, json, plain]",
        ),
        (&["run", "-v", "-q"], "cannot be used with"),
    ] {
        let output = output(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
}

#[test]
fn a_config_that_is_not_there_ends_with_64() {
    for command in [
        &["run"][..],
        &["where", "laptop"],
        &["health"],
        &["status"],
        &["nodes"],
    ] {
        let args = [command, &["--config", "/nonexistent/hereabouts.yaml"]].concat();
        let output = output(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains("/nonexistent/hereabouts.yaml"),
            "{stderr}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn version_is_the_packages() {
    assert_eq!(
        text(&output(&["--version"]).stdout),
        format!("hereabouts {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef hereabouts"),
        ("fish", "complete -c hereabouts"),
    ] {
        let output = output(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(
            script.contains(word) && script.contains("history"),
            "{shell}"
        );
    }
    assert_eq!(output(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn man_pages_are_printed_and_written() {
    let page = text(&output(&["man"]).stdout);
    assert!(page.contains(".TH hereabouts 1"), "{page}");
    let dir = tempfile::tempdir().unwrap();
    let written = output(&["man", dir.path().to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    for command in commands() {
        assert!(
            dir.path().join(format!("hereabouts-{command}.1")).exists(),
            "{command}"
        );
    }
    assert_eq!(output(&["man", "/nonexistent"]).status.code(), Some(1));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = hereabouts(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The script is written in one go at the end of the command: the reader has left by then or in the middle of it.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_full_disk_is_a_failure() {
    if !Path::new("/dev/full").exists() {
        panic!("this test needs /dev/full");
    }
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = hereabouts(&["completions", "bash"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("failed to write to stdout"));
}
