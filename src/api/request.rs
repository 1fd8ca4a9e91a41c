//! Requests and their answers, as types with a stable JSON form.
//!
//! On the control socket each is one line of JSON, UTF-8, ended by `\n`; a session carries the
//! requests about the registry and their items in its frames ([`super::session`]). A request is one
//! line. Its answer is any number of `item` lines, then one `end` or `error` line:
//!
//! ```text
//! → {"type":"nodes","labels":{"site":"home"},"absent":false,"after":null}
//! ← {"type":"item","item":{"node":{"name":"hub", …}}}
//! ← {"type":"item","item":{"node":{"name":"laptop", …}}}
//! ← {"type":"end","next":null}
//! ```
//!
//! A connection carries one request after the other. Lists come in pages of at most [`PAGE`] items,
//! so neither side ever holds a whole registry as text: if `next` in the `end` line is not null,
//! the same request with that text as `after` returns the next page. [`super::control::ask`]
//! follows the pages by itself.
//!
//! An unknown type of request is refused. Unknown keys are skipped, so that a newer peer can add
//! one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::view::{
    AnnouncedView, ChangeView, HealthView, HistoryView, HolderView, ImportedView, NodeView,
    PullView, PushView, StatusView,
};
use crate::model::{NodeName, Protocol, Timestamp};
pub use crate::wire::session::ErrorKind;

/// Limit of the items before an `end` line: a page and its end fit the reply channel, so a node
/// never waits for a reader.
pub const PAGE: usize = 500;

/// Limit of the records of one import: a line of so many records, each with the longest name, is
/// well below the longest request.
pub const IMPORT: usize = 200;

/// One record of a file of a legacy protocol: the name had the address at that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The name.
    pub name: NodeName,
    /// The address.
    pub address: IpAddr,
    /// When the last message was received from there.
    pub at: Timestamp,
}

/// A request to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The state of this node: answered by one [`Item::Status`].
    Status,
    /// Whether this node is ready: answered by one [`Item::Health`].
    Health,
    /// The nodes of the registry: answered by [`Item::Node`]s in pages. Servers only.
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
    /// One node of the registry. Servers only; an unknown node is [`ErrorKind::NotFound`].
    ///
    /// Without `at`, answered by one [`Item::Node`]; with it, by the [`Item::History`] intervals
    /// that hold that time.
    Node {
        /// The name of the node.
        name: NodeName,
        /// The time in question; null for now.
        #[serde(default)]
        at: Option<Timestamp>,
    },
    /// The nodes that have an address, or had it last, or had it at a time: answered by
    /// [`Item::Holder`]s, the most recent first. Servers only; without a holder the answer is
    /// [`ErrorKind::NotFound`].
    Holder {
        /// The address.
        address: IpAddr,
        /// The time in question; null for now.
        #[serde(default)]
        at: Option<Timestamp>,
    },
    /// Every address that a node had: answered by [`Item::History`]s, the most recent first, in
    /// pages. Servers only; an unknown name is [`ErrorKind::NotFound`].
    History {
        /// The name of the node.
        name: NodeName,
        /// `next` of the page before; null for the first page.
        #[serde(default)]
        after: Option<String>,
    },
    /// Changes of the registry as they happen: answered by [`Item::Change`]s until the caller
    /// leaves. Servers only.
    Watch,
    /// Notifies nodes to pull a file now: answered by [`Item::Pushed`]s as it goes on, until each
    /// node has the file or failed. Servers only.
    Push {
        /// The name of the offer.
        name: String,
        /// Only these nodes; empty for all nodes that accept the file.
        #[serde(default)]
        to: Vec<NodeName>,
        /// How long nodes may take, in ms.
        timeout_ms: u64,
    },
    /// Pulls now: answered by [`Item::Pulled`]s as it goes on.
    Pull {
        /// The name of the file; null for all files that this node accepts.
        #[serde(default)]
        name: Option<String>,
    },
    /// Drops a record and frees its name: answered by the [`Item::Node`] that was dropped, once
    /// that is synced. Servers only.
    Forget {
        /// The name of the node.
        name: NodeName,
    },
    /// Imports unverified records from a file of a legacy protocol: answered by one
    /// [`Item::Imported`], once they are synced. A record that is known already changes nothing.
    /// Servers only.
    Import {
        /// The legacy protocol.
        protocol: Protocol,
        /// At most [`IMPORT`] records.
        records: Vec<ImportRecord>,
    },
    /// Registers again now: answered by one [`Item::Announced`] for each server.
    Announce,
    /// Queries the network for a node on behalf of the caller: answered by one [`Item::Node`], the
    /// newest of all answers.
    Lookup {
        /// The name of the node.
        name: NodeName,
    },
    /// Queries the servers of the network for the holders of an address: answered by
    /// [`Item::Holder`]s.
    LookupHolder {
        /// The address.
        address: IpAddr,
    },
}

impl Request {
    /// Whether the answer lasts as long as the events that it reports.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Watch | Self::Push { .. } | Self::Pull { .. })
    }

    /// Whether any holder of the channel key may send it over a session: it reads the registry and
    /// changes nothing. All other requests are for the user of this machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Nodes { .. }
            | Self::Node { .. }
            | Self::Holder { .. }
            | Self::History { .. }
            | Self::Watch => true,
            Self::Status
            | Self::Health
            | Self::Push { .. }
            | Self::Pull { .. }
            | Self::Forget { .. }
            | Self::Import { .. }
            | Self::Announce
            | Self::Lookup { .. }
            | Self::LookupHolder { .. } => false,
        }
    }

    /// The same request for the page that starts at `next`; `None` if its answer has only one page.
    pub fn page(&self, next: String) -> Option<Self> {
        let mut request = self.clone();
        match &mut request {
            Self::Nodes { after, .. } | Self::History { after, .. } => *after = Some(next),
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
            | Self::LookupHolder { .. } => return None,
        }
        Some(request)
    }
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// One result.
    Item {
        /// The result.
        item: Item,
    },
    /// The answer is complete; last line.
    End {
        /// Where the next page starts; null when there is none.
        next: Option<String>,
    },
    /// The request failed; last line. The items before may be incomplete.
    Error {
        /// What the caller can do about it.
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

/// One result in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A node of the registry, or of the network.
    Node(Box<NodeView>),
    /// An interval of the history of a node.
    History(HistoryView),
    /// A node that has or had an address.
    Holder(Box<HolderView>),
    /// The state of this node.
    Status(Box<StatusView>),
    /// Whether this node is ready.
    Health(HealthView),
    /// The answer of one server to a registration.
    Announced(AnnouncedView),
    /// The result of an import.
    Imported(ImportedView),
    /// A change of the registry.
    Change(Box<ChangeView>),
    /// The progress of a node with a file that was pushed.
    Pushed(PushView),
    /// The progress of this node with a file.
    Pulled(PullView),
}

/// Makes an [`Item`] of each view; a boxed one is boxed.
macro_rules! items {
    ($($view:ident => $variant:ident $(($boxed:ident))?,)*) => {
        $(impl From<$view> for Item {
            fn from(view: $view) -> Self {
                Self::$variant($($boxed::new)?(view))
            }
        })*
    };
}

items! {
    NodeView => Node(Box),
    HistoryView => History,
    HolderView => Holder(Box),
    StatusView => Status(Box),
    HealthView => Health,
    AnnouncedView => Announced,
    ImportedView => Imported,
    ChangeView => Change(Box),
    PushView => Pushed,
    PullView => Pulled,
}
