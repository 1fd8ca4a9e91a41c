//! Between what a session carries and what commands print.

use crate::api::request::{ErrorKind, Item, Request as Asked};
use crate::api::view::{
    AddressView, ChangeKind as ChangeWord, ChangeView, FileView, HistoryView, HolderView, NodeView,
    Seen,
};
use crate::model::{Address, Labels, Record, Scope};
use crate::wire::KeyId;
use crate::wire::session::{
    Answer, Change, ChangeKind, FailureKind, HeldFile, Holder, Interval, NodeEntry, Report,
    Request, SeenBy,
};

/// What a caller asks of the registry, as the node is asked it; `None` for what is no matter of the registry.
pub(crate) fn asked(request: &Request) -> Option<Asked> {
    Some(match request {
        Request::Nodes {
            labels,
            absent,
            after,
        } => Asked::Nodes {
            labels: labels
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            absent: *absent,
            after: after.as_ref().map(ToString::to_string),
        },
        Request::Node { name, at } => Asked::Node {
            name: name.clone(),
            at: *at,
        },
        Request::History { name } => Asked::History {
            name: name.clone(),
            after: None,
        },
        Request::Holder { address, at } => Asked::Holder {
            address: *address,
            at: *at,
        },
        Request::Watch => Asked::Watch,
        Request::Offers | Request::Pull { .. } | Request::Introduce { .. } | Request::Report(_) => {
            return None;
        }
    })
}

/// What a command asks, as it is asked over a session; `None` for what only the node of this machine answers.
pub(crate) fn request(asked: &Asked) -> Option<Request> {
    Some(match asked {
        Asked::Nodes {
            labels,
            absent,
            after,
        } => Request::Nodes {
            labels: Labels::new(
                labels
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str())),
            )
            .ok()?,
            absent: *absent,
            after: match after {
                Some(after) => Some(after.parse().ok()?),
                None => None,
            },
        },
        Asked::Node { name, at } => Request::Node {
            name: name.clone(),
            at: *at,
        },
        Asked::History { name, .. } => Request::History { name: name.clone() },
        Asked::Holder { address, at } => Request::Holder {
            address: *address,
            at: *at,
        },
        Asked::Watch => Request::Watch,
        _ => return None,
    })
}

/// An item as it goes over a session; `None` for what never does.
pub(crate) fn answer(item: Item) -> Option<Answer<'static>> {
    Some(match item {
        Item::Node(view) => Answer::Node(Box::new(entry(&view))),
        Item::History(view) => Answer::Interval(Interval {
            name: view.name,
            node: view.node_id,
            address: view.address,
            seen: seen_by(view.seen),
            from: view.from,
            to: view.to,
        }),
        Item::Holder(view) => Answer::Holder(Box::new(Holder {
            address: view.address,
            current: view.current,
            seen: view.seen.map(seen_by),
            from: view.from,
            to: view.to,
            node: entry(&view.node),
        })),
        Item::Change(view) => Answer::Change(Box::new(Change {
            at: view.time,
            kind: kind(view.change),
            name: view.name,
            source: view.source,
            node: view.node.as_ref().map(entry),
            missed: view.missed,
        })),
        Item::Status(_)
        | Item::Health(_)
        | Item::Announced(_)
        | Item::Imported(_)
        | Item::Pushed(_)
        | Item::Pulled(_) => return None,
    })
}

/// An answer as an item; `None` for what is none.
pub(crate) fn item(answer: Answer<'_>) -> Option<Item> {
    Some(match answer {
        Answer::Node(entry) => Item::Node(Box::new(node(*entry))),
        Answer::Interval(interval) => Item::History(HistoryView {
            name: interval.name,
            node_id: interval.node,
            address: interval.address,
            seen: seen(interval.seen),
            from: interval.from,
            to: interval.to,
        }),
        Answer::Holder(holder) => Item::Holder(Box::new(HolderView {
            address: holder.address,
            current: holder.current,
            seen: holder.seen.map(seen),
            from: holder.from,
            to: holder.to,
            node: node(holder.node),
        })),
        Answer::Change(change) => Item::Change(Box::new(ChangeView {
            time: change.at,
            change: word(change.kind),
            name: change.name,
            source: change.source,
            node: change.node.map(node),
            missed: change.missed,
        })),
        Answer::Offer(_)
        | Answer::File { .. }
        | Answer::Content(_)
        | Answer::Alive
        | Answer::End
        | Answer::Failed { .. } => return None,
    })
}

/// A failure as it goes over a session.
pub(crate) fn failure(kind: ErrorKind, message: &str) -> Answer<'static> {
    let kind = match kind {
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::NotServer => FailureKind::NotServer,
        ErrorKind::BadRequest => FailureKind::BadRequest,
        ErrorKind::Busy => FailureKind::Busy,
        ErrorKind::Failed => FailureKind::Failed,
    };
    Answer::Failed {
        kind,
        message: cut(message, Answer::MAX_FAILURE).into(),
    }
}

/// What a failure means to a command.
pub(crate) fn error_kind(kind: FailureKind) -> ErrorKind {
    match kind {
        FailureKind::NotFound => ErrorKind::NotFound,
        FailureKind::NotServer => ErrorKind::NotServer,
        FailureKind::BadRequest => ErrorKind::BadRequest,
        FailureKind::Busy => ErrorKind::Busy,
        FailureKind::Failed => ErrorKind::Failed,
    }
}

/// The text up to the last whole character within so many bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn entry(view: &NodeView) -> NodeEntry {
    let addresses = view
        .addresses
        .iter()
        .take(Record::MAX_ADDRESSES)
        .map(|address| Address {
            ip: address.address,
            interface: address.interface,
            origin: address.origin,
        });
    let files = view
        .files
        .iter()
        .take(NodeEntry::MAX_FILES)
        .map(|file| HeldFile {
            report: Report {
                name: file.name.as_str().into(),
                generation: file.generation,
                error: file
                    .error
                    .as_deref()
                    .map(|error| cut(error, Report::MAX_ERROR).into()),
                attempted: None,
                again: false,
            },
            at: file.reported,
        });
    NodeEntry {
        id: view.node_id,
        name: view.name.clone(),
        state: view.state,
        role: view.role,
        addresses: addresses.collect(),
        port: view.port,
        source: view.source,
        labels: view.labels.clone(),
        first_seen: view.first_seen,
        last_seen: view.last_seen,
        lease: view.lease_seconds,
        remaining: view.expires_in_seconds,
        protocol: view.protocol,
        key: view.key.as_deref().map(key_id),
        epoch: view.epoch,
        cloned: view.cloned,
        former: view
            .former_names
            .iter()
            .take(NodeEntry::MAX_FORMER)
            .cloned()
            .collect(),
        files: files.collect(),
    }
}

fn node(entry: NodeEntry) -> NodeView {
    let addresses = entry.addresses.iter().map(|address| AddressView {
        address: address.ip,
        interface: address.interface,
        scope: Scope::of(address.ip),
        origin: address.origin,
    });
    let files = entry
        .files
        .into_iter()
        .map(|HeldFile { report, at }| FileView {
            name: report.name.into(),
            generation: report.generation,
            reported: at,
            error: report.error.map(Into::into),
        });
    NodeView {
        name: entry.name,
        node_id: entry.id,
        state: entry.state,
        role: entry.role,
        addresses: addresses.collect(),
        port: entry.port,
        source: entry.source,
        labels: entry.labels,
        first_seen: entry.first_seen,
        last_seen: entry.last_seen,
        lease_seconds: entry.lease,
        expires_in_seconds: entry.remaining,
        protocol: entry.protocol,
        key: entry.key.map(|key| key.to_string()),
        epoch: entry.epoch,
        cloned: entry.cloned,
        former_names: entry.former,
        files: files.collect(),
    }
}

/// The view's text is what `KeyId` prints; anything else would be a bug, and reads as zeros.
fn key_id(text: &str) -> KeyId {
    let bytes = data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .unwrap_or_default();
    KeyId(bytes.try_into().unwrap_or_default())
}

fn seen_by(seen: Seen) -> SeenBy {
    match seen {
        Seen::Announced => SeenBy::Announced,
        Seen::Observed => SeenBy::Observed,
    }
}

fn seen(seen: SeenBy) -> Seen {
    match seen {
        SeenBy::Announced => Seen::Announced,
        SeenBy::Observed => Seen::Observed,
    }
}

fn kind(word: ChangeWord) -> ChangeKind {
    match word {
        ChangeWord::Arrived => ChangeKind::Arrived,
        ChangeWord::Changed => ChangeKind::Changed,
        ChangeWord::Left => ChangeKind::Left,
        ChangeWord::Expired => ChangeKind::Expired,
        ChangeWord::Conflict => ChangeKind::Conflict,
        ChangeWord::Cloned => ChangeKind::Cloned,
        ChangeWord::Forgotten => ChangeKind::Forgotten,
        ChangeWord::Reported => ChangeKind::Reported,
    }
}

fn word(kind: ChangeKind) -> ChangeWord {
    match kind {
        ChangeKind::Arrived => ChangeWord::Arrived,
        ChangeKind::Changed => ChangeWord::Changed,
        ChangeKind::Left => ChangeWord::Left,
        ChangeKind::Expired => ChangeWord::Expired,
        ChangeKind::Conflict => ChangeWord::Conflict,
        ChangeKind::Cloned => ChangeWord::Cloned,
        ChangeKind::Forgotten => ChangeWord::Forgotten,
        ChangeKind::Reported => ChangeWord::Reported,
    }
}
