//! A file that was replaced, as the actions after it get it.

use std::path::Path;

use serde::Serialize;

use super::Digest;
use crate::model::{NodeName, Timestamp};

/// The file that replaced an earlier one. A webhook posts this as JSON.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Replacement<'t> {
    /// The name on the channel.
    pub name: &'t str,
    /// 0 for a file of an old base, which knows no generations.
    pub generation: u64,
    /// In bytes.
    pub size: u64,
    #[serde(serialize_with = "super::hex::serialize")]
    pub digest: Digest,
    /// The node that pulled the file.
    pub node: &'t NodeName,
    pub path: &'t Path,
    /// When the file was replaced.
    pub time: Timestamp,
}
