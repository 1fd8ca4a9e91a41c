//! Which generation of which file is offered or held, across restarts: one small JSON file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

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

/// Reads a ledger; an empty one where none is, or where it can't be read as one, which is said in the log.
pub fn read(path: &Path) -> Ledger {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ledger::new(),
        Err(error) => {
            tracing::warn!("can't read {}: {error}; going on without it", path.display());
            return Ledger::new();
        }
    }
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!("{} is damaged ({error}); going on without it", path.display());
        Ledger::new()
    })
}

/// A ledger as it is written.
pub fn text(ledger: &Ledger) -> String {
    // Keys are text and values plain: this can't fail.
    serde_json::to_string_pretty(ledger).unwrap_or_default() + "\n"
}
