//! Publishing this node's own record: to the channel, its servers, multicast DNS and DynIP.
//!
//! - [`Intent`] derives from the configuration and the network what each target has to publish.
//!   Pure.
//! - [`plan`](plan()) compares what each target publishes with what is wanted there, and returns
//!   the changes. Pure.
//! - [`Claim`] decides whether a host name may be announced on a link, and handles conflicts. Pure.
//! - [`host_label`] and [`text`] encode a record for DNS-SD.
//! - `mdns` is the carrier for multicast DNS.
//!
//! The event loop in [`crate::node`] asks for the changes after each change of the network, and
//! gives each change to the carrier of its target. The carrier has the timing, the retries and the
//! leases. A further target (DNS UPDATE, a hosts file, a webhook) is one more variant of [`Target`]
//! and one more carrier; the rules here stay the same.

#![allow(missing_docs, reason = "the room is used by this program alone")]

mod claim;
mod dns_sd;
mod intent;
pub(crate) mod mdns;
mod plan;

pub use claim::{AddressOwner, Claim, ClaimEvent, ClaimState};
pub use dns_sd::{MAX_TEXT, ROLE_KEY, host_label, text};
pub use intent::{Intent, LinkAddresses, Network};
pub use plan::{Change, CurrentState, Publication, Target, Wanted, plan};
