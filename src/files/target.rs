//! The place that a pulled file goes to.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, fstatvfs, fsync,
    openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::flusher::Flusher;
use super::{BLOCK, Digest};
use crate::model::{Account, Accounts, Owner};

/// From which size on a file that was replaced is freed by a thread of its own, in bytes.
const LARGE: u64 = 16 << 20;
/// Bytes of the digest in the name of a part: enough to tell generations apart; what decides is the digest in the end.
const DIGEST_IN_NAME: usize = 8;
/// Entries of the directory that are looked at for parts of earlier generations.
const ENTRIES: usize = 100_000;

/// Why a file can't be put where it belongs. The old one is whole then.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The path has no file name.
    #[error("{} names no file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// The directory can't be opened.
    #[error("can't open the directory {}: {source} (it must exist, and belong to the user that runs hereabouts)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory stands in the target's place.
    #[error("{} is a directory: name a file in files.accept, or move the directory away", path.display())]
    IsFolder {
        /// The target.
        path: PathBuf,
    },
    /// A symbolic link stands in the target's place.
    #[error("{} is a symbolic link: files are never written through one. Name the file itself in files.accept", path.display())]
    IsLink {
        /// The target.
        path: PathBuf,
    },
    /// Something else stands there.
    #[error("{} is no regular file", path.display())]
    NotFile {
        /// The target.
        path: PathBuf,
    },
    /// The directory may not be written.
    #[error("may not {what} {}: {source}. {}", path.display(), denied(source, *uid, path))]
    Denied {
        /// What was tried.
        what: &'static str,
        /// The target.
        path: PathBuf,
        /// The user that runs this process.
        uid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The owner that the file is to have is not known.
    #[error(
        "{file} has no {what} \"{account}\", whose {} is to be: add it, or write its number in files.accept. The old file is kept",
        path.display()
    )]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// Its name.
        account: Account,
        /// Where it was looked up.
        file: &'static str,
        /// The target.
        path: PathBuf,
    },
    /// The file may not be given to its owner.
    #[error(
        "may not give {} to the {what} {account} ({id}): {source}. {}. The old file is kept",
        path.display(),
        mend_owner(what, *uid)
    )]
    Owner {
        /// The target.
        path: PathBuf,
        /// `user` or `group`.
        what: &'static str,
        /// As it is written in the configuration.
        account: Account,
        /// Its number.
        id: u32,
        /// The user that runs this process.
        uid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is not enough room.
    #[error("the disk of {} is full: {needed} bytes are needed, {free} are free", path.display())]
    Full {
        /// The target.
        path: PathBuf,
        /// What is still to be written.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// What was pulled is not what was offered.
    #[error("what came for {} is not what was offered: {what}. Nothing was replaced", path.display())]
    Wrong {
        /// The target.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// Something failed.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How a directory that may not be written is mended.
fn denied(error: &io::Error, uid: u32, path: &Path) -> String {
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

/// What it takes to give a file away (chown(2)).
fn mend_owner(what: &str, uid: u32) -> String {
    let capability = "the capability CAP_CHOWN (docs/explanation/file-distribution.md has the lines for systemd)";
    match what {
        "group" => {
            format!(
                "It needs {capability}, or the user that runs hereabouts (uid {uid}) to be a member of the group"
            )
        }
        _ => format!("It needs {capability}"),
    }
}

/// The place that a pulled file goes to: its directory is held open, so that whatever is written lies in that one directory.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    directory: OwnedFd,
    name: OsString,
    mode: Mode,
    owner: Option<Owner>,
}

impl Target {
    /// Opens the directory of a path, and refuses what can't be replaced by a file.
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
        target.check()?;
        Ok(target)
    }

    /// Names the owner that files get here; what is not named stays as it was.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses what can't be replaced by a file; gives the size of what is there.
    fn check(&self) -> Result<Option<u64>, TargetError> {
        let path = || self.path.clone();
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
                FileType::Directory => Err(TargetError::IsFolder { path: path() }),
                FileType::Symlink => Err(TargetError::IsLink { path: path() }),
                _ => Err(TargetError::NotFile { path: path() }),
            },
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", error.into())),
        }
    }

    /// The size of the file that is there; `None` if there is none.
    pub fn size(&self) -> Result<Option<u64>, TargetError> {
        self.check()
    }

    /// The digest of the file that is there, if it has that size.
    pub fn digest(&self, size: u64) -> Result<Option<Digest>, TargetError> {
        Ok(self.read(size)?.map(|(_, digest)| digest))
    }

    /// Opens the file that is there, if it has that size, and reads it for its digest.
    fn read(&self, size: u64) -> Result<Option<(File, Digest)>, TargetError> {
        if self.check()? != Some(size) {
            return Ok(None);
        }
        // A pipe that took its place since would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, &self.name, flags, Mode::empty());
        // What may be replaced need not be readable, once it belongs to somebody else.
        if matches!(file, Err(Errno::ACCESS)) {
            return Ok(None);
        }
        let mut file = File::from(file.map_err(|error| self.failed("open", error.into()))?);
        let mut hasher = blake3::Hasher::new();
        let length = hash(&mut file, &mut hasher).map_err(|error| self.failed("read", error))?;
        Ok((length == size).then(|| (file, hasher.finalize().into())))
    }

    /// Makes the file that is there what a pull would make of it, if it has that content: its mode, its owner, and on the disk. Gives
    /// whether that is so; if not, only a pull can do it.
    pub fn keep(&self, size: u64, digest: &Digest) -> Result<bool, TargetError> {
        let Some((file, _)) = self.read(size)?.filter(|(_, there)| there == digest) else {
            return Ok(false);
        };
        let is = fstat(&file).map_err(|error| self.failed("look at", error.into()))?;
        // Under a second name it is somebody else's too, who did not ask for a change.
        if !is_regular(&is) || is.st_nlink != 1 {
            return Ok(false);
        }
        // A new file can have them where this one can't: one's own can be changed, and what was not brought to the disk is written
        // once more. Where neither is possible, the pull says why.
        if let Err(error) = self.give(&file, Some(self.mode)) {
            tracing::debug!(
                "{} has the content already and is pulled all the same: {error}",
                self.path.display()
            );
            return Ok(false);
        }
        if let Err(error) = file.sync_all() {
            tracing::warn!(
                "failed to bring {} to the disk: {error}; it is pulled once more",
                self.path.display()
            );
            return Ok(false);
        }
        self.sync_directory()?;
        Ok(true)
    }

    /// Opens the part of a pull, with what an earlier try left of the same content; parts of other contents are removed.
    pub fn part(&self, size: u64, digest: &Digest) -> Result<Part<'_>, TargetError> {
        let name = self.part_name(digest);
        self.remove_parts(Some(&name));
        let mut file = match self.own_part(&name)? {
            Some(file) => file,
            None => self.create(&name, OFlags::RDWR)?,
        };
        let mut hasher = blake3::Hasher::new();
        let mut held =
            hash(&mut file, &mut hasher).map_err(|error| self.failed("read the part of", error))?;
        if held > size {
            file.set_len(0)
                .map_err(|error| self.failed("write beside", error))?;
            io::Seek::rewind(&mut file).map_err(|error| self.failed("write beside", error))?;
            (hasher, held) = (blake3::Hasher::new(), 0);
        }
        let ready = self.refuse_full(size - held).and_then(|()| {
            if held == 0 {
                self.rehearse(&file)
            } else {
                Ok(())
            }
        });
        // What came stays for a better time; an empty file helps nobody.
        ready.inspect_err(|_| {
            if held == 0 {
                self.remove(&name)
            }
        })?;
        let flusher = Flusher::default();
        Ok(Part {
            target: self,
            name,
            file,
            flusher,
            hasher,
            held,
            size,
            digest: *digest,
            is_unsynced: false,
        })
    }

    /// Opens the part that this user left; what else lies under its name is removed, and neither followed nor written.
    ///
    /// Somebody else's file would become the target with its maker's descriptors still open for writing, and of a second name's
    /// content nothing may be lost. One's own that was given away already, when all ended, begins anew.
    fn own_part(&self, name: &OsStr) -> Result<Option<File>, TargetError> {
        // A pipe is opened for both ways without waiting, and a device not at all.
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => {
                let is = fstat(&file)
                    .map_err(|error| self.failed("look at the part of", error.into()))?;
                if is_regular(&is) && is.st_uid == geteuid().as_raw() && is.st_nlink == 1 {
                    return Ok(Some(file.into()));
                }
            }
            Err(Errno::NOENT) => return Ok(None),
            // A link, a file of somebody else's, a socket: looked at no further.
            Err(Errno::LOOP | Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV) => {}
            Err(error) => return Err(self.denied("write beside", error.into())),
        }
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.denied("write beside", error.into())),
        }
    }

    /// Makes a file beside the target that was not there before.
    fn create(&self, name: &OsStr, access: OFlags) -> Result<File, TargetError> {
        let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR);
        Ok(File::from(file.map_err(|error| {
            self.denied("write beside", error.into())
        })?))
    }

    /// Refuses early where the disk has no room, so that a large pull does not fill it for others first.
    fn refuse_full(&self, needed: u64) -> Result<(), TargetError> {
        let stat = fstatvfs(&self.directory)
            .map_err(|error| self.failed("look at the disk of", error.into()))?;
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

    /// Makes an empty file beside the target; what lies there under that name is removed, and no link is followed.
    pub(super) fn beside(&self, suffix: &str) -> Result<(OsString, File), TargetError> {
        let mut name = self.part_prefix();
        name.push(suffix);
        self.remove(&name);
        let file = self.create(&name, OFlags::WRONLY)?;
        self.rehearse(&file).inspect_err(|_| self.remove(&name))?;
        Ok((name, file))
    }

    /// Removes a file beside the target. What can't be removed is found and judged by the next try.
    pub(super) fn remove(&self, name: &OsStr) {
        let _ = unlinkat(&self.directory, name, AtFlags::empty());
    }

    /// Brings a whole file that lies beside the target to the disk, and puts it into the target's place.
    ///
    /// A file that could not be brought to the disk is removed: its pages count as written from then on, so that the next sync would
    /// say nothing of what is lost (fsync(2), which tells an error once).
    pub(super) fn replace(&self, file: &File, name: &OsStr) -> Result<(), TargetError> {
        self.give(file, Some(self.mode))?;
        if let Err(error) = file.sync_all() {
            self.remove(name);
            return Err(self.failed("bring to the disk", error));
        }
        // What stands there may have changed meanwhile. A rename would replace a link, not follow it; it is refused all the
        // same, as whoever made it expects the file elsewhere.
        let old = self.check()?.and_then(|size| self.hold(size));
        renameat(&self.directory, name, &self.directory, &self.name)
            .map_err(|error| self.denied("replace", error.into()))?;
        let synced = self.sync_directory();
        if let Some(old) = old {
            // Without a thread it is dropped, and freed, here.
            let _ = thread::Builder::new()
                .name("release".to_owned())
                .spawn(move || drop(old));
        }
        synced
    }

    fn sync_directory(&self) -> Result<(), TargetError> {
        fsync(&self.directory)
            .map_err(|error| self.failed("bring the directory to the disk of", error.into()))
    }

    /// Keeps a large file that is about to be replaced, so that the rename need not wait until its blocks are free: that
    /// takes half a second for a gibibyte. `None` where it is small, or can't be kept.
    fn hold(&self, size: u64) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        (size >= LARGE)
            .then(|| openat(&self.directory, &self.name, flags, Mode::empty()).ok())
            .flatten()
    }

    /// Gives a file its mode and its owner: the one that is configured, and where that says nothing the one of the file that is there, if
    /// this process may.
    fn give(&self, file: &File, mode: Option<Mode>) -> Result<(), TargetError> {
        let is = fstat(file).map_err(|error| self.failed("look at", error.into()))?;
        let was = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let (user, group) = self.owner.as_ref().map_or((None, None), |owner| {
            (owner.user.as_ref(), owner.group.as_ref())
        });
        // The group first, then the mode, and the user last: who has given the file away can change neither any more without
        // further capabilities. Of the mode's bits a change of owner takes only those that no `FileMode` has (chown(2)).
        let group = self.number("group", Accounts::Groups, group)?;
        let user = self.number("user", Accounts::Users, user)?;
        let set_group = |id| fchown(file, None, Some(Gid::from_raw(id)));
        let set_user = |id| fchown(file, Some(Uid::from_raw(id)), None);
        self.set(
            "group",
            is.st_gid,
            group,
            was.map(|was| was.st_gid),
            &set_group,
        )?;
        // Whoever may write a file need not be whose it is, and only that one may change its mode, be it to the same.
        if let Some(mode) = mode.filter(|mode| *mode != Mode::from_raw_mode(is.st_mode)) {
            fchmod(file, mode).map_err(|error| self.failed("set the mode of", error.into()))?;
        }
        self.set(
            "user",
            is.st_uid,
            user,
            was.map(|was| was.st_uid),
            &set_user,
        )
    }

    /// The number of a configured owner.
    fn number<'o>(
        &self,
        what: &'static str,
        accounts: Accounts,
        account: Option<&'o Account>,
    ) -> Result<Option<(&'o Account, u32)>, TargetError> {
        let Some(account) = account else {
            return Ok(None);
        };
        // A missing table has no names.
        let number = accounts
            .number(account)
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                _ => Err(self.failed("look up the owner of", error)),
            })?;
        let path = self.path.clone();
        let unknown = || TargetError::Unknown {
            what,
            account: account.clone(),
            file: accounts.path(),
            path,
        };
        number
            .map(|number| Some((account, number)))
            .ok_or_else(unknown)
    }

    fn set(
        &self,
        what: &'static str,
        is: u32,
        configured: Option<(&Account, u32)>,
        was: Option<u32>,
        set: &dyn Fn(u32) -> rustix::io::Result<()>,
    ) -> Result<(), TargetError> {
        match (configured, was) {
            (Some((_, id)), _) if id == is => Ok(()),
            (Some((account, id)), _) => set(id).map_err(|error| TargetError::Owner {
                path: self.path.clone(),
                what,
                account: account.clone(),
                id,
                uid: geteuid().as_raw(),
                source: error.into(),
            }),
            (None, Some(id)) if id != is => {
                if let Err(error) = set(id) {
                    tracing::info!(
                        "{} had the {what} {id} and has {is} now: {error}",
                        self.path.display()
                    );
                }
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Tries with an empty file whether it could be given to its configured owner, so that nothing is pulled in vain.
    fn rehearse(&self, file: &File) -> Result<(), TargetError> {
        if self.owner.is_none() {
            return Ok(());
        }
        let is = fstat(file).map_err(|error| self.failed("look at", error.into()))?;
        let given = self.give(file, None);
        // Back, so that an interrupted pull can be opened again. Where that fails it begins anew.
        let _ = fchown(
            file,
            Some(Uid::from_raw(is.st_uid)),
            Some(Gid::from_raw(is.st_gid)),
        );
        given
    }

    /// What failed, with the mend if it was not allowed.
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

    fn part_name(&self, digest: &Digest) -> OsString {
        let mut name = self.part_prefix();
        name.push(data_encoding::HEXLOWER.encode(&digest[..DIGEST_IN_NAME]));
        name.push(PART_SUFFIX);
        name
    }

    fn part_prefix(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".");
        name
    }

    /// Removes parts of this target but one; what can't be removed is only untidy.
    pub fn remove_parts(&self, but: Option<&OsStr>) {
        let prefix = self.part_prefix();
        let Ok(entries) = rustix::fs::Dir::read_from(&self.directory) else {
            return;
        };
        for entry in entries.take(ENTRIES).filter_map(Result::ok) {
            use std::os::unix::ffi::OsStrExt;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let middle = name.as_bytes().strip_prefix(prefix.as_bytes());
            let middle = middle.and_then(|rest| rest.strip_suffix(PART_SUFFIX.as_bytes()));
            let ours = middle.is_some_and(|hex| {
                hex.len() == 2 * DIGEST_IN_NAME
                    && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            });
            if ours && Some(name) != but {
                let _ = unlinkat(&self.directory, name, AtFlags::empty());
            }
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

const PART_SUFFIX: &str = ".part";

/// A file on its way in, beside its target.
#[derive(Debug)]
pub struct Part<'t> {
    target: &'t Target,
    name: OsString,
    file: File,
    flusher: Flusher,
    hasher: blake3::Hasher,
    held: u64,
    size: u64,
    digest: Digest,
    /// Whether something was written that is neither on the disk nor given up.
    is_unsynced: bool,
}

impl Part<'_> {
    /// How many bytes are there.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Forgets what is there: the server begins at the start.
    pub fn restart(&mut self) -> Result<(), TargetError> {
        let restarted = self
            .file
            .set_len(0)
            .and_then(|()| io::Seek::rewind(&mut self.file));
        restarted.map_err(|error| self.target.failed("write beside", error))?;
        self.is_unsynced = true;
        self.hasher = blake3::Hasher::new();
        self.held = 0;
        Ok(())
    }

    /// Adds what came.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        if self.held + bytes.len() as u64 > self.size {
            self.discard();
            return Err(TargetError::Wrong {
                path: self.target.path.clone(),
                what: "it is longer than was said",
            });
        }
        self.is_unsynced = true;
        if let Err(error) = self.file.write_all(bytes) {
            if error.kind() == io::ErrorKind::StorageFull
                || error.kind() == io::ErrorKind::QuotaExceeded
            {
                // Somebody else filled the disk meanwhile: give back what we took of it.
                let (needed, path) = (self.size - self.held, self.target.path.clone());
                self.discard();
                return Err(TargetError::Full {
                    path,
                    needed,
                    free: 0,
                });
            }
            return Err(self.target.failed("write beside", error));
        }
        let (directory, name) = (&self.target.directory, &self.name);
        self.flusher.wrote(bytes.len() as u64, || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(directory, name, flags, Mode::empty())
                .ok()
                .map(File::from)
        });
        if let Some(error) = self.flusher.failed() {
            self.discard();
            return Err(self.target.failed("bring to the disk", error.into()));
        }
        self.hasher.update(bytes);
        self.held += bytes.len() as u64;
        Ok(())
    }

    /// Checks size and digest, brings all to the disk and takes the target's place.
    ///
    /// After a crash at any moment the target is wholly old or wholly new.
    pub fn commit(mut self) -> Result<(), TargetError> {
        let wrong = |what| {
            Err(TargetError::Wrong {
                path: self.target.path.clone(),
                what,
            })
        };
        if self.held != self.size {
            // What is there may be right, and is judged when the rest came.
            return wrong("it ended too soon");
        }
        if *self.hasher.finalize().as_bytes() != self.digest {
            let wrong = wrong("its digest is another one");
            self.discard();
            return wrong;
        }
        if let Some(error) = self.flusher.failed() {
            self.discard();
            return Err(self.target.failed("bring to the disk", error.into()));
        }
        let replaced = self.target.replace(&self.file, &self.name);
        self.is_unsynced &= replaced.is_err();
        replaced
    }

    /// Removes what is there.
    fn discard(&mut self) {
        self.is_unsynced = false;
        self.target.remove(&self.name);
    }
}

impl Drop for Part<'_> {
    /// What is left for the next pull is on the disk, or is not left: another descriptor would not be told of an error that came before.
    fn drop(&mut self) {
        if self.is_unsynced && (self.file.sync_data().is_err() || self.flusher.failed().is_some()) {
            self.discard();
        }
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What stands for a file on a disk that fails: a pipe takes bytes and a mode, and can't be synced.
    fn unsyncable() -> (File, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        assert!(
            File::from(OwnedFd::from(writer.try_clone().unwrap()))
                .sync_all()
                .is_err()
        );
        (File::from(OwnedFd::from(writer)), reader)
    }

    #[test]
    fn a_part_that_failed_to_come_to_the_disk_is_not_there_for_the_next_pull() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::open(&directory.path().join("a"), 0o644).unwrap();
        let digest = blake3::hash(b"content").into();
        for bytes in [&b"content"[..], b"cont"] {
            let mut part = target.part(7, &digest).unwrap();
            assert_eq!(
                part.held(),
                0,
                "what was not brought to the disk is not gone on with"
            );
            let (file, _reader) = unsyncable();
            part.file = file;
            part.write(bytes).unwrap();
            if bytes.len() == 7 {
                let error = part.commit().unwrap_err().to_string();
                assert!(error.contains("bring to the disk"), "{error}");
            } else {
                drop(part);
            }
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{bytes:?}");
        }
        // With a disk again it goes on where it stopped, and what was synced stays.
        target.part(7, &digest).unwrap().write(b"cont").unwrap();
        assert_eq!(target.part(7, &digest).unwrap().held(), 4);
    }

    #[test]
    fn a_part_whose_flusher_failed_is_given_up_at_the_next_block() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::open(&directory.path().join("a"), 0o644).unwrap();
        let digest = blake3::hash(b"content").into();
        let failing = |bytes: &[u8]| {
            let mut part = target.part(7, &digest).unwrap();
            assert_eq!(part.held(), 0);
            part.write(bytes).unwrap();
            part.flusher = Flusher::that_failed();
            part
        };
        for error in [
            failing(b"cont").write(b"ent").unwrap_err(),
            failing(b"content").commit().unwrap_err(),
        ] {
            assert!(error.to_string().contains("bring to the disk"), "{error}");
        }
        drop(failing(b"cont"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
