//! Tests with files in a temporary directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::after::{After, AfterError};
use super::ledger::{self, Entry, Ledger};
use super::offer::{OfferError, Snapshot};
use super::replacement::Replacement;
use super::target::{Target, TargetError};
use super::*;
use crate::model::{NodeId, NodeName, Timestamp};

fn digest(bytes: &[u8]) -> Digest {
    blake3::hash(bytes).into()
}

fn pull(path: &Path, bytes: &[u8]) -> Result<(), TargetError> {
    let target = Target::open(path, 0o640)?;
    let mut part = target.part(bytes.len() as u64, &digest(bytes))?;
    let held = usize::try_from(part.held()).unwrap();
    part.write(&bytes[held..])?;
    part.commit()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn large_replaced_file_is_freed_soon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let large = |byte: u8| vec![byte; 17 << 20];
    pull(&path, &large(1)).unwrap();
    pull(&path, &large(2)).unwrap();
    assert!(fs::read(&path).unwrap() == large(2));
    assert_eq!(names(directory.path()), ["a"]);
    // The old file has no name any more, and exists as long as a process holds it open.
    let held = || {
        let all = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(Result::ok);
        let links = all.filter_map(|fd| fs::read_link(fd.path()).ok());
        links
            .filter(|link| {
                link.starts_with(directory.path()) && link.to_string_lossy().ends_with("(deleted)")
            })
            .count()
    };
    let started = Instant::now();
    while held() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the old file stays open"
        );
        std::thread::yield_now();
    }
}

#[test]
fn snapshot_survives_a_rename_over_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, "old content").unwrap();
    let snapshot = Snapshot::take(&path).unwrap();
    assert_eq!(
        (snapshot.size(), *snapshot.digest()),
        (11, digest(b"old content"))
    );
    fs::write(directory.path().join("b"), "new content").unwrap();
    fs::rename(directory.path().join("b"), &path).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(snapshot.read_at(&mut buffer, 4).unwrap(), 7);
    assert_eq!(&buffer[..7], b"content");
    assert_eq!(
        *Snapshot::take(&path).unwrap().digest(),
        digest(b"new content")
    );
}

#[test]
fn snapshot_of_a_file_written_since_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, "content").unwrap();
    let snapshot = Snapshot::take(&path).unwrap();
    fs::write(&path, "other content").unwrap();
    assert!(matches!(
        snapshot.read_at(&mut [0; 64], 0),
        Err(OfferError::Changed { .. })
    ));
}

#[test]
fn directories_and_pipes_are_not_offered() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        Snapshot::take(directory.path()),
        Err(OfferError::NotFile { .. })
    ));
    assert!(matches!(
        Snapshot::take(&directory.path().join("none")),
        Err(OfferError::Io { .. })
    ));
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert!(
        matches!(Snapshot::take(&pipe), Err(OfferError::NotFile { .. })),
        "the open does not wait for a writer"
    );
}

#[test]
fn database_with_an_open_journal_is_not_offered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    fs::write(&path, b"SQLite format 3\0 and pages").unwrap();
    assert!(Snapshot::take(&path).is_ok());
    fs::write(directory.path().join("a.db-wal"), "").unwrap();
    assert!(Snapshot::take(&path).is_ok(), "an empty log holds nothing");
    for journal in ["a.db-wal", "a.db-journal"] {
        fs::write(directory.path().join(journal), "pages").unwrap();
        let error = Snapshot::take(&path).unwrap_err().to_string();
        assert!(
            error.contains(journal) && error.contains("VACUUM INTO"),
            "{error}"
        );
        fs::remove_file(directory.path().join(journal)).unwrap();
    }
    // Any other file may lie beside such files.
    fs::write(&path, "text").unwrap();
    fs::write(directory.path().join("a.db-wal"), "pages").unwrap();
    assert!(Snapshot::take(&path).is_ok());
}

#[test]
fn pulled_file_replaces_the_old_one_with_the_configured_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    pull(&path, b"first").unwrap();
    pull(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(names(directory.path()), ["a"]);
    let target = Target::open(&path, 0o640).unwrap();
    assert_eq!(target.size().unwrap(), Some(6));
    assert_eq!(target.digest(6).unwrap(), Some(digest(b"second")));
    assert_eq!(target.digest(5).unwrap(), None);
}

#[test]
fn pull_resumes_its_part_and_removes_other_parts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let old = b"a part of an old generation";
    let new = b"the new generation";
    let target = Target::open(&path, 0o644).unwrap();
    target
        .part(old.len() as u64, &digest(old))
        .unwrap()
        .write(&old[..5])
        .unwrap();
    target
        .part(new.len() as u64, &digest(new))
        .unwrap()
        .write(&new[..9])
        .unwrap();
    assert_eq!(
        names(directory.path()).len(),
        1,
        "{:?}",
        names(directory.path())
    );
    let part = target.part(new.len() as u64, &digest(new)).unwrap();
    assert_eq!(part.held(), 9);
    drop(part);
    pull(&path, new).unwrap();
    assert_eq!(fs::read(&path).unwrap(), new);
    // A file that only resembles a part stays.
    fs::write(directory.path().join(".a.notes.part"), "").unwrap();
    target.remove_parts(None);
    assert_eq!(names(directory.path()), [".a.notes.part", "a"]);
}

#[test]
fn wrong_content_leaves_the_old_file_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    pull(&path, b"old").unwrap();
    let target = Target::open(&path, 0o644).unwrap();
    let mut part = target.part(3, &digest(b"new")).unwrap();
    part.write(b"bad").unwrap();
    assert!(part.commit().unwrap_err().to_string().contains("digest"));
    let mut part = target.part(3, &digest(b"new")).unwrap();
    assert_eq!(part.held(), 0, "wrong content is not kept");
    assert!(
        part.write(b"news")
            .unwrap_err()
            .to_string()
            .contains("longer")
    );
    drop(part);
    let mut part = target.part(3, &digest(b"new")).unwrap();
    part.write(b"ne").unwrap();
    assert!(part.commit().unwrap_err().to_string().contains("too soon"));
    let mut part = target.part(3, &digest(b"new")).unwrap();
    assert_eq!(part.held(), 2);
    part.restart().unwrap();
    assert_eq!(part.held(), 0);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn links_and_directories_are_never_written_through() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    let path = directory.path().join("a");
    symlink(&outside, &path).unwrap();
    assert!(matches!(
        pull(&path, b"new"),
        Err(TargetError::IsLink { .. })
    ));
    fs::remove_file(&path).unwrap();
    // A link with the name of the part is removed, not followed.
    let target = Target::open(&path, 0o644).unwrap();
    let part = format!(
        ".a.{}.part",
        data_encoding::HEXLOWER.encode(&digest(b"new")[..8])
    );
    symlink(&outside, directory.path().join(part)).unwrap();
    pull(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    // A link that appears during the pull is not followed either.
    fs::remove_file(&path).unwrap();
    let mut part = target.part(3, &digest(b"two")).unwrap();
    part.write(b"two").unwrap();
    symlink(&outside, &path).unwrap();
    assert!(matches!(part.commit(), Err(TargetError::IsLink { .. })));
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    assert!(matches!(
        Target::open(directory.path(), 0o644).map(drop),
        Err(TargetError::IsDirectory { .. })
    ));
    let nowhere = directory.path().join("none/a");
    assert!(
        Target::open(&nowhere, 0o644)
            .unwrap_err()
            .to_string()
            .contains("must exist")
    );
}

/// The path of the part that a pull of this content would resume.
fn part_of(path: &Path, content: &[u8]) -> PathBuf {
    let digest = data_encoding::HEXLOWER.encode(&digest(content)[..8]);
    path.with_file_name(format!(
        ".{}.{digest}.part",
        path.file_name().unwrap().to_str().unwrap()
    ))
}

#[test]
fn object_with_the_name_of_a_part_is_neither_written_nor_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let part = part_of(&path, b"new");
    let pipe = |path: &Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    };
    pipe(&part);
    pull(&path, b"new").unwrap();
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), names(directory.path())),
        (&b"new"[..], vec!["a".to_owned()])
    );
    drop(std::os::unix::net::UnixListener::bind(&part).unwrap());
    pull(&path, b"new").unwrap();
    // The part is a second name of another file, once longer than the content and once shorter.
    let mine = directory.path().join("mine");
    for content in ["longer than the new content", "ne"] {
        fs::write(&mine, content).unwrap();
        fs::hard_link(&mine, &part).unwrap();
        pull(&path, b"new").unwrap();
        assert_eq!(
            (
                fs::read_to_string(&mine).unwrap().as_str(),
                names(directory.path()).len()
            ),
            (content, 2)
        );
    }
    fs::create_dir(&part).unwrap();
    assert!(
        pull(&path, b"new")
            .unwrap_err()
            .to_string()
            .contains("write a file beside it")
    );
}

#[test]
fn file_with_the_content_gets_its_mode_unless_it_has_a_second_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let target = Target::open(&path, 0o640).unwrap();
    assert!(
        !target.keep(3, &digest(b"new")).unwrap(),
        "there is no file yet"
    );
    fs::write(&path, "old").unwrap();
    set_mode(0o600);
    assert!(!target.keep(3, &digest(b"new")).unwrap());
    assert_eq!(mode(), 0o600, "another content is not touched");
    fs::write(&path, "new").unwrap();
    assert!(target.keep(3, &digest(b"new")).unwrap());
    assert_eq!(mode(), 0o640);
    set_mode(0o600);
    fs::hard_link(&path, directory.path().join("b")).unwrap();
    assert!(!target.keep(3, &digest(b"new")).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn ledger_survives_and_a_damaged_or_unreadable_one_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.json");
    assert_eq!(ledger::load_or_empty(&path), Ledger::new());
    let entry = Entry {
        server: NodeId([1; 32]),
        generation: 7,
        size: 3,
        digest: [9; 32],
        unfinished: true,
        failed: Some("it ended with exit status 1".to_owned()),
        pulled: Some(Timestamp(7)),
        server_name: Some("hub".parse().unwrap()),
    };
    let ledger = Ledger::from([("catalogue".to_owned(), entry)]);
    fs::write(&path, ledger::text(&ledger)).unwrap();
    assert_eq!(ledger::load_or_empty(&path), ledger);
    assert_eq!(
        ledger::load(&directory.path().join("none")).unwrap(),
        Ledger::new()
    );
    for damaged in [&ledger::text(&ledger)[..50], ""] {
        fs::write(&path, damaged).unwrap();
        let error = ledger::load(&path).unwrap_err().to_string();
        assert!(error.contains("ledger.json is damaged"), "{error}");
        assert_eq!(
            ledger::load_or_empty(&path),
            Ledger::new(),
            "a ledger whose loss is tolerable starts empty"
        );
    }
    let error = ledger::load(directory.path()).unwrap_err().to_string();
    assert!(error.contains("can't read"), "{error}");
}

async fn run(after: &After, name: &str, generation: u64, path: &str) -> Result<(), AfterError> {
    let node: NodeName = "kiosk".parse().unwrap();
    let path = Path::new(path);
    after
        .run(&Replacement {
            name,
            generation,
            size: 1,
            digest: [1; 32],
            node: &node,
            path,
            time: Timestamp(1),
        })
        .await
}

fn exec(command: &[&str], limit: Duration) -> After {
    After::Exec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        limit,
    }
}

/// Waits until a process has ended, or is a zombie.
async fn until_ended(pid: &str) {
    let is_running = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| !state.starts_with('Z'))
    };
    let started = Instant::now();
    while is_running() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "process {pid} still runs"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn commands_get_their_environment_and_are_killed_when_late() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let script = format!(
        "echo $HEREABOUTS_NAME $HEREABOUTS_GENERATION $HEREABOUTS_FILE > {}",
        out.display()
    );
    let soon = Duration::from_secs(20);
    run(
        &exec(&["sh", "-c", &script], soon),
        "catalogue",
        7,
        "/srv/a",
    )
    .await
    .unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "catalogue 7 /srv/a\n");
    let failed = run(&exec(&["sh", "-c", "exit 3"], soon), "c", 1, "/")
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("exit status: 3"), "{failed}");
    let missing = run(&exec(&["/no/such/program"], soon), "c", 1, "/").await;
    assert!(matches!(missing, Err(AfterError::Start { .. })));
    // A late or aborted command is killed with all processes that it started.
    let pid_file = directory.path().join("pid");
    let script = format!(
        "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
        pid_file.display()
    );
    let started = || async {
        let began = Instant::now();
        while !pid_file.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the command does not start"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = fs::read_to_string(&pid_file).unwrap().trim().to_owned();
        fs::remove_file(&pid_file).unwrap();
        pid
    };
    let after = exec(&["sh", "-c", &script], Duration::from_secs(3600));
    let hour_passes = async {
        let child = started().await;
        // The paused clock lets the hour pass at once.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(3601)).await;
        tokio::time::resume();
        child
    };
    let (late, child) = tokio::join!(run(&after, "c", 1, "/"), hour_passes);
    assert!(matches!(late, Err(AfterError::TimedOut { .. })));
    until_ended(&child).await;
    let child = tokio::select! {
        ended = run(&after, "c", 1, "/") => panic!("{ended:?}"),
        child = started() => child,
    };
    until_ended(&child).await;
    // More output than is kept does not block the command.
    run(
        &exec(&["sh", "-c", "head -c 1000000 /dev/zero"], soon),
        "c",
        1,
        "/",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn signal_is_sent_to_the_process_in_the_pid_file() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let mut child = tokio::process::Command::new("sleep")
        .arg("100")
        .spawn()
        .unwrap();
    fs::write(&pid_file, format!("{}\n", child.id().unwrap())).unwrap();
    let after = After::Signal {
        pid_file: pid_file.clone(),
        signal: rustix::process::Signal::TERM,
    };
    run(&after, "c", 1, "/").await.unwrap();
    assert!(!child.wait().await.unwrap().success());
    for wrong in ["", "-1", "0", "words"] {
        fs::write(&pid_file, wrong).unwrap();
        let error = run(&after, "c", 1, "/").await.unwrap_err().to_string();
        assert!(error.contains("no process id"), "{wrong:?}: {error}");
    }
}
