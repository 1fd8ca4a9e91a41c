//! Which generation of which file is offered or held, across restarts: one small JSON file.
//!
//! In goes a path; out come entries by the file's name, and the text to write. Writing the text durably is up to the caller.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Digest, hex};
use crate::model::{NodeId, NodeName, Timestamp};

/// How many bytes of a ledger are read: 64 names need some 20 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Files by name.
pub type Ledger = BTreeMap<String, Entry>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The server whose file it is.
    pub server: NodeId,
    /// 0 where the server is stored and nothing is held yet.
    pub generation: u64,
    /// In bytes.
    pub size: u64,
    #[serde(with = "hex")]
    pub digest: Digest,
    /// Whether the action after the replacement still has to run.
    #[serde(default)]
    pub unfinished: bool,
    /// Why that action failed when it last ran; `None` if it did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When the file was pulled; `None` for an offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<Timestamp>,
    /// The server's name at that time; `None` for an offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<NodeName>,
}

/// Why an existing ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is damaged ({source})", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a ledger. It is empty if there is no file.
pub fn load(path: &Path) -> Result<Ledger, LedgerError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
        Ok(_) => serde_json::from_str(&text).map_err(|source| LedgerError::Damaged {
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ledger::new()),
        Err(source) => Err(LedgerError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads a ledger whose loss is tolerable: it is empty if there is no file, or if the file can't be used. The latter is logged.
pub fn load_or_empty(path: &Path) -> Ledger {
    load(path).unwrap_or_else(|error| {
        tracing::warn!("{error}; the node continues with an empty one");
        Ledger::new()
    })
}

/// The text of a ledger's file.
pub fn text(ledger: &Ledger) -> String {
    // Keys are text and values are plain, so this can't fail.
    serde_json::to_string_pretty(ledger).unwrap_or_default() + "\n"
}
