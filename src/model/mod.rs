//! The words of hereabouts as types: parsed once, valid ever after. Pure.

mod address;
mod labels;
mod name;
mod node_id;
mod record;
mod time;
mod wire;

pub use address::{Address, InterfaceName, InterfaceNameError, Origin, Scope};
pub use labels::{Labels, LabelsError};
pub use name::{NameError, NodeName};
pub use node_id::{NodeId, NodeIdError};
pub use record::{Lease, Record, Role, State};
pub use time::{Now, Timestamp, TimestampError};
pub use wire::Wire;
