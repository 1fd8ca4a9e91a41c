//! Errors of the store, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open {}: its directory does not exist; create it, or set registry.store.path", path.display())]
    Directory { path: PathBuf },
    /// The process may not read or write the file or its directory.
    #[error(
        "open {}: user {user} may not read and write it; run: chown {user} {}",
        path.display(),
        target.display()
    )]
    Permission {
        path: PathBuf,
        /// The file with the wrong owner, or the directory in which the file is to be created.
        target: PathBuf,
        /// The user id of this process.
        user: u32,
    },
    #[error("open {}: another process has it open; stop that process, or give each its own registry.store.path", path.display())]
    Locked { path: PathBuf },
    /// The file is a registry, but its content is broken.
    #[error("read {}: it is damaged ({reason}); move it away to start with an empty registry, or restore a backup", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// The file is no registry; it is never written to.
    #[error("read {}: it is not a registry of hereabouts ({reason}); move it away, or set registry.store.path", path.display())]
    Foreign { path: PathBuf, reason: String },
    /// A later program wrote the file.
    #[error(
        "read {}: it has format {found} and this program knows up to {known}; use the newer program, or move the file away",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// The system, or the disk, reported an error.
    #[error("write {}: {reason}", path.display())]
    Failed { path: PathBuf, reason: String },
    /// The store's thread could not be started, or panicked.
    #[error("run the store: {reason}")]
    Thread { reason: String },
}

impl StoreError {
    pub(super) fn from_redb(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::Io(error) => Self::from_io(&path, &error),
            redb::Error::Corrupted(reason) => Self::Damaged { path, reason },
            redb::Error::DatabaseAlreadyOpen => Self::Locked { path },
            redb::Error::UpgradeRequired(version) => Self::Damaged {
                path,
                reason: format!("file format {version} of an old database"),
            },
            redb::Error::RepairAborted => Self::Damaged {
                path,
                reason: "it could not be repaired".to_owned(),
            },
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => Self::Foreign {
                path,
                reason: error.to_string(),
            },
            error => Self::Failed {
                path,
                reason: error.to_string(),
            },
        }
    }

    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Directory { path },
            io::ErrorKind::PermissionDenied => {
                let directory = crate::durable::directory_of(&path);
                let target = if path.exists() {
                    path.clone()
                } else {
                    directory.to_owned()
                };
                Self::Permission {
                    path,
                    target,
                    user: user(),
                }
            }
            io::ErrorKind::WouldBlock => Self::Locked { path },
            io::ErrorKind::InvalidData => Self::Foreign {
                path,
                reason: error.to_string(),
            },
            io::ErrorKind::UnexpectedEof => Self::Damaged {
                path,
                reason: "it is cut short".to_owned(),
            },
            _ => Self::Failed {
                path,
                reason: error.to_string(),
            },
        }
    }
}

/// Returns the user id of this process.
fn user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}
