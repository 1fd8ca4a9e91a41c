//! Why a file can't be replaced, and the remedies.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::Account;

/// Why a target can't be replaced. The old file is whole then.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("{} names no file", path.display())]
    NoName { path: PathBuf },
    #[error("directory {} can't be opened: {source}. It must exist, and belong to the user that runs hereabouts", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is a directory: name a file in files.accept, or move the directory away", path.display())]
    IsDirectory { path: PathBuf },
    #[error("{} is a symbolic link: files are never written through one. Name the file itself in files.accept", path.display())]
    IsLink { path: PathBuf },
    /// A device, a pipe or a socket.
    #[error("{} is no regular file", path.display())]
    NotFile { path: PathBuf },
    #[error("{}: not allowed to {what}: {source}. {}", path.display(), write_remedy(source, *uid, path))]
    Denied {
        /// What was tried.
        what: &'static str,
        path: PathBuf,
        /// The user that runs this process.
        uid: u32,
        #[source]
        source: io::Error,
    },
    /// The configured owner does not exist.
    #[error(
        "{file} has no {what} \"{account}\" to own {}: add it, or write its number in files.accept. The old file is kept",
        path.display()
    )]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name in the configuration.
        account: Account,
        /// The file in which the name was looked up.
        file: &'static str,
        path: PathBuf,
    },
    /// This process may not set the configured owner.
    #[error(
        "{}: not allowed to set the {what} {account} ({id}): {source}. {}. The old file is kept",
        path.display(),
        owner_remedy(what, *uid)
    )]
    Owner {
        path: PathBuf,
        /// `user` or `group`.
        what: &'static str,
        /// The name or number in the configuration.
        account: Account,
        /// The number of the account.
        id: u32,
        /// The user that runs this process.
        uid: u32,
        #[source]
        source: io::Error,
    },
    #[error("the disk of {} is full: {needed} bytes are needed, {free} are free", path.display())]
    Full {
        path: PathBuf,
        /// How many bytes are still to be written.
        needed: u64,
        free: u64,
    },
    /// The received content has another size or digest.
    #[error("{}: the received content is not the offered one: {what}. The old file is kept", path.display())]
    Wrong {
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    #[error("{}: failed to {what}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The remedy for a directory that this process may not write.
fn write_remedy(error: &io::Error, uid: u32, path: &Path) -> String {
    let directory = path.parent().unwrap_or(path).display();
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        format!(
            "Mount it for writing; a systemd unit with ProtectSystem= needs ReadWritePaths={directory}"
        )
    } else {
        format!(
            "The user that runs hereabouts (uid {uid}) must be able to write the directory: chown {uid} {directory}"
        )
    }
}

/// What a process needs to give a file to another owner (chown(2)).
fn owner_remedy(what: &str, uid: u32) -> String {
    let capability = "the capability CAP_CHOWN (docs/explanation/file-distribution.md has the lines for systemd)";
    match what {
        "group" => {
            format!(
                "This needs {capability}, or the user that runs hereabouts (uid {uid}) to be a member of the group"
            )
        }
        _ => format!("This needs {capability}"),
    }
}
