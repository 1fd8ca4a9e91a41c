//! Writes a growing file back to the disk while it is received, so that the sync at its end has little left to do.
//!
//! In go counts of bytes written; out comes an error if a flush failed. It must never report a failed flush as a success.

use std::fs::File;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

/// How many bytes may be written between two flushes.
const FLUSH_EVERY: u64 = 16 << 20;

/// Flushes a file from a thread of its own. The thread starts with the first flush and ends after the last.
///
/// The thread has its own open file description: the kernel reports a write-back error once to each description, so an
/// error here still fails the sync at the end. A pull that is interrupted may never reach that sync, and a later
/// opening of the file would see no error: so the flusher keeps the failure.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    requests: Option<SyncSender<()>>,
    unflushed: u64,
    failed: Arc<OnceLock<Errno>>,
}

impl Flusher {
    /// Counts written bytes, and requests a flush where enough of them are unflushed; `open` opens the file again.
    pub(super) fn wrote(&mut self, bytes: u64, open: impl FnOnce() -> Option<File>) {
        self.unflushed += bytes;
        if self.unflushed < FLUSH_EVERY {
            return;
        }
        self.unflushed = 0;
        if self.requests.is_none() {
            self.requests = open().and_then(|file| start(file, self.failed.clone()));
        }
        if let Some(requests) = &self.requests {
            // While one flush runs, at most one more waits: a full queue needs no further request.
            let _ = requests.try_send(());
        }
    }

    /// Why a flush failed; `None` if none did.
    pub(super) fn failed(&self) -> Option<Errno> {
        self.failed.get().copied()
    }

    #[cfg(test)]
    pub(super) fn that_failed() -> Self {
        Self {
            failed: Arc::new(Errno::IO.into()),
            ..Self::default()
        }
    }
}

/// Starts the thread; `None` where the system allows no more threads, and then the sync at the end does all the work.
fn start(file: File, failed: Arc<OnceLock<Errno>>) -> Option<SyncSender<()>> {
    let (requests, requested) = sync_channel(1);
    let flush = move || {
        while requested.recv().is_ok() {
            if let Err(error) = file.sync_data() {
                tracing::debug!(%error, "failed to flush a part");
                // The first error is enough.
                let _ = failed.set(Errno::from_io_error(&error).unwrap_or(Errno::IO));
                return;
            }
            // The pages are reused for the next bytes: a large file evicts no other program's pages, and a virtual
            // machine need not request memory from its host, which takes longer than all the rest. The call is only
            // advice: without it the pages stay.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    };
    thread::Builder::new()
        .name("flusher".to_owned())
        .spawn(flush)
        .ok()
        .map(|_| requests)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn small_file_starts_no_thread_and_the_thread_of_a_large_file_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut file = File::create(&path).unwrap();
        let mut flusher = Flusher::default();
        flusher.wrote(FLUSH_EVERY - 1, || panic!("nothing to flush yet"));
        assert!(flusher.requests.is_none());
        file.write_all(b"content").unwrap();
        flusher.wrote(1, || File::open(&path).ok());
        flusher.wrote(FLUSH_EVERY, || panic!("the file is open already"));
        // The thread holds the second descriptor until it ends.
        let descriptors = || {
            let all = std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(Result::ok);
            all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
                .count()
        };
        assert_eq!(descriptors(), 2);
        drop(flusher);
        let started = Instant::now();
        while descriptors() > 1 {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the thread does not end"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn failed_flush_stays_reported() {
        let mut flusher = Flusher::default();
        // A pipe can't be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        flusher.wrote(FLUSH_EVERY, || {
            Some(File::from(std::os::fd::OwnedFd::from(writer)))
        });
        let started = Instant::now();
        while flusher.failed().is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the failure is not reported"
            );
            thread::yield_now();
        }
        flusher.wrote(FLUSH_EVERY, || panic!("the file was open already"));
        assert!(flusher.failed().is_some());
    }

    #[test]
    fn file_that_cannot_be_opened_again_starts_no_thread() {
        let mut flusher = Flusher::default();
        flusher.wrote(FLUSH_EVERY, || None);
        assert!(flusher.requests.is_none());
    }
}
