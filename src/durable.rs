//! A file replaced as a whole: after a crash it is as before or as wanted, never in between.
//!
//! The new content goes into a file beside the target, which is synced and renamed over it; then the directory is
//! synced, as a rename is durable only with it. The file beside the target is always a new one: a file that a crash left
//! behind is removed, and a link that another user created under its name is never followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A replacement that is being written. If it is dropped before [`Self::commit`], the target is unchanged.
#[derive(Debug)]
pub(crate) struct Replacement {
    target: PathBuf,
    temporary: PathBuf,
}

impl Replacement {
    /// Creates the file beside the target, with this mode.
    pub(crate) fn begin(target: &Path, mode: u32) -> io::Result<(Self, File)> {
        #[cfg(test)]
        blocked::wait(target);
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(".new");
        let temporary = target.with_file_name(name);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        let target = target.to_owned();
        Ok((Self { target, temporary }, file))
    }

    /// Syncs the file and renames it over the target.
    pub(crate) fn commit(self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        sync_directory_of(&self.target)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After the rename no file has this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Replaces a file by one with this content and mode.
pub(crate) fn replace(target: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (replacement, mut file) = Replacement::begin(target, mode)?;
    file.write_all(content)?;
    replacement.commit(&file)
}

/// Syncs the directory that a file is in: a created or renamed file is durable only then.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// The directory of a file; `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A stand-in for a disk that does not answer: whoever replaces a file there waits.
#[cfg(test)]
pub(crate) mod blocked {
    use std::path::{Path, PathBuf};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    struct Target {
        path: PathBuf,
        writers: usize,
    }

    static TARGETS: Mutex<Vec<Target>> = Mutex::new(Vec::new());
    static CHANGED: Condvar = Condvar::new();

    /// The file cannot be replaced until this is dropped.
    pub(crate) struct Disk(PathBuf);

    impl Disk {
        pub(crate) fn block(path: PathBuf) -> Self {
            TARGETS.lock().unwrap().push(Target {
                path: path.clone(),
                writers: 0,
            });
            Self(path)
        }

        /// Whether a thread waits to replace the file.
        pub(crate) fn is_awaited(&self) -> bool {
            let targets = TARGETS.lock().unwrap();
            targets
                .iter()
                .any(|target| target.path == self.0 && target.writers > 0)
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            TARGETS
                .lock()
                .unwrap()
                .retain(|target| target.path != self.0);
            CHANGED.notify_all();
        }
    }

    /// Waits while the disk of this file is blocked, but never for ever: a test whose own thread waits here has to fail.
    pub(super) fn wait(path: &Path) {
        let mut targets = TARGETS.lock().unwrap();
        if let Some(target) = targets.iter_mut().find(|target| target.path == path) {
            target.writers += 1;
            let is_blocked =
                |targets: &mut Vec<Target>| targets.iter().any(|target| target.path == path);
            let limit = Duration::from_secs(20);
            let (mut targets, _) = CHANGED
                .wait_timeout_while(targets, limit, is_blocked)
                .unwrap();
            if let Some(target) = targets.iter_mut().find(|target| target.path == path) {
                target.writers -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("epoch");
        replace(&target, b"1\n", 0o600).unwrap();
        replace(&target, b"2\n", 0o600).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"2\n");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn link_under_the_name_of_the_new_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let foreign = directory.path().join("foreign");
        fs::write(&foreign, "untouched").unwrap();
        symlink(&foreign, directory.path().join(".epoch.new")).unwrap();
        replace(&directory.path().join("epoch"), b"1\n", 0o600).unwrap();
        assert_eq!(fs::read(&foreign).unwrap(), b"untouched");
    }

    #[test]
    fn replacement_that_is_given_up_leaves_the_target_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("nodes.json");
        fs::write(&target, "old").unwrap();
        let (replacement, mut file) = Replacement::begin(&target, 0o644).unwrap();
        file.write_all(b"half").unwrap();
        drop(replacement);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn bare_file_name_is_in_the_working_directory() {
        assert_eq!(directory_of(Path::new("nodes.json")), Path::new("."));
        assert_eq!(directory_of(Path::new("/a/b")), Path::new("/a"));
    }
}
