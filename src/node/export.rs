//! The export file, written some time after each change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::ExportConfig;
use crate::model::{ExportFormat, Now};
use crate::registry::{Table, export};

/// The time from a change to its write, so that a fleet that comes back at once is written once.
const AFTER_CHANGE: Duration = Duration::from_secs(1);
/// The time until a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// The export file, and when it is written next.
pub(super) struct Export {
    path: PathBuf,
    format: ExportFormat,
    due: Option<Duration>,
    failing: bool,
}

impl Export {
    pub(super) fn new(config: &ExportConfig, state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(&config.path),
            format: config.format,
            due: Some(Duration::ZERO),
            failing: false,
        }
    }

    /// Notes that the registry changed.
    pub(super) fn touch(&mut self, now: Duration) {
        let at = now + AFTER_CHANGE;
        // A change brings the write of a refresh forward, but not the retry of a failed write.
        self.due = Some(
            self.due
                .map_or(at, |due| if self.failing { due } else { due.min(at) }),
        );
    }

    /// Notes that a node was seen again at its address. That changes DynIP's file alone, as each of its entries has a time.
    pub(super) fn refresh(&mut self, now: Duration, within: Duration) {
        if self.format == ExportFormat::Dynip && !self.failing {
            self.due.get_or_insert(now + within);
        }
    }

    /// When the file is to be written.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.due
    }

    /// Writes the file. A failure is logged once, and the write is tried again.
    pub(super) fn write(&mut self, table: &Table, now: Now) {
        let path = self.path.display();
        match export::write(&self.path, self.format, now.wall, table) {
            Ok(()) => {
                self.due = None;
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%path, "the export file is written again");
                }
            }
            Err(error) => {
                self.due = Some(now.elapsed + RETRY);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("failed to {error}; tried again every {} s", RETRY.as_secs());
                }
            }
        }
    }
}
