//! Making this node's own record known to targets: the channel, its servers, multicast DNS on each interface, DynIP.
//!
//! - [`Intent`] says what is to stand at each target, from configuration and network. Pure.
//! - [`plan`](plan()) compares what stands at each target with what is wanted there, and says what to change. Pure.
//! - [`Claim`] decides whether a name may be shown on a link, and what a conflict leads to. Pure.
//! - [`host_label`] and [`text`] put a record into the words of DNS-SD.
//!
//! The shells are in [`crate::node`]: the node asks for the changes once per change of the network, and hands each to
//! its target's carrier, which has the timing, the retries and the leases. A further target (DNS UPDATE, a hosts file, a webhook) is one more variant of
//! [`Target`] and one more shell; the rules here stand for all of them.

mod claim;
mod dns_sd;
mod intent;
pub(crate) mod mdns;
mod plan;

pub use claim::{Claim, ClaimEvent, ClaimState, Whose};
pub use dns_sd::{MAX_TEXT, ROLE_KEY, host_label, text};
pub use intent::{Intent, LinkAddresses, Network};
pub use plan::{Change, CurrentState, Publication, Target, Wanted, plan};
