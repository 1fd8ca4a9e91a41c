//! Requests and responses of the control socket: one JSON text a line, UTF-8, ended by `\n`.
//!
//! A request is one line. Its answer is any number of `item` lines, then one `end` or `error` line:
//!
//! ```text
//! → {"type":"nodes","labels":{"site":"home"},"gone":false,"after":null}
//! ← {"type":"item","item":{"node":{"name":"hub", …}}}
//! ← {"type":"item","item":{"node":{"name":"laptop", …}}}
//! ← {"type":"end","next":null}
//! ```
//!
//! A connection takes one request after the other. Lists come in pages of at most [`PAGE`] items, so neither side ever
//! holds a whole registry as text: when `next` in the `end` line is not null, the same request with that text as `after`
//! brings the next page. [`super::control::ask`] does so by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::view::{
    AnnouncedView, ChangeView, HealthView, HistoryView, HolderView, ImportedView, NodeView,
    PullView, PushView, StatusView,
};
use crate::model::{NodeName, Protocol, Timestamp};

/// The most items before an `end` line: a page and its end fit the reply channel, so a node never waits for a reader.
pub const PAGE: usize = 500;

/// The most records of one import: a line of so many, each with the longest name, is well below the longest request.
pub const IMPORT: usize = 200;

/// One record of an ancestor's file: the name was at the address at that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The name.
    pub name: NodeName,
    /// The address.
    pub address: IpAddr,
    /// When it was last heard from there.
    pub at: Timestamp,
}

/// What can be asked over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// This node: answered by one [`Item::Status`].
    Status,
    /// Whether this node is ready: answered by one [`Item::Health`].
    Health,
    /// The registry's nodes: answered by [`Item::Node`]s in pages. Servers only.
    Nodes {
        /// Only nodes that have all of these labels.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// Also nodes that expired or left.
        #[serde(default)]
        absent: bool,
        /// `next` of the page before; null for the first page.
        #[serde(default)]
        after: Option<String>,
    },
    /// One node of the registry. Servers only; nothing found is [`ErrorKind::NotFound`].
    ///
    /// Without `at`, answered by one [`Item::Node`]; with it, by the [`Item::History`] intervals that hold that time.
    Node {
        /// The node's name.
        name: NodeName,
        /// The time asked about; null for now.
        #[serde(default)]
        at: Option<Timestamp>,
    },
    /// Who has an address, or had it last, or had it at a time: answered by [`Item::Holder`]s, the most recent first.
    /// Servers only; nothing found is [`ErrorKind::NotFound`].
    Holder {
        /// The address.
        address: IpAddr,
        /// The time asked about; null for now.
        #[serde(default)]
        at: Option<Timestamp>,
    },
    /// Every address that a node had: answered by [`Item::History`]s, the most recent first, in pages. Servers only;
    /// an unknown name is [`ErrorKind::NotFound`].
    History {
        /// The node's name.
        name: NodeName,
        /// `next` of the page before; null for the first page.
        #[serde(default)]
        after: Option<String>,
    },
    /// Changes of the registry as they happen: answered by [`Item::Change`]s until the asker leaves. Servers only.
    Watch,
    /// Tells nodes to pull a file now: answered by [`Item::Pushed`]s as it goes on, until each has it or failed. Servers only.
    Push {
        /// The offer's name.
        name: String,
        /// Only these nodes; empty for all that take the file.
        #[serde(default)]
        to: Vec<NodeName>,
        /// How long nodes may take, in ms.
        timeout_ms: u64,
    },
    /// Pulls now: answered by [`Item::Pulled`]s as it goes on.
    Pull {
        /// The file's name; null for all that this node takes.
        #[serde(default)]
        name: Option<String>,
    },
    /// Drops a record and frees its name: answered by the [`Item::Node`] that was dropped, once that is synced. Servers only.
    Forget {
        /// The node's name.
        name: NodeName,
    },
    /// Takes records of an ancestor's file, which nobody proved: answered by one [`Item::Imported`], once they are synced.
    /// What is known already changes nothing. Servers only.
    Import {
        /// The ancestor's wire.
        protocol: Protocol,
        /// At most [`IMPORT`] records.
        records: Vec<ImportRecord>,
    },
    /// Registers again now: answered by one [`Item::Announced`] for each server asked.
    Announce,
    /// Asks the network for a node on behalf of the caller: answered by one [`Item::Node`], the newest of all answers.
    Lookup {
        /// The node's name.
        name: NodeName,
    },
    /// Asks the servers of the network who has an address: answered by [`Item::Holder`]s.
    LookupHolder {
        /// The address.
        address: IpAddr,
    },
}

impl Request {
    /// Whether the answer takes as long as what it tells of.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Watch | Self::Push { .. } | Self::Pull { .. })
    }

    /// The same request for the page that starts at `next`; `None` if its answer has one page only.
    pub fn page(&self, next: String) -> Option<Self> {
        match self {
            Self::Nodes {
                labels,
                absent,
                after: _,
            } => Some(Self::Nodes {
                labels: labels.clone(),
                absent: *absent,
                after: Some(next),
            }),
            Self::History { name, after: _ } => Some(Self::History {
                name: name.clone(),
                after: Some(next),
            }),
            Self::Status
            | Self::Health
            | Self::Node { .. }
            | Self::Holder { .. }
            | Self::Watch
            | Self::Push { .. }
            | Self::Pull { .. }
            | Self::Forget { .. }
            | Self::Import { .. }
            | Self::Announce
            | Self::Lookup { .. }
            | Self::LookupHolder { .. } => None,
        }
    }
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// One thing asked for.
    Item {
        /// The thing.
        item: Item,
    },
    /// The answer is whole; last line.
    End {
        /// Where the next page starts; null when there is none.
        next: Option<String>,
    },
    /// The request failed; last line. Items before it may not be all.
    Error {
        /// What the asker can do about it.
        kind: ErrorKind,
        /// What went wrong, for people.
        message: String,
    },
}

impl Response {
    /// The last line of an answer without another page.
    pub const END: Self = Self::End { next: None };

    /// An error line.
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Error {
            kind,
            message: message.into(),
        }
    }
}

impl<T: Into<Item>> From<T> for Response {
    fn from(item: T) -> Self {
        Self::Item { item: item.into() }
    }
}

/// One thing that a node tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A node of the registry, or of the network.
    Node(Box<NodeView>),
    /// An interval of a node's history.
    History(HistoryView),
    /// Who has or had an address.
    Holder(Box<HolderView>),
    /// This node.
    Status(Box<StatusView>),
    /// Whether this node is ready.
    Health(HealthView),
    /// What one server said to a registration.
    Announced(AnnouncedView),
    /// What became of an import.
    Imported(ImportedView),
    /// Something that happened.
    Change(Box<ChangeView>),
    /// How far a node is with a file that was pushed.
    Pushed(PushView),
    /// How far this node is with a file.
    Pulled(PullView),
}

impl From<NodeView> for Item {
    fn from(view: NodeView) -> Self {
        Self::Node(Box::new(view))
    }
}

impl From<HistoryView> for Item {
    fn from(view: HistoryView) -> Self {
        Self::History(view)
    }
}

impl From<HolderView> for Item {
    fn from(view: HolderView) -> Self {
        Self::Holder(Box::new(view))
    }
}

impl From<StatusView> for Item {
    fn from(view: StatusView) -> Self {
        Self::Status(Box::new(view))
    }
}

impl From<HealthView> for Item {
    fn from(view: HealthView) -> Self {
        Self::Health(view)
    }
}

impl From<AnnouncedView> for Item {
    fn from(view: AnnouncedView) -> Self {
        Self::Announced(view)
    }
}

impl From<ImportedView> for Item {
    fn from(view: ImportedView) -> Self {
        Self::Imported(view)
    }
}

impl From<ChangeView> for Item {
    fn from(view: ChangeView) -> Self {
        Self::Change(Box::new(view))
    }
}

impl From<PushView> for Item {
    fn from(view: PushView) -> Self {
        Self::Pushed(view)
    }
}

impl From<PullView> for Item {
    fn from(view: PullView) -> Self {
        Self::Pulled(view)
    }
}

/// What the asker can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nothing fits what was asked: ask for something else.
    NotFound,
    /// This node keeps no registry: ask a server, or the network.
    NotServer,
    /// The request can't be read, or is not known to this version: a bug in the asker, or another version.
    BadRequest,
    /// Too many connections, or the node stops: try again.
    Busy,
    /// The node failed: read its log.
    Failed,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotFound => "not found",
            Self::NotServer => "not a server",
            Self::BadRequest => "bad request",
            Self::Busy => "busy",
            Self::Failed => "failed",
        })
    }
}
