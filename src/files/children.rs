//! The processes that this program started itself, and the orphans that come to it as PID 1.
//!
//! The kernel gives orphans to PID 1, and each one stays in the process table until PID 1 waits for it. This module
//! must never wait for a process that this program started: its status belongs to the code that started it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::process::{Child, Command};

/// The processes that this program started and whose status nobody has taken yet. The process table belongs to the
/// whole program, and so does this list.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Keeps a process from being taken for an orphan. Drop it when the process was waited for.
#[derive(Debug)]
pub struct Started(Option<i32>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            started().remove(&pid);
        }
    }
}

/// Starts a program; the only place that does so in a node.
pub fn start(command: &mut Command) -> io::Result<(Child, Started)> {
    // The lock is held until the process is on the list, as it may end at once.
    let mut started = started();
    let child = command.spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    started.extend(pid);
    Ok((child, Started(pid)))
}

/// Takes the status of every orphan that ended. Without `/proc` none is found.
pub fn reap_orphans() -> io::Result<()> {
    // The lock is held meanwhile, so that no process is started that is not on the list yet.
    let started = started();
    for orphan in ended_orphans(&started)? {
        // An error means that it is gone, which is what is wanted.
        let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
    }
    Ok(())
}

/// The children of this program that ended and that it did not start itself.
fn ended_orphans(started: &BTreeSet<i32>) -> io::Result<Vec<Pid>> {
    let own = getpid().as_raw_nonzero().get();
    let mut orphans = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if started.contains(&pid) {
            continue;
        }
        // A process that is gone meanwhile has no file any more.
        if fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_zombie_of(&stat, own)) {
            orphans.extend(Pid::from_raw(pid));
        }
    }
    Ok(orphans)
}

fn started() -> MutexGuard<'static, BTreeSet<i32>> {
    // Each change is one insertion or removal, so a poisoned lock still guards a complete list.
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this content of `/proc/PID/stat` (proc(5)) is that of a process that ended and whose parent is `parent`.
fn is_zombie_of(stat: &[u8], parent: i32) -> bool {
    // The second field is the program's name in parentheses, and it may hold blanks and parentheses.
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else {
        return false;
    };
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    let mut fields = rest.split_whitespace();
    let (state, of) = (fields.next(), fields.next());
    state == Some("Z") && of.and_then(|of| of.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_a_process_that_ended_and_is_a_child_is_a_zombie_of_its_parent() {
        let cases: [(&[u8], bool); 6] = [
            (b"7 (sleep) Z 1 7 7 0", true),
            (b"7 (a) Z 2 (b) Z 1 7 7 0", true),
            (b"7 (a) Z 1) S 1 7 7 0", false),
            (b"7 (sleep) Z 2 7 7 0", false),
            (b"7 (\xff) Z", false),
            (b"", false),
        ];
        for (stat, is) in cases {
            assert_eq!(
                is_zombie_of(stat, 1),
                is,
                "{}",
                String::from_utf8_lossy(stat)
            );
        }
    }

    #[tokio::test]
    async fn process_that_this_program_started_is_no_orphan_until_its_status_was_taken() {
        let (mut child, started_child) = start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let orphan = Pid::from_raw(pid).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        // To an empty list it is an orphan once it has ended.
        while !ended_orphans(&BTreeSet::new()).unwrap().contains(&orphan) {
            assert!(Instant::now() < limit, "the process ends");
            std::thread::yield_now();
        }
        assert!(!ended_orphans(&started()).unwrap().contains(&orphan));
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        drop(started_child);
        assert!(!started().contains(&pid));
    }
}
