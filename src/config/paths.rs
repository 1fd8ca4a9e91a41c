//! Makes the paths of a configuration ready to be opened.

use std::path::{Path, PathBuf};

use super::{AfterAction, Config, KeySource, StoreConfig};

impl Config {
    /// Resolves every path.
    ///
    /// The state directory and the files that the node reads (keys, tokens, offered files) are
    /// relative to `directory`, the directory of the configuration file. The files that the node
    /// writes (store, export, accepted files) are relative to the state directory, and so are pid
    /// files.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.resolve_read_paths(directory);
        self.resolve_written_paths();
    }

    fn resolve_read_paths(&mut self, directory: &Path) {
        let resolve = |path: &mut PathBuf| *path = directory.join(&*path);
        resolve(&mut self.node.state_dir);
        for key in &mut self.channel.keys {
            match key {
                KeySource::File(path) | KeySource::PassphraseFile(path) => resolve(path),
            }
        }
        for offer in &mut self.files.offer {
            resolve(&mut offer.path);
        }
        self.http.token_file.as_mut().map(resolve);
        for accept in &mut self.files.accept {
            if let Some(AfterAction::Webhook {
                token_file,
                ca_file,
                ..
            }) = &mut accept.after
            {
                token_file.iter_mut().chain(ca_file).for_each(resolve);
            }
        }
        if let Some(pydiscover) = &mut self.compat.pydiscover {
            pydiscover.password_file.as_mut().map(resolve);
        }
    }

    fn resolve_written_paths(&mut self) {
        let state_dir = &self.node.state_dir;
        let resolve = |path: &mut PathBuf| *path = state_dir.join(&*path);
        if let StoreConfig::Embedded { path } = &mut self.registry.store {
            resolve(path);
        }
        if let Some(export) = &mut self.registry.export {
            resolve(&mut export.path);
        }
        for accept in &mut self.files.accept {
            resolve(&mut accept.path);
            if let Some(AfterAction::Signal { pid_file, .. }) = &mut accept.after {
                resolve(pid_file);
            }
        }
    }
}
