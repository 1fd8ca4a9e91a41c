//! The part of the API that sessions carry: requests about the registry, and the items that answer
//! them, as the same JSON texts as on the control socket, each in one frame.
//!
//! In: a [`Request`] or an [`Item`], or a text that a peer sent. Out: a text of at most
//! [`MAX_TEXT`] bytes, or the value. It must never let a request pass that changes the node
//! ([`Request::is_remote`]): a caller holds the channel key, but need not be the user of this
//! machine. Memory is bounded by the text, which is at most a frame; the JSON parser refuses deep
//! nesting.

use super::request::{Item, Request};
use super::view::NodeView;
use crate::model::Record;
use crate::wire::session::{MAX_TEXT, Report};

/// Why a text can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// Sessions do not carry such a request or item.
    #[error("only the node of the own machine answers such a request")]
    NotRemote,
    /// The text is not the JSON of a request or an item that this version knows.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The text does not fit a frame.
    #[error("a text of {length} bytes does not fit a frame, at most {MAX_TEXT} do")]
    TooLong {
        /// The length of the text, in bytes.
        length: usize,
    },
}

/// The text of a request; [`TextError::NotRemote`] if only the node of this machine answers it.
pub fn encode_request(request: &Request) -> Result<String, TextError> {
    if !request.is_remote() {
        return Err(TextError::NotRemote);
    }
    fitting(serde_json::to_string(request)?)
}

/// Reads the request of a caller; any other than one about the registry is refused.
pub fn decode_request(text: &str) -> Result<Request, TextError> {
    let request: Request = serde_json::from_str(text)?;
    if request.is_remote() {
        Ok(request)
    } else {
        Err(TextError::NotRemote)
    }
}

/// The text of an item, whose lists and errors are cut to the limits that a frame has room for.
pub fn encode_item(mut item: Item) -> Result<String, TextError> {
    let node = match &mut item {
        Item::Node(node) => Some(&mut **node),
        Item::Holder(holder) => Some(&mut holder.node),
        Item::Change(change) => change.node.as_mut(),
        Item::History(_) => None,
        _ => return Err(TextError::NotRemote),
    };
    if let Some(node) = node {
        cut(node);
    }
    fitting(serde_json::to_string(&item)?)
}

/// Reads an item of an answer; any other than one about the registry is refused.
pub fn decode_item(text: &str) -> Result<Item, TextError> {
    match serde_json::from_str(text)? {
        item @ (Item::Node(_) | Item::History(_) | Item::Holder(_) | Item::Change(_)) => Ok(item),
        _ => Err(TextError::NotRemote),
    }
}

fn fitting(text: String) -> Result<String, TextError> {
    if text.len() > MAX_TEXT {
        return Err(TextError::TooLong { length: text.len() });
    }
    Ok(text)
}

/// Cuts what has no limit in a view, so that every node fits a frame.
///
/// JSON escapes a control character in up to six bytes. Nodes write the errors, so a control
/// character in one becomes a space; all other characters need at most twice their length.
fn cut(node: &mut NodeView) {
    node.addresses.truncate(Record::MAX_ADDRESSES);
    node.former_names.truncate(NodeView::MAX_FORMER_NAMES);
    node.files.truncate(NodeView::MAX_FILES);
    for error in node.files.iter_mut().filter_map(|file| file.error.as_mut()) {
        error.truncate(error.floor_char_boundary(Report::MAX_ERROR));
        if error.contains(char::is_control) {
            *error = error.replace(char::is_control, " ");
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
