//! When the export file is written.

use std::time::Duration;

use super::export::Export;
use super::parts::Node;
use crate::model::Now;

impl Node {
    /// Notes a change that the export shows.
    pub(super) fn touch_export(&mut self, now: Now) {
        if let Some(export) = &mut self.export {
            export.touch(now.elapsed);
        }
    }

    /// Notes a change that only the times of the export show.
    pub(super) fn refresh_export(&mut self, now: Now, within: Duration) {
        if let Some(export) = &mut self.export {
            export.refresh(now.elapsed, within);
        }
    }

    pub(super) fn export_if_due(&mut self, now: Now) {
        let deadline = self.export.as_ref().and_then(Export::deadline);
        if deadline.is_some_and(|at| at <= now.elapsed) {
            self.write_export(now);
        }
    }

    pub(super) fn write_export(&mut self, now: Now) {
        if let (Some(export), Some(table)) = (&mut self.export, self.core.table()) {
            export.write(table, now);
        }
    }
}
