//! A file that is being replaced is wholly old or wholly new, whenever its writer is killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hereabouts::files::target::{Target, TargetError};

/// Set for the child alone: the file that it replaces.
const FILE: &str = "HEREABOUTS_TEST_TARGET";
const KILLS: u32 = 100;
const SIZE: usize = 400_000;

/// What a generation holds: another byte and another length each.
fn content(generation: u8) -> Vec<u8> {
    vec![generation; SIZE + usize::from(generation)]
}

fn pull(path: &Path, generation: u8) -> Result<(), TargetError> {
    let bytes = content(generation);
    let digest = blake3::hash(&bytes).into();
    let target = Target::open(path, 0o644)?;
    let mut part = target.part(bytes.len() as u64, &digest)?;
    let held = usize::try_from(part.held()).unwrap();
    for block in bytes[held..].chunks(16 * 1024) {
        part.write(block)?;
    }
    part.commit()
}

/// Replaces the file for ever, one generation after the other, and prints each.
#[test]
#[ignore = "a child process of a_target_is_wholly_old_or_wholly_new_after_each_of_a_hundred_kills"]
fn child() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else {
        return;
    };
    let mut out = std::io::stdout();
    // The test harness has begun a line of its own.
    out.write_all(b"\n").unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    for generation in (1..=250).cycle() {
        pull(&path, generation).unwrap();
        if out
            .write_all(b"replaced\n")
            .and_then(|()| out.flush())
            .is_err()
            || Instant::now() > end
        {
            return;
        }
    }
}

#[test]
fn a_target_is_wholly_old_or_wholly_new_after_each_of_a_hundred_kills() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalogue");
    fs::write(&path, content(250)).unwrap();
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files_crash::child", "--ignored", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Kept open until the kill: a child that can't print any more ends by itself.
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let replaced = lines
            .by_ref()
            .filter(|line| line == "replaced")
            .take(1 + round as usize % 3)
            .count();
        assert_eq!(
            replaced,
            1 + round as usize % 3,
            "the child replaces the file"
        );
        // Somewhere within the next replacements: each takes some milliseconds.
        let until = Instant::now() + Duration::from_micros(u64::from(round) * 257 % 12_000);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(
            bytes,
            content(bytes[0]),
            "round {round}: neither the old nor the new content"
        );
    }
    // What kills left beside it is taken up or removed by the next pull.
    pull(&path, 7).unwrap();
    assert_eq!(fs::read(&path).unwrap(), content(7));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left beside the target"
    );
}
