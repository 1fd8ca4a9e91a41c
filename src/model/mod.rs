//! The words of hereabouts as types: parsed once, valid ever after. Pure, but for reading
//! [`Accounts`] of this machine.

mod account;
mod address;
mod evidence;
mod labels;
mod method;
mod name;
mod node_id;
mod protocol;
mod publication;
mod record;
mod time;
mod url;

pub use account::{Account, Accounts, Owner, OwnerError};
pub use address::{Address, InterfaceName, InterfaceNameError, Origin, Scope};
pub use evidence::Evidence;
pub use labels::{Labels, LabelsError};
pub use method::Method;
pub use name::{NameError, NodeName};
pub use node_id::{NodeId, NodeIdError};
pub use protocol::Protocol;
pub use publication::PublicationState;
pub use record::{Lease, Record, Role, State};
pub use time::{Now, Timestamp, TimestampError};
pub use url::{HttpUrl, HttpUrlError};

pub(crate) use url::is_host;
