//! A file whose size and digest nobody said: whatever comes until its stream ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};

use super::Digest;
use super::target::{Target, TargetError};

/// The name beside the target is `.NAME` with this. No part of a pull by our own protocol is called so: those have a digest.
const SUFFIX: &str = "terminals.part";
/// How much of a beginning is kept to judge by: the header of an SQLite database (<https://sqlite.org/fileformat2.html>).
const HEAD: usize = 100;

/// Why what came is not taken. The old file is whole then.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The target can't take it.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Nothing came.
    #[error("nothing came before the end of the stream; the old file is kept")]
    Empty,
    /// More came than may.
    #[error(
        "it has more than {limit} bytes, and files.accept takes no more (max_size); the old file is kept"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A database that says itself that it is longer.
    #[error(
        "it was cut: {held} bytes came of an SQLite database that has {size}; the old file is kept"
    )]
    Cut {
        /// What came.
        held: u64,
        /// What its header says.
        size: u64,
    },
}

/// A file on its way in, beside its target; removed when dropped without a commit.
#[derive(Debug)]
pub struct Incoming {
    target: Target,
    name: OsString,
    file: File,
    /// Two kilobytes, which would be moved along on each way through a queue.
    hasher: Box<blake3::Hasher>,
    head: Vec<u8>,
    held: u64,
    limit: u64,
}

impl Incoming {
    /// Begins an empty file beside a target, of at most so many bytes.
    pub fn begin(target: Target, limit: u64) -> Result<Self, IncomingError> {
        let (name, file) = target.beside(SUFFIX)?;
        let (hasher, head) = (Box::new(blake3::Hasher::new()), Vec::with_capacity(HEAD));
        Ok(Self {
            target,
            name,
            file,
            hasher,
            head,
            held: 0,
            limit,
        })
    }

    /// How many bytes came.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The digest of what came.
    pub fn digest(&self) -> Digest {
        self.hasher.finalize().into()
    }

    /// Adds what came.
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
                _ => self.target.failed("write beside", error),
            })?;
        self.head.extend(bytes.iter().take(HEAD - self.head.len()));
        self.hasher.update(bytes);
        self.held += bytes.len() as u64;
        Ok(())
    }

    /// Refuses what can be known not to be a whole file.
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

    /// Takes the target's place at the end of the stream; gives whether anything changed.
    ///
    /// After a crash at any moment the target is wholly old or wholly new.
    pub fn commit(self) -> Result<bool, IncomingError> {
        self.check()?;
        if self.target.keep(self.held, &self.digest())? {
            return Ok(false);
        }
        self.target.replace(&self.file, &self.name)?;
        Ok(true)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a commit nothing is called so any more.
        self.target.remove(&self.name);
    }
}

/// The size that an SQLite database says it has; `None` for other files, and where the header's own count is not valid.
fn database_size(head: &[u8]) -> Option<u64> {
    let head: &[u8; HEAD] = head
        .try_into()
        .ok()
        .filter(|_| head.starts_with(b"SQLite format 3\0"))?;
    let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65536,
        size if size >= 512 && size.is_power_of_two() => u64::from(size),
        _ => return None,
    };
    // The count of pages is valid if it was written with the last change.
    let (pages, changes, valid_for) = (number(28)?, number(24)?, number(92)?);
    (pages > 0 && changes == valid_for).then(|| page * u64::from(pages))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn take(path: &Path, limit: u64, bytes: &[u8]) -> Result<bool, IncomingError> {
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
    fn what_came_whole_takes_the_old_files_place_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert!(take(&path, 100, b"old content").unwrap());
        assert!(take(&path, 100, b"new content").unwrap());
        assert!(
            !take(&path, 100, b"new content").unwrap(),
            "the same again changes nothing"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new content");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn empty_too_large_cut_and_given_up_leave_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        assert!(matches!(take(&path, 100, b""), Err(IncomingError::Empty)));
        assert!(matches!(
            take(&path, 10, b"eleven byte"),
            Err(IncomingError::TooLarge { limit: 10 })
        ));
        assert!(matches!(
            take(&path, 4096, &database(3, 1535)),
            Err(IncomingError::Cut {
                held: 1535,
                size: 1536
            })
        ));
        let mut given_up = Incoming::begin(Target::open(&path, 0o644).unwrap(), 100).unwrap();
        given_up.write(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(take(&path, 4096, &database(3, 1536)).unwrap());
        assert!(take(&path, 10, b"ten bytes.").unwrap());
    }

    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, outside) = (directory.path().join("a"), directory.path().join("outside"));
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, directory.path().join(".a.terminals.part")).unwrap();
        assert!(take(&path, 100, b"new").unwrap());
        fs::remove_file(&path).unwrap();
        symlink(&outside, &path).unwrap();
        assert!(matches!(
            take(&path, 100, b"new"),
            Err(IncomingError::Target(TargetError::IsLink { .. }))
        ));
        assert_eq!(fs::read(&outside).unwrap(), b"mine");
    }

    #[test]
    fn headers_that_say_nothing_valid_are_not_believed() {
        let sized = |change: fn(&mut Vec<u8>)| {
            let mut bytes = database(9, 100);
            change(&mut bytes);
            database_size(&bytes)
        };
        assert_eq!(sized(|_| {}), Some(9 * 512));
        assert_eq!(
            sized(|bytes| bytes[16..18].copy_from_slice(&[0, 1])),
            Some(9 * 65536)
        );
        assert_eq!(sized(|bytes| bytes[16..18].copy_from_slice(&[0, 0])), None);
        assert_eq!(
            sized(|bytes| bytes[27] = 1),
            None,
            "an old writer left the count as it was"
        );
        assert_eq!(sized(|bytes| bytes[31] = 0), None);
        assert_eq!(sized(|bytes| bytes.truncate(99)), None);
        assert_eq!(sized(|bytes| bytes[0] = b's'), None);
    }
}
