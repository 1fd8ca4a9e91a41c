//! The state of every accepted file and its last attempt.
//!
//! The puller writes it, and the event loop reads it for `status`. Nothing here touches a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::api::view::AcceptView;
use crate::files::Digest;
use crate::files::ledger::Entry;
use crate::model::Timestamp;

/// The state of every accepted file; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepts(Arc<RwLock<BTreeMap<Box<str>, AcceptView>>>);

impl Accepts {
    /// The accepted files by name, before the first attempt.
    pub(crate) fn new(accepts: impl IntoIterator<Item = (Box<str>, PathBuf)>) -> Self {
        let views = accepts.into_iter().map(|(name, path)| {
            let view = AcceptView {
                name: name.to_string(),
                path: path.display().to_string(),
                ..AcceptView::default()
            };
            (name, view)
        });
        Self(Arc::new(RwLock::new(views.collect())))
    }

    pub(crate) fn views(&self) -> Vec<AcceptView> {
        // Each change is complete before the lock is released, so a poisoned lock still guards complete views.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Stores what is held now.
    pub(super) fn set_held(&self, name: &str, entry: &Entry) {
        self.set(name, |view| {
            // Generation 0: the server is stored before anything was pulled from it.
            let is_held = entry.generation > 0;
            view.server = Some(entry.server);
            view.server_name.clone_from(&entry.server_name);
            view.generation = is_held.then_some(entry.generation);
            view.size = is_held.then_some(entry.size);
            view.digest = is_held.then(|| data_encoding::HEXLOWER.encode(&entry.digest));
            view.pulled = entry.pulled;
        });
    }

    /// Stores what a legacy protocol delivered, which knows neither servers nor generations; `changed` is when that
    /// changed the file.
    pub(super) fn set_received(
        &self,
        name: &str,
        size: u64,
        digest: &Digest,
        changed: Option<Timestamp>,
    ) {
        self.set(name, |view| {
            view.size = Some(size);
            view.digest = Some(data_encoding::HEXLOWER.encode(digest));
            view.pulled = changed.or(view.pulled);
        });
    }

    /// Stores the outcome of an attempt.
    pub(super) fn set_attempt(&self, name: &str, at: Timestamp, error: Option<String>) {
        self.set(name, |view| {
            view.last_attempt = Some(at);
            view.error = error;
        });
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut AcceptView)) {
        if let Some(view) = self
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(name)
        {
            change(view);
        }
    }
}
