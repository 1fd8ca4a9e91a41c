//! Finding servers and nodes, and answering those who look.
//!
//! [`Engine`] asks: it finds servers by the methods of the configuration, keeps this node registered with them and tells
//! everybody when its own record changes. [`Responder`] answers: it decides whether, when and with what a query is
//! answered. Both are pure; their shell is in [`crate::node`].

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
pub(crate) use responder::Bucket;
pub use responder::{DueAnswer, Ignored, Rate, Responder, ResponderSettings, Verdict};
pub use servers::{Held, Server, ServerState};
