//! The decision whether to pull an offer. Pure.
//!
//! A file is accepted only from its own server: the one pinned in the configuration, else the one that it was first pulled
//! from.

use super::Accepted;
use crate::files::ledger::Entry;
use crate::wire::v1::Notice;

/// Whether to pull an offer; an error if it must not be pulled. `size` is that of the existing file.
pub(super) fn decide(
    held: Option<&Entry>,
    accepted: &Accepted,
    size: Option<u64>,
    notice: &Notice,
) -> Result<bool, String> {
    let trusted = accepted.server.or(held.map(|entry| entry.server));
    if let Some(trusted) = trusted.filter(|trusted| *trusted != notice.server) {
        return Err(format!(
            "files.accept: the file is of server {0}, and only the file of {trusted} is accepted: to change this, set its `server` to the new id",
            notice.server
        ));
    }
    if notice.size > accepted.max_size {
        return Err(format!(
            "the file has {} bytes, more than {}, the max_size in files.accept",
            notice.size, accepted.max_size
        ));
    }
    let Some(held) = held.filter(|entry| entry.server == notice.server) else {
        return Ok(true);
    };
    if notice.generation < held.generation {
        return Err(format!(
            "the server offers generation {}, older than generation {} here, which is kept",
            notice.generation, held.generation
        ));
    }
    if notice.generation == held.generation && notice.digest != held.digest {
        return Err(format!(
            "the server offers two contents as generation {}: the content here is kept",
            held.generation
        ));
    }
    // A file that a person removed or replaced here is restored.
    Ok(notice.generation > held.generation || size != Some(held.size))
}
