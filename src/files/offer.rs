//! A snapshot of an offered file: its content and its digest at one moment.
//!
//! In goes a path; out come bytes of one content, or an error. A snapshot must never mix the bytes of two contents.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{BLOCK, Digest};

/// The first bytes of every SQLite database (<https://sqlite.org/fileformat2.html#magic_header_string>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// Why a file can't be offered in its current state.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    #[error("can't read {}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A directory, a device or another object.
    #[error("{} is no regular file", path.display())]
    NotFile { path: PathBuf },
    #[error("{} was written while it was read: it is offered once it stays unchanged", path.display())]
    Changed { path: PathBuf },
    /// A part of the database's content is in another file.
    #[error(
        "{} is an SQLite database that is being written ({} lies beside it): a copy of the one file would be torn. Offer a copy \
         made by VACUUM INTO or by the backup API",
        path.display(),
        journal.display()
    )]
    Torn {
        path: PathBuf,
        /// The write-ahead log or the rollback journal.
        journal: PathBuf,
    },
}

/// Metadata of a file that differs after a change: two equal stamps mean an unchanged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// When content or metadata changed last (`st_ctime`). No program can set it, so it differs where a content was
    /// replaced by another one of the same size and modification time, as all files of reproducible images have it.
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at a path. Links are followed, as a file of a ConfigMap is a link.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// Whether both are of one file that was not written in between, as far as size and modification time say.
    ///
    /// `changed` does not count here: it also differs once another file was renamed over this one.
    fn has_content_of(&self, other: &Self) -> bool {
        let changed = self.changed;
        *self == Self { changed, ..*other }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The content of a file at one moment.
///
/// A snapshot holds the file open, so a rename over the file changes nothing. A write into the same file changes its
/// stamp, and then every read fails; so no pull mixes two contents. (A write that changes neither size nor modification
/// time is found by the peer that checks the digest.)
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    digest: Digest,
}

impl Snapshot {
    /// Opens a file and reads it once for its digest.
    pub fn take(path: &Path) -> Result<Self, OfferError> {
        let io = |source| OfferError::Io {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe would block until a process writes.
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err(OfferError::NotFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(OfferError::NotFile {
                path: path.to_owned(),
            });
        }
        let stamp = Stamp::from(&metadata);
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK];
        let mut offset = 0;
        while offset < stamp.size {
            let read = file.read_at(&mut block, offset).map_err(io)?;
            if read == 0 {
                break;
            }
            if offset == 0 && block[..read].starts_with(SQLITE) {
                refuse_torn(path)?;
            }
            hasher.update(&block[..read]);
            offset += read as u64;
        }
        let snapshot = Self {
            path: path.to_owned(),
            file,
            stamp,
            digest: hasher.finalize().into(),
        };
        if offset != stamp.size || Stamp::of(path).map_err(io)? != stamp {
            return Err(OfferError::Changed {
                path: path.to_owned(),
            });
        }
        snapshot.check()?;
        tracing::debug!(path = %path.display(), size = stamp.size, "read a file for its digest");
        Ok(snapshot)
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The file's stamp at the moment of the snapshot.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Reads from `offset` until the buffer is full or the file ends.
    ///
    /// Fails if the file changed since the snapshot; call [`Self::check`] once more after the last of several reads.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, OfferError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64);
            match read.map_err(|source| OfferError::Io {
                path: self.path.clone(),
                source,
            })? {
                0 => break,
                read => filled += read,
            }
        }
        self.check()?;
        Ok(filled)
    }

    /// Fails if the file changed since the snapshot.
    pub fn check(&self) -> Result<(), OfferError> {
        let metadata = self.file.metadata().map_err(|source| OfferError::Io {
            path: self.path.clone(),
            source,
        })?;
        if Stamp::from(&metadata).has_content_of(&self.stamp) {
            Ok(())
        } else {
            Err(OfferError::Changed {
                path: self.path.clone(),
            })
        }
    }
}

/// Refuses a database whose log or journal is not empty.
fn refuse_torn(path: &Path) -> Result<(), OfferError> {
    for suffix in ["-wal", "-journal"] {
        let mut journal = path.as_os_str().to_owned();
        journal.push(suffix);
        let journal = PathBuf::from(journal);
        if fs::metadata(&journal).is_ok_and(|metadata| metadata.len() > 0) {
            return Err(OfferError::Torn {
                path: path.to_owned(),
                journal,
            });
        }
    }
    Ok(())
}
