//! The ways to find a server, in the order that the configuration gives them.

use std::time::Duration;

use super::schedule::AskSchedule;
use crate::model::Method;

/// How far a method has come, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodStatus {
    /// The method.
    pub method: Method,
    /// How far it has come.
    pub state: MethodState,
    /// Queries sent since the search began; with [`Method::Mdns`] rounds of asking all candidates.
    pub asked: u32,
    /// Addresses that it brought to be asked; only [`Method::Mdns`] brings any.
    pub candidates: usize,
    /// Why the last query could not be sent, if it could not.
    pub failure: Option<String>,
}

/// How far a method has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodState {
    /// The methods before it still have time, or found a server.
    Waiting,
    /// It asks, and nobody answered yet.
    Asking,
    /// It had its time, and no server answered; it goes on asking beside the next one.
    Unanswered,
    /// It brought this many of the servers that are known now.
    Found(u32),
}

/// One method of the engine, with its timetable.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) method: Method,
    pub(super) schedule: Option<AskSchedule>,
    pub(super) asked: u32,
    pub(super) failure: Option<String>,
    /// When the search that this attempt belongs to gives it the word.
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
