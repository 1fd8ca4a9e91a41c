//! Errors of the state directory, each with its remedy.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why the state directory can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the fields of an error are what its message shows"
)]
pub enum StateError {
    /// The directory can't be made, or can't be written.
    #[error(
        "use the state directory {path}: {source}. {remedy}, or set node.state_dir",
        path = path.display(),
        remedy = remedy(source, *uid, path)
    )]
    Directory {
        path: PathBuf,
        /// The user this process runs as.
        uid: u32,
        #[source]
        source: io::Error,
    },
    /// Another node runs with this directory.
    #[error(
        "use the state directory {path}: another hereabouts runs with it. Stop the other one, or set another node.state_dir for this one",
        path = path.display()
    )]
    InUse { path: PathBuf },
    /// A file of the directory belongs to another user.
    #[error("use {path}: {source}. {remedy}", path = path.display(), remedy = remedy(source, *uid, path.parent().unwrap_or(path)))]
    Foreign {
        path: PathBuf,
        /// The user this process runs as.
        uid: u32,
        #[source]
        source: io::Error,
    },
    /// A file can't be read or written.
    #[error("use {path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file has other content than it should.
    #[error("use {path}: it does not contain {expected}. Restore it from a backup, or move it away to {consequence}", path = path.display())]
    Content {
        path: PathBuf,
        /// The content that it should have.
        expected: &'static str,
        /// The effect of moving the file away.
        consequence: &'static str,
    },
    /// A key file can be read by others.
    #[error("use {path}: other users can read it. Close it with: chmod 600 {path}", path = path.display())]
    Open { path: PathBuf },
    /// The system gave no randomness.
    #[error("make a key: the system gave no randomness ({0})")]
    Randomness(getrandom::Error),
}

impl StateError {
    pub(crate) fn directory(path: &Path, source: io::Error) -> Self {
        Self::Directory {
            path: path.to_owned(),
            uid: user(),
            source,
        }
    }

    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Foreign {
                path,
                uid: user(),
                source,
            },
            _ => Self::File { path, source },
        }
    }
}

/// The remedy that makes a directory usable.
fn remedy(error: &io::Error, uid: u32, directory: &Path) -> String {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("It must be writable: mount a volume on {directory} that is not read-only")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Make room on its disk".into(),
        io::ErrorKind::NotADirectory => "Move away the file that is in its place".into(),
        _ => format!(
            "It must belong to the user that runs hereabouts (uid {uid}): chown -R {uid} {directory} (for a container: on \
             the volume that is mounted there)"
        ),
    }
}

/// The user this process runs as, without a system call that needs unsafe code.
fn user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |process| process.uid())
}
