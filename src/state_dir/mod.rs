//! The state directory: the identity of this node, and the number of its starts.
//!
//! Every file is written durably: after a crash it has its old content or its new one. The directory belongs to one running
//! node, which holds the lock.
//!
//! | file | holds |
//! |---|---|
//! | `identity.key` | the seed of the node's Ed25519 key, base64, mode 0600 |
//! | `channel.key` | the channel key made at the first start where the configuration names none, base64, mode 0600 |
//! | `epoch` | the number of the last start, decimal |
//! | `lock` | locked while a node runs with this directory |
//! | `control.sock` | the socket through which commands reach the running node |

mod error;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::durable;
use crate::model::Timestamp;
use crate::wire::identity::Identity;
pub use error::StateError;

/// The limit of bytes that are read of a file: none of the files is longer.
const MAX_FILE: u64 = 4096;

/// The bytes that are written to check that the directory is writable: a block of most file systems.
const PROBE: [u8; 4096] = [b'.'; 4096];

/// A state directory that exists and can be written.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// Held while a node runs, so that no other node uses the same directory.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] File,
);

/// A file of 32 secret bytes.
struct SecretFile {
    name: &'static str,
    expected: &'static str,
    consequence: &'static str,
}

const IDENTITY: SecretFile = SecretFile {
    name: "identity.key",
    expected: "a node's identity (base64 of 32 bytes)",
    consequence: "start as a new node; its name must then be freed by 'hereabouts forget'",
};
const CHANNEL: SecretFile = SecretFile {
    name: "channel.key",
    expected: "a channel key (base64 of 32 bytes)",
    consequence: "let a new key be made; machines with the old key won't find this one then",
};

impl StateDir {
    /// Opens a directory, and makes it (mode 0700) and its parents where they are missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let error = |source| StateError::directory(path, source);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(error)?;
        // A directory that can be listed may still not be writable. It is better to find out now than at the first change.
        let probe = path.join(".probe");
        // The probe is not empty, as an empty file fits on a full disk.
        let wrote = fs::write(&probe, PROBE);
        let removed = fs::remove_file(&probe);
        wrote.and(removed).map_err(error)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// A directory as it is: nothing is made, and nothing is checked.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other nodes from using this directory while the lock lives.
    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        let path = self.path.join("lock");
        let error = |source| StateError::file(&path, source);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(error)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// The node's identity, made at its first start.
    pub(crate) fn identity(&self) -> Result<Identity, StateError> {
        let (seed, _) = self.secret(&IDENTITY)?;
        Ok(Identity::from_seed(&seed))
    }

    /// The channel key of a node whose configuration names none, and whether it was made just now.
    pub(crate) fn channel_key(&self) -> Result<(Zeroizing<[u8; 32]>, bool), StateError> {
        self.secret(&CHANNEL)
    }

    /// The file of [`Self::channel_key`].
    pub(crate) fn channel_key_file(&self) -> PathBuf {
        self.path.join(CHANNEL.name)
    }

    /// Counts this start: the epoch of the last one plus one, durable before it is used.
    ///
    /// Where the count was lost though the node is not new, the wall clock's seconds replace it: they are greater than any
    /// count of starts.
    pub(crate) fn next_epoch(&self, now: Timestamp, new_node: bool) -> Result<u64, StateError> {
        let path = self.path.join("epoch");
        let last = match read(&path)? {
            Some(text) => text
                .trim()
                .parse::<u64>()
                .map_err(|_| StateError::Content {
                    path: path.clone(),
                    expected: "a number of starts",
                    consequence: "let the clock replace the count",
                })?,
            None if new_node => 0,
            None => now.0 / 1000,
        };
        let epoch = last.saturating_add(1);
        self.set_epoch(epoch)?;
        Ok(epoch)
    }

    /// Whether no node has started with this directory before.
    pub(crate) fn is_new(&self) -> bool {
        !self.path.join(IDENTITY.name).exists()
    }

    /// Makes an epoch the one that the next start counts from.
    pub(crate) fn set_epoch(&self, epoch: u64) -> Result<(), StateError> {
        write_durably(&self.path.join("epoch"), format!("{epoch}\n").as_bytes())
    }

    fn secret(&self, file: &SecretFile) -> Result<(Zeroizing<[u8; 32]>, bool), StateError> {
        let path = self.path.join(file.name);
        if let Some(text) = read(&path)?.map(Zeroizing::new) {
            let mode = fs::metadata(&path)
                .map_err(|source| StateError::file(&path, source))?
                .mode();
            if mode & 0o077 != 0 {
                return Err(StateError::Open { path });
            }
            let content = || StateError::Content {
                path: path.clone(),
                expected: file.expected,
                consequence: file.consequence,
            };
            let bytes = Zeroizing::new(
                BASE64
                    .decode(text.trim().as_bytes())
                    .map_err(|_| content())?,
            );
            let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| content())?;
            return Ok((Zeroizing::new(key), false));
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(StateError::Randomness)?;
        let text = Zeroizing::new(BASE64.encode(&*key) + "\n");
        write_durably(&path, text.as_bytes())?;
        Ok((key, true))
    }
}

fn read(path: &Path) -> Result<Option<String>, StateError> {
    let error = |source| StateError::file(path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    let mut text = String::new();
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(error)?;
    Ok(Some(text))
}

/// Writes a file of mode 0600 so that after a crash it is either as before or as wanted.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> Result<(), StateError> {
    durable::replace(path, content, 0o600).map_err(|source| StateError::file(path, source))
}

#[cfg(test)]
mod tests;
