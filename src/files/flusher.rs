//! A file brought to the disk while it is written.

use std::fs::File;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

/// How many bytes may come between two flushes.
const EVERY: u64 = 16 << 20;

/// Brings a growing file to the disk from a thread of its own, so that the sync at its end has little left to wait for.
///
/// It has the file open for itself: the kernel tells an error of writing back to each opening once, so what fails here fails the
/// sync at the end, too. A pull that is interrupted may never come to it, and whoever opens the file later is told nothing: so a
/// failure is kept here. The thread begins with the first flush and ends after the last.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    asked: Option<SyncSender<()>>,
    since: u64,
    failed: Arc<OnceLock<Errno>>,
}

impl Flusher {
    /// Notes that bytes were written; `open` opens the file once more.
    pub(super) fn wrote(&mut self, bytes: u64, open: impl FnOnce() -> Option<File>) {
        self.since += bytes;
        if self.since < EVERY {
            return;
        }
        self.since = 0;
        if self.asked.is_none() {
            self.asked = open().and_then(|file| start(file, self.failed.clone()));
        }
        if let Some(asked) = &self.asked {
            // While one flush is under way another one waits at most.
            let _ = asked.try_send(());
        }
    }

    /// Why a flush failed, if one did.
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

/// Starts the thread; `None` where there can be no more, and then the sync at the end does all.
fn start(file: File, failed: Arc<OnceLock<Errno>>) -> Option<SyncSender<()>> {
    let (asked, asks) = sync_channel(1);
    let flush = move || {
        while asks.recv().is_ok() {
            if let Err(error) = file.sync_data() {
                // The first one tells enough.
                let _ = failed.set(Errno::from_io_error(&error).unwrap_or(Errno::IO));
                return;
            }
            // Its pages serve what comes next: a large file pushes nobody else's out of memory, and a virtual machine need not ask
            // its host for more, which takes longer than all else. Only advice: without it they stay.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    };
    thread::Builder::new()
        .name("flusher".to_owned())
        .spawn(flush)
        .ok()
        .map(|_| asked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_small_file_needs_no_thread_and_a_large_one_has_one_that_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut file = File::create(&path).unwrap();
        let mut flusher = Flusher::default();
        flusher.wrote(EVERY - 1, || panic!("nothing to flush yet"));
        assert!(flusher.asked.is_none());
        file.write_all(b"content").unwrap();
        flusher.wrote(1, || File::open(&path).ok());
        flusher.wrote(EVERY, || panic!("it is open"));
        // The thread has the one more opening, until it ends.
        let openings = || {
            let all = std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter_map(Result::ok);
            all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
                .count()
        };
        assert_eq!(openings(), 2);
        drop(flusher);
        let started = Instant::now();
        while openings() > 1 {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the thread does not end"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn a_flush_that_failed_stays_told() {
        let mut flusher = Flusher::default();
        // A pipe can't be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        flusher.wrote(EVERY, || {
            Some(File::from(std::os::fd::OwnedFd::from(writer)))
        });
        let started = Instant::now();
        while flusher.failed().is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the failure is not told"
            );
            thread::yield_now();
        }
        flusher.wrote(EVERY, || panic!("it was open"));
        assert!(flusher.failed().is_some());
    }

    #[test]
    fn a_file_that_can_not_be_opened_again_is_left_to_the_sync_at_the_end() {
        let mut flusher = Flusher::default();
        flusher.wrote(EVERY, || None);
        assert!(flusher.asked.is_none());
    }
}
