//! The target: the place of a pulled file. It is replaced as a whole or not at all.
//!
//! In go a path and the content of a pull; out comes a replaced file that is on the disk, or an error and the old file.
//! A target must never be written through a link, and never be a mix of two contents, even after a crash.

mod error;
mod owner;
mod part;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatvfs, fsync, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use error::TargetError;
pub use part::Part;

use super::{BLOCK, Digest};
use crate::model::Owner;

/// From this size on, in bytes, a thread of its own frees a file that was replaced.
const LARGE: u64 = 16 << 20;

/// The place of a pulled file. It holds its directory open, so that every file is written in that one directory.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    directory: OwnedFd,
    name: OsString,
    mode: Mode,
    owner: Option<Owner>,
}

impl Target {
    /// Opens the directory of a path. Fails if a file can't replace the object at the path.
    pub fn open(path: &Path, mode: u32) -> Result<Self, TargetError> {
        let name = path
            .file_name()
            .ok_or_else(|| TargetError::NoName {
                path: path.to_owned(),
            })?
            .to_owned();
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(CWD, parent, flags, Mode::empty()).map_err(|error| TargetError::Directory {
                path: parent.to_owned(),
                source: error.into(),
            })?;
        let target = Self {
            path: path.to_owned(),
            directory,
            name,
            mode: Mode::from_raw_mode(mode),
            owner: None,
        };
        target.size()?;
        Ok(target)
    }

    /// Sets the configured owner. A user or group that is not configured stays that of the old file.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the existing file; `None` if there is none. Fails if the object at the path is no regular file.
    pub fn size(&self) -> Result<Option<u64>, TargetError> {
        let path = || self.path.clone();
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
                FileType::Directory => Err(TargetError::IsDirectory { path: path() }),
                FileType::Symlink => Err(TargetError::IsLink { path: path() }),
                _ => Err(TargetError::NotFile { path: path() }),
            },
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("inspect it", error.into())),
        }
    }

    /// The digest of the existing file, if it has this size and this process may read it.
    pub fn digest(&self, size: u64) -> Result<Option<Digest>, TargetError> {
        Ok(self.read(size)?.map(|(_, digest)| digest))
    }

    /// Opens the existing file if it has this size, and reads it for its digest.
    fn read(&self, size: u64) -> Result<Option<(File, Digest)>, TargetError> {
        if self.size()? != Some(size) {
            return Ok(None);
        }
        // A pipe that took the file's place since would block until a process writes.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, &self.name, flags, Mode::empty());
        // A file that may be replaced need not be readable, once it belongs to another user.
        if matches!(file, Err(Errno::ACCESS)) {
            return Ok(None);
        }
        let mut file = File::from(file.map_err(|error| self.failed("open it", error.into()))?);
        let mut hasher = blake3::Hasher::new();
        let length = hash(&mut file, &mut hasher).map_err(|error| self.failed("read it", error))?;
        Ok((length == size).then(|| (file, hasher.finalize().into())))
    }

    /// Keeps the existing file if it has this content: sets its mode and its owner, and syncs it, as a pull would.
    /// Returns `false` where only a pull can do that.
    pub fn keep(&self, size: u64, digest: &Digest) -> Result<bool, TargetError> {
        let Some((file, _)) = self.read(size)?.filter(|(_, current)| current == digest) else {
            return Ok(false);
        };
        let stat = fstat(&file).map_err(|error| self.failed("inspect it", error.into()))?;
        // A second name may belong to another program, whose file must not change.
        if !is_regular(&stat) || stat.st_nlink != 1 {
            return Ok(false);
        }
        // A new file can get mode and owner where this one can't, as a process may change its own files; and content
        // that could not be synced is written again. Where neither is possible, the pull reports the reason.
        if let Err(error) = self.give(&file, Some(self.mode)) {
            tracing::debug!(
                "{} has the content already, and is pulled all the same: {error}",
                self.path.display()
            );
            return Ok(false);
        }
        if let Err(error) = file.sync_all() {
            tracing::warn!(
                "{} can't be synced: {error}; it is pulled once more",
                self.path.display()
            );
            return Ok(false);
        }
        self.sync_directory()?;
        Ok(true)
    }

    /// Creates an empty file beside the target, under `.NAME.` and this suffix. An object with that name is removed, and
    /// no link is followed.
    pub(super) fn beside(&self, suffix: &str) -> Result<(OsString, File), TargetError> {
        let mut name = self.part_prefix();
        name.push(suffix);
        self.remove(&name);
        let file = self.create(&name, OFlags::WRONLY)?;
        self.rehearse(&file).inspect_err(|_| self.remove(&name))?;
        Ok((name, file))
    }

    /// Creates a file beside the target; fails if the name exists.
    fn create(&self, name: &OsStr, access: OFlags) -> Result<File, TargetError> {
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR);
        Ok(File::from(file.map_err(|error| {
            self.denied("write a file beside it", error.into())
        })?))
    }

    /// Removes a file beside the target. If that fails, the next pull finds the file and reports why.
    pub(super) fn remove(&self, name: &OsStr) {
        let _ = unlinkat(&self.directory, name, AtFlags::empty());
    }

    /// Fails early where the disk has no room, so that a large pull does not first fill the disk for other programs.
    fn refuse_full(&self, needed: u64) -> Result<(), TargetError> {
        let stat = fstatvfs(&self.directory)
            .map_err(|error| self.failed("inspect its disk", error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > free {
            Err(TargetError::Full {
                path: self.path.clone(),
                needed,
                free,
            })
        } else {
            Ok(())
        }
    }

    /// Syncs a complete file beside the target, and renames it over the target.
    ///
    /// A file that could not be synced is removed: the kernel then counts its pages as written, so the next sync would
    /// not report what was lost (fsync(2) reports an error once).
    pub(super) fn replace(&self, file: &File, name: &OsStr) -> Result<(), TargetError> {
        self.give(file, Some(self.mode))?;
        if let Err(error) = file.sync_all() {
            self.remove(name);
            return Err(self.failed("sync the new file", error));
        }
        // The object at the path may have changed meanwhile. A rename would replace a link and not follow it; a link is
        // refused all the same, as the person who created it expects the file elsewhere.
        let old = self.size()?.and_then(|size| self.hold(size));
        renameat(&self.directory, name, &self.directory, &self.name)
            .map_err(|error| self.denied("replace it", error.into()))?;
        let synced = self.sync_directory();
        if let Some(old) = old {
            // If the thread can't start, the closure is dropped here, and this thread frees the file.
            let _ = thread::Builder::new()
                .name("release".to_owned())
                .spawn(move || drop(old));
        }
        tracing::debug!(path = %self.path.display(), "replaced a file");
        synced
    }

    fn sync_directory(&self) -> Result<(), TargetError> {
        fsync(&self.directory).map_err(|error| self.failed("sync its directory", error.into()))
    }

    /// Holds a large file open that is about to be replaced, so that the rename does not wait until its blocks are free:
    /// that takes half a second for a gibibyte. `None` where the file is small, or can't be opened.
    fn hold(&self, size: u64) -> Option<OwnedFd> {
        if size < LARGE {
            return None;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.directory, &self.name, flags, Mode::empty()).ok()
    }

    /// The beginning of the names of all files beside the target.
    fn part_prefix(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".");
        name
    }

    /// A failure, with the remedy if permission was missing.
    fn denied(&self, what: &'static str, source: io::Error) -> TargetError {
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                TargetError::Denied {
                    what,
                    path: self.path.clone(),
                    uid: geteuid().as_raw(),
                    source,
                }
            }
            _ => self.failed(what, source),
        }
    }

    pub(super) fn failed(&self, what: &'static str, source: io::Error) -> TargetError {
        TargetError::Io {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Reads a file to its end into a hasher; returns the number of bytes.
fn hash(file: &mut File, hasher: &mut blake3::Hasher) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                hasher.update(&block[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
