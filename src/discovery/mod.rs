//! Discovery: how this node finds servers and registers with them, and how it answers other nodes.
//!
//! [`Engine`] is the requesting side. It finds servers by the methods of the configuration, keeps
//! this node registered with them, and announces this node's own record when it changes.
//! [`Responder`] is the answering side. It decides whether, when and with which record a query is
//! answered.
//!
//! Both are pure: they take the time and opened messages, and give outputs and the next deadline.
//! They must never open a socket, read a clock or block. [`crate::node`] runs them.
//!
//! `HEREABOUTS_LOG=hereabouts::discovery=trace` logs why a server was or was not found, asked, used
//! or dropped.

#![allow(
    missing_docs,
    reason = "only this program uses these types; comments are for what a name does not say"
)]

pub mod engine;
mod explain;
mod method;
mod own;
mod responder;
mod schedule;
mod servers;

pub use crate::model::Method;
pub use engine::{Engine, EngineSettings, Event, Output, To};
pub(crate) use explain::explain_refusal;
pub use method::{MethodState, MethodStatus};
pub use own::{OwnRecord, OwnSettings, renew_after};
pub use responder::{DueAnswer, Ignored, Responder, ResponderSettings, Verdict};
pub use servers::{Held, Server};
