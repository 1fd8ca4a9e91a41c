//! A full disk leaves the old file.
//!
//! Needs root: the full disk is a small tmpfs that the test mounts.

use std::fs;
use std::path::Path;
use std::process::Command;

use hereabouts::files::target::{Target, TargetError};

/// What a generation holds: another byte and another length each.
fn content(generation: u8) -> Vec<u8> {
    vec![generation; 400_000 + usize::from(generation)]
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

/// A file system of a megabyte, until it is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        crate::needs::root();
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "failed to mount a tmpfs"
        );
        Self(directory)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_reported_before_and_during_a_write_and_the_old_file_stays() {
    let disk = Small::mount();
    let path = disk.0.path().join("catalogue");
    pull(&path, 1).unwrap();

    let bytes = vec![2; 900_000];
    let digest = blake3::hash(&bytes).into();
    let target = Target::open(&path, 0o644).unwrap();
    let error = target.part(bytes.len() as u64, &digest).unwrap_err();
    assert!(
        matches!(
            error,
            TargetError::Full {
                needed: 900_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("is full: 900000 bytes are needed"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(disk.0.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );

    // Another file takes the space meanwhile.
    let bytes = content(3);
    let mut part = target
        .part(bytes.len() as u64, &blake3::hash(&bytes).into())
        .unwrap();
    fs::write(disk.0.path().join("other"), vec![0; 500_000]).unwrap();
    let failed = bytes
        .chunks(16 * 1024)
        .find_map(|block| part.write(block).err())
        .unwrap();
    assert!(matches!(failed, TargetError::Full { .. }), "{failed}");
    assert_eq!(
        fs::read(&path).unwrap(),
        content(1),
        "the old file is whole"
    );
    let left: Vec<_> = fs::read_dir(disk.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "what was written is given back: {left:?}");
}
