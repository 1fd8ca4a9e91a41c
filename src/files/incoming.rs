//! A file of unknown size and digest: the bytes of a stream of a legacy protocol, up to its end.
//!
//! In go a target and bytes; out comes a replaced file or an error. The old file must stay whole unless the stream ended
//! and nothing about the content shows that it is incomplete.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};

use super::Digest;
use super::target::{Target, TargetError};

/// The file beside the target is named `.NAME.` and this. A part of a pull by our own protocol never has this name, as it
/// contains a digest.
const SUFFIX: &str = "terminals.part";
/// How many bytes of the beginning are kept to check them: the header of an SQLite database
/// (<https://sqlite.org/fileformat2.html>).
const HEAD: usize = 100;

/// Why the received file is refused. The old file is whole then.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("nothing came before the end of the stream; the old file is kept")]
    Empty,
    #[error(
        "the file has more than {limit} bytes, the limit of max_size in files.accept; the old file is kept"
    )]
    TooLarge { limit: u64 },
    /// The header of a database gives a larger size.
    #[error(
        "the file was cut: {held} of the {size} bytes of an SQLite database were received; the old file is kept"
    )]
    Cut {
        /// The bytes received.
        held: u64,
        /// The size in the header.
        size: u64,
    },
}

/// A file that is being received, beside its target. It is removed if it is dropped without a commit.
#[derive(Debug)]
pub struct Incoming {
    target: Target,
    name: OsString,
    file: File,
    /// Boxed, as a hasher has two kilobytes, which each move through a queue would copy.
    hasher: Box<blake3::Hasher>,
    head: Vec<u8>,
    held: u64,
    limit: u64,
}

impl Incoming {
    /// Creates an empty file beside a target; `limit` is in bytes.
    pub fn begin(target: Target, limit: u64) -> Result<Self, IncomingError> {
        let (name, file) = target.beside(SUFFIX)?;
        Ok(Self {
            target,
            name,
            file,
            hasher: Box::new(blake3::Hasher::new()),
            head: Vec::with_capacity(HEAD),
            held: 0,
            limit,
        })
    }

    /// How many bytes were received.
    pub fn held(&self) -> u64 {
        self.held
    }

    pub fn digest(&self) -> Digest {
        self.hasher.finalize().into()
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IncomingError> {
        if bytes.len() as u64 > self.limit - self.held {
            return Err(IncomingError::TooLarge { limit: self.limit });
        }
        self.file
            .write_all(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => TargetError::Full {
                    path: self.target.path().to_owned(),
                    needed: bytes.len() as u64,
                    free: 0,
                },
                _ => self.target.failed("write a file beside it", error),
            })?;
        self.head.extend(bytes.iter().take(HEAD - self.head.len()));
        self.hasher.update(bytes);
        self.held += bytes.len() as u64;
        Ok(())
    }

    /// Refuses a file that is known to be incomplete.
    pub fn check(&self) -> Result<(), IncomingError> {
        if self.held == 0 {
            return Err(IncomingError::Empty);
        }
        match database_size(&self.head) {
            Some(size) if self.held < size => Err(IncomingError::Cut {
                held: self.held,
                size,
            }),
            _ => Ok(()),
        }
    }

    /// Replaces the target at the end of the stream. Returns whether anything changed.
    ///
    /// After a crash at any moment the target is wholly old or wholly new.
    pub fn commit(self) -> Result<bool, IncomingError> {
        self.check()?;
        if self.target.keep(self.held, &self.digest())? {
            tracing::debug!(path = %self.target.path().display(), "the target has this content already");
            return Ok(false);
        }
        self.target.replace(&self.file, &self.name)?;
        Ok(true)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a commit no file has this name any more.
        self.target.remove(&self.name);
    }
}

/// The size in the header of an SQLite database; `None` for other files, and where the header's page count is invalid.
fn database_size(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"SQLite format 3\0") {
        return None;
    }
    let head: &[u8; HEAD] = head.try_into().ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let page_size = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65536,
        size if size >= 512 && size.is_power_of_two() => u64::from(size),
        _ => return None,
    };
    let pages = number(28)?;
    let changes = number(24)?;
    let valid_for = number(92)?;
    // The page count is valid if it was written together with the last change.
    (pages > 0 && changes == valid_for).then(|| page_size * u64::from(pages))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn receive(path: &Path, limit: u64, bytes: &[u8]) -> Result<bool, IncomingError> {
        let mut incoming = Incoming::begin(Target::open(path, 0o640)?, limit)?;
        bytes
            .chunks(7)
            .try_for_each(|piece| incoming.write(piece))?;
        incoming.commit()
    }

    fn database(pages: u32, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        bytes[..16].copy_from_slice(b"SQLite format 3\0");
        bytes[16..18].copy_from_slice(&512_u16.to_be_bytes());
        bytes[28..32].copy_from_slice(&pages.to_be_bytes());
        bytes
    }

    #[test]
    fn complete_file_replaces_the_old_one_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert!(receive(&path, 100, b"old content").unwrap());
        assert!(receive(&path, 100, b"new content").unwrap());
        assert!(
            !receive(&path, 100, b"new content").unwrap(),
            "the same content changes nothing"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new content");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn empty_too_large_cut_and_aborted_files_leave_only_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        assert!(matches!(
            receive(&path, 100, b""),
            Err(IncomingError::Empty)
        ));
        assert!(matches!(
            receive(&path, 10, b"eleven byte"),
            Err(IncomingError::TooLarge { limit: 10 })
        ));
        assert!(matches!(
            receive(&path, 4096, &database(3, 1535)),
            Err(IncomingError::Cut {
                held: 1535,
                size: 1536
            })
        ));
        let mut aborted = Incoming::begin(Target::open(&path, 0o644).unwrap(), 100).unwrap();
        aborted.write(b"half").unwrap();
        drop(aborted);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(receive(&path, 4096, &database(3, 1536)).unwrap());
        assert!(receive(&path, 10, b"ten bytes.").unwrap());
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let outside = directory.path().join("outside");
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, directory.path().join(".a.terminals.part")).unwrap();
        assert!(receive(&path, 100, b"new").unwrap());
        fs::remove_file(&path).unwrap();
        symlink(&outside, &path).unwrap();
        assert!(matches!(
            receive(&path, 100, b"new"),
            Err(IncomingError::Target(TargetError::IsLink { .. }))
        ));
        assert_eq!(fs::read(&outside).unwrap(), b"mine");
    }

    #[test]
    fn invalid_database_headers_are_ignored() {
        let size_after = |change: fn(&mut Vec<u8>)| {
            let mut bytes = database(9, 100);
            change(&mut bytes);
            database_size(&bytes)
        };
        assert_eq!(size_after(|_| {}), Some(9 * 512));
        assert_eq!(
            size_after(|bytes| bytes[16..18].copy_from_slice(&[0, 1])),
            Some(9 * 65536)
        );
        assert_eq!(
            size_after(|bytes| bytes[16..18].copy_from_slice(&[0, 0])),
            None
        );
        assert_eq!(
            size_after(|bytes| bytes[27] = 1),
            None,
            "an old writer did not update the page count"
        );
        assert_eq!(size_after(|bytes| bytes[31] = 0), None);
        assert_eq!(size_after(|bytes| bytes.truncate(99)), None);
        assert_eq!(size_after(|bytes| bytes[0] = b's'), None);
    }
}
