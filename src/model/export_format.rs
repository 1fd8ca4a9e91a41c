//! The format of the registry as a file for other programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format of the exported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// JSON with everything that the registry knows of each node, as `hereabouts nodes --output
    /// json` prints it.
    Hereabouts,
    /// The JSON file of DynIP: `{"host": ["203.0.113.7", "2013-02-01 10:00:00.123456"]}`.
    Dynip,
}
