//! The methods of finding a server, in the order of the configuration, and the progress of each.

use std::time::Duration;

use super::schedule::QuerySchedule;
use crate::model::Method;

/// The progress of a method, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodStatus {
    pub method: Method,
    pub state: MethodState,
    /// Queries sent since the search began; with [`Method::Mdns`] the rounds in which all
    /// candidates were asked.
    pub asked: u32,
    /// Addresses that the method found and this node asks; always 0 except with [`Method::Mdns`].
    pub candidates: usize,
    /// Why the last query could not be sent, if it could not.
    pub failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodState {
    /// The methods before it still have time, or found a server.
    Waiting,
    /// It sends queries, and no server has answered yet.
    Asking,
    /// No server answered within its time; it keeps sending queries beside the next method.
    Unanswered,
    /// It found this many of the servers that are known now.
    Found(u32),
}

/// One method within a search of the engine.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) method: Method,
    /// `None` until the method starts.
    pub(super) schedule: Option<QuerySchedule>,
    pub(super) asked: u32,
    pub(super) failure: Option<String>,
    /// When the method starts, unless a server is found before.
    pub(super) starts: Duration,
}

impl Attempt {
    pub(super) fn new(method: Method, starts: Duration) -> Self {
        Self {
            method,
            schedule: None,
            asked: 0,
            failure: None,
            starts,
        }
    }

    pub(super) fn status(
        &self,
        now: Duration,
        fallback_after: Duration,
        found: u32,
        candidates: usize,
    ) -> MethodStatus {
        let state = if found > 0 {
            MethodState::Found(found)
        } else if self.schedule.is_none() {
            MethodState::Waiting
        } else if now < self.starts + fallback_after {
            MethodState::Asking
        } else {
            MethodState::Unanswered
        };
        MethodStatus {
            method: self.method,
            state,
            asked: self.asked,
            candidates,
            failure: self.failure.clone(),
        }
    }
}
