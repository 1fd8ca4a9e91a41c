//! What a node knows of files: the ends of its queues, what others hold, and its pushes.

use tokio::sync::mpsc;

use super::held::Held;
use super::push::{PushEvent, Pushes};
use crate::transfer::Handles;

/// The files' part of a node: its ends of the transfer's queues, the files that other nodes hold, and its pushes.
pub(in crate::node) struct Files {
    pub(in crate::node) transfer: Handles,
    pub(in crate::node) held: Held,
    pub(in crate::node) pushes: Pushes,
    /// The results of the tasks that run for pushes.
    pub(super) push_events: mpsc::Sender<PushEvent>,
}

/// The limit of push events that wait: two for each push that may run.
const PUSH_EVENTS: usize = 64;

impl Files {
    /// Starts with nothing held or pushed; the receiver gets the results of the tasks that run for pushes.
    pub(in crate::node) fn new(transfer: Handles) -> (Self, mpsc::Receiver<PushEvent>) {
        let (push_events, events) = mpsc::channel(PUSH_EVENTS);
        (
            Self {
                transfer,
                held: Held::default(),
                pushes: Pushes::default(),
                push_events,
            },
            events,
        )
    }
}
