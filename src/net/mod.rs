//! Interfaces and sockets: the only layer that opens one.
//!
//! - [`Interface`] is one interface as the kernel reports it; [`Watch`] reads all of them and
//!   follows the kernel's events.
//! - [`Policy`] decides which interfaces are used, and which of their addresses are announced.
//!   Pure.
//! - [`Sockets`] is one bound IPv4 and one bound IPv6 socket; [`RecvBatch`] and [`SendBatch`] carry
//!   many datagrams per system call, each with the interface and the local address of the datagram.
//! - [`Fanout`] keeps the group memberships and the targets of a message to all nodes.
//! - [`mdns`] announces a service on one interface by multicast DNS, watches a host name there, and
//!   browses.
//! - [`resolve`] looks up the names of known servers.
//! - [`rank`] orders the addresses of a node by how well this machine reaches them (RFC 6724).
//!   Pure.
//! - [`HttpClient`] sends one request to a webhook.
//!
//! One socket per family serves every interface: packet information (RFC 3542 §6) names the
//! interface and the source address of each datagram, so no socket has to be opened and closed with
//! an interface. The settings are small structs of this module; nothing here reads the
//! configuration.

mod backoff;
mod batch;
mod family;
mod fanout;
mod fanout_settings;
mod groups;
mod holder;
mod http;
mod interface;
mod kernel_groups;
pub mod mdns;
mod netlink;
mod pattern;
mod policy;
mod polled;
pub mod rank;
mod resolve;
mod socket;
mod sockets;
mod sys;
mod targets;
mod tcp;
mod watch;

pub use backoff::Backoff;
pub use batch::{Arrival, DATAGRAM_MAX, Flushed, Full, RecvBatch, SendBatch, Source};
pub use family::Family;
pub use fanout::{FamilyStatus, Fanout, GroupStatus, InterfaceStatus, Membership, Report};
pub use fanout_settings::FanoutSettings;
pub use holder::Holder;
pub use http::{Answer, CaError, HttpClient, HttpError};
pub use interface::{Interface, InterfaceAddress};
pub use pattern::{Pattern, PatternError};
pub use policy::{Decision, Policy, Rule};
pub use resolve::{ResolveError, resolve};
pub use socket::{BindError, Socket};
pub use sockets::{SocketSettings, Sockets};
pub use sys::configure_name_lookup;
pub use targets::{FanoutMethod, Target, broadcast_targets};
pub use tcp::{TcpBindError, bind_tcp, connect};
pub use watch::{InterfaceSource, Watch, interfaces};
