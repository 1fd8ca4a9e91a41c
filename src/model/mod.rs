//! The vocabulary of hereabouts as types: names, ids, addresses, records and times.
//!
//! A type here is parsed once and is valid from then on. The module is pure, except that
//! [`Accounts`] reads the users and groups of this machine. It imports no other room.

#![warn(missing_docs)]

mod account;
mod address;
mod evidence;
mod export_format;
mod labels;
mod method;
mod name;
mod node_id;
mod protocol;
mod publication;
mod rate_limiter;
mod record;
mod secret;
mod text;
mod time;
mod url;

pub use account::{Account, Accounts, Owner, OwnerError};
pub use address::{Address, InterfaceName, InterfaceNameError, Origin, Scope};
pub use evidence::Evidence;
pub use export_format::ExportFormat;
pub use labels::{Labels, LabelsError};
pub use method::Method;
pub use name::{NameError, NodeName};
pub use node_id::{NodeId, NodeIdError};
pub use protocol::Protocol;
pub use publication::PublicationState;
pub use rate_limiter::Rate;
pub use record::{Lease, Record, Role, State};
pub use secret::Secret;
pub use time::{Now, Timestamp, TimestampError};
pub use url::{HttpUrl, HttpUrlError};

pub(crate) use rate_limiter::{Exceeded, RateLimiter, source_network};
pub(crate) use text::text_type;
pub(crate) use url::is_host;
