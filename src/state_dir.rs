//! The state directory: who this node is, and which start this is.
//!
//! | file | holds |
//! |---|---|
//! | `identity.key` | the seed of the node's Ed25519 key, base64, mode 0600 |
//! | `channel.key` | the channel key made at the first start where the configuration names none, base64, mode 0600 |
//! | `epoch` | the number of the last start, decimal |
//! | `lock` | locked while a node runs with this directory |
//! | `control.sock` | where commands speak to the running node |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::model::Timestamp;
use crate::wire::identity::Identity;

/// The most bytes read of any file here: none of them is longer.
const LONGEST_FILE: u64 = 4096;

/// What is written to find out whether anything can be: a block of most file systems.
const PROBE: [u8; 4096] = [b'.'; 4096];

/// Why the state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory can't be made, or not be written.
    #[error(
        "use the state directory {path}: {source}. {remedy}, or set node.state_dir",
        path = path.display(),
        remedy = remedy(source, *uid, path)
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The user this process runs as.
        uid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another node runs with this directory.
    #[error(
        "use the state directory {path}: another hereabouts runs with it. Stop that one, or give this one its own node.state_dir",
        path = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the directory belongs to another user.
    #[error("use {path}: {source}. {remedy}", path = path.display(), remedy = remedy(source, *uid, path.parent().unwrap_or(path)))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The user this process runs as.
        uid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file can't be read or written.
    #[error("use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("use {path}: it does not hold {expected}. Restore it from a backup, or move it away to {consequence}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What moving it away does.
        consequence: &'static str,
    },
    /// A key file can be read by others.
    #[error("use {path}: others can read it. Close it with: chmod 600 {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
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

    fn file(path: &Path, source: io::Error) -> Self {
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

/// What makes a directory usable.
fn remedy(error: &io::Error, uid: u32, directory: &Path) -> String {
    let directory = directory.display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("It must be writable: mount a volume on {directory} that is not read-only")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Make room on its disk".into(),
        io::ErrorKind::NotADirectory => "Move away the file that stands in its place".into(),
        _ => format!(
            "It must belong to the user that runs hereabouts (uid {uid}): chown -R {uid} {directory} (for a container: on \
             the volume that is mounted there)"
        ),
    }
}

/// A state directory that exists and can be written.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// Held while a node runs: no other one takes the same state.
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
    consequence: "have a new one made; machines with the old one won't find this one then",
};

impl StateDir {
    /// Takes a directory, making it (mode 0700) and its parents where they are missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let error = |source| StateError::directory(path, source);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(error)?;
        // A directory that can be listed is not one that can be written: find out now, not at the first change.
        let probe = path.join(".probe");
        // A full disk takes an empty file.
        let wrote = fs::write(&probe, PROBE);
        let removed = fs::remove_file(&probe);
        wrote.and(removed).map_err(error)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// A directory as it stands: nothing is made, and nothing tried.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps other nodes off this directory while the lock lives.
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
    /// Where the count was lost though the node is not new, the wall clock's seconds stand for it: they are more than any
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
                    consequence: "have the clock stand for it",
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

/// The user this process runs as, without a system call that needs unsafe code.
fn user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |process| process.uid())
}

fn read(path: &Path) -> Result<Option<String>, StateError> {
    let error = |source| StateError::file(path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
    };
    let mut text = String::new();
    file.take(LONGEST_FILE)
        .read_to_string(&mut text)
        .map_err(error)?;
    Ok(Some(text))
}

/// Writes a file of mode 0600 so that after a crash it is either as before or as wanted.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let error = |source| StateError::file(path, source);
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(error)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(error)?;
    fs::rename(&beside, path).map_err(error)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(&directory.path().join("deep/state")).unwrap();
        (directory, state)
    }

    #[test]
    fn identity_and_channel_key_stay_the_same_and_are_closed_to_others() {
        let (_directory, state) = state();
        assert_eq!(
            state.identity().unwrap().id(),
            state.identity().unwrap().id()
        );
        let (key, made) = state.channel_key().unwrap();
        assert!(made);
        assert_eq!(state.channel_key().unwrap(), (key, false));
        for name in ["identity.key", "channel.key"] {
            let path = state.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        }
        assert!(matches!(state.identity(), Err(StateError::Open { .. })));
        assert!(matches!(state.channel_key(), Err(StateError::Open { .. })));
    }

    #[test]
    fn epochs_grow_with_every_start_and_survive_a_lost_count() {
        let (_directory, state) = state();
        let clock = Timestamp(1_700_000_000_000);
        assert_eq!(state.next_epoch(clock, true).unwrap(), 1);
        assert_eq!(state.next_epoch(clock, false).unwrap(), 2);
        state.set_epoch(40).unwrap();
        assert_eq!(state.next_epoch(clock, false).unwrap(), 41);
        fs::remove_file(state.path().join("epoch")).unwrap();
        assert_eq!(state.next_epoch(clock, false).unwrap(), 1_700_000_001);
    }

    #[test]
    fn a_second_node_in_the_same_directory_is_told_so() {
        let (_directory, state) = state();
        let lock = state.lock().unwrap();
        let error = StateDir::open(state.path()).unwrap().lock().unwrap_err();
        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        drop(lock);
        state.lock().unwrap();
    }

    #[test]
    fn damaged_files_are_refused_and_left_as_they_are() {
        let (_directory, state) = state();
        state.identity().unwrap();
        fs::write(state.path().join("identity.key"), "nonsense").unwrap();
        fs::write(state.path().join("epoch"), "x").unwrap();
        assert!(matches!(state.identity(), Err(StateError::Content { .. })));
        assert!(matches!(
            state.next_epoch(Timestamp(0), false),
            Err(StateError::Content { .. })
        ));
        assert_eq!(
            fs::read_to_string(state.path().join("identity.key")).unwrap(),
            "nonsense"
        );
    }

    #[test]
    fn a_directory_that_can_not_be_made_names_the_mend() {
        let (directory, _state) = state();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateDir::open(&file.join("state")).unwrap_err().to_string();
        assert!(
            error.contains("Move away the file") && error.contains("node.state_dir"),
            "{error}"
        );
    }

    #[test]
    fn every_reason_has_its_own_mend() {
        let path = PathBuf::from("/var/lib/hereabouts");
        let told = |kind: io::ErrorKind| {
            StateError::Directory {
                path: path.clone(),
                uid: 65532,
                source: kind.into(),
            }
            .to_string()
        };
        let denied = told(io::ErrorKind::PermissionDenied);
        assert!(
            denied.contains("chown -R 65532 /var/lib/hereabouts") && denied.contains("volume"),
            "{denied}"
        );
        let read_only = told(io::ErrorKind::ReadOnlyFilesystem);
        assert!(
            read_only.contains("not read-only") && !read_only.contains("chown"),
            "{read_only}"
        );
        let foreign = StateError::file(&path.join("epoch"), io::ErrorKind::PermissionDenied.into())
            .to_string();
        assert!(
            foreign.contains("epoch") && foreign.contains("chown -R"),
            "{foreign}"
        );
        let other =
            StateError::file(&path.join("epoch"), io::ErrorKind::StorageFull.into()).to_string();
        assert!(!other.contains("chown"), "{other}");
    }
}
