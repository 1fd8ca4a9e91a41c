//! A part: the content of a pull on its way, in a file beside the target.
//!
//! An interrupted pull leaves its part, and the next pull of the same content resumes there. A part must never contain a
//! byte that is not on the disk once no pull has it open, and never replaces the target unless size and digest match.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{Target, TargetError, hash, is_regular};
use crate::files::Digest;
use crate::files::flusher::Flusher;

/// How many bytes of the digest are in the name of a part: enough to tell generations apart. The whole digest is checked
/// at the end.
const DIGEST_IN_NAME: usize = 8;
/// How many entries of the directory are searched for parts of earlier generations.
const MAX_ENTRIES: usize = 100_000;
const PART_SUFFIX: &str = ".part";

impl Target {
    /// Opens the part of a content, with the bytes of an earlier pull of it. Parts of other contents are removed.
    pub fn part(&self, size: u64, digest: &Digest) -> Result<Part<'_>, TargetError> {
        let name = self.part_name(digest);
        self.remove_parts(Some(&name));
        let mut file = match self.own_part(&name)? {
            Some(file) => file,
            None => self.create(&name, OFlags::RDWR)?,
        };
        let mut hasher = blake3::Hasher::new();
        let mut held =
            hash(&mut file, &mut hasher).map_err(|error| self.failed("read its part", error))?;
        if held > size {
            file.set_len(0)
                .map_err(|error| self.failed("write a file beside it", error))?;
            io::Seek::rewind(&mut file)
                .map_err(|error| self.failed("write a file beside it", error))?;
            hasher = blake3::Hasher::new();
            held = 0;
        }
        let ready = self.refuse_full(size - held).and_then(|()| {
            if held == 0 {
                self.rehearse(&file)
            } else {
                Ok(())
            }
        });
        // Received bytes stay for a later pull; an empty file is of no use.
        ready.inspect_err(|_| {
            if held == 0 {
                self.remove(&name)
            }
        })?;
        tracing::debug!(path = %self.path.display(), held, size, "opened the part of a pull");
        Ok(Part {
            target: self,
            name,
            file,
            flusher: Flusher::default(),
            hasher,
            held,
            size,
            digest: *digest,
            is_unsynced: false,
        })
    }

    /// Opens a part that this user left. Any other object with its name is removed, and neither followed nor written.
    ///
    /// A file of another user would become the target while its creator still has it open for writing. A file with a
    /// second name must keep its content. A part that was given to its owner before a crash is pulled again from the start.
    fn own_part(&self, name: &OsStr) -> Result<Option<File>, TargetError> {
        // With these flags a pipe opens without waiting, and a device does not open at all.
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => {
                let stat =
                    fstat(&file).map_err(|error| self.failed("inspect its part", error.into()))?;
                if is_regular(&stat) && stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1 {
                    return Ok(Some(file.into()));
                }
            }
            Err(Errno::NOENT) => return Ok(None),
            // A link, a file of another user, or a socket: it needs no further inspection.
            Err(Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV) => {}
            Err(error) => return Err(self.denied("write a file beside it", error.into())),
        }
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.denied("write a file beside it", error.into())),
        }
    }

    /// Removes all parts of this target but one. A part that can't be removed does no harm.
    pub fn remove_parts(&self, except: Option<&OsStr>) {
        let prefix = self.part_prefix();
        let Ok(entries) = rustix::fs::Dir::read_from(&self.directory) else {
            return;
        };
        for entry in entries.take(MAX_ENTRIES).filter_map(Result::ok) {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let middle = name.as_bytes().strip_prefix(prefix.as_bytes());
            let middle = middle.and_then(|rest| rest.strip_suffix(PART_SUFFIX.as_bytes()));
            let is_part = middle.is_some_and(|hex| {
                hex.len() == 2 * DIGEST_IN_NAME
                    && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            });
            if is_part && Some(name) != except {
                let _ = unlinkat(&self.directory, name, AtFlags::empty());
            }
        }
    }

    fn part_name(&self, digest: &Digest) -> OsString {
        let mut name = self.part_prefix();
        name.push(data_encoding::HEXLOWER.encode(&digest[..DIGEST_IN_NAME]));
        name.push(PART_SUFFIX);
        name
    }
}

/// The received content of a pull, beside its target.
#[derive(Debug)]
pub struct Part<'t> {
    target: &'t Target,
    name: OsString,
    pub(super) file: File,
    pub(super) flusher: Flusher,
    hasher: blake3::Hasher,
    held: u64,
    size: u64,
    digest: Digest,
    /// Whether bytes were written that are neither synced nor discarded.
    is_unsynced: bool,
}

impl Part<'_> {
    /// How many bytes are held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Discards the bytes held, as the server sends the content from the start.
    pub fn restart(&mut self) -> Result<(), TargetError> {
        let restarted = self
            .file
            .set_len(0)
            .and_then(|()| io::Seek::rewind(&mut self.file));
        restarted.map_err(|error| self.target.failed("write a file beside it", error))?;
        self.is_unsynced = true;
        self.hasher = blake3::Hasher::new();
        self.held = 0;
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        if self.held + bytes.len() as u64 > self.size {
            self.discard();
            return Err(TargetError::Wrong {
                path: self.target.path.clone(),
                what: "it is longer than announced",
            });
        }
        self.is_unsynced = true;
        if let Err(error) = self.file.write_all(bytes) {
            if error.kind() == io::ErrorKind::StorageFull
                || error.kind() == io::ErrorKind::QuotaExceeded
            {
                // Another program filled the disk meanwhile, so the space of this part is freed.
                let needed = self.size - self.held;
                self.discard();
                return Err(TargetError::Full {
                    path: self.target.path.clone(),
                    needed,
                    free: 0,
                });
            }
            return Err(self.target.failed("write a file beside it", error));
        }
        let directory = &self.target.directory;
        let name = &self.name;
        self.flusher.wrote(bytes.len() as u64, || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(directory, name, flags, Mode::empty())
                .ok()
                .map(File::from)
        });
        self.check_flushes()?;
        self.hasher.update(bytes);
        self.held += bytes.len() as u64;
        Ok(())
    }

    /// Checks size and digest, syncs the content and replaces the target.
    ///
    /// After a crash at any moment the target is wholly old or wholly new.
    pub fn commit(mut self) -> Result<(), TargetError> {
        if self.held != self.size {
            // The bytes held may be correct: they are checked when the rest has been received.
            return Err(self.wrong("it ended too soon"));
        }
        if *self.hasher.finalize().as_bytes() != self.digest {
            self.discard();
            return Err(self.wrong("its digest differs"));
        }
        self.check_flushes()?;
        let replaced = self.target.replace(&self.file, &self.name);
        self.is_unsynced &= replaced.is_err();
        replaced
    }

    /// Discards the part if a flush failed.
    fn check_flushes(&mut self) -> Result<(), TargetError> {
        match self.flusher.failed() {
            Some(error) => {
                self.discard();
                Err(self.target.failed("sync the new file", error.into()))
            }
            None => Ok(()),
        }
    }

    fn wrong(&self, what: &'static str) -> TargetError {
        TargetError::Wrong {
            path: self.target.path.clone(),
            what,
        }
    }

    fn discard(&mut self) {
        self.is_unsynced = false;
        self.target.remove(&self.name);
    }
}

impl Drop for Part<'_> {
    /// Syncs the part for the next pull, or removes it: a later open would not see an error that occurred before.
    fn drop(&mut self) {
        if self.is_unsynced && (self.file.sync_data().is_err() || self.flusher.failed().is_some()) {
            self.discard();
        }
    }
}
