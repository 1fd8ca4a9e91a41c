//! The section of the files that servers offer and nodes pull.
//!
//! A doc comment here is the description of the setting in the schema, as in `sections`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{FileMode, OfferName};
use super::{ConfigDuration, Size, schema};
use crate::model::{HttpUrl, NodeId, Owner};

/// The files that servers offer and nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Files")]
pub struct FilesConfig {
    /// The files that this server offers. At most 64.
    #[schemars(length(max = 64))]
    pub offer: Vec<Offer>,
    /// The files that this node pulls from its servers. It pulls no others. At most 64.
    #[schemars(length(max = 64))]
    pub accept: Vec<Accept>,
    /// After a server announced a change, each node waits a random part of this time before it
    /// pulls, so that the nodes of a fleet do not pull at the same moment. At most `1d`.
    pub spread: ConfigDuration,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            offer: Vec::new(),
            accept: Vec::new(),
            spread: ConfigDuration::from_secs(10),
        }
    }
}

/// A file that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The name of the file on the channel.
    pub name: OfferName,
    /// The path of the file. Relative to the directory of this file.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
}

/// A file that a node pulls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// The name under which a server offers the file.
    pub name: OfferName,
    /// The path that the file is written to, always as a whole. Relative to the state directory.
    #[schemars(with = "schema::Path")]
    pub path: PathBuf,
    /// The permission bits of the file.
    #[serde(default = "usual_mode")]
    pub mode: FileMode,
    /// The owner of the file: `USER`, `USER:GROUP` or `:GROUP`, each a name or a number. Null: the
    /// owner of the replaced file, if this node may change owners; else the user who runs
    /// hereabouts.
    #[serde(default)]
    #[schemars(with = "Option<schema::OwnerText>")]
    pub owner: Option<Owner>,
    /// The largest file that is accepted.
    #[serde(default = "usual_size")]
    pub max_size: Size,
    /// The node id of the server whose file is accepted: `hereabouts discover --output json` prints
    /// it. Null: the first server that offers the file, and from then on only this server.
    #[serde(default)]
    #[schemars(with = "Option<schema::NodeIdText>")]
    pub server: Option<NodeId>,
    /// The action after the file was replaced. Null: no action.
    #[serde(default)]
    pub after: Option<AfterAction>,
}

fn usual_mode() -> FileMode {
    FileMode(0o644)
}

fn usual_size() -> Size {
    Size(1 << 30)
}

/// The action after a file was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "After")]
pub enum AfterAction {
    /// Runs a program, without a shell.
    Exec {
        /// The program and its arguments, from 1 to 64 texts.
        #[schemars(length(min = 1, max = 64))]
        command: Vec<String>,
        /// How long the program may run before it is killed: `1s` to `1h`.
        #[serde(default = "usual_limit")]
        limit: ConfigDuration,
    },
    /// Sends a signal to a process.
    Signal {
        /// The file that holds the id of the process. Relative to the state directory.
        #[schemars(with = "schema::Path")]
        pid_file: PathBuf,
        /// The signal to send.
        #[serde(default)]
        signal: SignalName,
    },
    /// Sends a POST request with a JSON description of the pulled file. Any status other than 2xx
    /// is a failure. Redirects are not followed.
    Webhook {
        /// The URL, `http` or `https`.
        #[schemars(with = "schema::Url")]
        url: HttpUrl,
        /// Further headers. At most 16. Never write a secret here, because the configuration is not
        /// a secret file: use `token_file`.
        #[serde(default)]
        #[schemars(with = "schema::Headers")]
        headers: BTreeMap<String, String>,
        /// A file whose first line is sent as a bearer token. Relative to the directory of this
        /// file. Null: no token.
        #[serde(default)]
        #[schemars(with = "Option<schema::Path>")]
        token_file: Option<PathBuf>,
        /// A PEM file with the only certificate authorities that are trusted. Relative to the
        /// directory of this file. Null: the authorities that Mozilla trusts, which are built in.
        #[serde(default)]
        #[schemars(with = "Option<schema::Path>")]
        ca_file: Option<PathBuf>,
        /// How long the whole request may take: `1s` to `1h`.
        #[serde(default = "usual_limit")]
        limit: ConfigDuration,
    },
}

fn usual_limit() -> ConfigDuration {
    ConfigDuration::from_secs(60)
}

/// A signal that a program can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Signal")]
pub enum SignalName {
    /// SIGHUP: by convention, the program reads its files again.
    #[default]
    Hup,
    /// SIGUSR1: the program defines the meaning.
    Usr1,
    /// SIGUSR2: the program defines the meaning.
    Usr2,
    /// SIGTERM: the program ends.
    Term,
}
