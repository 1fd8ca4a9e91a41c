//! How a call on the control socket is answered: with items and an end, or with one error.
//!
//! A reply never waits: a client that has closed its connection, or reads too slowly, gets no answer.

use crate::api::control::Call;
use crate::api::request::{ErrorKind, Response};

/// Sends all items, and the end.
pub(super) fn finish(call: &Call, items: impl IntoIterator<Item = Response>) {
    send(call, items, None);
}

/// Sends items, and the end with the key of the next page.
pub(super) fn send(call: &Call, items: impl IntoIterator<Item = Response>, next: Option<String>) {
    for response in items.into_iter().chain([Response::End { next }]) {
        if call.reply.try_send(response).is_err() {
            return;
        }
    }
}

/// Sends an error.
pub(super) fn fail(call: &Call, kind: ErrorKind, message: impl Into<String>) {
    let message = message.into();
    tracing::debug!(?kind, error = message, "request failed");
    // The client may have closed its connection: then no answer is needed.
    let _ = call.reply.try_send(Response::error(kind, message));
}
