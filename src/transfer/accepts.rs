//! What a node takes, and how the last attempt went: written by the puller, read for `status`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::api::view::AcceptView;
use crate::files::Digest;
use crate::files::ledger::Entry;
use crate::model::Timestamp;

/// Every accepted file as it stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepts(Arc<RwLock<BTreeMap<Box<str>, AcceptView>>>);

impl Accepts {
    /// Files by name, none of them tried yet.
    pub(crate) fn new(accepts: impl IntoIterator<Item = (Box<str>, PathBuf)>) -> Self {
        let view = |(name, path): (Box<str>, PathBuf)| {
            let view = AcceptView {
                name: name.to_string(),
                path: path.display().to_string(),
                ..AcceptView::default()
            };
            (name, view)
        };
        Self(Arc::new(RwLock::new(
            accepts.into_iter().map(view).collect(),
        )))
    }

    /// Every file.
    pub(crate) fn views(&self) -> Vec<AcceptView> {
        // Each change is whole before the lock is given back, so what a panic left is whole too.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Notes what is held now.
    pub(super) fn holds(&self, name: &str, entry: &Entry) {
        self.set(name, |view| {
            // A server that is noted before anything was taken of it.
            let is_held = entry.generation > 0;
            view.server = Some(entry.server);
            view.server_name.clone_from(&entry.server_name);
            view.generation = is_held.then_some(entry.generation);
            view.size = is_held.then_some(entry.size);
            view.digest = is_held.then(|| data_encoding::HEXLOWER.encode(&entry.digest));
            view.pulled = entry.taken;
        });
    }

    /// Notes what came by a wire that knows neither servers nor generations, and when that changed the file.
    pub(super) fn received(
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

    /// Notes how an attempt went.
    pub(super) fn tried(&self, name: &str, at: Timestamp, error: Option<String>) {
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
