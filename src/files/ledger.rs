//! Which generation of which file is offered or held, across restarts: one small JSON file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Digest, hex};
use crate::model::{NodeId, NodeName, Timestamp};

/// The longest ledger that is read: 64 names need some 20 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Files by name.
pub type Ledger = BTreeMap<String, Entry>;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The server whose file it is.
    pub server: NodeId,
    /// The generation; 0 where a server is noted and nothing is held yet.
    pub generation: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    #[serde(with = "hex")]
    pub digest: Digest,
    /// Whether what follows a replacement is still to be done.
    #[serde(default)]
    pub unfinished: bool,
    /// Why that failed when it was done last; `None` if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When it was taken; `None` of an offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Timestamp>,
    /// The server's name at that time; `None` of an offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<NodeName>,
}

/// Why a ledger that is there can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It does not hold a ledger.
    #[error("{} is damaged ({source})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What differs.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a ledger; an empty one where none is.
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

/// Reads a ledger that can be made anew; an empty one where none is, or where it can't be used, which is said in the log.
pub fn read(path: &Path) -> Ledger {
    load(path).unwrap_or_else(|error| {
        tracing::warn!("{error}; going on without it");
        Ledger::new()
    })
}

/// A ledger as it is written.
pub fn text(ledger: &Ledger) -> String {
    // Keys are text and values plain: this can't fail.
    serde_json::to_string_pretty(ledger).unwrap_or_default() + "\n"
}
