//! A file as it was at one moment.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{BLOCK, Digest};

/// What every SQLite database begins with (<https://sqlite.org/fileformat2.html#magic_header_string>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// Why a file can't be offered as it is.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory, a device or another thing that is no file.
    #[error("{} is no regular file", path.display())]
    NotFile {
        /// What it is called.
        path: PathBuf,
    },
    /// It was written while it was read.
    #[error("{} was written while it was read: it is taken when it is quiet", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A database with a part of its content elsewhere.
    #[error(
        "{} is an SQLite database that is being written ({} lies beside it): a copy of the one file would be torn. Offer a copy \
         made by VACUUM INTO or by the backup API",
        path.display(),
        journal.display()
    )]
    Torn {
        /// The database.
        path: PathBuf,
        /// Its log or journal.
        journal: PathBuf,
    },
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at a path; links are followed, as a ConfigMap's file is one.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A file as it was at one moment.
///
/// It holds the file open: a rename over it changes nothing here. A write into the same file is seen by its stamp, and then
/// nothing is read any more; so no pull mixes two contents. (A write that leaves size and time as they were is caught by
/// whoever checks the digest.)
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
        // A pipe would not open before somebody writes.
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
        Ok(snapshot)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What it was like when it was taken.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Reads from `offset` on until the buffer is full or the file ends.
    ///
    /// Fails if the file is not any more as it was; call [`Self::check`] once more when a run of reads is over.
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

    /// Fails if the file was written since.
    pub fn check(&self) -> Result<(), OfferError> {
        let metadata = self.file.metadata().map_err(|source| OfferError::Io {
            path: self.path.clone(),
            source,
        })?;
        if Stamp::from(&metadata) == self.stamp {
            Ok(())
        } else {
            Err(OfferError::Changed {
                path: self.path.clone(),
            })
        }
    }
}

/// Refuses a database whose log or journal has something in it.
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
