use std::fs;
use std::io;

use super::*;
use crate::files::flusher::Flusher;

/// A stand-in for a file on a failing disk: a pipe accepts bytes and a mode, and can't be synced.
fn unsyncable() -> (File, io::PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    assert!(
        File::from(OwnedFd::from(writer.try_clone().unwrap()))
            .sync_all()
            .is_err()
    );
    (File::from(OwnedFd::from(writer)), reader)
}

#[test]
fn part_that_failed_to_sync_is_not_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::open(&directory.path().join("a"), 0o644).unwrap();
    let digest = blake3::hash(b"content").into();
    for bytes in [&b"content"[..], b"cont"] {
        let mut part = target.part(7, &digest).unwrap();
        assert_eq!(part.held(), 0, "a part that was not synced is not resumed");
        let (file, _reader) = unsyncable();
        part.file = file;
        part.write(bytes).unwrap();
        if bytes.len() == 7 {
            let error = part.commit().unwrap_err().to_string();
            assert!(error.contains("failed to sync"), "{error}");
        } else {
            drop(part);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{bytes:?}");
    }
    // On a working disk the next pull resumes, as a synced part stays.
    target.part(7, &digest).unwrap().write(b"cont").unwrap();
    assert_eq!(target.part(7, &digest).unwrap().held(), 4);
}

#[test]
fn part_with_a_failed_flush_is_discarded_at_the_next_block() {
    let directory = tempfile::tempdir().unwrap();
    let target = Target::open(&directory.path().join("a"), 0o644).unwrap();
    let digest = blake3::hash(b"content").into();
    let failing = |bytes: &[u8]| {
        let mut part = target.part(7, &digest).unwrap();
        assert_eq!(part.held(), 0);
        part.write(bytes).unwrap();
        part.flusher = Flusher::that_failed();
        part
    };
    for error in [
        failing(b"cont").write(b"ent").unwrap_err(),
        failing(b"content").commit().unwrap_err(),
    ] {
        assert!(error.to_string().contains("failed to sync"), "{error}");
    }
    drop(failing(b"cont"));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}
